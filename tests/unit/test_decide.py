"""The outcome of each kind of fact, as the journal records it (lifecycle.md section 2)."""

from dataclasses import replace

import pytest
from world import (
    ACME,
    AGREEMENT,
    BETA,
    DAY,
    DAY_0,
    ENTITLEMENT,
    HOUR,
    OWNER,
    RENEWED,
    SAAS,
    World,
    asked,
    commitment,
    created,
    link,
    moment,
    note,
    notified,
    released,
    requested,
    signed_in,
    tripped,
)

from marketplace_worker.lifecycle.decide import Outcome, apply
from marketplace_worker.lifecycle.events import EventKind, LockViolationDetails, MeteringDetails
from marketplace_worker.lifecycle.facts import (
    Erased,
    Fact,
    OwnerChanged,
    TierChanged,
    Unrecognized,
)
from marketplace_worker.lifecycle.notes import (
    Activated,
    Attention,
    Ended,
    Pended,
    Suspended,
    Unchanged,
)
from marketplace_worker.lifecycle.organization import Reported
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.subscription import Link
from marketplace_worker.lifecycle.vocabulary import (
    EmailHash,
    HoldKind,
    Identity,
    Initiator,
    Marketplace,
    OrganizationId,
    PlanEndReason,
    PlanType,
    SubscriptionKey,
    SupportRequestKind,
    Tier,
)

AZURE = SubscriptionKey(Marketplace.AZURE, "s-2")
ENDED = Ended(PlanEndReason.CUSTOMER, Initiator.CUSTOMER, terminal=True)
AGAIN = Ended(PlanEndReason.CUSTOMER, Initiator.CUSTOMER, terminal=False)
IDENTITY = Identity("t", "x")
PLACE_HOLD, RELEASE_HOLD = SupportRequestKind.PLACE_HOLD, SupportRequestKind.RELEASE_HOLD
UNLOCK_EMAIL = SupportRequestKind.UNLOCK_EMAIL
DEACTIVATE = SupportRequestKind.DEACTIVATE_ORGANIZATION
REACTIVATE = SupportRequestKind.REACTIVATE_ORGANIZATION
REINSTATE = SupportRequestKind.REINSTATE_ORGANIZATION


def world(*facts: Fact) -> World:
    """A world after these facts, which arrived on day 0."""
    start = World()
    for fact in facts:
        start.apply(fact, DAY_0)
    return start


@pytest.mark.parametrize(
    ("before", "fact", "outcome"),
    [
        ([created()], link(AGREEMENT), Outcome.APPLIED),
        ([], link(AGREEMENT), Outcome.KEPT),
        ([], commitment(0, 5), Outcome.KEPT),
        ([], TierChanged(IDENTITY, DAY_0, ACME, Tier.PLUS), Outcome.KEPT),
        ([], created(), Outcome.APPLIED),
        ([], notified(AGREEMENT, note(0, Activated())), Outcome.APPLIED),
        ([], notified(AGREEMENT, note(0, Unchanged())), Outcome.NO_CHANGE),
        (
            [notified(AGREEMENT, note(5, ENDED))],
            notified(AGREEMENT, note(7, Activated())),
            Outcome.STALE,
        ),
        (
            [notified(AGREEMENT, note(5, Activated()))],
            notified(AGREEMENT, note(3, Activated())),
            Outcome.APPLIED,
        ),
        (
            [notified(RENEWED, note(5, Pended()))],
            notified(RENEWED, note(6, Pended(successor_of=AGREEMENT))),
            Outcome.APPLIED,
        ),
        (
            [],
            replace(notified(AGREEMENT, note(0, Unchanged())), attention=Attention.UNKNOWN_KIND),
            Outcome.UNKNOWN_KIND,
        ),
        ([], Unrecognized(IDENTITY, DAY_0, "some.type"), Outcome.UNKNOWN_KIND),
        # Support: granted, refused, of an organization that was never created
        ([created()], asked(PLACE_HOLD, hold=HoldKind.LEGAL), Outcome.APPLIED),
        ([created()], asked(RELEASE_HOLD, hold=HoldKind.LEGAL), Outcome.REFUSED),
        ([], asked(PLACE_HOLD, hold=HoldKind.LEGAL), Outcome.REFUSED),
        ([], asked(UNLOCK_EMAIL, organization=None, email=OWNER), Outcome.REFUSED),
        # activity
        ([created()], signed_in(1), Outcome.NO_CHANGE),
        ([], requested(1), Outcome.NO_CHANGE),
        # an operator
        ([], tripped(), Outcome.APPLIED),
        ([tripped()], released(), Outcome.APPLIED),
        ([], released(), Outcome.REFUSED),
    ],
)
def test_what_becomes_of_a_fact(before: list[Fact], fact: Fact, outcome: Outcome) -> None:
    """An unknown kind changes nothing; old news that changes nothing in the fold is `stale`."""
    assert world(*before).decide(fact, DAY_0 + 10 * DAY).outcome is outcome


