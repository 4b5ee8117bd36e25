"""Whose a subscription is: links, moves and successors (lifecycle.md sections 2, 11)."""

from world import (
    ACCOUNT,
    ACME,
    AGREEMENT,
    BETA,
    BOUGHT_AGAIN,
    DAY,
    DAY_0,
    ENTITLEMENT,
    FAR,
    RENEWED,
    World,
    asked,
    created,
    link,
    moment,
    note,
    notified,
)

from marketplace_worker.lifecycle.matching import (
    attached_to,
    concerned,
    ever_matching,
    plans_accounts,
)
from marketplace_worker.lifecycle.notes import Activated, Ended, Pended, Unchanged
from marketplace_worker.lifecycle.ownership import links_of
from marketplace_worker.lifecycle.projection import SubscriptionStatus, fold
from marketplace_worker.lifecycle.subscription import Link, Subscription
from marketplace_worker.lifecycle.vocabulary import (
    Initiator,
    Marketplace,
    OrganizationId,
    PlanEndReason,
    PlanType,
    SubscriptionKey,
    SupportRequestKind,
)

GAMMA = OrganizationId("gamma")
ENDED = Ended(PlanEndReason.CUSTOMER, Initiator.CUSTOMER, terminal=True)
BOUGHT = notified(RENEWED, note(10, Pended(successor_of=AGREEMENT)))


def links(world: World, key: SubscriptionKey = RENEWED) -> list[tuple[str, int]]:
    """The links in force of a subscription: whose, and since which day."""
    found = links_of(world.fleet, world.fleet.subscription(key))
    return [(link.organization, (link.occurred_at - DAY_0).days) for link in found]


def world_of(*facts: object) -> World:
    """A world to which these facts were applied at once."""
    world = World()
    for fact in (created(), created("created-beta", BETA), *facts):
        world.apply(fact, DAY_0 + 100 * DAY)  # type: ignore[arg-type]
    return world


# --- a link and the register ----------------------------------------------------------------------


def linked(day: float, *notes: object) -> SubscriptionStatus | None:
    """The status of a subscription that was linked on a day and notified about on others."""
    register = Subscription(AGREEMENT, tuple(notes))  # type: ignore[arg-type]
    return fold(register, (Link(DAY_0 + day * DAY, "l", ACME),)).status


def test_a_linked_subscription_without_any_notification_counts_as_active() -> None:
    """The vendor's sign-up accepted it: that is word enough."""
    assert linked(5) is SubscriptionStatus.ACTIVE
    assert linked(5, note(3, Unchanged(), plan_type=PlanType.PAYG)) is SubscriptionStatus.ACTIVE


def test_a_linked_subscription_that_is_pending_counts_as_active() -> None:
    """AWS reports a Created first and often nothing more."""
    assert linked(5, note(3, Pended())) is SubscriptionStatus.ACTIVE
    assert linked(5, note(5, Pended())) is SubscriptionStatus.ACTIVE
    assert linked(5, note(8, Pended())) is SubscriptionStatus.ACTIVE


def test_a_link_never_revives_an_end() -> None:
    """It is no part of the fold."""
    assert linked(5, note(3, Activated()), note(4, ENDED)) is SubscriptionStatus.ENDED


def test_a_pending_subscription_counts_since_its_link() -> None:
    """Not since its purchase, when nobody had accepted it yet."""
    register = Subscription(AGREEMENT, (note(3, Pended()),))
    (span,) = fold(register, (Link(DAY_0 + 5 * DAY, "l", ACME),)).spans
    assert span.starts_at == DAY_0 + 5 * DAY


def test_the_plan_type_of_the_link_wins() -> None:
    """The vendor knows what was sold; of several links the newest that reports it."""
    register = Subscription(AGREEMENT, (note(9, Activated(), plan_type=PlanType.COMMIT),))
    plan_types = [None, PlanType.COMMIT, PlanType.PAYG, None]
    found = tuple(Link(DAY_0 + n * DAY, "l", ACME, plan) for n, plan in enumerate(plan_types))
    assert fold(register, found).plan_type is PlanType.PAYG


def test_links_stand_in_their_own_order() -> None:
    """The newest wins, by time and then by id, whatever came first."""
    first, second, third = (
        Link(DAY_0 + day * DAY, id_, ACME) for day, id_ in ((1, "z"), (2, "a"), (2, "b"))
    )
    register = Subscription(AGREEMENT)
    for each in (third, first, second, first):
        register = register.with_link(each)
    assert register.links == (first, second, third)


# --- successors -----------------------------------------------------------------------------------


def test_a_successor_is_its_predecessors_organizations_from_its_purchase_on() -> None:
    """Not from before it was bought."""
    assert links(world_of(link(AGREEMENT), BOUGHT)) == [("acme", 10)]


def test_a_successor_of_what_is_linked_later_is_linked_later() -> None:
    """There was nothing to inherit before."""
    assert links(world_of(BOUGHT, link(AGREEMENT, day=15))) == [("acme", 15)]


def test_a_successor_goes_on_with_whoever_holds_the_old_one() -> None:
    """Of the links before its purchase only the newest is inherited, and all that follow."""
    world = world_of(link(AGREEMENT), link(AGREEMENT, 5, BETA), BOUGHT, link(AGREEMENT, 20, GAMMA))
    assert links(world) == [("beta", 10), ("gamma", 20)]


