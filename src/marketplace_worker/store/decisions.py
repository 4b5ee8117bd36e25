"""The decisions table: the outcome of each fact for each organization.

The SQL is in decisions.sql.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from marketplace_worker.documents import events_to_json
from marketplace_worker.lifecycle.events import Event
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import Identity, OrganizationId
from marketplace_worker.store.database import Connection
from marketplace_worker.store.queries import queries

SQL = queries("decisions")


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """The outcome of one fact for one organization; or an event of the worker's own, then without
    states.
    """

    cause: Identity
    organization: OrganizationId
    state_before: State | None
    state: State | None
    policy_version: str
    events: tuple[Event, ...]

    @property
    def canceled(self) -> bool:
        """Whether the organization's last plan ended."""
        return (self.state_before, self.state) == (State.ACTIVE, State.CANCELED)


async def append(conn: Connection, decided: Sequence[DecisionRow], *, decided_at: datetime) -> None:
    """Append decisions, in the given order."""
    await conn.copy_records_to_table(
        "decisions",
        columns=_COLUMNS,
        records=[
            (
                each.cause.source,
                each.cause.id,
                each.organization,
                each.state_before and each.state_before.value,
                each.state and each.state.value,
                each.policy_version,
                events_to_json(each.events),
                decided_at,
            )
            for each in decided
        ],
    )


_COLUMNS = (
    "source", "message_id", "organization_id", "state_before", "state", "policy_version",
    "events", "decided_at",
)  # fmt: skip


async def canceled_since(conn: Connection, since: datetime, *, until: datetime) -> int:
    """How many organizations were canceled after `since`, counting committed decisions only.

    Decisions dated after `until`, by a clock that was ahead, do not count.
    """
    return int(await conn.fetchval(SQL["canceled_since"], since, until))
