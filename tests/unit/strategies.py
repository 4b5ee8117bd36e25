"""What hypothesis draws: facts of every kind, and whole fleets in any legal state.

States are drawn directly, not walked to: a walk from the start seldom reaches the later ones.
Everything lies around `TODAY`, few enough moments apart that several things happen at one instant.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime

from hypothesis import strategies as st
from world import (
    ACCOUNT,
    ACME,
    AGREEMENT,
    BETA,
    DAY,
    DAY_0,
    HOUR,
    OWNER,
    SUBSCRIPTIONS,
    Shown,
    World,
    created,
    link,
)

from marketplace_worker.lifecycle.cancellation import Cancellation, Notice, Pending
from marketplace_worker.lifecycle.facts import (
    ApiRequested,
    CommitmentLinked,
    Created,
    DeadlineCame,
    Erased,
    Fact,
    GuardReleased,
    GuardTripped,
    LoggedIn,
    Notified,
    OwnerChanged,
    SubscriptionLinked,
    SupportRequested,
    TierChanged,
    Unrecognized,
)
from marketplace_worker.lifecycle.inactivity import DayRange, Feeds, LastSeen
from marketplace_worker.lifecycle.notes import (
    Activated,
    Change,
    Ended,
    Ending,
    Note,
    Pended,
    Progress,
    Resumed,
    Superseded,
    Suspended,
    Unchanged,
    Unsubscribed,
    VendorCancellationApproved,
)
from marketplace_worker.lifecycle.organization import (
    Commitment,
    Creation,
    Grant,
    Hold,
    LatestWins,
    Organization,
    Proof,
    Recovery,
)
from marketplace_worker.lifecycle.policy import (
    AzureReinstatement,
    Guard,
    MinimumDwell,
    NoticeLead,
    Policies,
    Policy,
    Reinstatement,
    Timeline,
)
from marketplace_worker.lifecycle.safeguards import Safeguards, StepCount, Trip
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.subscription import Link, Subscription
from marketplace_worker.lifecycle.vocabulary import (
    ActivityFeed,
    CompletedBy,
    DeactivationCause,
    EmailHash,
    GuardSide,
    HoldKind,
    Identity,
    Initiator,
    Marketplace,
    OrganizationId,
    PlanEndReason,
    PlanType,
    StateReason,
    SubscriptionKey,
    SupportRequestKind,
    Tier,
)

TODAY = DAY_0 + 100 * DAY
OTHER_OWNER = EmailHash(f"{1:064x}")
EMAILS = st.sampled_from([OWNER, OTHER_OWNER])
ACCOUNTS = st.sampled_from([None, ACCOUNT, ACCOUNT, "billing-account-2"])
PLAN_TYPES = st.sampled_from([None, PlanType.PAYG, PlanType.COMMIT])
ORGANIZATIONS = st.sampled_from([ACME, ACME, BETA])
KEYS = st.sampled_from(SUBSCRIPTIONS)
TIERS = st.sampled_from([Tier.FREE, *Tier])
LENGTHS = st.sampled_from([day * DAY for day in (1, 7, 14, 30, 60)])
SMALL = st.integers(0, 9)
COIN = st.booleans()


def moments(since: int, until: int) -> st.SearchStrategy[datetime]:
    """A moment between two days from today, most of them at the very hour of today."""
    days = sorted(range(since, until + 1), key=abs)
    return st.sampled_from(
        [TODAY + day * DAY + hours * HOUR for hours in (0, 0, 0, -1, -12) for day in days]
    )


PAST, SINCE_A_MONTH, LATELY = moments(-60, 0), moments(-30, 0), moments(-10, 0)
SOON = moments(-5, 40)
MOMENTS = st.sampled_from([DAY_0 + day * DAY + hour * HOUR for day in range(41) for hour in (0, 1)])
"""Of a whole life, from its beginning."""
LATER = MOMENTS | st.sampled_from([DAY_0 + day * DAY for day in (42, 50, 75, 130, 200)])
"""And what is still to come at its end."""

# --- what marketplaces say ------------------------------------------------------------------------


def _changes(*ends_at: datetime) -> dict[Marketplace, st.SearchStrategy[Change]]:
    ends = [
        Ended(reason, Initiator.MARKETPLACE, terminal=terminal)
        for reason in (PlanEndReason.CUSTOMER, PlanEndReason.UNKNOWN)
        for terminal in (True, False)
    ]
    ending = [
        Ending(at, closes_usage=closes) for at in (None, *ends_at) for closes in (True, False)
    ]
    aws = [
        Pended(),
        Pended(successor_of=AGREEMENT),
        Resumed(where="ending"),
        Superseded(),
        VendorCancellationApproved(),
    ]
    azure = [
        Activated(),
        Suspended(),
        Resumed(where="suspended"),
        Unsubscribed(by_partner=False),
        Unsubscribed(by_partner=True),
        Unchanged(),
    ]
    began = [Activated()] * 5
    return {
        Marketplace.AWS: st.sampled_from([*began, *aws, *ends, *ending]),
        Marketplace.GCP: st.sampled_from([*began, *ends, *ending]),
        Marketplace.AZURE: st.sampled_from(azure),
    }


LICENCES = st.sampled_from([None, "l-1", "l-2"])
OPERATIONS = st.sampled_from([None, None, "op-1", "op-2"])
PROGRESS = st.sampled_from([Progress.SUCCEEDED, *Progress])
CHANGES = _changes(TODAY - 20 * DAY, TODAY - DAY, TODAY, TODAY + 10 * DAY)
CHANGES_OF_A_LIFE = _changes(*(DAY_0 + day * DAY for day in (1, 10, 20, 40)))


def _subscription(draw: st.DrawFn, key: SubscriptionKey) -> Subscription:
    """The register of one subscription."""
    register = Subscription(key)
    for number in range(draw(SMALL) % 4):
        account = None if key.marketplace is Marketplace.AZURE else draw(ACCOUNTS)
        status_change = draw(CHANGES[key.marketplace])
        note = Note(
            draw(PAST), 1, f"n-{number}", status_change, draw(PLAN_TYPES), billing_account=account
        )
        register = register.with_note(_reported(draw, key, note))
    for number in range((0, 1, 1, 2)[draw(SMALL) % 4]):
        register = register.with_link(
            Link(draw(PAST), f"l-{number}", draw(ORGANIZATIONS), draw(PLAN_TYPES), draw(ACCOUNTS))
        )
    return register


def _reported(draw: st.DrawFn, key: SubscriptionKey, note: Note) -> Note:
    """With what one marketplace alone reports: Azure's notes are of operations, which may have
    failed or still run, and AWS's may name a licence.
    """
    if key.marketplace is Marketplace.AWS:
        return replace(note, licence=draw(LICENCES))
    note = replace(note, closes_usage=isinstance(note.change, Ended | Unsubscribed))
    name = draw(OPERATIONS) if key.marketplace is Marketplace.AZURE else None
    if name is None:
        return note
    return replace(note, operation=f"{name}:{note.change.kind}", progress=draw(PROGRESS))


# --- organizations --------------------------------------------------------------------------------

BEFORE_ALL = moments(-90, -61)
NAMES = st.sampled_from([(), (), ("c-1",), ("c-1", "c-2")])
HOLDS = st.sampled_from([(), (), (), (), (HoldKind.LEGAL,), tuple(HoldKind)])
PLACED, EXPIRIES = moments(-20, -4), st.sampled_from([None, None]) | moments(-3, 20)
VERSIONS = st.sampled_from(["default", "older", "forgotten"])
EXTENSIONS = st.sampled_from([0 * DAY, 0 * DAY, 5 * DAY, 90 * DAY])
COMMITMENTS_BEGIN, GRANTS_BEGIN, GRANTS_END = moments(-60, 20), moments(-40, -11), moments(-10, 20)
CANCELED, LEFT, RETURNED = moments(-60, 5), moments(-60, -45), moments(-44, -30)
EARLIER = st.sampled_from([(), (Recovery(TODAY - 80 * DAY, TODAY - 70 * DAY),)])
NAMED = st.sampled_from([day * DAY for day in (1, 3, 7, 20)])
STATES = st.sampled_from(State)
CAUSES = st.sampled_from(DeactivationCause)
PENDINGS = st.sampled_from(
    [Pending(key, by, TODAY - 2 * DAY) for key in SUBSCRIPTIONS for by in CompletedBy]
)
WAS_ACTIVE = st.sampled_from([State.ACTIVE, State.CANCELED])


def _commitment(draw: st.DrawFn, name: str) -> Commitment:
    """It has begun, has ended, or is still to come."""
    starts_at, linked_at = draw(COMMITMENTS_BEGIN), draw(PAST)
    reported_at = max(linked_at, draw(PAST))
    ends_at = starts_at + draw(LENGTHS)
    return Commitment(name, starts_at, ends_at, linked_at, reported_at, f"told-{name}")


def _registers(draw: st.DrawFn, id_: OrganizationId) -> Organization:
    """The reported values of an organization, whatever its state."""
    creation = draw(BEFORE_ALL)
    here = Organization(
        id_,
        creation=Creation(creation, "created", draw(PAST)),
        tier=LatestWins(creation, "created", draw(TIERS)),
        owner=LatestWins(creation, "created", draw(EMAILS)),
        commitments=tuple(_commitment(draw, name) for name in draw(NAMES)),
        holds=tuple(Hold(kind, draw(PLACED), draw(EXPIRIES)) for kind in draw(HOLDS)),
        sequence=draw(SMALL),
    )
    extras = draw(SMALL)
    if extras in {1, 2, 3}:
        here = replace(here, grants=(Grant("g-1", draw(GRANTS_BEGIN), draw(GRANTS_END)),))
    if extras in {3, 4, 5}:
        here = replace(
            here, proofs=(Proof(draw(KEYS), draw(PAST), draw(st.sampled_from(CompletedBy))),)
        )
    if extras in {5, 6}:
        here = replace(here, recoveries=(*draw(EARLIER), Recovery(draw(LEFT), draw(RETURNED))))
    return here


def _organization(draw: st.DrawFn, id_: OrganizationId) -> Organization:
    """Any legal state, with any past."""
    register_parts, state = _registers(draw, id_), draw(STATES)
    if register_parts.sequence == 9:
        return Organization(id_, tier=register_parts.tier, commitments=register_parts.commitments)
    match state:
        case State.ACTIVE:
            here = register_parts
        case State.DEACTIVATED:
            here = _deactivated(draw, register_parts)
        case _:
            here = _on_its_way_down(draw, register_parts, state)
    return _announced(draw, here)


def _on_its_way_down(draw: st.DrawFn, drawn: Organization, state: State) -> Organization:
    cancellation = Cancellation(draw(CANCELED), "story", draw(VERSIONS), draw(EXTENSIONS))
    here = replace(
        drawn,
        state=state,
        previous_state=draw(WAS_ACTIVE),
        entered_at=draw(SINCE_A_MONTH),
        reason=StateReason.CUSTOMER,
        initiator=Initiator.CUSTOMER,
        plan_type=draw(PLAN_TYPES),
        cancellation=cancellation,
    )
    extras = draw(SMALL)
    if extras in {1, 2, 3}:
        here = replace(here, pending=draw(PENDINGS))
    if extras in {3, 4, 5}:
        assert here.entered_at is not None
        here = replace(here, dwells_from=max(here.entered_at, draw(LATELY)))
    return here


def _deactivated(draw: st.DrawFn, drawn: Organization) -> Organization:
    cause = draw(CAUSES)
    ended = cause is DeactivationCause.MARKETPLACE_CANCELLATION
    return replace(
        drawn,
        state=State.DEACTIVATED,
        previous_state=State.SUSPENDED,
        entered_at=draw(SINCE_A_MONTH),
        reason=StateReason.SUPPORT_REQUEST,
        initiator=Initiator.SUPPORT,
        deactivation_cause=cause,
        cancellation=Cancellation(TODAY - 80 * DAY, "story", "default") if ended else None,
        locked_email=draw(EMAILS) if draw(COIN) else None,
    )


def _announced(draw: st.DrawFn, here: Organization) -> Organization:
    """Perhaps with a standing notice of the next step, and perhaps that step was put off."""
    announces, extras = draw(COIN), draw(SMALL)
    if not announces or here.upcoming not in {State.SUSPENDED, State.DEACTIVATED}:
        return here
    given_at = max(here.dwelling_since or TODAY - 30 * DAY, draw(LATELY))
    here = replace(here, notice=Notice(here.upcoming, given_at + draw(NAMED), given_at))
    if extras in {1, 2}:
        return replace(here, withheld_at=draw(LATELY))
    if extras in {3, 4} and here.state is State.ACTIVE:
        return replace(here, postponed_until=TODAY + (extras - 3) * DAY / 2)
    return here


# --- fleets ---------------------------------------------------------------------------------------


def _days(first: int, last: int) -> dict[date, DayRange]:
    """A feed, every third day: just as often as the policy wants it."""
    moments_of_use = [TODAY + day * DAY for day in range(first, last + 1, 3)]
    return {moment.date(): DayRange(moment, moment) for moment in moments_of_use}


FEED_DAYS = {
    "always": _days(-198, 300),
    "not lately": _days(-99, -5),
    "never": {},
    "not before": _days(-20, 300),
}
HEALTH = st.sampled_from(["always", "always", "always", *FEED_DAYS])
SEEN = st.sampled_from([None, *(TODAY + day * DAY for day in (-70, -40, -31, -30, -29, -8, -1))])

OLDER = Policy(
    version="older",
    payg=Timeline(DAY, 3 * DAY, 60 * DAY),
    commit=Timeline(5 * DAY, 30 * DAY, 70 * DAY),
    minimum_dwell=MinimumDwell(canceled=2 * DAY),
    notice=NoticeLead(suspended=DAY, deactivated=9 * DAY),
)
"""Kinder in some respects, and harsher in others."""


def _policies(reinstatement: Reinstatement, guard: Guard) -> Policies:
    older = replace(OLDER, reinstatement=reinstatement)
    return Policies(Policy(guard=guard, reinstatement=reinstatement), {"older": older})


def _guard(minimum: int) -> Guard:
    """A guard that lets so many of each kind through; 50 is all."""
    return Guard(minimum, 0, 0, requested_per_hour=minimum, requested_per_person=minimum)


POLICIES = st.sampled_from(
    [
        _policies(Reinstatement(sign_in_required=sign_in, azure=azure), _guard(minimum))
        for minimum in (50, 50, 0, 1, 2)
        for sign_in in (True, False)
        for azure in AzureReinstatement
    ]
)
SAFEGUARDS = st.sampled_from(
    [
        Safeguards(sequence=7),
        *(
            Safeguards((StepCount(TODAY - minutes * HOUR / 60, steps),), sequence=7)
            for minutes in (0, 30, 59, 60, 61)
            for steps in (1, 2)
        ),
        *(
            Safeguards(control_plane=(StepCount(TODAY - minutes * HOUR / 60, 2),), sequence=7)
            for minutes in (0, 59, 60)
        ),
        *(
            Safeguards(trip=Trip(TODAY - DAY, None, "too many", allowance), sequence=7)
            for allowance in (0, 0, 1)
        ),
        *(
            Safeguards(requests_trip=Trip(TODAY - DAY, None, "too many", allowance), sequence=7)
            for allowance in (0, 1)
        ),
    ]
)


@st.composite
def organizations(draw: st.DrawFn, id_: OrganizationId) -> Organization:
    """Any legal state, with any past."""
    return _organization(draw, id_)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Two organizations in any legal state, with any plans, and all that a decision may read."""
    world = World(draw(POLICIES))
    for number in range((0, 0, 0, 1, 1, 2, 2, 3, 4, 5)[draw(SMALL)]):
        world.fleet.put(_subscription(draw, SUBSCRIPTIONS[number]))
    for id_ in (ACME, BETA):
        world.fleet.put(_organization(draw, id_))
        world.fleet.seen[id_] = LastSeen(draw(SEEN), draw(SEEN))
    world.fleet.feeds = Feeds({feed: dict(FEED_DAYS[draw(HEALTH)]) for feed in ActivityFeed})
    world.fleet.safeguards = draw(SAFEGUARDS)
    return world


