"""Erases all that is personal of an organization that is closed (docs/personal-data.md)."""

from collections.abc import Collection
from dataclasses import replace

from marketplace_worker.errors import Unavailable
from marketplace_worker.lifecycle.decide import Outcome
from marketplace_worker.lifecycle.facts import Erased
from marketplace_worker.lifecycle.families import ReplayGroup
from marketplace_worker.lifecycle.scope import BatchScope
from marketplace_worker.lifecycle.subscription import Subscription
from marketplace_worker.lifecycle.vocabulary import SubscriptionKey
from marketplace_worker.runtime.unit_of_work import UnitOfWork
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.store import journal, replay, subscriptions, working_set
from marketplace_worker.store.database import Connection, transaction
from marketplace_worker.store.working_set import WorkingSet

ATTEMPTS_MAX = 5
"""How often to lock again because the data of the organization grew meanwhile."""


async def erase(fact: Erased, worker: Worker) -> Outcome:
    """Decide on the erasure and erase, in one transaction; refused if the organization is not
    deactivated.

    It may be repeated, for later messages: of those only dead letters, and data of earlier
    versions, remain to be erased.

    The organization's replay group can be folded afterwards: its rows are empty.

    Raises:
        Unavailable: Postgres is away, or another transaction locked in another order; nothing was
            erased, and the same fact may be passed again.
    """
    for _ in range(ATTEMPTS_MAX):
        async with transaction(worker.pool) as conn:
            group = await replay.group_of(conn, [fact.organization])
            loaded = await working_set.lock_for(
                conn,
                BatchScope(set(group.subscriptions), {*group.organizations, fact.organization}),
            )
            if group != await replay.group_of(conn, [fact.organization]):
                continue
            unit, outcome = await _erase(conn, fact, loaded, group, worker)
        unit.report()
        return outcome
    raise Unavailable(f"what belongs to {fact.organization} grows faster than it is locked")


async def _erase(
    conn: Connection, fact: Erased, loaded: WorkingSet, group: ReplayGroup, worker: Worker
) -> tuple[UnitOfWork, Outcome]:
    unit = await UnitOfWork.begin(conn, loaded, worker)
    decision = await unit.decide(fact, position="operator")
    await unit.write(conn, worker.topics)
    if decision.outcome is not Outcome.REFUSED:
        own = await replay.own(conn, fact.organization)
        await _forget_accounts(conn, loaded, own)
        fleet = loaded.fleet
        await replay.save_checkpoints(
            conn,
            [
                *(fleet.organization(each) for each in group.organizations),
                *(fleet.subscription(each) for each in group.subscriptions),
            ],
            await journal.heads(conn, replay.chains_of(group)),
            journal_id=await replay.last_row(conn),
            decided_at=unit.now,
        )
        await replay.erase(conn, fact.organization, own)
    return unit, decision.outcome


async def _forget_accounts(
    conn: Connection, loaded: WorkingSet, own: Collection[SubscriptionKey]
) -> None:
    """Its subscriptions stay without an owner; the customer's billing accounts are removed."""
    emptied = [_without_accounts(loaded.fleet.subscription(each)) for each in own]
    loaded.fleet.put(*emptied)
    if emptied:
        await subscriptions.save(conn, emptied)


def _without_accounts(subscription: Subscription) -> Subscription:
    return replace(
        subscription,
        notes=tuple(replace(note, billing_account=None) for note in subscription.notes),
        links=tuple(replace(link, billing_account=None) for link in subscription.links),
    )
