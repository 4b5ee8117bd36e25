"""What a batch of facts names: what is to be locked and loaded before it is decided on."""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

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
from marketplace_worker.lifecycle.notes import Pended
from marketplace_worker.lifecycle.vocabulary import (
    EmailHash,
    OrganizationId,
    SubscriptionKey,
    SupportRequestKind,
    marketplace_id,
)


@dataclass(frozen=True, slots=True)
class FamilySeeds:
    """Subscriptions that a batch names, and billing accounts of which it tells.

    `attached`: those that it may give to an organization, by a link or as the successor of one that
    is linked; `accounts_of_attached`: the accounts that it tells of these.
    """

    keys: AbstractSet[SubscriptionKey]
    accounts: AbstractSet[BillingAccount] = frozenset()
    attached: AbstractSet[SubscriptionKey] = frozenset()
    accounts_of_attached: AbstractSet[BillingAccount] = frozenset()


@dataclass(slots=True)
class BatchScope:
    """What a batch of facts names.

    `told_accounts`: the billing accounts that it tells, and of which subscription.  `attached`: the
    subscriptions that it may give to an organization.  `owners`: the emails that it tells.
    `locked_emails`: those whose locks it may meet.  `reactivated`: whom it may bring back, if
    nobody else has the email.  `linked`: to whom it links a subscription.  `safeguards`: whether
    it may ask the guard, or have the worker itself speak; `harm`: whether it asks for any.
    """

    subscriptions: set[SubscriptionKey] = field(default_factory=set)
    organizations: set[OrganizationId] = field(default_factory=set)
    told_accounts: set[tuple[SubscriptionKey, BillingAccount]] = field(default_factory=set)
    attached: set[SubscriptionKey] = field(default_factory=set)
    owners: set[EmailHash] = field(default_factory=set)
    locked_emails: set[EmailHash] = field(default_factory=set)
    reactivated: set[OrganizationId] = field(default_factory=set)
    linked: set[OrganizationId] = field(default_factory=set)
    safeguards: bool = False
    harm: bool = False

    @property
    def accounts(self) -> set[BillingAccount]:
        """The billing accounts that it tells."""
        return {account for _, account in self.told_accounts}

    @property
    def named(self) -> FamilySeeds:
        """The subscriptions that it names, and what is to be known of them to find their kin."""
        of_attached = {account for key, account in self.told_accounts if key in self.attached}
        return FamilySeeds(self.subscriptions, self.accounts, self.attached, of_attached)

    def add(self, fact: Fact) -> None:
        """With all that one fact names, predecessors included."""
        match fact:
            case Notified(subscription=key, note=note):
                self._add_subscription(key, note.billing_account)
                if isinstance(note.change, Pended) and note.change.successor_of is not None:
                    self.subscriptions.add(note.change.successor_of)
                    self.attached.add(key)
            case SubscriptionLinked(subscription=key, organization=organization):
                self._add_subscription(key, fact.billing_account)
                self.attached.add(key)
                self.organizations.add(organization)
                self.linked.add(organization)
            case (
                Created(organization=organization, owner=owner)
                | OwnerChanged(organization=organization, owner=owner)
            ):
                self.organizations.add(organization)
                self.owners.add(owner)
                self.locked_emails.add(owner)
            case SupportRequested():
                self._add_request(fact)
            case ClockCorrected(organization=organization) if organization is not None:
                self.organizations.add(organization)
            case EpochBegan() | EpochCompleted():
                self.safeguards = True
            case GuardTripped() | GuardReleased() | ClockMoved() | ClockCorrected():
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

    def _add_subscription(self, key: SubscriptionKey, account: str | None) -> None:
        self.subscriptions.add(key)
        if account is not None:
            self.told_accounts.add((key, (key.marketplace, marketplace_id(account))))

    def _add_request(self, fact: SupportRequested) -> None:
        if fact.organization is not None:
            self.organizations.add(fact.organization)
            if fact.request is SupportRequestKind.REACTIVATE_ORGANIZATION:
                self.reactivated.add(fact.organization)
        if fact.email is not None:
            self.locked_emails.add(fact.email)
        self.harm |= fact.request is SupportRequestKind.DEACTIVATE_ORGANIZATION
        # The worker may have to answer an unlock itself, and the guard counts deactivations.
        speaks = fact.request in {
            SupportRequestKind.UNLOCK_EMAIL,
            SupportRequestKind.DEACTIVATE_ORGANIZATION,
        }
        self.safeguards |= speaks or fact.organization in {None, WORKER}


def scope_of(facts: Iterable[Fact]) -> BatchScope:
    """Everything that these facts name."""
    scope = BatchScope()
    for fact in facts:
        scope.add(fact)
    return scope
