"""Reads a scenario for `simulate`: one line, one message (events.md section 4)."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError
from pydantic_core import to_json

from marketplace_worker.contract.fields import Time, first_problem
from marketplace_worker.errors import Misconfigured
from marketplace_worker.record import Record


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    at: Time
    topic: str
    value: JsonValue
    key: str | None = None
    headers: dict[str, str] | None = None


def read_scenario(lines: Iterable[bytes], topics: Collection[str]) -> Iterator[Record]:
    """Yield one record a line, received at its `at`; blank lines are passed over.

    A null `value` is a tombstone.  Offsets count per topic, from 0, in partition 0.

    Raises:
        Misconfigured: a line cannot be used, or goes back in time; names the line and the field.
    """
    offsets: Counter[str] = Counter()
    now: datetime | None = None
    for number, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        line = _read_line(number, text)
        if line.topic not in topics:
            raise Misconfigured(f"line {number}, topic: must be one of {', '.join(sorted(topics))}")
        if now is not None and line.at < now:
            raise Misconfigured(f"line {number}, at: must not be before the line above")
        now = line.at
        yield _record(line, offsets[line.topic])
        offsets[line.topic] += 1


def _read_line(number: int, text: bytes) -> _Line:
    try:
        return _Line.model_validate_json(text)
    except ValidationError as error:
        field, problem = first_problem(error)
        where = f"line {number}, {field}" if field else f"line {number}"
        raise Misconfigured(f"{where}: {problem}") from None


def _record(line: _Line, offset: int) -> Record:
    return Record(
        topic=line.topic,
        partition=0,
        offset=offset,
        recorded_at=line.at,
        key=None if line.key is None else line.key.encode(),
        value=None if line.value is None else to_json(line.value),
        headers=tuple((name, text.encode()) for name, text in (line.headers or {}).items()),
    )