def test_an_explicit_link_of_the_successor_ends_what_it_inherits() -> None:
    """What was said of it itself counts from then on."""
    world = world_of(link(AGREEMENT), BOUGHT, link(RENEWED, 15, BETA), link(AGREEMENT, 20, GAMMA))
    assert links(world) == [("acme", 10), ("beta", 15)]


def test_an_explicit_link_before_the_purchase_leaves_nothing_to_inherit() -> None:
    """The sign-up may be faster than the marketplace."""
    world = world_of(link(AGREEMENT), BOUGHT, link(RENEWED, 9, BETA))
    assert links(world) == [("beta", 9)]


def test_a_chain_of_successors_inherits_to_the_end() -> None:
    """Renewed every year, linked once."""
    third = SubscriptionKey(AGREEMENT.marketplace, "a-3")
    again = notified(third, note(20, Pended(successor_of=RENEWED)))
    world = world_of(link(AGREEMENT), again, BOUGHT)
    assert links(world, third) == [("acme", 20)]
    assert {each.key for each in attached_to(world.fleet, ACME)} == {AGREEMENT, RENEWED, third}


def test_subscriptions_that_continue_each_other_change_nothing() -> None:
    """Nonsense from outside must not hang us."""
    back = notified(AGREEMENT, note(10, Pended(successor_of=RENEWED)))
    world = world_of(BOUGHT, back, link(AGREEMENT))
    assert ("acme", 10) in links(world)


def test_a_subscription_that_continues_itself_has_no_predecessor() -> None:
    """Nonsense from outside must not hang us."""
    world = world_of(link(AGREEMENT), notified(AGREEMENT, note(3, Pended(successor_of=AGREEMENT))))
    assert world.fleet.subscription(AGREEMENT).predecessor is None


def test_news_of_a_successor_concerns_the_organization_of_the_old_one() -> None:
    """Its beginning says when the superseded plan has been continued."""
    world = world_of(link(AGREEMENT), BOUGHT, link(RENEWED, 9, BETA))
    assert concerned(world.fleet, RENEWED, FAR) == {ACME, BETA}


def test_news_of_a_former_plan_concerns_both_organizations() -> None:
    """The former may still have to follow old news."""
    world = world_of(link(ENTITLEMENT), link(ENTITLEMENT, 5, BETA))
    assert concerned(world.fleet, ENTITLEMENT, FAR) == {ACME, BETA}


# --- billing accounts -----------------------------------------------------------------------------


def matched(*facts: object, day: float = 50) -> list[SubscriptionKey]:
    """What matches acme on a day: its own plan has the account."""
    world = world_of(link(ENTITLEMENT, account=ACCOUNT), *facts)
    accounts = plans_accounts(world.fleet, attached_to(world.fleet, ACME))
    return [
        each.key
        for each, (since, until) in ever_matching(world.fleet, ACME, accounts)
        if since <= moment(day) < until
    ]


BOUGHT_THERE = notified(BOUGHT_AGAIN, note(10, Activated(), billing_account=ACCOUNT))


def test_what_has_the_account_of_one_organization_and_no_link_matches_it() -> None:
    """Section 4; its own plans are linked."""
    assert matched(BOUGHT_THERE) == [BOUGHT_AGAIN]
    elsewhere = notified(BOUGHT_AGAIN, note(10, Activated(), billing_account="another"))
    assert matched(elsewhere) == []


def test_what_was_linked_matches_nobody() -> None:
    """Also where the deactivation of who it was linked to has taken it."""
    away = asked(SupportRequestKind.DEACTIVATE_ORGANIZATION, 100, BETA)
    assert matched(BOUGHT_THERE, link(BOUGHT_AGAIN, 12, BETA)) == []
    assert matched(BOUGHT_THERE, link(BOUGHT_AGAIN, 12, BETA), away, day=200) == []
    assert matched(BOUGHT_THERE, link(BOUGHT_AGAIN, 60)) == [BOUGHT_AGAIN]


def test_an_account_of_several_matches_nobody() -> None:
    """Until but one of them is left, or has it: as of the moment that is asked about."""
    third = link(AGREEMENT, 20, BETA, account=ACCOUNT)
    assert matched(BOUGHT_THERE, third) == [BOUGHT_AGAIN], "the account of another marketplace"
    also = link(SubscriptionKey(Marketplace.GCP, "e-3"), 20, BETA, account=ACCOUNT)
    assert matched(BOUGHT_THERE, also) == []
    assert BOUGHT_AGAIN in matched(BOUGHT_THERE, also, day=19)
    away = asked(SupportRequestKind.DEACTIVATE_ORGANIZATION, 100, BETA)
    assert matched(BOUGHT_THERE, also, away, day=200) == [BOUGHT_AGAIN]


def test_a_preview_of_a_change_leaves_the_fleet_as_it_is() -> None:
    """Only the view shows it."""
    world = world_of(link(ENTITLEMENT))
    before = world.fleet.subscription(ENTITLEMENT)
    changed = before.with_link(Link(DAY_0 + 9 * DAY, "l", BETA))
    view = world.fleet.view()
    view.put(changed)
    assert view.subscription(ENTITLEMENT) == changed
    assert [each.key for each in attached_to(view, BETA)] == [ENTITLEMENT]
    assert world.fleet.subscription(ENTITLEMENT) == before
    assert attached_to(world.fleet, BETA) == []