# --- facts ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Drawing:
    """What facts are drawn from: when they happened, until when something lasts or from when a
    commitment does, and what marketplaces say.
    """

    when: st.SearchStrategy[datetime]
    until: st.SearchStrategy[datetime]
    changes: dict[Marketplace, st.SearchStrategy[Change]]


BY_NOW = Drawing(moments(-40, 0), SOON, CHANGES)
IN_A_LIFE = Drawing(MOMENTS, LATER, CHANGES_OF_A_LIFE)
REQUESTS = st.sampled_from(SupportRequestKind)
HOLD_KINDS = st.sampled_from(HoldKind)
DAYS = st.sampled_from([1, 10, 90, 10_000_000])
UNLOCKING = st.sampled_from([None, OrganizationId("nobody"), ACME, ACME])
STEPS_LET_THROUGH = st.sampled_from([None, 1, 2])
SIDES = st.sampled_from(GuardSide)


def _notified(draw: st.DrawFn, of: Drawing, identity: Identity, at: datetime) -> Notified:
    subscription = draw(KEYS)
    change = draw(of.changes[subscription.marketplace])
    account = None if subscription.marketplace is Marketplace.AZURE else draw(ACCOUNTS)
    rank, plan_type = draw(SMALL) % 4, draw(PLAN_TYPES)
    note = Note(at, rank, identity.id, change, plan_type, billing_account=account)
    note = _reported(draw, subscription, note)
    return Notified(identity, subscription, note, notification=change.kind)


