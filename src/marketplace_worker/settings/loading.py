"""Reads the settings.  Only this module reads the environment.

Unknown names are refused, so that a misspelled one does not silently fall back to its default.  A
secret can be given as the path of the file that holds it, under its name with the suffix `_file`.
"""

import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import EnvSettingsSource
from pydantic_settings.exceptions import SettingsError

from marketplace_worker.errors import Misconfigured, Unavailable
from marketplace_worker.settings.console import ConsoleSettings, InspectionSettings
from marketplace_worker.settings.fields import (
    DELIMITER,
    EMAIL_KEY_LENGTH_MIN,
    PREFIX,
    KafkaSettings,
    Settings,
)
from marketplace_worker.settings.secret_file import SecretFile

T = TypeVar("T", bound=BaseModel)

FILE = "_file"
"""The suffix of a secret's name when the value is the path of a file that holds it."""

UNKEYED_EMAIL_KEY = "marketplace-worker-simulation"
"""The key with which `simulate` hashes email addresses if none is set (events.md section 4)."""


def load_settings(
    file: Path | None = None, environment: Mapping[str, str] | None = None
) -> Settings:
    """Read the settings from a TOML file and the environment, which takes precedence.

    Args:
        file: TOML, the groups as tables; None for no file.
        environment: the process's own where None.  A variable that is set but empty counts as
            not set.

    Raises:
        Misconfigured: a name is unknown, or a value missing or invalid.  Every fault is named
            with where it came from; no value is shown, as it may be a secret.
    """
    # A group that is wholly missing is reported by its fields.
    return _load(Settings, {"kafka": {}, "postgres": {}}, file, environment)


def load_inspection_settings(
    file: Path | None = None, environment: Mapping[str, str] | None = None
) -> InspectionSettings:
    """Read the settings of commands that look; of the others, only the names are checked.

    Raises `Misconfigured` as `load_settings` does.
    """
    return _load(InspectionSettings, {"postgres": {}}, file, environment)


def load_console_settings(
    file: Path | None = None, environment: Mapping[str, str] | None = None
) -> ConsoleSettings:
    """Read the settings of the console; of the others, only the names are checked.

    Raises `Misconfigured` as `load_settings` does.
    """
    return _load(ConsoleSettings, {"postgres": {}}, file, environment)


def load_kafka_settings(
    file: Path | None = None, environment: Mapping[str, str] | None = None
) -> KafkaSettings:
    """Read the settings of commands that use Kafka alone; of the others, only the names are
    checked.

    Raises `Misconfigured` as `load_settings` does.
    """
    return _load(KafkaSettings, {"kafka": {}}, file, environment)


def _load(
    model: type[T],
    groups: Mapping[str, Any],
    file: Path | None,
    environment: Mapping[str, str] | None,
) -> T:
    from_file, from_environment = _read(file, environment)
    values = _merged(_merged(groups, from_file), from_environment)
    if unknown := sorted(values.keys() - Settings.model_fields):
        raise Misconfigured(f"{', '.join(unknown)} is not a setting (from {file})")
    try:
        return model(**{name: values[name] for name in model.model_fields if name in values})
    except ValidationError as error:
        faults = [
            _describe_error(each, file, from_file, from_environment)
            for each in error.errors(include_input=False, include_url=False)
        ]
    raise Misconfigured("; ".join(faults))


def load_email_key(
    file: Path | None = None, environment: Mapping[str, str] | None = None
) -> SecretStr:
    """Read the key of the email hashes, for `simulate`, which needs no other setting.

    Returns a fixed value if none is set.  Raises `Misconfigured` as `load_settings` does.
    """
    return _email_key(file, environment) or SecretStr(UNKEYED_EMAIL_KEY)


def require_email_key(
    file: Path | None = None, environment: Mapping[str, str] | None = None
) -> SecretStr:
    """Read only the key of the email hashes; raises `Misconfigured` if none is set."""
    key = _email_key(file, environment)
    if key is None:
        missing = _variable(("email_key",))
        raise Misconfigured(
            f"email_key is not set: set {missing} or email_key in the settings file"
        )
    return key


def _email_key(file: Path | None, environment: Mapping[str, str] | None) -> SecretStr | None:
    value = _merged(*_read(file, environment)).get("email_key")
    if value is None:
        return None
    key = SecretStr(value) if isinstance(value, str) else value
    if not isinstance(key, SecretStr) or len(key) < EMAIL_KEY_LENGTH_MIN:
        raise Misconfigured(f"email_key: must have at least {EMAIL_KEY_LENGTH_MIN} characters")
    return key


