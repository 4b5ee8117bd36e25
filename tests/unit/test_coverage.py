"""When an organization has an active plan, and which end was the last (lifecycle.md section 2)."""

from dataclasses import replace

import pytest
from world import (
    ACME,
    AGREEMENT,
    BETA,
    DAY,
    DAY_0,
    ENTITLEMENT,
    RENEWED,
    SAAS,
    World,
    commitment,
    created,
    link,
    note,
    notified,
)

from marketplace_worker.lifecycle.coverage.attachments import usage_closed_at
from marketplace_worker.lifecycle.coverage.combined import Coverage
from marketplace_worker.lifecycle.coverage.intervals import Moment
from marketplace_worker.lifecycle.facts import Fact
from marketplace_worker.lifecycle.notes import (
    Activated,
    Ended,
    Pended,
    Resumed,
    Superseded,
    Suspended,
    Unsubscribed,
)
from marketplace_worker.lifecycle.organization import Proof
from marketplace_worker.lifecycle.organization_view import OrganizationView
from marketplace_worker.lifecycle.snapshot import snapshot
from marketplace_worker.lifecycle.vocabulary import (
    CompletedBy,
    Initiator,
    Marketplace,
    PlanEndReason,
    PlanType,
    StateReason,
    SubscriptionKey,
)

ENDED = Ended(PlanEndReason.CUSTOMER, Initiator.CUSTOMER, terminal=True)
PAYG, COMMIT = PlanType.PAYG, PlanType.COMMIT
LONG_AFTER = DAY_0 + 5_000 * DAY


def world_of(*facts: Fact) -> World:
    """A world after these facts, which arrived together, long after they happened."""
    world = World()
    for fact in (created(), created("created-beta", BETA), *facts):
        world.apply(fact, LONG_AFTER)
    return world


def covered(*facts: Fact) -> Coverage:
    """The plans of acme."""
    return world_of(*facts).covered(ACME, LONG_AFTER)


def last_end(coverage: Coverage, day: float) -> tuple[float, PlanType | None, PlanEndReason] | None:
    """The end, type and reason of the last plan that has ended on a day."""
    interval = coverage.last_end(DAY_0 + day * DAY)
    return (
        None
        if interval is None
        else ((interval.ends_at - DAY_0) / DAY, interval.plan_type, interval.reason)
    )


def test_a_plan_counts_in_a_half_open_interval() -> None:
    """At the moment of its end it does not count."""
    plans = covered(commitment(10, 20, linked=1))
    instant = DAY_0.resolution
    moments = [DAY_0 + 10 * DAY - instant, DAY_0 + 10 * DAY, DAY_0 + 20 * DAY - instant]
    moments.append(DAY_0 + 20 * DAY)
    assert [plans.active(Moment(at)) for at in moments] == [
        False,
        True,
        True,
        False,
    ]


def test_the_latest_end_is_the_last_one() -> None:
    """Whichever was linked or arrived first."""
    plans = covered(
        link(ENTITLEMENT, plan_type=PAYG),
        link(SAAS, plan_type=COMMIT),
        notified(SAAS, note(9, Suspended())),
        notified(ENTITLEMENT, note(12, ENDED)),
    )
    assert last_end(plans, 12) == (12, PAYG, PlanEndReason.CUSTOMER)


@pytest.mark.parametrize(
    ("one", "other", "chosen"),
    [(PAYG, COMMIT, COMMIT), (COMMIT, None, None), (PAYG, None, None)],
)
def test_of_two_ends_at_one_instant_the_longer_timeline_counts(
    one: PlanType | None, other: PlanType | None, chosen: PlanType | None
) -> None:
    """The customer gets the more lenient one."""
    for first, second in ((one, other), (other, one)):
        plans = covered(
            link(ENTITLEMENT, plan_type=first),
            link(AGREEMENT, plan_type=second),
            notified(ENTITLEMENT, note(9, ENDED)),
            notified(AGREEMENT, note(9, ENDED)),
        )
        assert last_end(plans, 9) == (9, chosen, PlanEndReason.CUSTOMER)


def test_a_plan_that_has_not_begun_is_no_plan_that_ended() -> None:
    """An organization that never had a plan is not canceled."""
    plans = covered(commitment(10, 20))
    assert last_end(plans, 9) is None
    assert last_end(plans, 10) == (20, COMMIT, PlanEndReason.COMMIT_EXPIRED)


