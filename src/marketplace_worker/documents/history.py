"""The events of a decision, as the history keeps them: written, and compared as text, but not
parsed.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from marketplace_worker.contract.outbound import details_data
from marketplace_worker.lifecycle.events import Event


def events_to_json(events: Iterable[Event]) -> str:
    """A list with one object an event, in their order.

    Each has `subject`, `sequence`, `kind`, `id`, `effective_at`, `decided_at`, `causation_id`,
    `correlation_id`, `policy_version` (null for an event of the worker itself) and `details`: the
    further fields of its `data`, as they are published.  Their form is that of the published
    event's `v1`, so they have no version of their own.
    """
    return msgspec.json.encode([_event(event) for event in events]).decode()


def _event(event: Event) -> dict[str, Any]:
    return {
        "subject": event.subject,
        "sequence": event.sequence,
        "kind": event.kind,
        "id": event.id,
        "effective_at": event.effective_at,
        "decided_at": event.decided_at,
        "causation_id": event.causation_id,
        "correlation_id": event.correlation_id,
        "policy_version": None if event.standing is None else event.standing.policy_version,
        "details": details_data(event.details),
    }