def test_a_decision_on_a_view_leaves_the_fleet_as_it_is() -> None:
    """What it changes is stored in the view."""
    start = world(created(), link(AGREEMENT))
    acme, register = start.fleet.organization(ACME), start.fleet.subscription(AGREEMENT)
    view, ended = start.fleet.view(), notified(AGREEMENT, note(5, ENDED))
    apply(ended, view, start.policies, now=DAY_0 + 5 * DAY)
    assert view.organization(ACME).state is State.CANCELED
    assert view.subscription(AGREEMENT) != register
    assert start.fleet.organization(ACME) == acme
    assert start.fleet.subscription(AGREEMENT) == register


def test_a_decision_contains_the_organization_before_it() -> None:
    """The shell publishes a snapshot of whatever differs, also where no event reports it."""
    start = world(created())
    (result,) = start.decide(TierChanged(IDENTITY, DAY_0 + DAY, ACME, Tier.PLUS), DAY_0).results
    assert result.before.tier != result.organization.tier
    assert result.events == ()


def test_every_organization_that_a_subscription_concerns_is_decided() -> None:
    """In the order of their ids, so that every worker decides alike."""
    start = world(created(), created("c-beta", BETA), link(ENTITLEMENT, organization=BETA))
    decision = start.decide(link(ENTITLEMENT, 5), DAY_0 + 5 * DAY)
    assert [result.organization.id for result in decision.results] == [ACME, BETA]


def test_nothing_is_decided_about_an_organization_that_was_never_created() -> None:
    """Its facts are stored, and no deadline runs."""
    owner = OwnerChanged(IDENTITY, DAY_0, ACME, EmailHash("a"))
    start = world(owner, link(AGREEMENT), notified(AGREEMENT, note(0, ENDED)), commitment(0, 5))
    assert (start.events, start.due_at) == ([], {})
    assert start.fleet.organization(ACME).state is State.ACTIVE


def test_the_oldest_creation_has_the_beginning_the_newest_the_owner() -> None:
    """Section 11; the anchor is that of the oldest, in whatever order they come."""
    old = replace(created("old"), tier=Tier.FREE, owner=EmailHash("old"))
    new = replace(created("new", day=5), tier=Tier.PLUS, owner=EmailHash("new"))
    for first, second in ((old, new), (new, old)):
        acme = world(first, second).fleet.organization(ACME)
        assert acme.creation is not None
        assert acme.tier is not None
        assert acme.owner is not None
        assert acme.creation.billing_cycle_anchor == DAY_0
        assert (acme.tier.value, acme.owner.value) == (Tier.PLUS, "new")


def test_tier_and_owner_are_the_newest_by_time_and_then_by_id() -> None:
    """Not the last in order of arrival."""
    start = world(
        OwnerChanged(Identity("t", "b"), DAY_0 + DAY, ACME, EmailHash("b")),
        OwnerChanged(Identity("t", "a"), DAY_0 + DAY, ACME, EmailHash("a")),
        created(),
    )
    acme = start.fleet.organization(ACME)
    assert acme.owner is not None
    assert acme.owner.value == "b"