@pytest.mark.parametrize(
    ("linked", "starts"), [(0, 30), (5, 5), (9.5, 9.5), (10, 30), (15, 30), (35, 30)]
)
def test_a_commitment_counts_from_its_link_where_a_plan_was_active_then(
    linked: float, starts: float
) -> None:
    """Section 2; here a Google plan is active from day 5 up to day 10."""
    plans = covered(
        link(ENTITLEMENT, day=6),
        notified(ENTITLEMENT, note(5, Activated())),
        notified(ENTITLEMENT, note(10, ENDED)),
        commitment(30, 60, linked=linked),
    )
    (interval,) = [interval for interval in plans.intervals if interval.plan == "commitment:c-1"]
    assert interval.starts_at == DAY_0 + starts * DAY


def test_commitments_hand_over_to_one_another_in_any_order_of_their_names() -> None:
    """Each one's early beginning rests on the one before; the first on nothing but itself."""
    plans = covered(
        commitment(90, 120, linked=65, name="a"),
        commitment(60, 70, linked=25, name="b"),
        commitment(0, 30, linked=0, name="c"),
    )
    assert all(plans.active(Moment(DAY_0 + day * DAY)) for day in range(120))


def test_commitments_do_not_lift_each_other_out_of_nothing() -> None:
    """Both were linked while nothing was active: neither begins early."""
    plans = covered(commitment(60, 90, linked=5), commitment(50, 90, linked=6, name="c-2"))
    assert not plans.active(Moment(DAY_0 + 49 * DAY))


def test_the_newest_report_of_a_commitment_counts() -> None:
    """By its own time; one that is reported again is still the same plan."""
    plans = covered(commitment(0, 30, linked=5, id_="new"), commitment(0, 90, linked=1, id_="old"))
    assert last_end(plans, 40) == (30, COMMIT, PlanEndReason.COMMIT_EXPIRED)


@pytest.mark.parametrize(
    ("begins", "continued"), [(None, 17), (12, 12), (16.5, 16.5), (17, 17), (30, 17), (4, 10)]
)
def test_a_superseded_plan_counts_until_its_successor_does(
    begins: float | None, continued: float
) -> None:
    """For up to 7 days; a successor that began earlier has taken over already."""
    facts: list[Fact] = [link(AGREEMENT), notified(AGREEMENT, note(10, Superseded()))]
    if begins is not None:
        facts.append(notified(RENEWED, note(begins, Pended(successor_of=AGREEMENT))))
    (interval,) = [interval for interval in covered(*facts).intervals if interval.plan == "aws:a-1"]
    assert interval.ends_at == DAY_0 + continued * DAY
    assert interval.revives_until == DAY_0 + 10 * DAY


def test_a_moved_plan_ended_at_the_link_for_the_former_organization() -> None:
    """Reason `unknown`; what had ended before the move keeps its own reason and time."""
    moved = link(ENTITLEMENT, 20, BETA)
    assert last_end(covered(link(ENTITLEMENT), moved), 30) == (20, None, PlanEndReason.UNKNOWN)
    ended = notified(ENTITLEMENT, note(15, ENDED))
    assert last_end(covered(link(ENTITLEMENT), moved, ended), 30) == (
        15,
        None,
        PlanEndReason.CUSTOMER,
    )


def test_a_plan_that_comes_back_to_its_first_organization_is_active_there() -> None:
    """The newest link wins."""
    world = world_of(link(ENTITLEMENT), link(ENTITLEMENT, 20, BETA), link(ENTITLEMENT, 25))
    assert world.covered(ACME, LONG_AFTER).active(Moment(DAY_0 + 30 * DAY))
    assert not world.covered(BETA, LONG_AFTER).active(Moment(DAY_0 + 30 * DAY))


def test_the_next_moment_is_a_beginning_or_an_end() -> None:
    """The organization is rechecked then, without a message."""
    plans = covered(commitment(10, 20))
    found = [plans.next_change(Moment(DAY_0 + day * DAY)) for day in (0, 10, 20)]
    assert found == [DAY_0 + 10 * DAY, DAY_0 + 20 * DAY, None]


def test_an_open_plan_has_no_next_moment() -> None:
    """An interval without end has no deadline."""
    assert covered(link(ENTITLEMENT)).next_change(Moment(DAY_0 + DAY)) is None


