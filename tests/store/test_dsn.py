"""libpq's parameters in a DSN, as hosted Postgres has them: kept, done without, or refused."""

import socket
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from pydantic import SecretStr

from marketplace_worker.errors import Misconfigured
from marketplace_worker.settings import Postgres
from marketplace_worker.store.database import connecting
from marketplace_worker.store.dsn import Target, read_target

WITHOUT_HARM = (
    "channel_binding=prefer&gssencmode=prefer&load_balance_hosts=random&sslsni=1"
    "&connect_timeout=7&keepalives=1&keepalives_idle=41&keepalives_interval=11&keepalives_count=4"
    "&tcp_user_timeout=9000&application_name=mine&client_encoding=UTF8&sslcompression=0"
    "&fallback_application_name=x&gssdelegation=0&max_protocol_version=latest&replication=false"
)


def target(query: str, **settings: str) -> Target:
    """What is read of a DSN with these parameters."""
    dsn = SecretStr(f"postgresql://u:secret@one:1,two:2/db?{query}")
    return read_target(Postgres(dsn=dsn, **settings))


def left(query: str) -> dict[str, str]:
    """The arguments that asyncpg gets for them."""
    return dict(parse_qsl(urlsplit(target(query).dsn).query))


async def test_what_hosted_postgres_hands_out_connects(postgres_dsn: str) -> None:
    """And what it asks of the connection is so."""
    dsn = f"{postgres_dsn}?{WITHOUT_HARM}"
    async with connecting(Postgres(dsn=SecretStr(dsn))) as pool, pool.acquire() as connection:
        assert await connection.fetchval("SELECT current_setting('application_name')") == (
            "marketplace-worker"
        )
        link = connection._con._transport.get_extra_info("socket")  # type: ignore[attr-defined]
        for option, value in (("TCP_KEEPIDLE", 41), ("TCP_KEEPINTVL", 11), ("TCP_KEEPCNT", 4)):
            assert link.getsockopt(socket.IPPROTO_TCP, getattr(socket, option)) == value
        assert link.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


def test_asyncpg_gets_its_own_parameters_and_the_server_its_settings() -> None:
    """Anything else would be taken for a setting of the server."""
    assert left(WITHOUT_HARM) == {}
    kept = (
        "target_session_attrs=read-write&sslmode=require&sslnegotiation=direct&options=-c%20a%3Db"
    )
    assert left(kept) == dict(parse_qsl(kept))
    assert target("connect_timeout=7").connect_timeout_s == 7
    assert target("connect_timeout=0").connect_timeout_s == target("").connect_timeout_s
    assert target("keepalives=0").socket_options == ((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0),)
    assert target("").hosts == "one:1,two:2"
    system = left("sslmode=verify-full&sslrootcert=system")
    assert system["sslrootcert"] != "system"
    assert system["sslmode"] == "verify-full"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (
            "channel_binding=require",
            "channel_binding=require is not supported .*sslmode=verify-full",
        ),
        ("gssencmode=require", "gssencmode=require is not supported"),
        ("require_auth=scram-sha-256", "require_auth=scram-sha-256 is not supported"),
        ("hostaddr=127.0.0.1", "hostaddr"),
        ("sslsni=0", "sslsni=0"),
        ("client_encoding=latin1", "client_encoding=latin1"),
        ("scram_client_key=secret", "scram_client_key is not supported"),
        ("connect_timeout=soon", "connect_timeout must be a number"),
        ("keepalives_idle=soon", "keepalives_idle must be whole numbers"),
        ("sslmode", "not a valid URL"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_name(query: str, message: str) -> None:
    """Rather than passed over: somebody relies on it."""
    with pytest.raises(Misconfigured, match=message) as error:
        target(query)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("no_such=1", 'unrecognized configuration parameter "no_such"'),
        ("sslnegotiation=sideways", "sslnegotiation"),
        ("sslmode=sometimes", "sslmode"),
        ("target_session_attrs=best", "target_session_attrs"),
        (
            "sslmode=require&sslrootcert=/no/such/file",
            "sslrootcert: there is no file /no/such/file",
        ),
        ("sslmode=require&sslrootcert=/etc/hostname", "ssl_root_cert_file.* cannot be used"),
    ],
)
async def test_an_unknown_parameter_is_refused_by_name(
    postgres_dsn: str, query: str, message: str
) -> None:
    """By the server or by asyncpg; waiting mends none of it."""
    with pytest.raises(Misconfigured, match=message):
        async with connecting(Postgres(dsn=SecretStr(f"{postgres_dsn}?{query}"))):
            pass


def test_the_settings_win_over_the_dsn() -> None:
    """As the environment wins over the file."""
    read = target("sslmode=disable", sslmode="verify-full")
    assert parse_qsl(urlsplit(read.dsn).query) == [("sslmode", "verify-full")]


def test_each_file_of_the_settings_has_its_effect(tmp_path: Path) -> None:
    """Whom to trust, and who we are; over what the DSN says, and beside it."""
    files = {name: tmp_path / name for name in ("ca", "cert", "key", "other")}
    for file in files.values():
        file.write_text("PEM")
    settings = {
        "sslmode": "verify-full",
        "ssl_root_cert_file": str(files["ca"]),
        "ssl_cert_file": str(files["cert"]),
        "ssl_key_file": str(files["key"]),
    }
    wanted = {
        "sslrootcert": str(files["ca"]),
        "sslcert": str(files["cert"]),
        "sslkey": str(files["key"]),
    }
    other = urlencode(dict.fromkeys(wanted, str(files["other"])))
    for query in ("sslmode=verify-full", f"sslmode=verify-full&{other}"):
        read = dict(parse_qsl(urlsplit(target(query, **settings).dsn).query))
        assert read == {"sslmode": "verify-full", **wanted}
    assert left(f"sslmode=verify-full&{other}")["sslrootcert"] == str(files["other"])