def _linked(draw: st.DrawFn, _of: Drawing, identity: Identity, at: datetime) -> SubscriptionLinked:
    subscription, organization = draw(KEYS), draw(ORGANIZATIONS)
    account, plan_type = draw(ACCOUNTS), draw(PLAN_TYPES)
    return SubscriptionLinked(identity, at, organization, subscription, account, plan_type)


def _committed(draw: st.DrawFn, of: Drawing, identity: Identity, at: datetime) -> CommitmentLinked:
    starts_at, name = draw(of.when | of.until), f"c-{draw(SMALL) % 2 + 1}"
    ends_at = starts_at + draw(LENGTHS)
    return CommitmentLinked(identity, at, draw(ORGANIZATIONS), name, starts_at, ends_at)


def _any_fact(draw: st.DrawFn, _of: Drawing, identity: Identity, at: datetime) -> Fact:
    organization = draw(ORGANIZATIONS)
    match draw(SMALL) % 3:
        case 0:
            return TierChanged(identity, at, organization, draw(TIERS))
        case 1:
            return OwnerChanged(identity, at, organization, draw(EMAILS))
        case _:
            return Created(identity, at, organization, draw(TIERS), draw(EMAILS))


def _used(draw: st.DrawFn, _of: Drawing, identity: Identity, at: datetime) -> Fact:
    kind = ApiRequested if draw(SMALL) < 3 else LoggedIn
    return kind(identity, at, draw(ORGANIZATIONS))


