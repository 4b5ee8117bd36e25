"""Every stored login is checked at its own time, whatever the order of arrival
(lifecycle.md sections 4, 5 and 11).
"""

from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from test_laws_order import applied_within_a_minute, final, shuffled, state
from world import (
    ACCOUNT,
    ACME,
    BETA,
    BOUGHT_AGAIN,
    DAY_0,
    ENTITLEMENT,
    Shown,
    created,
    link,
    moment,
    note,
    notified,
    signed_in,
)

from examples import examples
from marketplace_worker.lifecycle.facts import Fact
from marketplace_worker.lifecycle.inactivity import LOGINS_KEPT, LastSeen
from marketplace_worker.lifecycle.notes import Activated, Change, Ended
from marketplace_worker.lifecycle.organization import Organization, Proof
from marketplace_worker.lifecycle.policy import Policies, Policy, Reinstatement
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import (
    CompletedBy,
    Initiator,
    Marketplace,
    PlanEndReason,
    SubscriptionKey,
    Tier,
)

OVER = Ended(PlanEndReason.CUSTOMER, Initiator.CUSTOMER, terminal=True)
PAUSED = Ended(PlanEndReason.NON_PAYMENT, Initiator.MARKETPLACE, terminal=False)
CHANGES: st.SearchStrategy[Change] = st.sampled_from([PAUSED, PAUSED, Activated(), OVER])
OF_BETA = SubscriptionKey(Marketplace.GCP, "e-3")
ANOTHER = SubscriptionKey(Marketplace.GCP, "e-4")
AT_ONCE = Policies(Policy(reinstatement=Reinstatement(sign_in_required=False)))


# --- which logins are kept ------------------------------------------------------------------------


def kept_of(logins: list[datetime]) -> tuple[datetime, ...]:
    """By the definition: of each UTC day the first and the last, over 45 days up to the newest."""
    first_day = (max(logins) - LOGINS_KEPT).date()
    days = {at.date() for at in logins if at.date() >= first_day}
    by_day = [[at for at in logins if at.date() == day] for day in days]
    return tuple(sorted({end for day in by_day for end in (min(day), max(day))}))


MOMENTS = st.builds(
    lambda day, hour: DAY_0 + timedelta(days=day, hours=hour),
    st.one_of(st.integers(0, 5), st.integers(0, 120)),
    st.integers(0, 23),
)


@settings(max_examples=examples(300), deadline=None)
@given(st.lists(MOMENTS, min_size=1, max_size=12))
def test_of_each_day_the_first_and_the_last_login_are_kept_whatever_arrives_first(
    logins: list[datetime],
) -> None:
    """Section 5: over the 45 days up to the newest; the newest itself is always known."""
    seen = LastSeen()
    for each in logins:
        seen = seen.with_login(each)
    assert seen == LastSeen(max(logins), None, kept_of(logins))
    assert seen.sign_ins == seen.logins


# --- what they prove ------------------------------------------------------------------------------


@st.composite
def changes_of_hands(draw: st.DrawFn, *, moves: bool) -> Shown[Fact]:
    """Acme's plan ends, others may be bought on its account, beta may come to share it or, where a
    plan moves, have it alone; another account may be reported; and users of acme sign in.
    """
    day = st.integers(1, 40)
    history = Shown[Fact](
        [
            created(tier=Tier.PLUS, day=draw(st.sampled_from([0, 0, 20]))),
            created("created-beta", BETA, tier=Tier.PLUS),
            link(ENTITLEMENT, account=ACCOUNT),
            notified(ENTITLEMENT, note(draw(day) + 0.1, OVER)),
        ]
    )
    for plan in (BOUGHT_AGAIN, ANOTHER)[: draw(st.integers(1, 2))]:
        bought = draw(day) + 0.2
        history.append(notified(plan, note(bought, Activated(), billing_account=ACCOUNT)))
        for number in range(draw(st.integers(0, 2))):
            change = draw(CHANGES)
            account = draw(st.sampled_from([None, ACCOUNT, "another account"]))
            later = min(bought + draw(day), 41)  # what is reported has happened by its arrival
            history.append(
                notified(plan, note(later, change, id_=f"{number}", billing_account=account))
            )
    if draw(st.booleans()):
        history.append(link(OF_BETA, draw(day) + 0.3, BETA, account=ACCOUNT))
    if moves and draw(st.booleans()):
        moved = draw(st.sampled_from([ENTITLEMENT, BOUGHT_AGAIN]))
        history.append(link(moved, draw(day) + 0.4, draw(st.sampled_from([ACME, BETA]))))
    history += [
        signed_in(at + 0.5) for at in draw(st.lists(day, min_size=1, max_size=4, unique=True))
    ]
    return history


