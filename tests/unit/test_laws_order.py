"""Order of arrival, duplicates and repetition do not matter (lifecycle.md section 10, 6 to 8)."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import OTHER_OWNER, TODAY, facts, tales, worlds
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
    HOUR,
    Shown,
    World,
    asked,
    commitment,
    created,
    link,
    note,
    notified,
    signed_in,
)

from examples import examples
from marketplace_worker.lifecycle.decide import apply
from marketplace_worker.lifecycle.events import MeteringDetails
from marketplace_worker.lifecycle.facts import Fact
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.notes import Activated, Change, Ended, Ending
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.ownership import projection_of
from marketplace_worker.lifecycle.policy import (
    AzureReinstatement,
    Policies,
    Policy,
    Reinstatement,
)
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.subscription import Subscription
from marketplace_worker.lifecycle.vocabulary import (
    Initiator,
    Marketplace,
    PlanEndReason,
    SubscriptionKey,
    SupportRequestKind,
)

ARRIVAL = DAY_0 + 41 * DAY + timedelta(minutes=30)
"""After all that is drawn, and between two full hours, where the drawn deadlines lie."""

AUTOMATIC = Policies(Policy(reinstatement=Reinstatement(azure=AzureReinstatement.AUTOMATIC)))
"""Nothing waits for Support, so nothing may depend on when a cancellation was decided."""


def applied_within_a_minute(in_order: Sequence[Fact], policies: Policies) -> World:
    """Apply facts one after the other between two deadlines, then all deadlines."""
    world = World(policies)
    for number, fact in enumerate(in_order):
        world.apply(fact, ARRIVAL + number * timedelta(seconds=1))
    world.wait(FAR)
    return world


def final(world: World) -> object:
    """The values that must not depend on the order: the states and all registers."""
    states = {id_: state(each) for id_, each in world.fleet.organizations.items()}
    registers = [each for _, each in sorted(world.fleet.subscriptions.items())]
    return states, [each for each in registers if each.notes or each.links]


def state(organization: Organization) -> object:
    """The state of an organization and its facts."""
    compared = (
        organization.creation,
        organization.tier,
        organization.owner,
        organization.commitments,
    )
    return organization.state, organization.deactivation_cause, compared


def shuffled(data: st.DataObject, tale: Sequence[Fact]) -> Shown[Fact]:
    """In another order, some of it twice."""
    again = data.draw(st.lists(st.sampled_from(tale), max_size=3))
    return Shown(data.draw(st.permutations([*tale, *again])))


@settings(max_examples=examples(150), deadline=None)
@given(tales(), st.data())
def test_the_order_of_arrival_does_not_matter_nor_do_duplicates(
    tale: Shown[Fact], data: st.DataObject
) -> None:
    """Invariant 7: the topics have no order among each other, and Kafka delivers twice."""
    in_order = applied_within_a_minute(tale, AUTOMATIC)
    assert final(applied_within_a_minute(shuffled(data, tale), AUTOMATIC)) == final(in_order)


OVER = Ended(PlanEndReason.CUSTOMER, Initiator.CUSTOMER, terminal=True)
ACCOUNT_OF_TWO: list[Fact] = [
    created(),
    created("created-beta", BETA),
    link(ENTITLEMENT, account=ACCOUNT),
    notified(ENTITLEMENT, note(3, OVER)),
    notified(BOUGHT_AGAIN, note(4, Activated(), billing_account=ACCOUNT)),
    signed_in(5),
]


@pytest.mark.parametrize("changes_hands_on", [1, 4.5, 5, 10])
@pytest.mark.parametrize("how", ["moved", "shared"])
@settings(max_examples=examples(20), deadline=None)
@given(st.data())
def test_the_holder_of_an_account_at_a_sign_in_is_found_by_event_time(
    changes_hands_on: float, how: str, data: st.DataObject
) -> None:
    """Section 11: a sign-in links to who held the account then, whatever was received first."""
    key = ENTITLEMENT if how == "moved" else SubscriptionKey(Marketplace.GCP, "e-3")
    history: list[Fact] = [*ACCOUNT_OF_TWO, link(key, changes_hands_on, BETA, account=ACCOUNT)]
    in_order = applied_within_a_minute(history, AUTOMATIC)
    assert final(applied_within_a_minute(shuffled(data, history), AUTOMATIC)) == final(in_order)
    proved = changes_hands_on > 5
    assert (in_order.acme().state is State.ACTIVE) is proved


@st.composite
def retold(draw: st.DrawFn) -> Shown[Fact]:
    """Commitments that are reported repeatedly with different dates; acme has no other plans."""
    history = Shown[Fact]([created()])
    for number in range(draw(st.integers(2, 4))):
        starts, lasts = draw(st.sampled_from([-365, -100, 20, 60, 130, 200])), draw(LASTING)
        name, linked = draw(st.sampled_from(["c-1", "c-1", "c-2"])), draw(st.integers(0, 40))
        history.append(commitment(starts, starts + lasts, linked, name, id_=f"report-{number}"))
    return history


LASTING = st.sampled_from([1, 20, 9_999, 9_999])


@settings(max_examples=examples(300), deadline=None)
@given(retold(), st.data())
def test_a_commitment_is_the_same_in_whatever_order_its_repetitions_arrive(
    history: Shown[Fact], data: st.DataObject
) -> None:
    """Invariant 7: earlier reports about it decide nothing, although they arrived first."""
    in_order = applied_within_a_minute(history, Policies())
    assert final(applied_within_a_minute(shuffled(data, history), Policies())) == final(in_order)


def of_beta(number: int, what: str) -> Fact:
    """Facts about beta after the sign-in, one a day; links have acme's account."""
    day = 6 + number
    match what:
        case "linked":
            return link(SubscriptionKey(Marketplace.GCP, "e-3"), day, BETA, account=ACCOUNT)
        case "signed in":
            return signed_in(day, BETA)
        case _:
            return asked(SupportRequestKind(what), day, BETA)


