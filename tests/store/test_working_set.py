"""The locks: transactions that may concern one organization run one after another.

Each test holds one transaction open, and checks that another one waits for it.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from marketplace_worker.lifecycle.cancellation import Cancellation
from marketplace_worker.lifecycle.facts import (
    Created,
    Fact,
    Notified,
    OwnerChanged,
    SubscriptionLinked,
    SupportRequested,
)
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.inactivity import LastSeen
from marketplace_worker.lifecycle.matching import attached_to
from marketplace_worker.lifecycle.notes import Activated, Note, Pended
from marketplace_worker.lifecycle.organization import Creation, LatestWins, Organization, Proof
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.lifecycle.safeguards import Safeguards, StepCount
from marketplace_worker.lifecycle.scope import scope_of
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.subscription import Link
from marketplace_worker.lifecycle.vocabulary import (
    CompletedBy,
    DeactivationCause,
    EmailHash,
    Identity,
    Marketplace,
    OrganizationId,
    SubscriptionKey,
    SupportRequestKind,
    Tier,
)
from marketplace_worker.store import (
    activity,
    organizations,
    safeguards,
    state_counts,
    subscriptions,
    working_set,
)
from marketplace_worker.store.activity import ActivityCounts
from marketplace_worker.store.database import Connection, Pool, one_moment, transaction
from marketplace_worker.store.working_set import WorkingSet
from store.locks import waits

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ACME, BETA = OrganizationId("acme"), OrganizationId("beta")
OWNER = EmailHash("0" * 64)
FIRST = SubscriptionKey(Marketplace.AWS, "first")
SECOND = SubscriptionKey(Marketplace.AWS, "second")
AZURE = SubscriptionKey(Marketplace.AZURE, "other")

RENEWED = Note(NOW, 0, "renewed", Pended(successor_of=FIRST))


def notified(key: SubscriptionKey, note: Note) -> Notified:
    """A notification."""
    return Notified(Identity("aws", note.id), key, note, "word")


def of_account(key: SubscriptionKey, account: str) -> Notified:
    """A notification with a billing account."""
    return notified(key, Note(NOW, 1, f"{key}", Activated(), billing_account=account))


def linked(key: SubscriptionKey, account: str | None = None) -> SubscriptionLinked:
    """A link of the subscription to acme."""
    return SubscriptionLinked(Identity("/tests", f"link {key}"), NOW, ACME, key, account)


def asked(
    request: SupportRequestKind,
    organization: OrganizationId | None = None,
    email: EmailHash | None = None,
) -> SupportRequested:
    """A request of Support."""
    identity = Identity("/support", f"{request} {organization}")
    return SupportRequested(identity, NOW, organization, request, "somebody", "why", email=email)


def organization(id_: OrganizationId, state: State = State.ACTIVE) -> Organization:
    """An organization of the one owner, closed by Support where it is deactivated."""
    closed = state is State.DEACTIVATED
    canceled = Cancellation(NOW, "story", "default") if state.in_cancellation else None
    return Organization(
        id_,
        creation=Creation(NOW, "c", NOW),
        tier=LatestWins(NOW, "c", Tier.FREE),
        owner=LatestWins(NOW, "c", OWNER),
        state=state,
        entered_at=NOW,
        cancellation=canceled,
        deactivation_cause=DeactivationCause.SUPPORT_REQUEST if closed else None,
        locked_email=OWNER if closed else None,
    )


async def put(pool: Pool, *stored: Organization) -> None:
    """Store organizations."""
    async with transaction(pool) as conn:
        await organizations.lock(conn, [each.id for each in stored])
        await working_set.save(conn, [], stored, {each.id: None for each in stored})


async def lock(pool: Pool, facts: Sequence[Fact]) -> WorkingSet:
    """Lock what these facts may change, and release it at once."""
    async with transaction(pool) as conn:
        return await working_set.lock_for(conn, scope_of(facts))


@pytest.mark.parametrize(
    ("mine", "others"),
    [
        pytest.param([linked(FIRST)], [linked(AZURE)], id="the same organization"),
        pytest.param(
            [notified(FIRST, Note(NOW, 1, "a", Activated()))],
            [notified(FIRST, Note(NOW, 1, "b", Activated()))],
            id="the same subscription, of nobody",
        ),
        pytest.param(
            [notified(AZURE, Note(NOW, 1, "a", Activated()))],
            [notified(SECOND, Note(NOW, 1, "b", Activated()))],
            id="two subscriptions of one organization",
        ),
    ],
)
async def test_who_may_concern_the_same_organization_waits(
    pool: Pool, mine: Sequence[Fact], others: Sequence[Fact]
) -> None:
    """All rows exist, so the transaction waits for their locks."""
    await _acme_has(pool, SECOND, AZURE)
    await lock(pool, [*mine, *others])

    async with transaction(pool) as conn:
        await working_set.lock_for(conn, scope_of(mine))
        other = asyncio.create_task(lock(pool, others))
        assert await waits(pool, other)
    await other


async def test_a_successor_and_the_link_of_its_unknown_predecessor_meet(pool: Pool) -> None:
    """
    The first is unknown yet.  Whoever links it must see that the second continues it, or
    the second would be nobody's until its next news.
    """
    async with transaction(pool) as conn:
        await working_set.lock_for(conn, scope_of([notified(SECOND, RENEWED)]))
        await _save_renewal(conn)
        other = asyncio.create_task(lock(pool, [linked(FIRST)]))
        assert await waits(pool, other)

    assert SECOND in (await other).fleet.subscriptions


async def test_a_family_that_grew_while_its_lock_was_waited_for_is_seen_whole(pool: Pool) -> None:
    """What was found before the wait is old: it is looked for again until nothing is new."""
    await lock(pool, [notified(FIRST, Note(NOW, 1, "a", Activated()))])

    async with transaction(pool) as conn:
        await working_set.lock_for(conn, scope_of([notified(SECOND, RENEWED)]))
        await _save_renewal(conn)
        other = asyncio.create_task(lock(pool, [linked(FIRST)]))
        assert await waits(pool, other)

    assert SECOND in (await other).fleet.subscriptions


@pytest.mark.parametrize("locked_before", [False, True])
async def test_two_concurrent_halves_of_a_match_wait_for_each_other(
    pool: Pool, *, locked_before: bool
) -> None:
    """
    They name two subscriptions of which nothing is known but, now, that one customer pays for both:
    no row is common to them but the account's own, which may be there or begin now.  The second
    waits, and sees what was reported of the first.
    """
    fact = of_account(FIRST, "customer")
    if locked_before:
        await lock(pool, [fact])
    async with transaction(pool) as conn:
        loaded = await working_set.lock_for(conn, scope_of([fact]))
        await subscriptions.save(conn, [loaded.fleet.subscription(FIRST).with_note(fact.note)])
        other = asyncio.create_task(lock(pool, [linked(SECOND, "customer")]))
        assert await waits(pool, other)

    assert FIRST in (await other).fleet.subscriptions


async def test_nobody_waits_for_others_of_an_account_that_is_crowded(pool: Pool) -> None:
    """Otherwise all workers would ingest a reseller's customers one after the other."""
    mine, others = of_account(FIRST, "a reseller"), of_account(SECOND, "a reseller")
    async with transaction(pool) as conn:
        await working_set.lock_for(conn, scope_of([mine, others]))
        await subscriptions.record_crowded(conn, {(Marketplace.AWS, "a reseller")})

    async with transaction(pool) as conn, asyncio.timeout(30):
        await working_set.lock_for(conn, scope_of([mine]))
        await lock(pool, [others])


