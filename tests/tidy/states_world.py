"""The organizations that docs/states.md asks the core about: one of every state, and of every
situation in a state that makes a difference.

Each is led there by facts and deadlines, as the worker would be; nothing is built by hand.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from marketplace_worker.lifecycle.decide import Decision, apply, deadline_of
from marketplace_worker.lifecycle.facts import (
    Created,
    Fact,
    Notified,
    SubscriptionLinked,
    SupportRequested,
)
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.inactivity import Feeds
from marketplace_worker.lifecycle.notes import Activated, Change, Ended, Note, Resumed, Suspended
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.policy import Policies
from marketplace_worker.lifecycle.vocabulary import (
    ActivityFeed,
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

DAY_0 = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
ACME, BETA = OrganizationId("acme"), OrganizationId("beta")
OWNER = EmailHash("0" * 64)
ACCOUNT = "b-1"
PLANS = {
    Marketplace.AWS: SubscriptionKey(Marketplace.AWS, "a-1"),
    Marketplace.AZURE: SubscriptionKey(Marketplace.AZURE, "s-1"),
}
OTHER = SubscriptionKey(Marketplace.AWS, "a-2")


@dataclass(slots=True)
class World:
    """A fleet, its clock and what is due; both activity feeds are received every day."""

    marketplace: Marketplace
    fleet: Fleet = field(default_factory=Fleet)
    now: datetime = DAY_0
    due_at: datetime | None = None
    messages: int = 0

    @property
    def acme(self) -> Organization:
        """The organization that the page is about."""
        return self.fleet.organization(ACME)

    @property
    def plan(self) -> SubscriptionKey:
        """The plan that it goes by: the one that is pending, else the one that it began with."""
        return self.acme.pending.subscription if self.acme.pending else PLANS[self.marketplace]

    def copied(self) -> "World":
        """The same, to be led on by itself."""
        before = self.fleet
        fleet = Fleet(
            seen=dict(before.seen),
            feeds=Feeds({feed: dict(days) for feed, days in before.feeds.days.items()}),
            safeguards=before.safeguards,
        )
        fleet.put(*before.organizations.values(), *before.subscriptions.values())
        return World(self.marketplace, fleet, self.now, self.due_at, self.messages)

    def identity(self) -> Identity:
        """A new one for each message."""
        self.messages += 1
        return Identity("/states", f"m-{self.messages}")

    def apply(self, fact: Fact) -> Decision:
        """Let the fleet hold what is decided on a fact."""
        decision = apply(fact, self.fleet, Policies(), now=self.now)
        for result in decision.results:
            if result.organization.id == ACME:
                self.due_at = result.due_at
        return decision

    def wait(self, until: datetime) -> None:
        """Let the deadlines come, up to a moment."""
        while self.due_at is not None and self.due_at <= until:
            self.now = max(self.now, self.due_at)
            self.apply(deadline_of(self.acme, self.now))
        self.now = until

    # --- facts used more than once ---

    def note(self, key: SubscriptionKey, change: Change, account: str | None = None) -> Notified:
        """A marketplace says something of a subscription now."""
        identity = self.identity()
        note = Note(self.now, 1, identity.id, change, PlanType.PAYG, billing_account=account)
        return Notified(identity, key, note, notification=change.kind)

    def created(self, organization: OrganizationId = ACME, tier: Tier = Tier.FREE) -> Created:
        """An organization exists, with the same owner as acme."""
        return Created(self.identity(), self.now, organization, tier, OWNER)

    def link(self, key: SubscriptionKey, organization: OrganizationId = ACME) -> SubscriptionLinked:
        """The vendor's sign-up accepted a subscription for an organization."""
        return SubscriptionLinked(self.identity(), self.now, organization, key, ACCOUNT)

    def request(
        self,
        kind: SupportRequestKind,
        *,
        organization: OrganizationId | None = ACME,
        grant_until: datetime | None = None,
        email: EmailHash | None = None,
        hold: HoldKind | None = None,
        expires_at: datetime | None = None,
        days: int | None = None,
        problem: str | None = None,
    ) -> SupportRequested:
        """Support asks for something."""
        return SupportRequested(
            self.identity(),
            self.now,
            organization,
            kind,
            requested_by="sam",
            reason="the customer called",
            grant_until=grant_until,
            email=email,
            hold=hold,
            expires_at=expires_at,
            days=days,
            problem=problem,
        )

    def end(self) -> Notified:
        """The plan that it goes by ends: unsubscribed, or (Azure) not paid."""
        if self.plan.marketplace is Marketplace.AZURE:
            return self.note(self.plan, Suspended())
        ended = Ended(PlanEndReason.CUSTOMER, Initiator.CUSTOMER, terminal=False)
        return self.note(self.plan, ended)

    def second_plan(self) -> None:
        """Another subscription of the same billing account is active."""
        self.apply(self.note(OTHER, Activated(), ACCOUNT))