@pytest.mark.parametrize("held_it", ["until day 2", "never"])
@settings(max_examples=examples(60), deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["linked", "signed in", "deactivate_organization", "reactivate_organization"]
        ),
        max_size=7,
    )
)
def test_what_was_proved_stays_so_whatever_becomes_of_others(
    held_it: str,
    later: list[str],
) -> None:
    """Section 11: who held the account at the time of the sign-in; beta perhaps until day 2."""
    world = World()
    beta = created("created-beta", BETA, owner=OTHER_OWNER)
    world.apply_all(created(), beta, link(ENTITLEMENT, account=ACCOUNT), day=0)
    if held_it == "until day 2":
        shared = SubscriptionKey(Marketplace.GCP, "e-3")
        world.apply(link(shared, 0, BETA, account=ACCOUNT), DAY_0)
        world.apply(asked(SupportRequestKind.DEACTIVATE_ORGANIZATION, 2, BETA), DAY_0 + 2 * DAY)
    for day, fact in enumerate(ACCOUNT_OF_TWO[3:], 3):
        world.apply(fact, DAY_0 + day * DAY)
    assert world.acme().state is State.ACTIVE
    for number, what in enumerate(later):
        now = DAY_0 + (6 + number) * DAY
        world.apply(of_beta(number, what), now)
        world.run_deadline(ACME, now)
        assert world.acme().state is State.ACTIVE


AWS_CHANGES: st.SearchStrategy[Change] = st.sampled_from(
    [
        Activated(),
        Ended(PlanEndReason.UNKNOWN, Initiator.MARKETPLACE, terminal=False),
        Ending(None, closes_usage=True),
    ]
)


def in_any_order(changes: dict[int, Change]) -> st.SearchStrategy[list[tuple[int, Change]]]:
    """Changes by day, in any order."""
    return st.permutations(list(changes.items()))


@settings(max_examples=examples(300), deadline=None)
@given(st.dictionaries(st.integers(0, 40), AWS_CHANGES, max_size=8).flatmap(in_any_order))
def test_each_end_is_reported_once_in_whatever_order_it_arrives(
    history: list[tuple[int, Change]],
) -> None:
    """Section 9: by the time that was known of it when it was received first."""
    world = World()
    world.apply_all(created(), link(AGREEMENT), day=0)
    for number, (day, change) in enumerate(history):
        now = ARRIVAL + number * timedelta(seconds=1)
        world.apply(notified(AGREEMENT, note(day, change, id_=f"note-{number}")), now)
    details = [event.details for event in world.events]
    reported = [d.deadline - HOUR for d in details if isinstance(d, MeteringDetails)]
    assert len(reported) == len(set(reported))
    projection = projection_of(world.fleet, world.fleet.subscription(AGREEMENT))
    ends = sorted(set(projection.usage_closed_at))
    for end, following in pairwise([*ends, FAR]):
        assert len([at for at in reported if end <= at < following]) == 1


def excepted(world: World) -> World:
    """Azure's exception: an organization that has one of its plans again may be active or pending,
    depending on whether its cancellation had been decided.
    """
    for each in list(world.fleet.organizations.values()):
        azure = any(
            interval.subscription is not None
            and interval.subscription.marketplace is Marketplace.AZURE
            for interval in (
                *world.covered(each.id, FAR).intervals,
                *world.covered(each.id, FAR).waiting,
            )
        )
        if azure:
            del world.fleet.organizations[each.id]
    return world


@settings(max_examples=examples(150), deadline=None)
@given(tales(), st.data())
def test_only_azure_may_depend_on_when_a_cancellation_was_decided(
    tale: Shown[Fact], data: st.DataObject
) -> None:
    """Invariant 7, where Azure waits for Support: nobody else depends on the order."""
    in_order = excepted(applied_within_a_minute(tale, Policies()))
    other = excepted(applied_within_a_minute(shuffled(data, tale), Policies()))
    assert set(other.fleet.organizations) == set(in_order.fleet.organizations)
    assert final(other) == final(in_order)


# --- the same again -------------------------------------------------------------------------------


@settings(max_examples=examples(150), deadline=None)
@given(worlds(), facts(), st.data())
def test_a_decision_is_the_same_however_the_fleet_was_loaded(
    world: World, fact: Fact, data: st.DataObject
) -> None:
    """Invariant 8: a worker loads what it needs in any order, and decides alike."""
    before = world.fleet
    parts: list[Organization | Subscription] = [
        *before.organizations.values(),
        *before.subscriptions.values(),
    ]
    loaded = Fleet(seen=before.seen, feeds=before.feeds, safeguards=before.safeguards)
    loaded.put(*data.draw(st.permutations(parts)))
    assert loaded.population == before.population
    first = apply(fact, before.view(), world.policies, now=TODAY)
    assert apply(fact, loaded, world.policies, now=TODAY) == first
    assert apply(fact, before, world.policies, now=TODAY) == first, "a view changes nothing"
