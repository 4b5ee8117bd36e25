"""The facts of docs/states.md: every kind, in every form that changes the decision."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from states_world import ACCOUNT, ACME, BETA, DAY, OWNER, World

from marketplace_worker.lifecycle.decide import deadline_of
from marketplace_worker.lifecycle.facts import (
    ApiRequested,
    ClosureJudged,
    CommitmentLinked,
    EpochBegan,
    EpochCompleted,
    Erased,
    Fact,
    GuardReleased,
    GuardTripped,
    LoggedIn,
    OwnerChanged,
    PublishedBefore,
    TierChanged,
    Unrecognized,
)
from marketplace_worker.lifecycle.matching import attached_to
from marketplace_worker.lifecycle.notes import (
    Activated,
    Attention,
    Ended,
    Ending,
    Pended,
    Resumed,
    Superseded,
    Suspended,
    Unchanged,
    Unsubscribed,
)
from marketplace_worker.lifecycle.policy import Guard
from marketplace_worker.lifecycle.safeguards import Safeguards, StepCount
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import (
    ActivityFeed,
    DeactivationCause,
    EmailHash,
    HoldKind,
    Initiator,
    Marketplace,
    PlanEndReason,
    SubscriptionKey,
    SupportRequestKind,
    Tier,
)

HOUR = timedelta(hours=1)
BY_CUSTOMER = Ended(PlanEndReason.CUSTOMER, Initiator.CUSTOMER, terminal=True)

Build = Callable[[World], Fact | None]
"""Applies what must precede the fact, and returns the fact; None where it cannot occur."""


@dataclass(frozen=True, slots=True)
class FactForm:
    """One form of a fact; `name` heads its column.

    `marketplace`: the marketplace of the plan that it is about; None: all have the same answers.
    """

    name: str
    build: Build
    marketplace: Marketplace | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """The columns of one table; `about` is the text above it."""

    name: str
    about: str
    forms: Sequence[FactForm]


# --- marketplaces ---------------------------------------------------------------------------------


def _successor(world: World) -> Fact:
    return world.note(SubscriptionKey(Marketplace.AWS, "a-3"), Pended(successor_of=world.plan))


def _unknown_kind(world: World) -> Fact:
    notified = world.note(world.plan, Unchanged())
    note = replace(notified.note, plan_type=None)
    return replace(notified, note=note, attention=Attention.UNKNOWN_KIND)


def _aws(name: str, build: Build) -> FactForm:
    return FactForm(name, build, Marketplace.AWS)


AWS = Group(
    "AWS and Google",
    '"Its plan" is the pending one if there is one, otherwise the organization\'s first. A new '
    "subscription has no link.",
    (
        _aws("its plan ends", lambda world: world.note(world.plan, BY_CUSTOMER)),
        _aws(
            "its plan ends in an hour",
            lambda world: world.note(world.plan, Ending(world.now + HOUR, closes_usage=True)),
        ),
        _aws("its plan is superseded", lambda world: world.note(world.plan, Superseded())),
        _aws("its plan is active again", lambda world: world.note(world.plan, Activated())),
        _aws("a successor of its plan is bought", _successor),
        _aws(
            "a new subscription of its billing account is active",
            lambda world: world.note(
                SubscriptionKey(Marketplace.AWS, "a-4"), Activated(), account=ACCOUNT
            ),
        ),
        _aws("a notification of an unknown kind", _unknown_kind),
    ),
)


def _unsubscribe(world: World) -> Fact:
    notified = world.note(world.plan, Unsubscribed(by_partner=False))
    return replace(notified, note=replace(notified.note, closes_usage=True))


def _azure(name: str, build: Build) -> FactForm:
    return FactForm(name, build, Marketplace.AZURE)


def _link_new_azure(world: World) -> Fact:
    key = SubscriptionKey(Marketplace.AZURE, "s-2")
    world.apply(world.note(key, Activated()))
    return world.link(key)


AZURE = Group(
    "Azure",
    "The same for a plan of Azure, whose reinstatement Support completes.",
    (
        _azure("`Suspend`", lambda world: world.note(world.plan, Suspended())),
        _azure("`Reinstate`", lambda world: world.note(world.plan, Resumed("suspended"))),
        _azure("`Unsubscribe`", _unsubscribe),
        _azure("a new subscription is linked", _link_new_azure),
    ),
)


# --- the product ----------------------------------------------------------------------------------


def _commitment(starts: int, ends: int) -> Build:
    def build(world: World) -> Fact:
        now = world.now
        return CommitmentLinked(
            world.identity(), now, ACME, "c-1", now + starts * DAY, now + ends * DAY
        )

    return build


def _link_active(world: World) -> Fact:
    key = SubscriptionKey(Marketplace.GCP, "e-1")
    world.apply(world.note(key, Activated()))
    return world.link(key)


def _link_ended(world: World) -> Fact:
    key = SubscriptionKey(Marketplace.GCP, "e-1")
    world.apply(world.note(key, BY_CUSTOMER))
    return world.link(key)


def _link_elsewhere(world: World) -> Fact:
    world.apply(world.created(BETA))
    return world.link(world.plan, BETA)


PLANS_LINKED = Group(
    "Plans that the product links",
    "",
    (
        FactForm("a subscription that is active is linked", _link_active),
        FactForm("one that has ended is linked", _link_ended),
        FactForm("its plan is linked to another organization", _link_elsewhere),
        FactForm("a commitment that has started is linked", _commitment(-1, 30)),
        FactForm("a commitment that starts later is linked", _commitment(20, 50)),
    ),
)

PRODUCT = Group(
    "The product, its users and operators",
    "The other organization has the same owner's email.",
    (
        FactForm("`organization.created`", lambda world: world.created()),
        FactForm("another is created", lambda world: world.created(BETA)),
        FactForm(
            "tier: `plus`",
            lambda world: TierChanged(world.identity(), world.now, ACME, Tier.PLUS),
        ),
        FactForm(
            "the owner changes",
            lambda world: OwnerChanged(world.identity(), world.now, ACME, EmailHash("1" * 64)),
        ),
        FactForm(
            "a login", lambda world: _used(world, LoggedIn(world.identity(), world.now, ACME))
        ),
        FactForm(
            "API requests",
            lambda world: _used(world, ApiRequested(world.identity(), world.now, ACME)),
        ),
        FactForm(
            "an operator erases it",
            lambda world: Erased(world.identity(), world.now, ACME, "olga", "asked to"),
        ),
    ),
)


def _used(world: World, fact: LoggedIn | ApiRequested) -> Fact:
    world.fleet.record_activity(fact)
    return fact


# --- Support --------------------------------------------------------------------------------------

ASK = SupportRequestKind


def _reactivate_in_use(world: World) -> Fact:
    world.apply(world.created(BETA))
    return world.request(ASK.REACTIVATE_ORGANIZATION)


def _reactivate_unlocked(world: World) -> Fact:
    world.apply(world.request(ASK.UNLOCK_EMAIL, organization=None, email=OWNER))
    return world.request(ASK.REACTIVATE_ORGANIZATION)


def _release(world: World) -> Fact:
    return world.request(ASK.RELEASE_HOLD, hold=HoldKind.LEGAL)


def _deactivate_while_tripped(world: World) -> Fact:
    world.apply(GuardTripped(world.identity(), world.now, "olga", "a wrong list"))
    return world.request(ASK.DEACTIVATE_ORGANIZATION)


COMING_AND_GOING = Group(
    "Support: coming and going",
    "",
    (
        FactForm("`deactivate_organization`", lambda w: w.request(ASK.DEACTIVATE_ORGANIZATION)),
        FactForm("the same while the guard is tripped", _deactivate_while_tripped),
        FactForm("`reactivate_organization`", lambda w: w.request(ASK.REACTIVATE_ORGANIZATION)),
        FactForm("the same, its email already unlocked", _reactivate_unlocked),
        FactForm("the same, its email in use", _reactivate_in_use),
        FactForm("`reinstate_organization`", lambda w: w.request(ASK.REINSTATE_ORGANIZATION)),
        FactForm(
            "the same, with `grant_until`",
            lambda w: w.request(ASK.REINSTATE_ORGANIZATION, grant_until=w.now + 30 * DAY),
        ),
    ),
)

TIME_AND_EMAIL = Group(
    "Support: time and emails",
    "",
    (
        FactForm("`extend_grace`", lambda world: world.request(ASK.EXTEND_GRACE, days=10)),
        FactForm("the same, too many days", lambda world: world.request(ASK.EXTEND_GRACE, days=91)),
        FactForm("`place_hold`", lambda w: w.request(ASK.PLACE_HOLD, hold=HoldKind.LEGAL)),
        FactForm("`release_hold`", _release),
        FactForm(
            "`unlock_email`",
            lambda w: w.request(ASK.UNLOCK_EMAIL, organization=None, email=OWNER),
        ),
        FactForm(
            "any request with invalid data",
            lambda w: w.request(ASK.EXTEND_GRACE, problem="days is missing."),
        ),
    ),
)


# --- deadlines ------------------------------------------------------------------------------------


def _too_early(world: World) -> Fact:
    return deadline_of(world.acme, world.now)


def _what_is_due(world: World) -> Fact | None:
    if world.due_at is None:
        return None
    world.now = world.due_at
    return deadline_of(world.acme, world.now)


def _while_tripped(world: World) -> Fact | None:
    world.apply(GuardTripped(world.identity(), world.now, "olga", "a faulty import"))
    return _what_is_due(world)


def _at_the_limit(world: World) -> Fact | None:
    fact = _what_is_due(world)
    most = (StepCount(world.now, Guard().minimum),)
    world.fleet.safeguards = Safeguards(recent=most, control_plane=most)
    return fact


def _while_silent(world: World) -> Fact | None:
    world.fleet.feeds.days[ActivityFeed.LOGINS] = {}
    return _what_is_due(world)


def _while_unreadable(world: World) -> Fact | None:
    fact = _what_is_due(world)
    world.fleet.feeds.possible_use.count_unreadable(
        ActivityFeed.LOGINS, world.now, ACME, known=True
    )
    return fact


def _run_out(world: World) -> Fact | None:
    counts = world.acme.state is State.ACTIVE and attached_to(world.fleet, ACME)
    if world.acme.creation is None or not (counts or world.acme.pending):
        return None
    world.apply(world.note(world.plan, Ending(world.now + HOUR)))
    world.now += HOUR
    return deadline_of(world.acme, world.now)


def _begun(world: World) -> Fact | None:
    if world.acme.creation is None:
        return None
    before = world.now
    starts_at = before + HOUR
    world.apply(
        CommitmentLinked(world.identity(), before, ACME, "c-1", starts_at, before + 30 * DAY)
    )
    world.now = before + HOUR
    return deadline_of(world.acme, world.now)


def _hold_expired(world: World) -> Fact | None:
    if world.acme.creation is None:
        return None
    expires_at = world.now + HOUR
    world.apply(world.request(ASK.PLACE_HOLD, hold=HoldKind.LEGAL, expires_at=expires_at))
    world.now = expires_at
    return deadline_of(world.acme, world.now)


DEADLINES = Group(
    "Deadlines",
    "The next deadline is that of a step if its notice stands or it needs none, otherwise that of "
    "the notice. The last three columns are prepared by a fact an hour earlier.",
    (
        FactForm("before it is due", _too_early),
        FactForm("the next deadline", _what_is_due),
        FactForm("the same at the guard's limit", _at_the_limit),
        FactForm("the same while the guard is tripped", _while_tripped),
        FactForm("the same, the login feed is silent", _while_silent),
        FactForm("the same, a login of the organization is unreadable", _while_unreadable),
        FactForm("the announced end of its plan", _run_out),
        FactForm("a commitment starts", _begun),
        FactForm("a hold expires", _hold_expired),
    ),
)


def _published(world: World) -> Fact:
    number = world.acme.sequence + 10
    return PublishedBefore(world.identity(), world.now, ACME, number, world.acme.revision)


def _published_closed(world: World) -> PublishedBefore:
    number, cause = world.acme.sequence + 10, DeactivationCause.MARKETPLACE_CANCELLATION
    return PublishedBefore(world.identity(), world.now, ACME, number, world.acme.revision, cause)


def _judge(*, stands: bool) -> Build:
    def build(world: World) -> Fact:
        world.apply(_published_closed(world))
        return ClosureJudged(world.identity(), world.now, ACME, stands, "olga", "looked at")

    return build


def _reinstate_in_doubt(world: World) -> Fact:
    world.apply(_published_closed(world))
    return world.request(ASK.REINSTATE_ORGANIZATION, grant_until=world.now + 30 * DAY)


def _extend_in_doubt(world: World) -> Fact:
    world.apply(_published_closed(world))
    return world.request(ASK.EXTEND_GRACE, days=10)


def _due_in_doubt(world: World) -> Fact | None:
    world.apply(_published_closed(world))
    return _what_is_due(world)


RESTORED = Group(
    "After a restore",
    "The topics hold what the database has lost. From the second column on, a deactivation was "
    "published.",
    (
        FactForm("more was published", _published),
        FactForm("a deactivation was published", _published_closed),
        FactForm("then an operator confirms it", _judge(stands=True)),
        FactForm("then an operator overrules it", _judge(stands=False)),
        FactForm("then `reinstate_organization`", _reinstate_in_doubt),
        FactForm("then `extend_grace`", _extend_in_doubt),
        FactForm("then the next deadline", _due_in_doubt),
    ),
)

GROUPS = (
    AWS, AZURE, PLANS_LINKED, PRODUCT, COMING_AND_GOING, TIME_AND_EMAIL, DEADLINES, RESTORED,
)  # fmt: skip


# --- what concerns no organization ----------------------------------------------------------------


def _trip(world: World) -> Fact:
    return GuardTripped(world.identity(), world.now, "olga", "a faulty import")


def _begin_epoch(world: World) -> Fact:
    return EpochBegan(world.identity(), world.now, "olga", "restored", sequence=70)


def _complete_epoch(world: World) -> Fact:
    world.apply(_begin_epoch(world))
    return EpochCompleted(world.identity(), world.now, "olga", "restored")


def _release_guard(steps: int | None) -> Build:
    def build(world: World) -> Fact:
        return GuardReleased(world.identity(), world.now, "olga", "looked at", steps)

    return build


FLEET_WIDE = (
    FactForm("an operator trips the guard", _trip),
    FactForm("an operator releases 10 steps", _release_guard(10)),
    FactForm("an operator releases it completely", _release_guard(None)),
    FactForm("an operator starts a recovery from a restore", _begin_epoch),
    FactForm("that recovery completes", _complete_epoch),
    FactForm(
        "`unlock_email` of an unknown address",
        lambda w: w.request(ASK.UNLOCK_EMAIL, organization=None, email=EmailHash("2" * 64)),
    ),
    FactForm(
        "a message with a known shape and an unknown kind",
        lambda world: Unrecognized(world.identity(), world.now, "io.example.other"),
    ),
)
