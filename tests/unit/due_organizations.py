"""Organizations whose next step is due at this very moment, and all that must keep it from them.

Without an obstacle the step is taken `TODAY`; each of `OBSTACLES` alone prevents it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from strategies import FEED_DAYS, TODAY
from world import (
    ACCOUNT,
    ACME,
    AGREEMENT,
    BOUGHT_AGAIN,
    DAY,
    ENTITLEMENT,
    HOUR,
    OWNER,
    SAAS,
    World,
)

from marketplace_worker.lifecycle.cancellation import Cancellation, Notice
from marketplace_worker.lifecycle.inactivity import Feeds, LastSeen
from marketplace_worker.lifecycle.notes import (
    Activated,
    Change,
    Ended,
    Note,
    Superseded,
    Suspended,
    Unsubscribed,
)
from marketplace_worker.lifecycle.organization import (
    Commitment,
    Creation,
    Grant,
    Hold,
    LatestWins,
    Organization,
    Recovery,
)
from marketplace_worker.lifecycle.policy import Guard, Policies, Policy, Timeline
from marketplace_worker.lifecycle.safeguards import Safeguards, StepCount, Trip
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.subscription import Link, Subscription
from marketplace_worker.lifecycle.vocabulary import (
    ActivityFeed,
    HoldKind,
    Initiator,
    PlanEndReason,
    PlanType,
    SubscriptionKey,
    Tier,
)

POLICY = Policy()
BEGAN = TODAY - 95 * DAY
ENDED = Ended(PlanEndReason.CUSTOMER, Initiator.CUSTOMER, terminal=True)

DOWN = (State.CANCELED, State.CONTROL_PLANE_LOSS, State.SUSPENDED)
ANNOUNCED = (State.ACTIVE, State.CONTROL_PLANE_LOSS, State.SUSPENDED)
"""Whose next step needs a notice, and is harmful."""
ALL = (State.ACTIVE, *DOWN)


def active_feeds(world: World) -> World:
    """Others are in use all the time."""
    world.fleet.feeds = Feeds({feed: dict(FEED_DAYS["always"]) for feed in ActivityFeed})
    return world


def due_organization(state: State, plan_type: PlanType | None, slack: timedelta) -> World:
    """The next step of acme is due since `slack`, by every rule at once."""
    world = active_feeds(World(Policies(POLICY)))
    acme = Organization(
        ACME,
        creation=Creation(BEGAN, "c", BEGAN),
        tier=LatestWins(BEGAN, "c", Tier.FREE),
        owner=LatestWins(BEGAN, "c", OWNER),
    )
    if state is State.ACTIVE:
        world.fleet.seen[ACME] = LastSeen(TODAY - 30 * DAY - slack, BEGAN)
        lead = POLICY.notice.inactivity
        given_at = TODAY - lead - slack
        acme = replace(acme, notice=Notice(State.DEACTIVATED, TODAY - slack, given_at, "story"))
        world.fleet.put(acme)
        return world
    step = state.next_step
    assert step is not None
    canceled_at = TODAY - POLICY.offset(plan_type, step) - slack
    entered_at = TODAY - POLICY.minimum_dwell.of(state) - slack
    acme = replace(
        acme,
        state=state,
        previous_state=State.ACTIVE,
        entered_at=entered_at,
        plan_type=plan_type,
        cancellation=Cancellation(canceled_at, "story", POLICY.version),
    )
    announced = POLICY.notice.of(step)
    if announced is not None:
        notice = Notice(step, TODAY - slack, TODAY - announced - slack)
        acme = replace(acme, notice=notice)
    link = Link(BEGAN, "l", ACME, plan_type, ACCOUNT)
    register = register_of(ENTITLEMENT, (BEGAN, Activated()), (canceled_at, ENDED)).with_link(link)
    world.fleet.put(acme, register)
    return world


def register_of(key: SubscriptionKey, *changes: tuple[datetime, Change]) -> Subscription:
    """A register of which this was said."""
    notes = (Note(at, 1, f"n-{number}", change) for number, (at, change) in enumerate(changes))
    return Subscription(key, tuple(notes))


# --- obstacles ------------------------------------------------------------------------------------

Put = Callable[[World, timedelta], None]


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What keeps an organization from its next step, in which states; `put` does so by a margin."""

    states: frozenset[State]
    put: Put


OBSTACLES: dict[str, Obstacle] = {}


def obstacle(*states: State) -> Callable[[Put], Put]:
    """Of these states, or of all."""

    def register(put: Put) -> Put:
        OBSTACLES[put.__name__] = Obstacle(frozenset(states or ALL), put)
        return put

    return register


def become(world: World, **changes: object) -> None:
    """Let acme be otherwise."""
    world.fleet.put(replace(world.acme(), **changes))  # type: ignore[arg-type]


def offset_of(acme: Organization) -> timedelta:
    """When after its cancellation its next step is due."""
    assert acme.state.next_step is not None
    return POLICY.offset(acme.plan_type, acme.state.next_step)


