"""Facts about an erased organization have no effect (lifecycle.md section 11)."""

from dataclasses import replace
from typing import Any

import pytest
from world import (
    ACME,
    AGREEMENT,
    BETA,
    DAY_0,
    FAR,
    OWNER,
    RENEWED,
    World,
    asked,
    commitment,
    created,
    link,
    moment,
    note,
    notified,
    requested,
    signed_in,
)

from marketplace_worker.lifecycle.decide import Outcome
from marketplace_worker.lifecycle.events import Event, EventKind, Refusal, SupportDetails
from marketplace_worker.lifecycle.facts import Erased, Fact, OwnerChanged, TierChanged
from marketplace_worker.lifecycle.notes import Activated, Ended
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import (
    EmailHash,
    HoldKind,
    Identity,
    Initiator,
    OrganizationId,
    PlanEndReason,
    SupportRequestKind,
    Tier,
)

DEACTIVATE = SupportRequestKind.DEACTIVATE_ORGANIZATION
PLACE_HOLD, RELEASE_HOLD = SupportRequestKind.PLACE_HOLD, SupportRequestKind.RELEASE_HOLD
UNLOCK_EMAIL = SupportRequestKind.UNLOCK_EMAIL
OTHERS = EmailHash(f"{7:064x}")
ENDED = Ended(PlanEndReason.CUSTOMER, Initiator.CUSTOMER, terminal=True)


def erased(day: float = 20, organization: OrganizationId = ACME) -> Erased:
    """An erasure by an operator."""
    identity = Identity("operator", f"erase-{organization}-{day}")
    return Erased(identity, moment(day), organization, "ops", "asked to")


def closed() -> World:
    """Acme had a plan and was deactivated by Support; beta has a plan, and gamma has locked an
    email; all reported on day 0.
    """
    world_ = World()
    gamma = OrganizationId("gamma")
    for fact in (
        created(),
        link(AGREEMENT),
        notified(AGREEMENT, note(0, Activated())),
        created("of beta", BETA, owner=EmailHash(f"{5:064x}")),
        link(RENEWED, organization=BETA),
        notified(RENEWED, note(0, Activated())),
        created("of gamma", gamma, owner=OTHERS),
        asked(DEACTIVATE),
        asked(DEACTIVATE, organization=gamma),
    ):
        world_.apply(fact, DAY_0)
    return world_


def outcome(world_: World, fact: Fact, day: float) -> Outcome:
    """Apply a fact; returns its outcome."""
    decision = world_.apply(fact, moment(day))
    assert decision is not None
    return decision.outcome


def emitted_since(world_: World, before: int) -> list[Event]:
    """The events after the first `before` ones."""
    return world_.events[before:]


def test_an_erasure_emits_the_unlocked_emails_and_last_itself() -> None:
    """The last event contains no state; the email is unlocked if it was still locked."""
    world_ = closed()
    before = len(world_.events)
    assert outcome(world_, erased(), 20) is Outcome.APPLIED
    unlocked, last = emitted_since(world_, before)
    assert (unlocked.kind, last.kind) == (EventKind.EMAIL_UNLOCKED, EventKind.ERASED)
    assert unlocked.standing is not None
    assert unlocked.standing.state is State.DEACTIVATED
    assert (last.standing, last.details, last.subject) == (None, None, ACME)
    assert last.sequence == unlocked.sequence + 1

    world_ = closed()
    world_.apply(asked(UNLOCK_EMAIL, 10, email=OWNER), moment(10))
    before = len(world_.events)
    assert outcome(world_, erased(), 20) is Outcome.APPLIED
    assert [each.kind for each in emitted_since(world_, before)] == [EventKind.ERASED]


def test_only_a_deactivated_organization_without_legal_hold_is_erased_and_once() -> None:
    """An expired hold counts as released; a commercial hold does not prevent an erasure."""
    world_ = closed()
    assert outcome(world_, erased(1, BETA), 1) is Outcome.REFUSED
    assert outcome(world_, erased(1, OrganizationId("nobody")), 1) is Outcome.REFUSED
    hold = asked(PLACE_HOLD, 2, hold=HoldKind.LEGAL, expires_at=moment(9))
    world_.apply(hold, moment(2))
    world_.apply(asked(PLACE_HOLD, 2.5, hold=HoldKind.COMMERCIAL), moment(2.5))
    before = len(world_.events)
    assert outcome(world_, erased(8), 8) is Outcome.REFUSED
    assert emitted_since(world_, before) == []
    assert outcome(world_, erased(9), 9) is Outcome.APPLIED
    assert outcome(world_, erased(10), 10) is Outcome.REFUSED


