"""Loads what the facts of one batch may concern, under lock, and writes back what was decided."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from marketplace_worker.lifecycle.facts import (
    CommitmentLinked,
    Created,
    DeadlineCame,
    Fact,
    Notified,
    OwnerChanged,
    SubscriptionLinked,
    SupportRequested,
    TierChanged,
    Unrecognized,
)
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.notes import Pended
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.plans import Subscription
from marketplace_worker.lifecycle.vocabulary import OrganizationId, SubscriptionKey
from marketplace_worker.store import organizations, subscriptions
from marketplace_worker.store.database import Connection


@dataclass(frozen=True, slots=True)
class Subjects:
    """What a batch of facts names."""

    subscriptions: frozenset[SubscriptionKey]
    organizations: frozenset[OrganizationId]


def subjects_of(facts: Collection[Fact]) -> Subjects:
    """Every subscription and organization that these facts name, predecessors included."""
    keys: set[SubscriptionKey] = set()
    ids: set[OrganizationId] = set()
    for fact in facts:
        match fact:
            case Notified(subscription=key, note=note):
                keys.add(key)
                if isinstance(note.change, Pended) and note.change.successor_of is not None:
                    keys.add(note.change.successor_of)
            case SubscriptionLinked(subscription=key, organization=organization):
                keys.add(key)
                ids.add(organization)
            case (
                Created(organization=organization)
                | TierChanged(organization=organization)
                | OwnerChanged(organization=organization)
                | CommitmentLinked(organization=organization)
                | DeadlineCame(organization=organization)
            ):
                ids.add(organization)
            case SupportRequested() | Unrecognized():
                pass
    return Subjects(frozenset(keys), frozenset(ids))


async def lock(conn: Connection, subjects: Subjects) -> Fleet:
    """Lock what a batch may change, and load all that its decisions look up.

    Changed may be: the subscriptions named and, through them and their families, the organizations
    that hold them; and the organizations named.  Every other subscription of these organizations is
    read without a lock: to change it, one needs the organization's.
    """
    fleet = Fleet()
    ids = set(subjects.organizations)
    if subjects.subscriptions:
        families = await subscriptions.lock_families(conn, subjects.subscriptions)
        fleet.put(*families)
        ids |= await subscriptions.holders(conn, [each.key for each in families])
    if ids:
        fleet.put(*await organizations.lock(conn, ids))
        await load_plans(conn, fleet)
    return fleet


async def load_plans(conn: Connection, fleet: Fleet) -> None:
    """Add the subscriptions of the fleet's organizations, with their families."""
    keys = await subscriptions.linked_to(conn, fleet.organizations.keys())
    missing = keys - fleet.subscriptions.keys()
    if missing:
        read = await subscriptions.read_families(conn, missing)
        fleet.put(*(each for each in read if each.key not in fleet.subscriptions))


async def save(
    conn: Connection,
    changed_subscriptions: Collection[Subscription],
    changed_organizations: Collection[Organization],
    due_at: Mapping[OrganizationId, datetime | None],
) -> None:
    """Write what was decided; all of it was locked by this transaction."""
    if changed_subscriptions:
        await subscriptions.save(conn, changed_subscriptions)
    if changed_organizations:
        await organizations.save(conn, changed_organizations, due_at)