def test_a_successor_that_never_counted_continues_nothing() -> None:
    """What it continues counts on, for as long as without one."""
    facts = [
        notified(RENEWED, note(3, ENDED)),
        notified(RENEWED, note(4, Pended(successor_of=AGREEMENT))),
        notified(AGREEMENT, note(5, Superseded())),
    ]
    intervals = covered(link(AGREEMENT), *facts).intervals
    assert [c.ends_at for c in intervals if c.subscription == AGREEMENT] == [DAY_0 + 12 * DAY]


def test_the_final_report_is_made_by_who_held_the_subscription_then() -> None:
    """Before any link, by who was linked first."""
    world = world_of(
        notified(AGREEMENT, note(1, Activated())),
        notified(
            AGREEMENT, note(3, Ended(PlanEndReason.UNKNOWN, Initiator.MARKETPLACE, terminal=False))
        ),
        link(AGREEMENT, 5),
        notified(AGREEMENT, note(6, Activated(), id_="again")),
        link(AGREEMENT, 10, BETA),
        notified(AGREEMENT, note(12, ENDED)),
    )
    reports = [
        usage_closed_at(attachment, organization)
        for organization in (ACME, BETA)
        for attachment in world.covered(organization, LONG_AFTER).attachments
    ]
    assert reports == [[DAY_0 + 3 * DAY], [DAY_0 + 12 * DAY]]


def test_a_snapshot_shows_the_plans_that_are_the_organizations_now() -> None:
    """Those that were moved away are another's; a commitment stands beside the subscriptions."""
    world = world_of(
        link(AGREEMENT),
        link(ENTITLEMENT, plan_type=PAYG),
        link(ENTITLEMENT, 20, BETA),
        notified(AGREEMENT, note(9, ENDED)),
        commitment(30, 60),
    )
    acme, now = world.fleet.organization(ACME), DAY_0 + 40 * DAY
    outlook = OrganizationView(acme, world.fleet, world.policies, now)
    made = snapshot(outlook, revision=1, causation_id="x")
    assert [(plan.name, plan.status, plan.active) for plan in made.plans] == [
        ("aws:a-1", "ended", False),
        ("commitment:c-1", "committed", True),
    ]


@pytest.mark.parametrize("by", CompletedBy)
def test_only_supports_word_proves_azures_plan(by: CompletedBy) -> None:
    """Section 4: a sign-in proves nothing of it, whatever was written down as a proof."""
    world = world_of(
        link(SAAS),
        notified(SAAS, note(9, Suspended())),
        notified(SAAS, note(20, Resumed(where="suspended"))),
    )
    world.fleet.put(replace(world.acme(), proofs=(Proof(SAAS, DAY_0 + 25 * DAY, by),)))
    waits = world.covered(ACME, LONG_AFTER).pending(Moment(LONG_AFTER)) is not None
    assert waits is (by is not CompletedBy.SUPPORT)


def test_the_longest_floor_of_all_plans_counts() -> None:
    """Section 3, 4: over all plans; one that wants nothing kept does not lower it."""
    again = SubscriptionKey(Marketplace.AZURE, "s-2")
    plans = covered(
        link(SAAS),
        link(again),
        link(ENTITLEMENT),
        notified(SAAS, note(9, Suspended())),
        notified(again, note(12, Suspended())),
        notified(ENTITLEMENT, note(20, ENDED)),
    )
    assert plans.floor == DAY_0 + 42 * DAY


@pytest.mark.parametrize("end_last", [True, False])
def test_the_end_of_a_plan_before_it_moved_follows_old_news_in_any_order(end_last: bool) -> None:
    """Invariant 7: Azure's plan never counted for beta, so nothing of it waits for Support."""
    world = world_of(
        notified(SAAS, note(9, Unsubscribed(by_partner=False), rank=5)), link(SAAS, 9.5, BETA)
    )
    late: list[Fact] = [link(SAAS, 8), notified(SAAS, note(9, Suspended(), rank=3))]
    for fact in late if end_last else reversed(late):
        world.apply(fact, LONG_AFTER)
    beta = world.fleet.organization(BETA)
    assert beta.cancellation is not None
    assert beta.cancellation.canceled_at == DAY_0 + 9.5 * DAY
    assert beta.reason is StateReason.NON_PAYMENT
