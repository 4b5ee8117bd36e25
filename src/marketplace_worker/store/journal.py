"""The journal table: inbox and history.  The SQL is in journal.sql."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from marketplace_worker.contract.documents import fact_from_json, fact_to_json
from marketplace_worker.lifecycle.decide import Outcome
from marketplace_worker.lifecycle.facts import (
    Fact,
    GuardReleased,
    GuardTripped,
    Notified,
    SubscriptionLinked,
    Unrecognized,
)
from marketplace_worker.lifecycle.states import State
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


@dataclass(frozen=True, slots=True)
class Chapter:
    """One fact in the history of an organization, and what it made of it.

    `id` is where to go on reading.  Without a decision, `events` is empty and both states are None;
    otherwise `decided_by` is the version of the policy that was applied to the organization.
    `readings`: `login_at` and `request_at`, where the decision could look them up.  Each of
    `events` is as `contract.documents.events_to_json` wrote it.
    """

    id: int
    fact: Fact
    outcome: Outcome
    decided_at: datetime
    policy_version: str
    position: str | None
    state_before: State | None
    state: State | None
    decided_by: str | None
    readings: Mapping[str, Any]
    events: tuple[Mapping[str, Any], ...]


async def known(conn: Connection, identities: Collection[Identity]) -> set[Identity]:
    """Which of these messages were taken before.  Ask under the locks of their subjects."""
    if not identities:
        return set()
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


async def history(
    conn: Connection,
    organization: OrganizationId,
    subscriptions: Collection[SubscriptionKey],
    *,
    after: int = 0,
    limit: int,
) -> Sequence[Chapter]:
    """The facts that concern an organization or one of these subscriptions of its, in the order in
    which they were taken; those after the chapter with the id `after`, at most `limit`.
    """
    keys = sorted(subscriptions)
    marketplaces = [key.marketplace.value for key in keys]
    ids = [key.subscription_id for key in keys]
    rows = await conn.fetch(SQL["history"], organization, marketplaces, ids, after, limit)
    return [_chapter(row) for row in rows]


def _chapter(row: asyncpg.Record) -> Chapter:
    return Chapter(
        id=row["id"],
        fact=fact_from_json(row["fact"]),
        outcome=Outcome(row["outcome"]),
        decided_at=row["decided_at"],
        policy_version=row["policy_version"],
        position=row["position"],
        state_before=_state(row["state_before"]),
        state=_state(row["state"]),
        decided_by=row["decided_by"],
        readings=json.loads(row["readings"] or "{}"),
        events=tuple(json.loads(row["events"] or "[]")),
    )


def _state(value: str | None) -> State | None:
    return None if value is None else State(value)


def _organization(fact: Fact) -> OrganizationId | None:
    match fact:
        case Notified() | Unrecognized() | GuardTripped() | GuardReleased():
            return None
        case _:
            return fact.organization


def _subscription(fact: Fact) -> SubscriptionKey | None:
    match fact:
        case Notified() | SubscriptionLinked():
            return fact.subscription
        case _:
            return None
