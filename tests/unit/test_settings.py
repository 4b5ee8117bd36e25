"""A wrong setting stops the start and is named; no value is ever shown."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from marketplace_worker.errors import Misconfigured, Unavailable
from marketplace_worker.settings import (
    Settings,
    load_console_settings,
    load_email_key,
    load_settings,
    require_email_key,
)
from marketplace_worker.settings.loading import secrets

SECRET = "a secret of nobody else"
NEEDED = {
    "MARKETPLACE_WORKER_KAFKA__BOOTSTRAP_SERVERS": "one:9092,two:9092",
    "MARKETPLACE_WORKER_POSTGRES__DSN": f"postgresql://worker:{SECRET}@host/db",
    "MARKETPLACE_WORKER_EMAIL_KEY": SECRET,
}
PREFIX = "MARKETPLACE_WORKER_"
BY_PASSWORD = {
    PREFIX + "KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
    PREFIX + "KAFKA__SASL_MECHANISM": "PLAIN",
    PREFIX + "KAFKA__SASL_USERNAME": "worker",
    PREFIX + "KAFKA__SASL_PASSWORD": SECRET,
}
BY_TOKEN = {
    PREFIX + "KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
    PREFIX + "KAFKA__SASL_MECHANISM": "OAUTHBEARER",
    PREFIX + "KAFKA__OAUTH_TOKEN_URL": "https://tokens.example/token",
    PREFIX + "KAFKA__OAUTH_CLIENT_ID": "worker",
    PREFIX + "KAFKA__OAUTH_CLIENT_SECRET": SECRET,
}
BY_OPENID = {
    PREFIX + "CONSOLE__OPENID_ISSUER": "https://issuer.example",
    PREFIX + "CONSOLE__OPENID_CLIENT_ID": "console",
    PREFIX + "CONSOLE__OPENID_CLIENT_SECRET": SECRET,
    PREFIX + "CONSOLE__OPENID_ALLOWED": "@example.com,role:operators",
}
LOGINS = (BY_PASSWORD, BY_TOKEN, BY_OPENID, {PREFIX + "CONSOLE__TOKEN": SECRET})


def refusal(file: Path | None = None, **changes: str) -> str:
    """What `load_settings` says to these changes of what is needed."""
    environment = NEEDED | {PREFIX + name: value for name, value in changes.items()}
    with pytest.raises(Misconfigured) as caught:
        load_settings(file, environment)
    return str(caught.value)


def models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """The model and all groups below it."""
    yield model
    for field in model.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from models(field.annotation)


def test_every_setting_is_described() -> None:
    """Somebody has to set it without reading the code."""
    for model in models(Settings):
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"
            assert field.description.endswith("."), f"{model.__name__}.{name}"


def test_three_settings_are_needed_and_the_rest_has_defaults() -> None:
    """A first start takes three lines; an empty variable counts as not set."""
    settings = load_settings(None, NEEDED | {PREFIX + "LOG_LEVEL": "", "HOME": "/root"})
    assert settings.kafka.bootstrap_servers == "one:9092,two:9092"
    assert settings.topics.lifecycle == "organizations.lifecycle"
    assert settings.log_level == "info"
    assert settings.kafka.facts_group == "marketplace-worker.facts"


def test_a_missing_setting_is_named_with_both_ways_to_set_it() -> None:
    """All of the missing ones at once, not one at every attempt."""
    with pytest.raises(Misconfigured) as caught:
        load_settings(None, {})
    for name, path in (
        ("KAFKA__BOOTSTRAP_SERVERS", "kafka.bootstrap_servers"),
        ("POSTGRES__DSN", "postgres.dsn"),
        ("EMAIL_KEY", "email_key"),
    ):
        assert f"{path} is not set: set {PREFIX}{name} or {path} in" in str(caught.value)


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """The file is shared by all workers, the environment is one worker's."""
    file = tmp_path / "settings.toml"
    file.write_text('[ingest]\nbatch_rows_max = 7\nfetch_wait_ms = 20\n[topics]\nlogins = "l"\n')
    settings = load_settings(file, NEEDED | {PREFIX + "INGEST__BATCH_ROWS_MAX": "8"})
    assert (settings.ingest.batch_rows_max, settings.ingest.fetch_wait_ms) == (8, 20)
    assert settings.topics.logins == "l"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("KAFKA__BOOTSTRAP", "x:1", "MARKETPLACE_WORKER_KAFKA__BOOTSTRAP"),
        ("KAFKA_CLIENT_ID", "x", "MARKETPLACE_WORKER_KAFKA_CLIENT_ID"),
        ("SETTINGS", "x", "MARKETPLACE_WORKER_SETTINGS"),
        ("KAFKA", "x", "kafka"),
        ("KAFKA__BOOTSTRAP_SERVERS", "nowhere", "kafka.bootstrap_servers"),
        ("KAFKA__SESSION_TIMEOUT_MS", "soon", "from MARKETPLACE_WORKER_KAFKA__SESSION_TIMEOUT_MS"),
        ("INGEST__BATCH_ROWS_MAX", "0", "greater than or equal to 1"),
        ("EMAIL_KEY", "short", "email_key"),
        ("POSTGRES__DSN", f"mysql://{SECRET}", "postgres.dsn: must begin with postgresql://"),
        ("POLICY_FILE", "/no/such/file", "policy_file"),
        ("TOPICS__STATE", "organizations.lifecycle", "two topics have the same name"),
        ("TOPICS__STATE", "not a topic", "topics.state"),
        ("KAFKA__REBALANCE_TIMEOUT_MS", "60000", "below request_timeout_ms"),
        ("POSTGRES__STATEMENT_TIMEOUT_MS", "30000", "below kafka.rebalance_timeout_ms"),
        ("INGEST__RETRY_PAUSE_MIN_MS", "10000000", "ingest.retry_pause_min_ms"),
        ("INGEST__REFUSED_ROWS_MAX", "499", "must be at least batch_rows_max"),
        ("KAFKA__SECURITY_PROTOCOL", "SASL_SSL", "needs sasl_mechanism"),
        ("KAFKA__SASL_PASSWORD", SECRET, "security_protocol is not SASL"),
        ("KAFKA__SSL_CA_FILE", "/etc/hostname", "requires security_protocol SSL or SASL_SSL"),
    ],
)
def test_a_wrong_value_is_named_and_not_shown(name: str, value: str, message: str) -> None:
    """The value may be a password in the wrong place."""
    full_message = refusal(None, **{name: value})
    assert message in full_message
    assert SECRET not in full_message