async def test_a_batch_may_contain_more_accounts_than_the_server_has_other_locks(
    pool: Pool,
) -> None:
    """
    A notification may hold ten thousand records.  All clients of a server share room for some
    thousand locks that are not of rows: a batch that wants more would never be taken in.
    """
    await lock(pool, [of_account(FIRST, f"customer {number}") for number in range(40_000)])


async def test_who_shares_a_billing_account_with_a_subscription_is_locked_with_it(
    pool: Pool,
) -> None:
    """Acme may be the match of what nobody linked.  An account is one marketplace's own."""
    mine, same_name = of_account(FIRST, "customer"), of_account(AZURE, "customer")
    async with transaction(pool) as conn:
        loaded = await working_set.lock_for(conn, scope_of([linked(FIRST), linked(AZURE)]))
        first, azure = loaded.fleet.subscription(FIRST), loaded.fleet.subscription(AZURE)
        links = Link(NOW, "l", ACME), Link(NOW, "l", BETA)
        await subscriptions.save(
            conn,
            [
                first.with_note(mine.note).with_link(links[0]),
                azure.with_note(same_name.note).with_link(links[1]),
            ],
        )

    loaded = await lock(pool, [of_account(SECOND, "customer")])

    assert loaded.locked == {ACME}
    assert loaded.fleet.subscriptions.keys() == {FIRST, SECOND}