@settings(max_examples=examples(150), deadline=None)
@given(changes_of_hands(moves=True), st.data())
def test_two_logins_and_the_news_of_plans_come_to_the_same_in_any_order(
    history: Shown[Fact], data: st.DataObject
) -> None:
    """
    Invariant 7, where it hangs on who matched at which of several logins.  Of acme: what it did not
    need any more may wait for beta to prove it, once the account has moved there.
    """
    in_order = applied_within_a_minute(history, Policies())
    other = applied_within_a_minute(shuffled(data, history), Policies())
    assert state(other.acme()) == state(in_order.acme())


def test_what_a_sign_in_did_not_prove_after_all_paused_what_it_would_have_without_it() -> None:
    """Section 11: the clock stands still by the registers, not by what was once pending."""
    sign_in, news = signed_in(1.5), link(BOUGHT_AGAIN, 1.4, BETA)
    history: list[Fact] = [
        created(tier=Tier.PLUS),
        created("created-beta", BETA, tier=Tier.PLUS),
        link(ENTITLEMENT, account=ACCOUNT),
        notified(ENTITLEMENT, note(1.1, OVER)),
        notified(BOUGHT_AGAIN, note(1.2, Activated(), billing_account=ACCOUNT)),
        notified(BOUGHT_AGAIN, note(2.2, PAUSED, id_="0")),
        notified(ANOTHER, note(1.2, Activated(), billing_account=ACCOUNT)),
    ]
    in_order = applied_within_a_minute([*history, news, sign_in], Policies())
    other = applied_within_a_minute([*history, sign_in, news], Policies())
    assert state(other.acme()) == state(in_order.acme())


@settings(max_examples=examples(100), deadline=None)
@given(changes_of_hands(moves=False), st.data())
def test_what_needs_no_sign_in_is_proved_whenever_it_arrives(
    history: Shown[Fact], data: st.DataObject
) -> None:
    """Section 4, `sign_in_required = false`: who matched when the plan began is asked then."""
    in_order = applied_within_a_minute(history, AT_ONCE)
    assert final(applied_within_a_minute(shuffled(data, history), AT_ONCE)) == final(in_order)


def test_a_login_proves_every_plan_that_matches_at_its_time() -> None:
    """Section 11: also one that another login does not find any more."""
    history: list[Fact] = [
        created(tier=Tier.PLUS),
        created("created-beta", BETA, tier=Tier.PLUS),
        link(ENTITLEMENT, account=ACCOUNT),
        notified(ENTITLEMENT, note(5, OVER)),
        notified(BOUGHT_AGAIN, note(6, Activated(), billing_account=ACCOUNT)),
        notified(ANOTHER, note(6, Activated(), billing_account=ACCOUNT)),
        link(OF_BETA, 8, BETA, account=ACCOUNT),
        signed_in(9),
        signed_in(7),
    ]
    acme = applied_within_a_minute(history, Policies()).acme()
    assert acme.state is State.ACTIVE
    assert {proof.subscription for proof in acme.proofs} == {BOUGHT_AGAIN, ANOTHER}
    assert {proof.at for proof in acme.proofs} == {moment(7)}


def test_a_login_too_old_to_be_stored_is_checked_on_arrival() -> None:
    """Section 5: fifty days before the newest, and received while the organization waits for it."""
    history: list[Fact] = [
        created(tier=Tier.PLUS),
        created("created-beta", BETA, tier=Tier.PLUS),
        link(ENTITLEMENT, -60, account=ACCOUNT),
        notified(ENTITLEMENT, note(-50, OVER)),
        notified(BOUGHT_AGAIN, note(-30, Activated(), billing_account=ACCOUNT)),
        link(OF_BETA, -20, BETA, account=ACCOUNT),
        signed_in(40),
        signed_in(-25),
    ]
    world = applied_within_a_minute(history, Policies())
    assert world.fleet.last_seen(ACME).logins == (moment(40),)
    assert world.acme().state is State.ACTIVE
    assert [proof.at for proof in world.acme().proofs] == [moment(-25)]


def test_proofs_of_one_day_are_kept_as_its_logins_are() -> None:
    """However many logins prove a plan, and in whichever order."""
    acme = Organization(ACME)
    for hour in (5, 9, 7, 3, 8):
        at = DAY_0 + timedelta(hours=hour)
        acme = acme.with_proofs(Proof(BOUGHT_AGAIN, at, CompletedBy.SIGN_IN))
    by_support = Proof(BOUGHT_AGAIN, DAY_0 + timedelta(hours=6), CompletedBy.SUPPORT)
    acme = acme.with_proofs(by_support).with_proofs(Proof(ANOTHER, DAY_0, CompletedBy.SIGN_IN))
    hours = {(each.at - DAY_0) // timedelta(hours=1) for each in acme.proofs}
    assert hours == {3, 9, 6, 0}
    assert by_support in acme.proofs