@pytest.mark.parametrize(
    ("mechanism", "missing"),
    [
        ("PLAIN", "sasl_username and sasl_password"),
        ("SCRAM-SHA-512", "sasl_username and sasl_password"),
        ("OAUTHBEARER", "oauth_token_url and oauth_client_id and oauth_client_secret"),
        ("AWS_MSK_IAM", "aws_region"),
    ],
)
def test_each_way_to_log_in_names_what_it_needs(mechanism: str, missing: str) -> None:
    """And takes nothing that belongs to another: it would be set in vain."""
    message = refusal(KAFKA__SECURITY_PROTOCOL="SASL_SSL", KAFKA__SASL_MECHANISM=mechanism)
    assert f"sasl_mechanism {mechanism} needs {missing}" in message
    for own, strange in ((BY_PASSWORD, "AWS_REGION"), (BY_TOKEN, "SASL_USERNAME")):
        environment = NEEDED | own | {f"{PREFIX}KAFKA__{strange}": "eu-central-1"}
        with pytest.raises(Misconfigured, match=f"{strange.lower()} is given, but sasl_mechanism"):
            load_settings(None, environment)


def test_a_wrong_file_is_named(tmp_path: Path) -> None:
    """Unknown names, wrong values, broken TOML and a missing file are four sentences."""
    file = tmp_path / "settings.toml"
    assert str(file) in refusal(file)
    file.write_text("[kafka")
    assert f"{file} is not valid TOML" in refusal(file)
    file.write_text('[kafka]\nclient = "x"\n')
    assert refusal(file) == f"kafka.client is not a setting (from {file})"
    file.write_text("[relay]\nlinger_ms = -1\n")
    assert f"(from {file})" in refusal(file)
    file.write_bytes(b"\xff")
    assert str(file) in refusal(file)


def test_a_certificate_needs_its_key(tmp_path: Path) -> None:
    """One without the other would fail much later, at the first connection."""
    certificate = tmp_path / "certificate.pem"
    certificate.touch()
    message = refusal(KAFKA__SECURITY_PROTOCOL="SSL", KAFKA__SSL_CERT_FILE=str(certificate))
    assert "ssl_cert_file and ssl_key_file must be set together" in message


def test_secrets_do_not_show_themselves() -> None:
    """Settings end up in tracebacks and logs."""
    settings = load_settings(None, NEEDED)
    assert SECRET not in repr(settings)
    assert SECRET not in str(settings.postgres)
    assert settings.email_key.get_secret_value() == SECRET


