"""A fleet without marketplaces: facts are told to it, its deadlines come, all of it is recorded.

Facts here are written by hand or drawn; `stories.py` has those that come from real messages.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from marketplace_worker.lifecycle.coverage import Coverage, coverage
from marketplace_worker.lifecycle.decide import Decision, deadline_of, take
from marketplace_worker.lifecycle.events import Event
from marketplace_worker.lifecycle.facts import (
    CommitmentLinked,
    Created,
    Fact,
    Notified,
    OwnerChanged,
    SubscriptionLinked,
    TierChanged,
)
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.notes import (
    Activated,
    Change,
    Ended,
    Ending,
    Note,
    Pended,
    Resumed,
    Superseded,
    Suspended,
    Unchanged,
    Unsubscribed,
    VendorCancellationApproved,
)
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.lifecycle.settle import Settled
from marketplace_worker.lifecycle.vocabulary import (
    EmailHash,
    Identity,
    Initiator,
    Marketplace,
    OrganizationId,
    PlanType,
    Reason,
    SubscriptionKey,
    Tier,
)

DAY_0 = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
FAR = DAY_0 + 10_000 * DAY
"""Beyond every moment that is drawn, and every timeline after it."""

ACME, BETA = OrganizationId("acme"), OrganizationId("beta")
AGREEMENT = SubscriptionKey(Marketplace.AWS, "a-1")
RENEWED = SubscriptionKey(Marketplace.AWS, "a-2")
ENTITLEMENT = SubscriptionKey(Marketplace.GCP, "e-1")
SAAS = SubscriptionKey(Marketplace.AZURE, "s-1")
SUBSCRIPTIONS = [AGREEMENT, RENEWED, ENTITLEMENT, SAAS]


@dataclass(frozen=True, slots=True)
class Look:
    """One look at one organization, and whether it had an active plan then."""

    now: datetime
    settled: Settled
    had_a_plan: bool


@dataclass(slots=True)
class World:
    """A fleet and what is due in it; `events` is all that it ever said."""

    policy: Policy = field(default_factory=Policy)
    fleet: Fleet = field(default_factory=Fleet)
    due_at: dict[OrganizationId, datetime | None] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)

    def tell(self, fact: Fact, now: datetime) -> Decision:
        """Decide on one fact; who asks for a moment that has passed is looked at now."""
        decision = take(fact, self.fleet, self.policy, now=now)
        for settled in decision.settled:
            due_at = settled.due_at
            self.due_at[settled.organization.id] = due_at and max(due_at, now)
            active = self.covered(settled.organization.id).active(now)
            self.looks.append(Look(now, settled, had_a_plan=active))
        self.events += decision.events
        return decision

    def wait(self, until: datetime) -> None:
        """Let every deadline before `until` come at its own time."""
        while due := sorted((at, id_) for id_, at in self.due_at.items() if at and at < until):
            now, organization = due[0]
            self.tell(deadline_of(self.fleet.organization(organization), now), now)
            again = self.due_at[organization]
            assert again is None or again > now, "what was due has been done"

    def covered(self, organization: OrganizationId) -> Coverage:
        """All plans of an organization."""
        return coverage(self.fleet.organization(organization), self.fleet, self.policy)


# --- facts by hand --------------------------------------------------------------------------------


def created(id_: str = "created", organization: OrganizationId = ACME, day: float = 0) -> Created:
    """The organization exists."""
    at = DAY_0 + day * DAY
    return Created(Identity("t", id_), at, organization, Tier.FREE, EmailHash(f"{0:064x}"))


def link(
    subscription: SubscriptionKey,
    day: float = 0,
    organization: OrganizationId = ACME,
    plan_type: PlanType | None = None,
    id_: str = "",
) -> SubscriptionLinked:
    """The sign-up accepted a subscription."""
    identity = Identity("t", id_ or f"link-{organization}-{subscription}-{day}")
    return SubscriptionLinked(
        identity, DAY_0 + day * DAY, organization, subscription, plan_type=plan_type
    )


def note(day: float, change: Change, rank: int = 1, id_: str = "", **told: object) -> Note:
    """One notification, as a register keeps it."""
    name = id_ or f"{day}/{rank}/{change.kind}"
    return Note(DAY_0 + day * DAY, rank, name, change, **told)  # type: ignore[arg-type]


def heard(subscription: SubscriptionKey, told: Note) -> Notified:
    """A marketplace said something."""
    identity = Identity(subscription.marketplace, f"{subscription}/{told.id}")
    return Notified(identity, subscription, told, notification=told.change.kind)


def commitment(
    starts: float, ends: float, linked: float = 0, name: str = "c-1", id_: str = ""
) -> CommitmentLinked:
    """A commitment of acme."""
    return CommitmentLinked(
        Identity("t", id_ or f"{name}/{starts}/{ends}/{linked}"),
        DAY_0 + linked * DAY,
        ACME,
        name,
        starts_at=DAY_0 + starts * DAY,
        ends_at=DAY_0 + ends * DAY,
    )


# --- facts that are drawn -------------------------------------------------------------------------

MOMENTS = st.builds(
    lambda day, hour: DAY_0 + day * DAY + hour * HOUR, st.integers(0, 40), st.integers(0, 1)
)
"""Few enough that several things happen at one instant."""

PLAN_TYPES = st.sampled_from([None, PlanType.PAYG, PlanType.COMMIT])
ORGANIZATIONS = st.sampled_from([ACME, ACME, BETA])
ENDS = st.builds(
    Ended,
    st.sampled_from([Reason.CUSTOMER, Reason.NON_PAYMENT, Reason.UNKNOWN]),
    st.just(Initiator.MARKETPLACE),
    terminal=st.booleans(),
)
CHANGES: dict[Marketplace, st.SearchStrategy[Change]] = {
    Marketplace.AWS: st.one_of(
        st.builds(Activated),
        st.builds(Pended, successor_of=st.none() | st.just(AGREEMENT)),
        st.builds(Ending, st.none() | MOMENTS, closes_usage=st.booleans()),
        st.builds(Resumed, where=st.just("ending")),
        st.builds(Superseded),
        st.builds(VendorCancellationApproved),
        ENDS,
    ),
    Marketplace.GCP: st.one_of(st.builds(Activated), st.builds(Ending, st.none() | MOMENTS), ENDS),
    Marketplace.AZURE: st.one_of(
        st.builds(Activated),
        st.builds(Suspended),
        st.builds(Resumed, where=st.just("suspended")),
        st.builds(Unsubscribed, by_partner=st.booleans()),
        st.builds(Unchanged),
    ),
}


@st.composite
def facts(draw: st.DrawFn, number: int) -> Fact:
    """Anything that can be told of the few organizations and subscriptions that there are."""
    at, identity = draw(MOMENTS), Identity("t", f"f-{number}")
    match draw(st.integers(0, 9)):
        case 0 | 1:
            subscription = draw(st.sampled_from(SUBSCRIPTIONS))
            organization, plan_type = draw(ORGANIZATIONS), draw(PLAN_TYPES)
            return SubscriptionLinked(identity, at, organization, subscription, plan_type=plan_type)
        case 2:
            name = draw(st.sampled_from(["c-1", "c-2"]))
            starts_at = draw(MOMENTS)
            ends_at = starts_at + draw(st.integers(1, 60)) * DAY
            return CommitmentLinked(
                identity, at, draw(ORGANIZATIONS), name, starts_at=starts_at, ends_at=ends_at
            )
        case 3:
            told = draw(st.sampled_from([TierChanged, OwnerChanged]))
            organization = draw(ORGANIZATIONS)
            if told is TierChanged:
                return TierChanged(identity, at, organization, draw(st.sampled_from(Tier)))
            return OwnerChanged(identity, at, organization, EmailHash(f"{number:064x}"))
        case _:
            subscription = draw(st.sampled_from(SUBSCRIPTIONS))
            change = draw(CHANGES[subscription.marketplace])
            told_note = Note(
                at, draw(st.integers(1, 4)), f"f-{number}", change, plan_type=draw(PLAN_TYPES)
            )
            return Notified(identity, subscription, told_note, notification=change.kind)


@st.composite
def tales(draw: st.DrawFn, most: int = 9) -> list[Fact]:
    """What happens to acme, and perhaps to beta: each begins with its creation."""
    told: list[Fact] = [created(), link(draw(st.sampled_from(SUBSCRIPTIONS)))]
    if draw(st.booleans()):
        told.append(created("created-beta", BETA))
    return told + [draw(facts(number)) for number in range(draw(st.integers(1, most)))]