def test_a_deadline_that_outlived_its_reason_does_nothing() -> None:
    """It is derived again when it fires (docs/architecture.md)."""
    start = world(created(), link(AGREEMENT, plan_type=PlanType.PAYG))
    at = DAY_0 + 50 * DAY
    decision = start.run_deadline(ACME, at)
    assert (decision.outcome, decision.events) == (Outcome.APPLIED, ())


def test_a_fact_takes_no_step() -> None:
    """Only a deadline does, so old messages cannot deactivate an organization at once."""
    start = world(created(), link(AGREEMENT), notified(AGREEMENT, note(0, ENDED)))
    decision = start.decide(TierChanged(IDENTITY, DAY_0, ACME, Tier.PLUS), DAY_0 + 90 * DAY)
    assert decision.events == ()
    assert start.fleet.organization(ACME).state is State.CANCELED


def test_a_late_deadline_takes_one_step() -> None:
    """Its effective time is the deadline; the next step counts its dwell from now."""
    start = world(created(), link(AGREEMENT, plan_type=PlanType.PAYG))
    start.apply(notified(AGREEMENT, note(0, ENDED)), DAY_0)
    late = DAY_0 + 90 * DAY
    start.run_deadline(ACME, late)
    acme = start.fleet.organization(ACME)
    assert (acme.state, acme.entered_at) == (State.CONTROL_PLANE_LOSS, late)
    lost = next(e for e in start.events if e.kind == "organization.control_plane_lost")
    assert (lost.effective_at, lost.decided_at) == (DAY_0 + DAY, late)


def test_a_request_finds_the_cancellation_that_no_deadline_has_decided_yet() -> None:
    """The workers are late: the plan ended two days ago, and Support is asked to reinstate it."""
    start = world(created(), commitment(0, 10))
    request = asked(REINSTATE, 12, grant_until=moment(20))
    kinds = [each.kind for each in start.decide(request, moment(12)).events]
    assert kinds == [EventKind.CANCELED, EventKind.REINSTATED, EventKind.SUPPORT_REQUEST_COMPLETED]


# --- one email, several organizations -------------------------------------------------------------


def locking(*names: str) -> World:
    """Organizations of one owner, deactivated by Support."""
    start = World()
    for name in names:
        id_ = OrganizationId(name)
        start.apply(created(f"created-{name}", id_), DAY_0)
        start.apply(asked(DEACTIVATE, 1, id_), moment(1))
    return start


def test_an_unlock_releases_every_lock_of_the_email() -> None:
    """Section 11: one event each; the answer is that of the organization that was named."""
    start = locking("acme", "beta")
    decision = start.decide(asked(UNLOCK_EMAIL, 2, email=OWNER), moment(2))
    unlocked = [e.subject for e in decision.events if e.kind is EventKind.EMAIL_UNLOCKED]
    assert sorted(unlocked) == [ACME, BETA]
    answer = decision.events[-1]
    assert (answer.kind, answer.subject) == (EventKind.SUPPORT_REQUEST_COMPLETED, ACME)
    assert start.fleet.locking(OWNER) == []


@pytest.mark.parametrize(
    ("named", "answered"), [(None, BETA), ("unheard-of", BETA), ("gamma", "gamma")]
)
def test_an_unlock_is_answered_by_whom_it_can_be(named: str | None, answered: str) -> None:
    """The organization named, where it exists, else one whose email it was."""
    start = locking("beta")
    start.apply(created("c-gamma", OrganizationId("gamma"), owner=EmailHash("g")), DAY_0)
    organization = None if named is None else OrganizationId(named)
    decision = start.decide(asked(UNLOCK_EMAIL, 2, organization, email=OWNER), moment(2))
    assert decision.events[-1].subject == answered
    assert decision.events[-1].kind is EventKind.SUPPORT_REQUEST_COMPLETED


def test_an_unlock_of_what_is_not_locked_is_refused_by_the_worker_itself() -> None:
    """There is no organization to answer for (section 11); the worker's sequence counts it."""
    start = world(created())
    request = asked(UNLOCK_EMAIL, 2, organization=None, email=EmailHash("other"))
    (answer,) = start.decide(request, moment(2)).events
    assert (answer.subject, answer.sequence, answer.standing) == ("worker", 1, None)
    assert answer.kind is EventKind.SUPPORT_REQUEST_REJECTED
    assert start.fleet.safeguards.sequence == 1


