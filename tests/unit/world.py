"""A fleet without marketplaces: facts are applied, deadlines come, and all of it is recorded.

Facts here are written by hand; `strategies.py` has those that are drawn, and `stories.py` those
that come from real messages.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TypeVar

from hypothesis.vendor.pretty import RepresentationPrinter

from marketplace_worker.lifecycle.case import Case
from marketplace_worker.lifecycle.coverage.combined import Coverage
from marketplace_worker.lifecycle.decide import Decision, apply, deadline_of
from marketplace_worker.lifecycle.events import Event
from marketplace_worker.lifecycle.facts import (
    ApiRequested,
    CommitmentLinked,
    Created,
    DeadlineCame,
    Fact,
    GuardReleased,
    GuardTripped,
    LoggedIn,
    Notified,
    SubscriptionLinked,
    SupportRequested,
)
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.guard import GuardSession
from marketplace_worker.lifecycle.notes import Change, Note
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.policy import Policies
from marketplace_worker.lifecycle.vocabulary import (
    EmailHash,
    GuardSide,
    Identity,
    Marketplace,
    OrganizationId,
    PlanType,
    SubscriptionKey,
    SupportRequestKind,
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
BOUGHT_AGAIN = SubscriptionKey(Marketplace.GCP, "e-2")
SAAS = SubscriptionKey(Marketplace.AZURE, "s-1")
SUBSCRIPTIONS = [AGREEMENT, RENEWED, ENTITLEMENT, BOUGHT_AGAIN, SAAS]
ACCOUNT = "billing-account-1"
OWNER = EmailHash(f"{0:064x}")


def moment(day: float) -> datetime:
    """A moment by its day."""
    return DAY_0 + day * DAY


def shown(value: object) -> str:
    """A value in short: moments by their day, and of a dataclass what is not as ever."""
    match value:
        case datetime():
            return f"d{(value - DAY_0) / DAY:.4g}"
        case Enum():
            return str(value)
        case tuple():
            return f"({', '.join(shown(each) for each in value)})"
        case Mapping():
            return f"{{{', '.join(f'{shown(k)}: {shown(v)}' for k, v in value.items())}}}"
        case SubscriptionKey():
            return str(value)
        case _ if is_dataclass(value):
            present = (
                (each.name, getattr(value, each.name), each.default) for each in fields(value)
            )
            parts = (f"{name}={shown(here)}" for name, here, default in present if here != default)
            return f"{type(value).__name__}({', '.join(parts)})"
        case _:
            return repr(value)


_T = TypeVar("_T")


class Shown(list[_T]):
    """A list that a failing test shows in short, line by line."""

    def _repr_pretty_(self, printer: RepresentationPrinter, _cycle: bool) -> None:
        printer.text("\n".join(["", *(shown(each) for each in self)]))


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """One fact that was decided on: what was decided, and the organizations before it."""

    fact: Fact
    now: datetime
    decision: Decision


Watcher = Callable[["World", DecisionRecord], None]
"""Looks at each decision when it has been made."""


@dataclass(slots=True, repr=False)
class World:
    """A fleet and what is due in it; `events` is all that it ever said."""

    policies: Policies = field(default_factory=Policies)
    fleet: Fleet = field(default_factory=Fleet)
    due_at: dict[OrganizationId, datetime] = field(default_factory=dict)
    idle: set[OrganizationId] = field(default_factory=set)
    events: list[Event] = field(default_factory=list)
    watch: Watcher = lambda _world, _told: None

    def __repr__(self) -> str:
        """The output of a failing test: without the feeds, which are long."""
        fleet = self.fleet
        parts = [*fleet.organizations.values(), *fleet.subscriptions.values(), fleet.seen]
        current = self.policies.current
        policy = (current.version, current.guard, current.reinstatement)
        return "\n".join(["World", *(shown(each) for each in (*parts, fleet.safeguards, policy))])

    def _repr_pretty_(self, printer: RepresentationPrinter, _cycle: bool) -> None:
        """The same for hypothesis."""
        printer.text(repr(self))

    def apply(self, fact: Fact, now: datetime) -> Decision | None:
        """Decide on one fact, as the worker does; None: activity that nobody waits for."""
        if isinstance(fact, LoggedIn | ApiRequested):
            self.fleet.record_activity(fact)
            if fact.feed not in self.fleet.organization(fact.organization).watched_feeds:
                return None
        return self.decide(fact, now)

    def decide(self, fact: Fact, now: datetime) -> Decision:
        """Decide on one fact; who asks for a moment that has passed is looked at now."""
        decision = apply(fact, self.fleet, self.policies, now=now)
        for result in decision.results:
            self.note(result.organization.id, result.due_at, now, idle=result.idle)
        if isinstance(fact, GuardReleased):
            for each in self.fleet.organizations.values():
                if each.withheld_at is not None:
                    self.note(each.id, now, now)
        self.events += decision.events
        self.watch(self, DecisionRecord(fact, now, decision))
        return decision

    def note(
        self, id_: OrganizationId, due_at: datetime | None, now: datetime, *, idle: bool = False
    ) -> None:
        """Remember when to look at an organization again."""
        self.due_at.pop(id_, None)
        self.idle.discard(id_)
        if due_at is not None:
            self.due_at[id_] = max(due_at, now)
        if idle:
            self.idle.add(id_)

    def run_deadline(self, organization: OrganizationId, now: datetime) -> Decision:
        """Let a deadline come, whether or not one has."""
        return self.decide(deadline_of(self.fleet.organization(organization), now), now)

    def wait(self, until: datetime) -> None:
        """Let every deadline before `until` come at its own time.

        Where only idle looks are left, each is taken once more: nothing else will come of itself.
        """
        in_vain: set[OrganizationId] = set()
        while due := sorted((at, id_) for id_, at in self.due_at.items() if at < until):
            if until == FAR and {id_ for _, id_ in due} <= self.idle & in_vain:
                return
            now, organization = due[0]
            in_vain = in_vain | {organization} if organization in self.idle else set()
            self.run_deadline(organization, now)
            again = self.due_at.get(organization)
            assert again is None or again > now, "what was due has been done"

    def apply_all(self, *facts: Fact, day: float) -> None:
        """Tell several facts at one moment."""
        for fact in facts:
            self.apply(fact, moment(day))

    def case(self, organization: Organization, now: datetime) -> Case:
        """An organization under decision, among all that is known."""
        return Case(organization, self.fleet, self.policies, now, GuardSession(), causation_id="x")

    def covered(self, organization: OrganizationId, now: datetime) -> Coverage:
        """All plans of an organization, as things are known."""
        return self.case(self.fleet.organization(organization), now).covered

    def acme(self) -> Organization:
        """Acme, as it stands."""
        return self.fleet.organization(ACME)


# --- facts by hand --------------------------------------------------------------------------------


def created(
    id_: str = "created",
    organization: OrganizationId = ACME,
    day: float = 0,
    tier: Tier = Tier.FREE,
    owner: EmailHash = OWNER,
) -> Created:
    """The organization exists."""
    return Created(Identity("t", id_), moment(day), organization, tier, owner)


def link(
    subscription: SubscriptionKey,
    day: float = 0,
    organization: OrganizationId = ACME,
    plan_type: PlanType | None = None,
    *,
    id_: str = "",
    account: str | None = None,
) -> SubscriptionLinked:
    """The sign-up accepted a subscription."""
    identity = Identity("t", id_ or f"link-{organization}-{subscription}-{day}")
    return SubscriptionLinked(
        identity, moment(day), organization, subscription, account, plan_type=plan_type
    )


def note(day: float, change: Change, rank: int = 1, id_: str = "", **others: object) -> Note:
    """One notification, as a register keeps it."""
    name = id_ or f"{day}/{rank}/{change.kind}"
    return Note(moment(day), rank, name, change, **others)  # type: ignore[arg-type]


def notified(subscription: SubscriptionKey, note: Note) -> Notified:
    """A marketplace said something."""
    identity = Identity(subscription.marketplace, f"{subscription}/{note.id}")
    return Notified(identity, subscription, note, notification=note.change.kind)


def commitment(
    starts: float, ends: float, linked: float = 0, name: str = "c-1", id_: str = ""
) -> CommitmentLinked:
    """A commitment of acme."""
    return CommitmentLinked(
        Identity("t", id_ or f"{name}/{starts}/{ends}/{linked}"),
        moment(linked),
        ACME,
        name,
        starts_at=moment(starts),
        ends_at=moment(ends),
    )


def asked(
    request: SupportRequestKind,
    day: float = 0,
    organization: OrganizationId | None = ACME,
    id_: str = "",
    **details: object,
) -> SupportRequested:
    """Support asked for something."""
    return SupportRequested(
        Identity("support", id_ or f"{request}-{organization}-{day}"),
        moment(day),
        organization,
        request,
        requested_by="ann",
        reason="because",
        **details,  # type: ignore[arg-type]
    )


def signed_in(day: float, organization: OrganizationId = ACME) -> LoggedIn:
    """A user signed in."""
    return LoggedIn(Identity("t", f"login-{organization}-{day}"), moment(day), organization)


def requested(day: float, organization: OrganizationId = ACME) -> ApiRequested:
    """An API key was used."""
    return ApiRequested(Identity("t", f"request-{organization}-{day}"), moment(day), organization)


def tripped(day: float = 0) -> GuardTripped:
    """The kill switch."""
    return GuardTripped(Identity("operator", f"trip-{day}"), moment(day), "ops", "to be safe")


def released(
    day: float = 0, steps: int | None = None, guard: GuardSide = GuardSide.BOTH
) -> GuardReleased:
    """An operator releases the guard."""
    identity = Identity("operator", f"release-{day}-{steps}-{guard}")
    return GuardReleased(identity, moment(day), "ops", "all is well", steps, guard=guard)


def is_deadline(fact: Fact) -> bool:
    """Whether time caused it, and no message."""
    return isinstance(fact, DeadlineCame)
