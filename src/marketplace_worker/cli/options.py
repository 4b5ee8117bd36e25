"""Values that several commands read from their options, and how they run."""

from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, TypeVar

import uvloop
from pydantic import TypeAdapter, ValidationError

from marketplace_worker.contract.fields import Prose, Text, first_problem
from marketplace_worker.contract.policy_file import parse_duration
from marketplace_worker.errors import Misconfigured
from marketplace_worker.terminal import visible

T = TypeVar("T")

_TEXT: TypeAdapter[str] = TypeAdapter(Text)
_PROSE: TypeAdapter[str] = TypeAdapter(Prose)


def name_of(by: str) -> str:
    """The value of `--by`, checked; raises `Misconfigured`."""
    return _words("--by", _TEXT, by)


def reason_of(reason: str) -> str:
    """The value of `--reason`, checked; raises `Misconfigured`."""
    return _words("--reason", _PROSE, reason)


def _words(option: str, kind: TypeAdapter[str], value: str) -> str:
    if not value.strip() or visible(value) != value:
        raise Misconfigured(f"{option}: must be text on one line")
    try:
        return kind.validate_python(value.strip())
    except ValidationError as error:
        raise Misconfigured(f"{option}: {first_problem(error)[1]}") from error


def duration_of(option: str, value: str) -> timedelta:
    """The value of an option that takes an ISO 8601 duration; raises `Misconfigured`."""
    try:
        return parse_duration(value)
    except ValueError as error:
        raise Misconfigured(f"{option}: {error}") from error


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end."""
    return uvloop.run(work)