def load_policy_file(
    file: Path | None = None, environment: Mapping[str, str] | None = None
) -> Path | None:
    """Read only the path of the policy file; None: the built-in policy.

    Raises `Misconfigured` as `load_settings` does.
    """
    value = _merged(*_read(file, environment)).get("policy_file")
    if value is not None and not isinstance(value, str):
        raise Misconfigured("policy_file: must be the path of a file")
    return Path(value) if value else None


def _read(
    file: Path | None, environment: Mapping[str, str] | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values from the file and from the environment, nested like the settings."""
    variables = os.environ if environment is None else environment
    secret = {_variable((*path, name + FILE)) for *path, name in secrets()}
    known = {_variable(path) for path in _paths(Settings)} | secret
    unknown = sorted(
        name for name in variables if name.upper().startswith(PREFIX) and name.upper() not in known
    )
    if unknown:
        raise Misconfigured(f"unknown settings in the environment: {', '.join(unknown)}")
    source = EnvSettingsSource(Settings)
    source.env_vars = {
        name.lower(): value
        for name, value in variables.items()
        if value and name.upper() not in secret
    }
    try:
        from_environment = source()
    except SettingsError as error:
        # Its sentence names the group; the cause would show the value.
        raise Misconfigured(f"the environment: {error}") from None
    for name, value in variables.items():
        if value and name.upper() in secret:
            *above, last = name.upper().removeprefix(PREFIX).lower().split(DELIMITER)
            _subtable(from_environment, above)[last] = value
    from_file = _read_file(file)
    for source_of, values in ((file, from_file), ("the environment", from_environment)):
        _open_files(values, source_of)
    return from_file, from_environment


def secrets() -> Iterator[tuple[str, ...]]:
    """The paths of the secret fields."""
    for path in _paths(Settings):
        field = _field(path)
        if field is SecretStr or SecretStr in get_args(field):
            yield path


def _field(path: Sequence[str]) -> Any:  # noqa: ANN401 - a type, or what stands for several
    """The annotation of a field."""
    annotation: Any = Settings
    for name in path:
        annotation = annotation.model_fields[name].annotation
    return annotation


def _subtable(values: dict[str, Any], above: Sequence[str]) -> dict[str, Any]:
    """The table of a group, created if missing."""
    for name in above:
        values = values.setdefault(name, {})
    return values


def _open_files(values: dict[str, Any], source: object) -> None:
    """Replace the path of each secret's file by the secret, under the secret's own name."""
    for *above, name in secrets():
        group: Any = values
        for each in above:
            group = group.get(each) if isinstance(group, dict) else None
        if not isinstance(group, dict) or name + FILE not in group:
            continue
        named = ".".join((*above, name))
        if name in group:
            raise Misconfigured(f"{named} and {named}{FILE} are both set (from {source}): set one")
        path = group.pop(name + FILE)
        try:
            secret = SecretFile(Path(path))
            secret.get_secret_value()
        except (TypeError, Unavailable) as error:
            raise Misconfigured(f"{named}{FILE} (from {source}): {error}") from error
        group[name] = secret


def _read_file(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise Misconfigured(f"{file}: {error.strerror}") from error
    except ValueError as error:
        raise Misconfigured(f"{file} is not valid TOML: {error}") from error


def _paths(model: type[BaseModel], *above: str) -> Iterator[tuple[str, ...]]:
    """The path of every group and field."""
    for name, field in model.model_fields.items():
        yield (*above, name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _paths(field.annotation, *above, name)


def _variable(path: tuple[str, ...]) -> str:
    return PREFIX + DELIMITER.join(path).upper()


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge nested tables; values of `above` take precedence."""
    merged = dict(below)
    for name, value in above.items():
        under = merged.get(name)
        if isinstance(under, Mapping) and isinstance(value, Mapping):
            merged[name] = _merged(under, value)
        else:
            merged[name] = value
    return merged


def _describe_error(
    error: ErrorDetails,
    file: Path | None,
    from_file: Mapping[str, Any],
    from_environment: Mapping[str, Any],
) -> str:
    """A message with the field, the error, and the source of the value."""
    path = tuple(str(part) for part in error["loc"])
    name = ".".join(path) or "settings"
    if error["type"] == "missing":
        return f"{name} is not set: set {_variable(path)} or {name} in the settings file"
    if error["type"] == "extra_forbidden":
        return f"{name} is not a setting (from {file})"
    what = error["msg"].removeprefix("Value error, ")
    sources = [
        source
        for source, values in ((_variable(path), from_environment), (str(file), from_file))
        if path and _contains(values, path)
    ]
    return f"{name}: {what} (from {sources[0]})" if sources else f"{name}: {what}"


def _contains(values: object, path: tuple[str, ...]) -> bool:
    for part in path:
        if not isinstance(values, Mapping) or part not in values:
            return False
        values = values[part]
    return True
