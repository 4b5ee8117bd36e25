"""The decisions table: what each fact made of whom.  The SQL is in decisions.sql."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from marketplace_worker.contract.documents import events_to_json
from marketplace_worker.lifecycle.events import Event
from marketplace_worker.lifecycle.inactivity import LastSeen
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import Identity, OrganizationId
from marketplace_worker.store.database import Connection
from marketplace_worker.store.queries import queries

SQL = queries("decisions")


@dataclass(frozen=True, slots=True)
class Decided:
    """What one fact made of one organization, or had the worker itself say (then without a state).

    `seen`: when the organization was last in use, where the decision could look it up.
    """

    cause: Identity
    organization: OrganizationId
    state_before: State | None
    state: State | None
    policy_version: str
    seen: LastSeen | None
    events: tuple[Event, ...]


async def append(conn: Connection, decided: Sequence[Decided], *, decided_at: datetime) -> None:
    """Write down what was decided, in that order."""
    await conn.execute(
        SQL["append"],
        [each.cause.source for each in decided],
        [each.cause.id for each in decided],
        [each.organization for each in decided],
        [each.state_before and each.state_before.value for each in decided],
        [each.state and each.state.value for each in decided],
        [each.policy_version for each in decided],
        [_readings(each) for each in decided],
        [events_to_json(each.events) for each in decided],
        decided_at,
    )


def _readings(decided: Decided) -> str:
    if decided.seen is None:
        return "{}"
    seen = {"login_at": decided.seen.login_at, "request_at": decided.seen.request_at}
    return json.dumps({name: moment and moment.isoformat() for name, moment in seen.items()})
