"""What a batch of facts names, and so what has to be locked and loaded before deciding."""

from collections.abc import Collection, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import field
from datetime import datetime

from marketplace_worker.lifecycle.events import WORKER
from marketplace_worker.lifecycle.facts import (
    ApiRequested,
    ClockCorrected,
    ClockMoved,
    ClosureJudged,
    CommitmentLinked,
    Created,
    DeadlineCame,
    EpochBegan,
    EpochCompleted,
    Erased,
    Fact,
    GuardReleased,
    GuardTripped,
    LoggedIn,
    Notified,
    OwnerChanged,
    PublishedBefore,
    SubscriptionLinked,
    SupportRequested,
    TierChanged,
    Unrecognized,
)
from marketplace_worker.lifecycle.index import BillingAccount
from marketplace_worker.lifecycle.notes import Note, Pended
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.policy import DESTRUCTIVE_STEPS, Guard
from marketplace_worker.lifecycle.safeguards import WINDOW, Safeguards
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.values import dataclass
from marketplace_worker.lifecycle.vocabulary import (
    EmailHash,
    OrganizationId,
    SubscriptionKey,
    SupportRequestKind,
    marketplace_id,
)


@dataclass(frozen=True, slots=True)
class FamilySeeds:
    """Subscriptions and billing accounts that a batch names: the seeds of its families.

    `attached`: the subscriptions that it may attach to an organization, by a link or as the
    successor of a linked one; `accounts_of_attached`: the billing accounts that it names for these.
    """

    keys: AbstractSet[SubscriptionKey]
    accounts: AbstractSet[BillingAccount] = frozenset()
    attached: AbstractSet[SubscriptionKey] = frozenset()
    accounts_of_attached: AbstractSet[BillingAccount] = frozenset()


@dataclass(slots=True)
class BatchScope:
    """What a batch of facts names.

    - `named_accounts`: billing accounts, each with its reported subscription.
    - `attached`: the subscriptions that it may attach to an organization.
    - `owners`: the emails of owners.  `locked_emails`: those whose locks it may concern.
    - `reactivated`: the organizations that it may reactivate, if no other has their email.
    - `linked`: the organizations to which it links a subscription.
    - `safeguards`: whether it may use the guard, or publish an event of the worker itself.
    - `deactivates`: whether it requests a deactivation.
    """

    subscriptions: set[SubscriptionKey] = field(default_factory=set)
    organizations: set[OrganizationId] = field(default_factory=set)
    named_accounts: set[tuple[SubscriptionKey, BillingAccount]] = field(default_factory=set)
    attached: set[SubscriptionKey] = field(default_factory=set)
    owners: set[EmailHash] = field(default_factory=set)
    locked_emails: set[EmailHash] = field(default_factory=set)
    reactivated: set[OrganizationId] = field(default_factory=set)
    linked: set[OrganizationId] = field(default_factory=set)
    safeguards: bool = False
    deactivates: bool = False

    @property
    def accounts(self) -> set[BillingAccount]:
        """The billing accounts that it names."""
        return {account for _, account in self.named_accounts}

    @property
    def seeds(self) -> FamilySeeds:
        """The seeds of the families that it concerns."""
        of_attached = {account for key, account in self.named_accounts if key in self.attached}
        return FamilySeeds(self.subscriptions, self.accounts, self.attached, of_attached)

    def add(self, fact: Fact) -> None:
        """Add all that one fact names, predecessors included."""
        match fact:
            case Notified(subscription=key, note=note):
                self._add_subscription(key, note.billing_account)
                self._add_predecessor(key, note)
            case SubscriptionLinked(subscription=key, organization=organization):
                self._add_subscription(key, fact.billing_account)
                self.attached.add(key)
                self.organizations.add(organization)
                self.linked.add(organization)
            case (
                Created(organization=organization, owner=owner)
                | OwnerChanged(organization=organization, owner=owner)
            ):
                self._add_owner(organization, owner)
            case SupportRequested():
                self._add_request(fact)
            case ClockCorrected(organization=organization) if organization is not None:
                self.organizations.add(organization)
            case EpochBegan() | EpochCompleted() | GuardTripped() | GuardReleased():
                self.safeguards = True
            case ClockMoved() | ClockCorrected():
                self.safeguards = True
            case (
                TierChanged(organization=organization)
                | CommitmentLinked(organization=organization)
                | DeadlineCame(organization=organization)
                | Erased(organization=organization)
                | PublishedBefore(organization=organization)
                | ClosureJudged(organization=organization)
                | LoggedIn(organization=organization)
                | ApiRequested(organization=organization)
            ):
                self.organizations.add(organization)
            case Unrecognized():
                pass

    def _add_owner(self, organization: OrganizationId, owner: EmailHash) -> None:
        self.organizations.add(organization)
        self.owners.add(owner)
        self.locked_emails.add(owner)

    def _add_subscription(self, key: SubscriptionKey, account: str | None) -> None:
        self.subscriptions.add(key)
        if account is not None:
            self.named_accounts.add((key, (key.marketplace, marketplace_id(account))))

    def _add_predecessor(self, key: SubscriptionKey, note: Note) -> None:
        """A successor inherits the links of what it continues."""
        if isinstance(note.change, Pended) and note.change.successor_of is not None:
            self.subscriptions.add(note.change.successor_of)
            self.attached.add(key)

    def _add_request(self, fact: SupportRequested) -> None:
        if fact.organization is not None:
            self.organizations.add(fact.organization)
            if fact.request is SupportRequestKind.REACTIVATE_ORGANIZATION:
                self.reactivated.add(fact.organization)
        if fact.email is not None:
            self.locked_emails.add(fact.email)
        self.deactivates |= fact.request is SupportRequestKind.DEACTIVATE_ORGANIZATION
        # The worker may have to answer an unlock itself, and the guard counts deactivations.
        speaks = fact.request in {
            SupportRequestKind.UNLOCK_EMAIL,
            SupportRequestKind.DEACTIVATE_ORGANIZATION,
        }
        self.safeguards |= speaks or fact.organization in {None, WORKER}