def _asked(draw: st.DrawFn, of: Drawing, identity: Identity, at: datetime) -> SupportRequested:
    request: SupportRequestKind = draw(REQUESTS)
    with_until = draw(COIN)
    unlocks = request is SupportRequestKind.UNLOCK_EMAIL
    asked = SupportRequested(
        identity,
        at,
        draw(UNLOCKING if unlocks else ORGANIZATIONS),
        request,
        requested_by="ann",
        reason="because",
        problem="days is wrong." if draw(SMALL) == 9 and not unlocks else None,
    )
    match request:
        case SupportRequestKind.UNLOCK_EMAIL:
            return replace(asked, email=draw(EMAILS))
        case SupportRequestKind.REINSTATE_ORGANIZATION:
            return replace(asked, grant_until=draw(of.until) if with_until else None)
        case SupportRequestKind.PLACE_HOLD:
            expires_at = draw(of.until) if with_until else None
            return replace(asked, hold=draw(HOLD_KINDS), expires_at=expires_at)
        case SupportRequestKind.RELEASE_HOLD:
            return replace(asked, hold=draw(HOLD_KINDS))
        case SupportRequestKind.EXTEND_GRACE:
            return replace(asked, days=draw(DAYS))
        case (
            SupportRequestKind.DEACTIVATE_ORGANIZATION | SupportRequestKind.REACTIVATE_ORGANIZATION
        ):
            return asked