async def test_a_plan_that_a_proof_linked_leads_to_its_organization(pool: Pool) -> None:
    """No sign-up linked it, but its end concerns the organization."""
    canceled = organization(ACME, State.CANCELED)
    await put(pool, canceled.with_proofs(Proof(FIRST, NOW, CompletedBy.SIGN_IN)))

    assert (await lock(pool, [of_account(FIRST, "customer")])).locked == {ACME}


async def test_of_who_is_decided_on_nothing_more_is_counted(pool: Pool) -> None:
    """Any news may make an organization watch its activity: a login must not slip by meanwhile."""
    async with transaction(pool) as conn:
        loaded = await working_set.lock_for(conn, scope_of([linked(FIRST)]))
        other = asyncio.create_task(_count_login(pool))
        assert await waits(pool, other)
    await other

    assert loaded.fleet.seen == {ACME: LastSeen()}


async def _count_login(pool: Pool) -> None:
    async with transaction(pool) as conn:
        login = ActivityCounts(ACME)
        login.add_login(NOW)
        await activity.count(conn, [login])


@pytest.mark.parametrize(
    "facts",
    [
        pytest.param([asked(SupportRequestKind.UNLOCK_EMAIL, email=OWNER)], id="unlocking"),
        pytest.param(
            [Created(Identity("/tests", "c"), NOW, OrganizationId("new"), Tier.FREE, OWNER)],
            id="a new organization",
        ),
        pytest.param(
            [
                OwnerChanged(Identity("/tests", "o"), NOW, OrganizationId("new"), OWNER),
                asked(SupportRequestKind.REACTIVATE_ORGANIZATION, OrganizationId("new")),
            ],
            id="reactivating who has just got this owner",
        ),
    ],
)
async def test_who_locked_an_email_is_locked_with_what_may_meet_the_lock(
    pool: Pool, facts: Sequence[Fact]
) -> None:
    """Its events continue its own sequence, so its row must be locked."""
    await put(pool, organization(ACME, State.DEACTIVATED))

    loaded = await lock(pool, facts)

    assert ACME in loaded.locked
    assert loaded.fleet.locking(OWNER) == [organization(ACME, State.DEACTIVATED)]


async def test_two_reactivations_of_one_owner_wait_for_one_another(pool: Pool) -> None:
    """Each must see whether the other was reactivated: only one may have the email."""
    await put(pool, *(organization(id_, State.DEACTIVATED) for id_ in (ACME, BETA)))

    async with transaction(pool) as conn:
        mine = asked(SupportRequestKind.REACTIVATE_ORGANIZATION, BETA)
        await working_set.lock_for(conn, scope_of([mine]))
        others = asked(SupportRequestKind.REACTIVATE_ORGANIZATION, ACME)
        other = asyncio.create_task(lock(pool, [others]))
        assert await waits(pool, other)
    assert (await other).locked == {ACME, BETA}


