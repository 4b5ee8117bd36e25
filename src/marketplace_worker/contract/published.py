"""Summarizes what we published about an organization: its newest numbers and its state.

`recover` compares it with the database after a restore.  Events and snapshots are distinguished by
their `source`.  A topic that is added to `numbered_topics` needs its reader here.
"""

import json
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from marketplace_worker.contract.cloudevents import event_type
from marketplace_worker.contract.outbound_events import SOURCE, STATE_SOURCE
from marketplace_worker.lifecycle.events import EventKind
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import DeactivationCause, OrganizationId
from marketplace_worker.record import Record
from marketplace_worker.settings import Topics

NUMBER_MAX = 2**62
"""Larger than any number that we publish."""


def numbered_topics(topics: Topics) -> tuple[str, ...]:
    """The topics whose records are numbered per subject: all outbound ones except dead letters."""
    return (topics.lifecycle, topics.state)


DEACTIVATED_TYPE = event_type(EventKind.DEACTIVATED)
REACTIVATED_TYPE = event_type(EventKind.REACTIVATED)
ERASED_TYPE = event_type(EventKind.ERASED)


@dataclass(frozen=True, slots=True)
class PublishedSummary:
    """What the published records say about one organization, or about `worker`.

    `sequence`, `revision`: the numbers of its newest event and snapshot; 0: none.  `state`: by the
    newest of both; `deactivated_for`: the cause, if it was deactivated.  `closed_by`, `closed_at`,
    `closed_sequence`: the newest deactivation event that no later reactivation has undone.
    `reopened_sequence`: the newest reactivation event.
    """

    organization: OrganizationId
    sequence: int = 0
    revision: int = 0
    state: State | None = None
    erased: bool = False
    deactivated_for: DeactivationCause | None = None
    closed_by: str | None = None
    closed_at: datetime | None = None
    closed_sequence: int = 0
    reopened_sequence: int = 0

    def with_later(self, later: "PublishedSummary") -> "PublishedSummary":
        """Both combined; where one number was used twice, the later record counts."""
        newer = later if later.sequence >= self.sequence else self
        closed = later if later.closed_sequence >= self.closed_sequence else self
        reopened = max(self.reopened_sequence, later.reopened_sequence)
        stands = closed.closed_sequence > reopened
        return replace(
            newer,
            revision=max(self.revision, later.revision),
            erased=self.erased or later.erased,
            deactivated_for=newer.deactivated_for or (closed.deactivated_for if stands else None),
            closed_by=closed.closed_by if stands else None,
            closed_at=closed.closed_at if stands else None,
            closed_sequence=closed.closed_sequence if stands else 0,
            reopened_sequence=reopened,
        )


_SUMMARY = TypeAdapter(PublishedSummary)


def read_published(record: Record) -> PublishedSummary | None:
    """The summary of one record; None if it is not ours or has no number."""
    if record.value is None:
        key = (record.key or b"").decode(errors="replace")
        return PublishedSummary(OrganizationId(key), erased=True) if key else None
    try:
        event = json.loads(record.value)
        return _read(event, event["source"], int(event["sequence"]))
    except (ValueError, TypeError, KeyError, AttributeError, ValidationError, RecursionError):
        return None


def _read(event: dict[str, Any], source: str, number: int) -> PublishedSummary | None:
    if not 0 < number < NUMBER_MAX:
        return None
    data, kind = event["data"], event["type"]
    state = data.get("state")
    summary = {"organization": event["subject"], "state": state}
    if state == State.DEACTIVATED:
        summary["deactivated_for"] = _cause(data)
    if source == STATE_SOURCE:
        summary |= {"revision": number, "sequence": data["last_event_sequence"]}
    elif source == SOURCE:
        summary |= {"sequence": number, "erased": kind == ERASED_TYPE}
        if kind == DEACTIVATED_TYPE:
            summary |= {
                "closed_by": event["id"],
                "closed_at": event["time"],
                "closed_sequence": number,
            }
        elif kind == REACTIVATED_TYPE:
            summary |= {"reopened_sequence": number}
    else:
        return None
    return _SUMMARY.validate_python(summary)


def _cause(data: dict[str, Any]) -> str:
    """The cause of a deactivation: derived, since only the deactivation event itself names it."""
    if not data["recoverable"]:
        return DeactivationCause.MARKETPLACE_CANCELLATION
    return DeactivationCause(data["reason"])