def _operated(draw: st.DrawFn, _of: Drawing, identity: Identity, at: datetime) -> Fact:
    match draw(SMALL) % 5:
        case 0:
            return GuardTripped(identity, at, "ops", "to be safe")
        case 1 | 2:
            steps = draw(STEPS_LET_THROUGH)
            guard = draw(SIDES)
            return GuardReleased(identity, at, "ops", "all is well", steps, steps, guard)
        case 3:
            return Erased(identity, at, draw(ORGANIZATIONS), "ops", "asked to")
        case _:
            return Unrecognized(identity, at, "some.type")


def _deadline(draw: st.DrawFn, _of: Drawing, identity: Identity, at: datetime) -> DeadlineCame:
    return DeadlineCame(identity, at, draw(ORGANIZATIONS))


Draws = Callable[[st.DrawFn, Drawing, Identity, datetime], Fact]
FROM_MARKETPLACES: list[Draws] = [_notified, _notified, _notified, _linked, _committed]
KINDS: st.SearchStrategy[Draws] = st.sampled_from(
    [*FROM_MARKETPLACES, _any_fact, _used, _used, *[_asked] * 4, _operated, _deadline]
)
NEWS: st.SearchStrategy[Draws] = st.sampled_from([*FROM_MARKETPLACES, _any_fact, _used])