@pytest.mark.parametrize(
    ("claimed", "locked"),
    [
        pytest.param(organization(ACME, State.CONTROL_PLANE_LOSS), True, id="suspended next"),
        pytest.param(organization(ACME, State.SUSPENDED), True, id="deactivated next"),
        pytest.param(organization(ACME, State.CANCELED), True, id="loses its control plane next"),
        pytest.param(organization(ACME), False, id="without a notice"),
    ],
)
async def test_the_safeguards_are_locked_only_where_a_step_may_come_next(
    pool: Pool, claimed: Organization, *, locked: bool
) -> None:
    """Their holder blocks the steps of all other workers: facts must not wait for them."""
    async with transaction(pool) as conn:
        loaded = await working_set.load_due(conn, [claimed], Policy(), now=NOW)

    assert loaded.safeguards_locked is locked


async def test_the_fleet_is_counted_only_where_the_limit_may_be_reached(pool: Pool) -> None:
    """Below the policy's minimum its size cannot matter; beyond, all workers' steps count."""
    stored = [organization(OrganizationId(f"org-{n}"), State.SUSPENDED) for n in range(60)]
    await put(pool, *stored, organization(BETA, State.DEACTIVATED))

    async with transaction(pool) as conn:
        few = await working_set.load_due(conn, stored[:20], Policy(), now=NOW)
        await safeguards.save(conn, Safeguards(recent=(StepCount(NOW, 31),)))
        many = await working_set.load_due(conn, stored[:20], Policy(), now=NOW)
        await safeguards.save(conn, Safeguards(control_plane=(StepCount(NOW, 31),)))
        losses = [organization(OrganizationId(f"loss-{n}"), State.CANCELED) for n in range(20)]
        apart = await working_set.load_due(conn, stored[:20], Policy(), now=NOW)
        many_losses = await working_set.load_due(conn, losses, Policy(), now=NOW)

    assert few.fleet.population == 20
    assert many.fleet.population == 60
    assert apart.fleet.population == 20
    assert many_losses.fleet.population == 60


@pytest.mark.parametrize(
    ("request_kind", "locked"),
    [
        (SupportRequestKind.DEACTIVATE_ORGANIZATION, True),
        (SupportRequestKind.UNLOCK_EMAIL, True),
        (SupportRequestKind.PLACE_HOLD, False),
        (SupportRequestKind.REINSTATE_ORGANIZATION, False),
    ],
)
async def test_of_requests_only_what_the_guard_counts_locks_the_safeguards(
    pool: Pool, request_kind: SupportRequestKind, *, locked: bool
) -> None:
    """And an unlock, which may be answered by the worker itself."""
    loaded = await lock(pool, [asked(request_kind, ACME)])

    assert loaded.safeguards_locked is locked


async def test_inspection_loads_without_a_lock(pool: Pool) -> None:
    """A command may read while a worker decides."""
    await _acme_has(pool, FIRST)
    await put(pool, organization(ACME))
    async with transaction(pool) as conn:
        await state_counts.append(conn, {State.ACTIVE: 1, State.DEACTIVATED: 1}, day=NOW.date())
    async with transaction(pool) as conn:
        await working_set.lock_for(conn, scope_of([linked(FIRST)]))

        async with one_moment(pool) as looking:
            fleet = await working_set.read(
                looking, [ACME, OrganizationId("nobody")], Policy(), now=NOW
            )

    assert fleet.organizations.keys() == {ACME}
    assert [each.key for each in attached_to(fleet, ACME)] == [FIRST]
    assert fleet.population == 1


async def _acme_has(pool: Pool, *keys: SubscriptionKey) -> None:
    async with transaction(pool) as conn:
        loaded = await working_set.lock_for(conn, scope_of([linked(key) for key in keys]))
        await subscriptions.save(
            conn, [loaded.fleet.subscription(key).with_link(Link(NOW, "l", ACME)) for key in keys]
        )


async def _save_renewal(conn: Connection) -> None:
    fleet = Fleet()
    await subscriptions.save(conn, [fleet.subscription(SECOND).with_note(RENEWED)])