@dataclass(frozen=True, slots=True)
class DueScope:
    """What decisions on due organizations may need besides their plans.

    `destructive` and `control_plane`: the maximum of destructive steps, and of entries into
    `control_plane_loss`.  `inactivity`: whether one may be decided on for its inactivity, which
    reads the feeds.
    """

    destructive: int
    control_plane: int
    inactivity: bool

    @property
    def asks_guard(self) -> bool:
        """Whether any of them may need the guard for a step."""
        return bool(self.destructive or self.control_plane)

    def needs_population(self, safeguards: Safeguards, guard: Guard, *, now: datetime) -> bool:
        """Whether a limit of the guard may depend on the number of organizations.

        Each limit is at least `guard.minimum`, however few there are: up to that many steps within
        the hour need no count, which takes a scan.
        """
        since = now - WINDOW
        return guard.minimum < max(
            safeguards.destructive_steps_since(since) + self.destructive,
            safeguards.control_plane_since(since) + self.control_plane,
        )


def due_scope_of(organizations: Collection[Organization]) -> DueScope:
    """What decisions on these may need; each takes at most one step."""
    noticed = [each for each in organizations if each.state is State.ACTIVE and each.notice]
    steps = [each.state.next_step for each in organizations]
    steps += [State.DEACTIVATED for _ in noticed]
    return DueScope(
        destructive=sum(step in DESTRUCTIVE_STEPS for step in steps),
        control_plane=sum(step is State.CONTROL_PLANE_LOSS for step in steps),
        inactivity=bool(noticed),
    )


def scope_of(facts: Iterable[Fact]) -> BatchScope:
    """The names in these facts."""
    scope = BatchScope()
    for fact in facts:
        scope.add(fact)
    return scope


def named_organization(fact: Fact) -> OrganizationId | None:
    """The organization that a fact names; None: it names none, or concerns the worker alone."""
    match fact:
        case Notified() | Unrecognized() | ClockMoved():
            return None
        case GuardTripped() | GuardReleased() | EpochBegan() | EpochCompleted():
            return None
        case _:
            return fact.organization


def named_subscription(fact: Fact) -> SubscriptionKey | None:
    """The subscription that a fact is about."""
    match fact:
        case Notified() | SubscriptionLinked():
            return fact.subscription
        case _:
            return None