# --- how each of them came there ------------------------------------------------------------------


def _free(world: World) -> None:
    world.apply(world.created())
    world.wait(DAY_0 + 5 * DAY)


def _announced_inactivity(world: World) -> None:
    world.apply(world.created())
    world.wait(DAY_0 + 24 * DAY)


def _with_a_plan(world: World) -> None:
    world.apply(world.created())
    world.apply(world.note(world.plan, Activated(), ACCOUNT))
    world.apply(world.link(world.plan))
    world.wait(DAY_0 + 10 * DAY)


def _with_two_plans(world: World) -> None:
    _with_a_plan(world)
    world.second_plan()
    world.apply(world.link(OTHER))


def _canceled_for(days: float) -> Callable[[World], None]:
    def lead(world: World) -> None:
        _with_a_plan(world)
        world.apply(world.end())
        world.wait(world.now + days * DAY)

    return lead


def _waiting_for_a_sign_in(days: float) -> Callable[[World], None]:
    def lead(world: World) -> None:
        _canceled_for(days)(world)
        world.second_plan()
        world.wait(world.now + DAY)

    return lead


def _waiting_for_support(world: World) -> None:
    _canceled_for(10)(world)
    world.apply(world.note(world.plan, Resumed("suspended")))
    world.wait(world.now + DAY)


def _held(world: World) -> None:
    _canceled_for(10)(world)
    hold = world.request(SupportRequestKind.PLACE_HOLD, hold=HoldKind.LEGAL)
    world.apply(hold)
    world.wait(world.now + 60 * DAY)


def _deactivated_by_support(world: World) -> None:
    _with_a_plan(world)
    world.apply(world.request(SupportRequestKind.DEACTIVATE_ORGANIZATION))
    world.wait(world.now + DAY)


def _deactivated_for_inactivity(world: World) -> None:
    world.apply(world.created())
    world.wait(DAY_0 + 31 * DAY)


def _never_created(world: World) -> None:
    world.wait(DAY_0 + DAY)


def _kept(world: World) -> None:
    world.wait(DAY_0 + DAY)
    world.apply(world.link(world.plan))
    world.apply(world.end())
    world.wait(world.now + DAY)


@dataclass(frozen=True, slots=True)
class Situation:
    """The state of an organization when a fact about it arrives.

    `only`: the one marketplace where there is such a situation; None: all are alike.
    """

    name: str
    lead: Callable[[World], None]
    only: Marketplace | None = None

    def world(self, marketplace: Marketplace | None) -> World | None:
        """The organization there, with a plan of that marketplace; None: there is none."""
        if marketplace is not None and self.only not in {None, marketplace}:
            return None
        world = World(self.only or marketplace or Marketplace.AWS)
        for days in range(-70, 120):
            for feed in ActivityFeed:
                world.fleet.feeds.record(feed, DAY_0 + days * DAY)
        self.lead(world)
        return world


SITUATIONS = (
    Situation("`active`, with a plan", _with_a_plan),
    Situation("`active`, with two plans", _with_two_plans, Marketplace.AWS),
    Situation("`active`, free, never had a plan", _free),
    Situation("`active`, free, notice of inactivity", _announced_inactivity),
    Situation("`canceled`", _canceled_for(0.5)),
    Situation("`canceled`, pending (sign-in)", _waiting_for_a_sign_in(0.5), Marketplace.AWS),
    Situation("`control_plane_loss`", _canceled_for(2)),
    Situation("`control_plane_loss`, notice", _canceled_for(5)),
    Situation(
        "`control_plane_loss`, notice, pending (sign-in)",
        _waiting_for_a_sign_in(5),
        Marketplace.AWS,
    ),
    Situation("`suspended`", _canceled_for(10)),
    Situation("`suspended`, notice", _canceled_for(31)),
    Situation("`suspended`, pending (sign-in)", _waiting_for_a_sign_in(10), Marketplace.AWS),
    Situation("`suspended`, pending (Support)", _waiting_for_support, Marketplace.AZURE),
    Situation("`suspended`, under a hold", _held),
    Situation("`deactivated` by Support", _deactivated_by_support),
    Situation("`deactivated` for inactivity", _deactivated_for_inactivity),
    Situation("`deactivated` for good", _canceled_for(45)),
    Situation("never created", _never_created),
    Situation("never created; it had a plan", _kept),
)