@pytest.mark.parametrize(
    "fact",
    [
        created("again", day=30, owner=OTHERS),
        replace(created("before", day=-5), owner=OTHERS),
        OwnerChanged(Identity("t", "owner"), moment(30), ACME, OTHERS),
        TierChanged(Identity("t", "tier"), moment(30), ACME, Tier.ENTERPRISE),
        commitment(30, 60, linked=30),
        link(RENEWED, 30),
        link(AGREEMENT, 30),
    ],
    ids=lambda fact: fact.kind,
)
def test_facts_about_an_erased_organization_change_nothing(fact: Fact) -> None:
    """It restores nothing, takes no plan from another organization and violates no lock; it is
    journalled.
    """
    world_ = closed()
    world_.apply(erased(), moment(20))
    before = (
        len(world_.events),
        dict(world_.fleet.organizations),
        dict(world_.fleet.subscriptions),
    )
    assert outcome(world_, fact, 30) is Outcome.NO_CHANGE
    world_.wait(FAR)
    after = (len(world_.events), dict(world_.fleet.organizations), dict(world_.fleet.subscriptions))
    assert after == before


def test_its_plans_and_its_use_have_no_more_effect() -> None:
    """Not even a final report is requested: there is no customer to bill."""
    world_ = closed()
    world_.apply(erased(), moment(20))
    before = len(world_.events)
    world_.apply_all(
        notified(AGREEMENT, note(30, ENDED)),
        notified(AGREEMENT, note(31, Activated())),
        signed_in(30),
        requested(30),
        day=31,
    )
    world_.wait(FAR)
    assert emitted_since(world_, before) == []


@pytest.mark.parametrize("request_", [each for each in SupportRequestKind if each != UNLOCK_EMAIL])
def test_every_request_about_it_is_refused_as_unknown(request_: SupportRequestKind) -> None:
    """The refusal contains no state, and nothing changes."""
    details: dict[SupportRequestKind, dict[str, Any]] = {
        SupportRequestKind.REINSTATE_ORGANIZATION: {"grant_until": moment(60)},
        PLACE_HOLD: {"hold": HoldKind.LEGAL},
        RELEASE_HOLD: {"hold": HoldKind.LEGAL},
        SupportRequestKind.EXTEND_GRACE: {"days": 3},
    }
    world_ = closed()
    world_.apply(erased(), moment(20))
    before, stood = len(world_.events), world_.acme()
    request = asked(request_, 30, **details.get(request_, {}))
    assert outcome(world_, request, 30) is Outcome.REFUSED
    (answer,) = emitted_since(world_, before)
    assert answer.kind is EventKind.SUPPORT_REQUEST_REJECTED
    assert isinstance(answer.details, SupportDetails)
    assert answer.details.code is Refusal.UNKNOWN_ORGANIZATION
    assert answer.standing is not None
    assert (answer.standing.state, answer.standing.capabilities) == (None, None)
    assert answer.sequence == stood.sequence + 1
    counted = replace(stood, sequence=answer.sequence, decided_at=moment(30))
    assert world_.acme() == counted


def test_an_unlock_in_its_name_is_answered_for_another_or_for_the_worker() -> None:
    """As for an organization that never existed."""
    world_ = closed()
    world_.apply(erased(), moment(20))
    world_.apply(asked(UNLOCK_EMAIL, 30, email=OTHERS), moment(30))
    world_.apply(asked(UNLOCK_EMAIL, 31, email=OTHERS), moment(31))
    completed, refused = world_.events[-2:]
    assert (completed.subject, completed.kind) == ("gamma", EventKind.SUPPORT_REQUEST_COMPLETED)
    assert (refused.subject, refused.kind) == ("worker", EventKind.SUPPORT_REQUEST_REJECTED)