def lead_of(acme: Organization) -> timedelta:
    """How long before its next step that must be announced."""
    step = acme.state.next_step
    lead = POLICY.notice.inactivity if step is None else POLICY.notice.of(step)
    assert lead is not None
    return lead


# Section 3, 1 and 2: offset and dwell.


@obstacle(*DOWN)
def canceled_too_lately(world: World, margin: timedelta) -> None:
    """By the register: what was decided of it follows."""
    canceled_at = TODAY - offset_of(world.acme()) + margin
    link = world.fleet.subscription(ENTITLEMENT).links[0]
    world.fleet.put(
        register_of(ENTITLEMENT, (BEGAN, Activated()), (canceled_at, ENDED)).with_link(link)
    )


@obstacle(*DOWN)
def extended(world: World, margin: timedelta) -> None:
    """By Support."""
    cancellation = world.acme().cancellation
    assert cancellation is not None
    due_at = cancellation.canceled_at + offset_of(world.acme())
    become(world, cancellation=replace(cancellation, extension=TODAY - due_at + margin))


@obstacle(*DOWN)
def longer_by_an_older_policy(world: World, margin: timedelta) -> None:
    """Pinned, and kinder than the one in force."""
    far = TODAY - BEGAN + margin
    older = replace(POLICY, payg=Timeline(far, far, far), commit=Timeline(far, far, far))
    world.policies = Policies(replace(POLICY, version="newer"), {POLICY.version: older})


@obstacle(*DOWN)
def longer_by_a_newer_policy(world: World, margin: timedelta) -> None:
    """Not pinned, but kinder than the one that is."""
    far = TODAY - BEGAN + margin
    newer = replace(POLICY, payg=Timeline(far, far, far), commit=Timeline(far, far, far))
    world.policies = Policies(replace(newer, version="newer"), {POLICY.version: POLICY})


@obstacle(*DOWN)
def entered_too_lately(world: World, margin: timedelta) -> None:
    """The dwell counts from really entering a state."""
    dwell = POLICY.minimum_dwell.of(world.acme().state)
    become(world, entered_at=TODAY - dwell + margin)


@obstacle(*DOWN)
def held_until_lately(world: World, margin: timedelta) -> None:
    """The dwell starts again at the end of a hold."""
    dwell = POLICY.minimum_dwell.of(world.acme().state)
    become(world, dwells_from=TODAY - dwell + margin)


# 3 and 5: notices.


@obstacle(*ANNOUNCED)
def never_announced(world: World, _margin: timedelta) -> None:
    """No notice, no step."""
    become(world, notice=None)


@obstacle(*ANNOUNCED)
def announced_too_lately(world: World, margin: timedelta) -> None:
    """The lead counts from the writing."""
    if (notice := world.acme().notice) is not None:
        become(world, notice=replace(notice, given_at=TODAY - lead_of(world.acme()) + margin))


@obstacle(*ANNOUNCED)
def announced_for_later(world: World, margin: timedelta) -> None:
    """What was said is kept."""
    if (notice := world.acme().notice) is not None:
        become(world, notice=replace(notice, announced_for_at=TODAY + margin))


# 4: the marketplaces' floors.


def _only_the_floor(world: World, *changes: tuple[datetime, Change]) -> None:
    """No offset reaches as far as what Azure wants."""
    short = Timeline(HOUR, 2 * HOUR, 3 * HOUR)
    world.policies = Policies(replace(POLICY, payg=short, commit=short))
    kept = register_of(SAAS, (BEGAN, Activated()), *changes)
    world.fleet.put(kept.with_link(Link(BEGAN, "l-2", ACME)))


@obstacle(State.SUSPENDED)
def azure_suspended_lately(world: World, margin: timedelta) -> None:
    """30 days."""
    _only_the_floor(world, (TODAY - 30 * DAY + margin, Suspended()))


@obstacle(State.SUSPENDED)
def azure_unsubscribed_lately(world: World, margin: timedelta) -> None:
    """7 days."""
    end = Unsubscribed(by_partner=False)
    _only_the_floor(world, (TODAY - 60 * DAY, Suspended()), (TODAY - 7 * DAY + margin, end))


# Holds, plans, and what is pending (invariant 1).


@obstacle()
def held(world: World, _margin: timedelta) -> None:
    """Until somebody releases it."""
    become(world, holds=(Hold(HoldKind.LEGAL, TODAY - DAY, None),))


@obstacle()
def held_for_a_while(world: World, margin: timedelta) -> None:
    """By the second of two holds; the first has expired."""
    expired = Hold(HoldKind.LEGAL, TODAY - 9 * DAY, TODAY - DAY)
    become(world, holds=(expired, Hold(HoldKind.COMMERCIAL, TODAY - DAY, TODAY + margin)))


@obstacle()
def committed(world: World, margin: timedelta) -> None:
    """Just begun, or just about to end."""
    running = Commitment("c-1", TODAY, TODAY + margin, TODAY - DAY, TODAY - DAY, "c")
    become(world, commitments=(running,))


