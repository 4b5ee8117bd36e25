"""Reads a scenario for `simulate`, one message per line (events.md section 4)."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from msgspec.structs import replace
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError
from pydantic_core import to_json

from marketplace_worker.contract.cloudevents import subject_of
from marketplace_worker.contract.feeds import Feed
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


def read_scenario(lines: Iterable[bytes], feeds: Mapping[str, Feed]) -> Iterator[Record]:
    """Yield one record per line, received at its `at`.  Blank lines are ignored.

    A null `value` is a tombstone.  Offsets count per topic, from 0, in partition 0.  A Support
    request without `key` gets the subject of its CloudEvent as key; an empty `key` means none.

    Raises:
        Misconfigured: a line is invalid, or its time is before the line above; names the line and
            the field.
    """
    offsets: Counter[str] = Counter()
    now: datetime | None = None
    for number, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        line = _read_line(number, text)
        if line.topic not in feeds:
            raise Misconfigured(f"line {number}, topic: must be one of {', '.join(sorted(feeds))}")
        if now is not None and line.at < now:
            raise Misconfigured(f"line {number}, at: must not be before the line above")
        now = line.at
        record = _record(line, offsets[line.topic])
        is_keyed = line.key is not None or feeds[line.topic] is not Feed.SUPPORT_REQUESTS
        yield record if is_keyed else _with_key(record)
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
        key=line.key.encode() if line.key else None,
        value=None if line.value is None else to_json(line.value),
        headers=tuple((name, text.encode()) for name, text in (line.headers or {}).items()),
    )


def _with_key(record: Record) -> Record:
    subject = subject_of(record)
    return record if subject is None else replace(record, key=subject.encode())
