"""The trace context of a message, copied to the events that it causes (events.md section 3).

Format: W3C Trace Context, and CloudEvents' extension for distributed tracing.  A malformed trace is
dropped; the message is processed all the same.
"""

import re
from collections.abc import Mapping

from msgspec import Struct

from marketplace_worker.record import Record

PARENT_CHARACTERS_MAX = 128
"""Version 00 has 55; later ones may add to it."""

STATE_CHARACTERS_MAX = 512
"""The length that every platform must pass on by the specification; longer ones are dropped."""

_PARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?P<more>-[!-~]*)?"
)
_STATE = re.compile(r"[\x20-\x7e]+")


class Trace(Struct, frozen=True):
    """A trace context: `traceparent`, and `tracestate` if there is one."""

    parent: str
    state: str | None = None

    @property
    def id(self) -> str:
        """The id of the whole trace, as tracing tools show it: 32 hexadecimal digits."""
        return self.parent[3:35]


def trace_of(record: Record, *attributes: Mapping[str, object] | None) -> Trace | None:
    """The first valid trace: of these CloudEvents' attributes, else of the record's headers (those
    with `ce_` before plain ones).
    """
    for each in attributes:
        if each and "traceparent" in each:
            trace = _trace(each["traceparent"], each.get("tracestate"))
            if trace:
                return trace
    # Nearly all records have none, and there is one of these a message.
    if not any(name[-11:].lower() == "traceparent" for name, _ in record.headers):
        return None
    headers = {name.lower(): value for name, value in reversed(record.headers)}
    for prefix in ("ce_", "ce-", ""):
        trace = _trace(headers.get(f"{prefix}traceparent"), headers.get(f"{prefix}tracestate"))
        if trace:
            return trace
    return None


def _trace(parent: object, state: object) -> Trace | None:
    text = _text(parent).lower()
    found = _PARENT.fullmatch(text) if len(text) <= PARENT_CHARACTERS_MAX else None
    if found is None or (text.startswith("00") and found["more"] is not None):
        return None
    more = _text(state)
    is_kept = len(more) <= STATE_CHARACTERS_MAX and "=" in more and _STATE.fullmatch(more)
    return Trace(text, more if is_kept else None)


def _text(value: object) -> str:
    """The text of an attribute or a header; Spring puts the latter in quotes."""
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    return value.strip().strip('"').strip() if isinstance(value, str) else ""