@st.composite
def facts(draw: st.DrawFn, number: int = 0) -> Fact:
    """Anything that can be reported of the few organizations and subscriptions that there are."""
    return draw(KINDS)(draw, BY_NOW, Identity("t", f"f-{number}"), draw(BY_NOW.when))


@st.composite
def requests(draw: st.DrawFn) -> SupportRequested:
    """Anything that Support can ask for."""
    return _asked(draw, BY_NOW, Identity("t", "asked"), draw(BY_NOW.when))


@st.composite
def tales(draw: st.DrawFn, most: int = 9) -> Shown[Fact]:
    """What marketplaces, the sign-up and users tell of acme, and perhaps of beta: each is created.

    Their order must not matter.
    """
    history = Shown[Fact]([created(), link(draw(KEYS), account=ACCOUNT)])
    if draw(COIN):
        history.append(created("created-beta", BETA))
    numbers = range(draw(st.integers(1, most)))
    history.extend(
        draw(NEWS)(draw, IN_A_LIFE, Identity("t", f"f-{number}"), draw(MOMENTS))
        for number in numbers
    )
    return history


@st.composite
def lives(draw: st.DrawFn, most: int = 12) -> Shown[Fact]:
    """All that can be reported of acme, and perhaps of beta, in the course of a life."""
    history = Shown[Fact]([created(), link(draw(KEYS), account=ACCOUNT)])
    if draw(COIN):
        history.append(created("created-beta", BETA))
    numbers = range(draw(st.integers(1, most)))
    history.extend(
        draw(KINDS)(draw, IN_A_LIFE, Identity("t", f"f-{number}"), draw(MOMENTS))
        for number in numbers
    )
    return history
