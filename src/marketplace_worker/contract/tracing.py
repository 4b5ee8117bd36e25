"""The trace that a message came in, passed on to what it causes (events.md section 3).

The names and the form are those of W3C Trace Context and of CloudEvents' extension for distributed
tracing.  What is malformed is dropped, never refused: a trace is no reason to lose a message.
"""

import re
from collections.abc import Mapping

from msgspec import Struct

from marketplace_worker.record import Record

PARENT_CHARACTERS_MAX = 128
"""Version 00 has 55; later ones may add to it."""

STATE_CHARACTERS_MAX = 512
"""What every platform passes on, says the specification; what is longer is dropped."""

_PARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?P<more>-[!-~]*)?"
)
_STATE = re.compile(r"[\x20-\x7e]+")


class Trace(Struct, frozen=True):
    """A trace and where in it a message was sent: `traceparent`, and `tracestate` where it came."""

    parent: str
    state: str | None = None


def trace_of(record: Record, *attributes: Mapping[str, object] | None) -> Trace | None:
    """The first that is well-formed: of these CloudEvents' attributes, else of the record's
    headers, `ce_` before plain ones.
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
    told = _text(parent).lower()
    found = _PARENT.fullmatch(told) if len(told) <= PARENT_CHARACTERS_MAX else None
    if found is None or (told.startswith("00") and found["more"] is not None):
        return None
    more = _text(state)
    is_kept = len(more) <= STATE_CHARACTERS_MAX and "=" in more and _STATE.fullmatch(more)
    return Trace(told, more if is_kept else None)


def _text(told: object) -> str:
    """An attribute's text, or a header's; Spring quotes the latter."""
    if isinstance(told, bytes):
        told = told.decode(errors="replace")
    return told.strip().strip('"').strip() if isinstance(told, str) else ""