@obstacle()
def granted(world: World, margin: timedelta) -> None:
    """By Support."""
    become(world, grants=(Grant("g-1", TODAY, TODAY + margin),))


@obstacle()
def subscribed(world: World, _margin: timedelta) -> None:
    """At this very moment."""
    running = register_of(AGREEMENT, (TODAY, Activated()))
    world.fleet.put(running.with_link(Link(TODAY, "again", ACME)))


@obstacle()
def superseded_lately(world: World, margin: timedelta) -> None:
    """For seven days a plan that is to be continued counts."""
    ended_at = TODAY - POLICY.grace.successor_within + margin
    continued = register_of(AGREEMENT, (BEGAN, Activated()), (ended_at, Superseded()))
    world.fleet.put(continued.with_link(Link(BEGAN, "l-2", ACME)))


@obstacle(*DOWN)
def pending_until_a_sign_in(world: World, _margin: timedelta) -> None:
    """Nobody linked it, but the billing account is acme's."""
    matching = Note(TODAY, 1, "n", Activated(), billing_account=ACCOUNT)
    world.fleet.put(Subscription(BOUGHT_AGAIN, (matching,)))


@obstacle(*DOWN)
def pending_until_support_reinstates(world: World, _margin: timedelta) -> None:
    """Azure."""
    began = register_of(SAAS, (TODAY, Activated()))
    world.fleet.put(began.with_link(Link(TODAY, "l-3", ACME)))


@obstacle(*DOWN)
def pending_for_a_while(world: World, margin: timedelta) -> None:
    """It has ended, and the time that was left is left."""
    acme = world.acme()
    assert acme.cancellation is not None
    began_at = acme.cancellation.canceled_at
    ended_at = TODAY - offset_of(acme) + margin
    matching = (
        Note(began_at, 1, "n-1", Activated(), billing_account=ACCOUNT),
        Note(ended_at, 1, "n-2", ENDED),
    )
    world.fleet.put(Subscription(BOUGHT_AGAIN, matching))


# The guard (section 8).


@obstacle()
def guarded_by_an_operator(world: World, _margin: timedelta) -> None:
    """The kill switch."""
    world.fleet.safeguards = Safeguards(trip=Trip(TODAY - DAY, "ops", "to be safe"))


@obstacle(*ANNOUNCED)
def guarded_by_the_limit(world: World, margin: timedelta) -> None:
    """The next one would be one too many within the hour."""
    world.policies = Policies(replace(POLICY, guard=Guard(minimum=2, fraction=0)))
    world.fleet.safeguards = Safeguards(recent=(StepCount(TODAY - HOUR + min(margin, HOUR), 2),))


@obstacle(State.CANCELED)
def guarded_by_the_limit_of_losses(world: World, margin: timedelta) -> None:
    """Entries into `control_plane_loss` are counted apart."""
    world.policies = Policies(replace(POLICY, guard=Guard(2, 0, 0)))
    counted = (StepCount(TODAY - HOUR + min(margin, HOUR), 2),)
    world.fleet.safeguards = Safeguards(control_plane=counted)


# Inactivity (section 5).


@obstacle(State.ACTIVE)
def of_the_plus_tier(world: World, _margin: timedelta) -> None:
    """Exempt, always."""
    become(world, tier=LatestWins(BEGAN, "c", Tier.PLUS))


@obstacle(State.ACTIVE)
def of_the_enterprise_tier(world: World, _margin: timedelta) -> None:
    """Exempt, always."""
    become(world, tier=LatestWins(BEGAN, "c", Tier.ENTERPRISE))


@obstacle(State.ACTIVE)
def signed_in_lately(world: World, margin: timedelta) -> None:
    """Within 30 days."""
    world.fleet.seen[ACME] = LastSeen(TODAY - 30 * DAY + margin, BEGAN)


@obstacle(State.ACTIVE)
def used_in_the_previous_cycle(world: World, _margin: timedelta) -> None:
    """At its very beginning; today is in the one after it."""
    world.fleet.seen[ACME] = LastSeen(None, BEGAN + 60 * DAY)


@obstacle(State.ACTIVE)
def reactivated_lately(world: World, margin: timedelta) -> None:
    """Which counts as a login."""
    become(world, recoveries=(Recovery(TODAY - 60 * DAY, TODAY - 30 * DAY + margin),))


def _without(feed: ActivityFeed, world: World) -> None:
    """One day is missing, so that the gap around it is of six."""
    days = world.fleet.feeds.days[feed]
    days.pop((TODAY - 6 * DAY).date(), None)


@obstacle(State.ACTIVE)
def nobody_signed_in(world: World, _margin: timedelta) -> None:
    """The feed was silent, not the organization."""
    _without(ActivityFeed.LOGINS, world)


@obstacle(State.ACTIVE)
def no_use_was_recorded(world: World, _margin: timedelta) -> None:
    """The feed was silent, not the organization."""
    _without(ActivityFeed.API_REQUESTS, world)
