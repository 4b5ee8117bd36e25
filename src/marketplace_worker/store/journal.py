"""The journal table: inbox and history.  The SQL is in journal.sql."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from marketplace_worker.contract.documents import fact_to_json
from marketplace_worker.lifecycle.decide import Outcome
from marketplace_worker.lifecycle.facts import Fact, Notified, SubscriptionLinked, Unrecognized
from marketplace_worker.lifecycle.vocabulary import Identity, OrganizationId, SubscriptionKey
from marketplace_worker.store.database import Connection
from marketplace_worker.store.queries import queries

SQL = queries("journal")


@dataclass(frozen=True, slots=True)
class Entry:
    """A fact that was decided on.  `position` is where the record stood."""

    fact: Fact
    outcome: Outcome
    position: str


async def known(conn: Connection, identities: Collection[Identity]) -> set[Identity]:
    """Which of these messages were taken before.  Ask under the locks of their subjects."""
    rows = await conn.fetch(
        SQL["known"], [each.source for each in identities], [each.id for each in identities]
    )
    return {Identity(row["source"], row["message_id"]) for row in rows}


async def append(
    conn: Connection, entries: Sequence[Entry], *, decided_at: datetime, policy_version: str
) -> None:
    """Write down what was decided on, in that order."""
    facts = [entry.fact for entry in entries]
    subscriptions = [_subscription(fact) for fact in facts]
    await conn.execute(
        SQL["append"],
        [fact.identity.source for fact in facts],
        [fact.identity.id for fact in facts],
        [fact.kind for fact in facts],
        [_organization(fact) for fact in facts],
        [key.marketplace.value if key else None for key in subscriptions],
        [key.subscription_id if key else None for key in subscriptions],
        [fact.occurred_at for fact in facts],
        [entry.outcome.value for entry in entries],
        [entry.position for entry in entries],
        [fact_to_json(fact) for fact in facts],
        decided_at,
        policy_version,
    )


def _organization(fact: Fact) -> OrganizationId | None:
    match fact:
        case Notified() | Unrecognized():
            return None
        case _:
            return fact.organization


def _subscription(fact: Fact) -> SubscriptionKey | None:
    match fact:
        case Notified() | SubscriptionLinked():
            return fact.subscription
        case _:
            return None