def test_the_console_needs_the_database_alone() -> None:
    """It has neither Kafka's login nor the key of the emails; a name must still be known."""
    dsn = {PREFIX + "POSTGRES__DSN": NEEDED[PREFIX + "POSTGRES__DSN"]}
    settings = load_console_settings(None, dsn)
    assert settings.console.address_in_browser == "http://127.0.0.1:8600"
    assert load_console_settings(None, NEEDED).postgres == settings.postgres
    with pytest.raises(Misconfigured, match=r"postgres\.dsn is not set"):
        load_console_settings(None, {})
    with pytest.raises(Misconfigured, match="unknown settings"):
        load_console_settings(None, dsn | {PREFIX + "CONSOLE__PORTS": "1"})


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"ADDRESS": "0.0.0.0"}, "others can connect: set token_file, or the settings openid_"),
        ({"ADDRESS": "0.0.0.0", "TOKEN": SECRET}, "set url to its https:// address"),
        (
            {"ADDRESS": "::", "TOKEN": SECRET, "URL": "http://console.example"},
            "set url to its https:// address",
        ),
        ({"TOKEN": "short"}, "at least 16 items"),
        ({"OPENID_ISSUER": "https://issuer.example"}, "also needs openid_client_id, "),
    ],
)
def test_the_console_listens_elsewhere_only_with_a_sign_in_and_tls(
    changes: dict[str, str], problem: str
) -> None:
    """A start that would show customers to a network is refused."""
    assert problem in refusal(None, **{f"CONSOLE__{name}": v for name, v in changes.items()})


def test_the_console_listens_on_all_addresses_with_both() -> None:
    """Also for the workers' settings, which may stand in the same file."""
    environment = {
        **NEEDED,
        **BY_OPENID,
        PREFIX + "CONSOLE__ADDRESS": "0.0.0.0",
        PREFIX + "CONSOLE__URL": "https://console.example/",
    }
    console = load_settings(None, environment).console
    assert (console.on_loopback, console.address_in_browser) == (False, "https://console.example")
    with pytest.raises(Misconfigured, match="either token or the settings openid_"):
        load_settings(None, environment | {PREFIX + "CONSOLE__TOKEN": SECRET})


def test_simulate_needs_no_setting() -> None:
    """It hashes with a fixed key where none is set, and refuses a short one."""
    fixed = load_email_key(None, {}).get_secret_value()
    assert fixed == load_email_key(None, {}).get_secret_value()
    assert load_email_key(None, NEEDED).get_secret_value() == SECRET
    with pytest.raises(Misconfigured, match="email_key"):
        load_email_key(None, {PREFIX + "EMAIL_KEY": "short"})


def test_a_search_for_an_email_needs_the_workers_key() -> None:
    """With another it would find nobody."""
    assert require_email_key(None, NEEDED).get_secret_value() == SECRET
    with pytest.raises(Misconfigured, match="email_key is not set: set MARKETPLACE_WORKER_EMAIL_K"):
        require_email_key(None, {})


@pytest.mark.parametrize("path", list(secrets()), ids=".".join)
def test_every_secret_can_stand_in_a_file_that_is_read_when_it_is_asked_for(
    tmp_path: Path, path: tuple[str, ...]
) -> None:
    """Like the postgres image; renewing the file needs no restart of the worker."""
    file, variable = tmp_path / "secret", PREFIX + "__".join(path).upper()
    logins = next((each for each in LOGINS if variable in each), {})
    environment = {**NEEDED, **logins, variable + "_FILE": str(file)}
    first = environment.pop(variable)
    file.write_text(first + "\n")
    settings: Any = load_settings(None, environment)
    for name in path:
        settings = getattr(settings, name)
    assert settings.get_secret_value() == first
    file.write_text(first + "renewed\r\n")
    assert settings.get_secret_value() == first + "renewed"
    assert first not in repr(settings)
    file.write_text("")
    with pytest.raises(Unavailable, match="secret is empty"):
        settings.get_secret_value()
    with pytest.raises(Misconfigured, match=f"{path[-1]}_file .* is empty"):
        load_settings(None, environment)
    with pytest.raises(Misconfigured, match=f"{path[-1]}_file are both set .* set one"):
        load_settings(None, environment | {variable: first})


def test_a_secret_in_a_file_keeps_the_bounds_of_a_secret(tmp_path: Path) -> None:
    """And wins over the settings file, as all of the environment does."""
    short, key, file = tmp_path / "short", tmp_path / "key", tmp_path / "settings.toml"
    short.write_text("short")
    key.write_text(SECRET)
    without = {name: value for name, value in NEEDED.items() if not name.endswith("EMAIL_KEY")}
    with pytest.raises(Misconfigured, match=r"email_key: .*at least 16"):
        load_settings(None, without | {PREFIX + "EMAIL_KEY_FILE": str(short)})
    with pytest.raises(Misconfigured, match="email_key"):
        load_email_key(None, {PREFIX + "EMAIL_KEY_FILE": str(short)})
    file.write_text('email_key = "another secret that is long"\n')
    settings = load_settings(file, without | {PREFIX + "EMAIL_KEY_FILE": str(key)})
    assert settings.email_key.get_secret_value() == SECRET
    file.write_text(f"email_key_file = '{key}'\n")
    assert load_settings(file, without).email_key.get_secret_value() == SECRET
    file.write_text("email_key_file = 7\n")
    with pytest.raises(Misconfigured, match="email_key_file"):
        load_settings(file, without)