def test_each_organization_that_locks_an_email_reports_that_it_is_used_again() -> None:
    """The sign-up service decides; what is locked by itself is no violation (section 7)."""
    start = locking("acme", "beta")
    decision = start.decide(created("c-gamma", OrganizationId("gamma"), day=3), moment(3))
    violations = [e for e in decision.events if e.kind is EventKind.EMAIL_LOCK_VIOLATED]
    assert [e.subject for e in violations] == [ACME, BETA]
    assert {e.details for e in violations} == {LockViolationDetails(OWNER, OrganizationId("gamma"))}
    start = locking("acme")
    assert start.decide(created("c-again", ACME, day=4), moment(4)).events == ()


def test_only_who_is_not_deactivated_uses_an_email() -> None:
    """Section 6, `email_in_use`: of two that were closed, the first may come back."""
    start = locking("acme", "beta")
    first, second = (
        start.decide(asked(REACTIVATE, 2, id_), moment(2)).outcome for id_ in (ACME, BETA)
    )
    assert (first, second) == (Outcome.APPLIED, Outcome.REFUSED)


def test_a_cancellation_by_a_late_fact_is_settled_in_the_same_decision() -> None:
    """The later end moves the deadlines, and the second look finds nothing more to do."""
    start = world(created(), link(SAAS), notified(SAAS, note(0, Suspended())))
    assert start.acme().cancellation is not None
    ended = (
        start.fleet.subscription(AGREEMENT)
        .with_note(note(5, Activated()))
        .with_note(note(5, ENDED, 2))
    )
    linked = Link(moment(5), "l", ACME)
    start.fleet.put(ended.with_link(linked), start.fleet.subscription(AZURE).with_link(linked))
    first = start.run_deadline(ACME, moment(6))
    assert EventKind.REINSTATEMENT_PENDING in [event.kind for event in first.events]
    acme = start.acme()
    assert acme.cancellation is not None
    assert acme.cancellation.canceled_at == moment(5)
    assert acme.cancellation.decided_canceled_at == moment(0)
    assert start.run_deadline(ACME, moment(6)).events == ()


# --- final reports --------------------------------------------------------------------------------


def deadlines(start: World) -> list[object]:
    """The deadlines of final usage reports, one for each event."""
    details = [event.details for event in start.events]
    return [each.deadline for each in details if isinstance(each, MeteringDetails)]


def test_an_end_that_was_reported_before_times_were_kept_is_not_reported_again() -> None:
    """A document that 0.1 wrote counts them: the first so many, as they stand at the first look."""
    start = world(created(), link(AGREEMENT), notified(AGREEMENT, note(0, Activated())))
    start.apply(notified(AGREEMENT, note(10, AGAIN)), moment(10))
    start.events.clear()
    start.fleet.put(replace(start.acme(), reported=(Reported(AGREEMENT, ends=1),)))
    start.run_deadline(ACME, moment(10))
    start.apply(notified(AGREEMENT, note(5, Activated())), moment(11))
    assert deadlines(start) == []
    start.apply(notified(AGREEMENT, note(2, AGAIN)), moment(11))
    assert deadlines(start) == [moment(2) + HOUR]


def test_an_erasure_calls_for_no_final_report_again() -> None:
    """Which ends were reported is nothing personal, and kept."""
    start = world(created(), link(AGREEMENT), notified(AGREEMENT, note(0, Activated())))
    start.apply(notified(AGREEMENT, note(10, ENDED)), moment(10))
    assert deadlines(start) == [moment(10) + HOUR]
    start.apply(asked(DEACTIVATE, 11), moment(11))
    start.apply(
        Erased(Identity("operator", "e-1"), moment(20), ACME, "ops", "asked to"), moment(20)
    )
    start.apply(asked(REACTIVATE, 30), moment(30))
    assert deadlines(start) == [moment(10) + HOUR]
