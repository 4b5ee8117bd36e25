"""The organization: registers of what was told of it, and the state that was decided.

Facts change only the registers; only `settle` moves the state.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Generic, TypeVar

from marketplace_worker.lifecycle.events import DeactivationCause, StateReason
from marketplace_worker.lifecycle.facts import CommitmentLinked, Created, OwnerChanged, TierChanged
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import (
    EmailHash,
    Initiator,
    OrganizationId,
    PlanType,
    SubscriptionKey,
    Tier,
)

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Told(Generic[_T]):
    """A value and when it was told: the newest wins, by time and then by id."""

    occurred_at: datetime
    id: str
    value: _T


@dataclass(frozen=True, slots=True)
class Creation:
    """When the organization began; the oldest telling wins."""

    occurred_at: datetime
    id: str
    billing_cycle_anchor: datetime


@dataclass(frozen=True, slots=True)
class Commitment:
    """A plan that begins and ends by itself: in force in `[starts_at, ends_at)`.

    `linked_at` is when it was linked first, `told_at` when it was told as it stands.
    """

    commitment_id: str
    starts_at: datetime
    ends_at: datetime
    linked_at: datetime
    told_at: datetime
    id: str


@dataclass(frozen=True, slots=True)
class Cancellation:
    """Why the organization is on its way down, and since when.

    `canceled_at` is the moment at which the last plan ended (event time) and follows old news;
    `correlation_id` is the id of the event that began the story.
    """

    canceled_at: datetime
    correlation_id: str
    policy_version: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A standing notice: `step` comes at `names`, as it said; written at `given_at`."""

    step: State
    names: datetime
    given_at: datetime


@dataclass(frozen=True, slots=True)
class Reported:
    """How many of a subscription's ends had their final metering report called for."""

    subscription: SubscriptionKey
    ends: int


@dataclass(frozen=True, slots=True)
class Organization:
    """One customer organization.  `entered_at`: when its state was really entered.

    `sequence` is that of its newest event, `revision` that of its newest snapshot; 0: none yet.
    """

    id: OrganizationId
    creation: Creation | None = None
    tier: Told[Tier] | None = None
    owner: Told[EmailHash] | None = None
    commitments: tuple[Commitment, ...] = ()
    state: State = State.ACTIVE
    previous_state: State | None = None
    entered_at: datetime | None = None
    reason: StateReason | None = None
    initiator: Initiator | None = None
    plan_type: PlanType | None = None
    cancellation: Cancellation | None = None
    notice: Notice | None = None
    deactivation_cause: DeactivationCause | None = None
    reported: tuple[Reported, ...] = ()
    sequence: int = 0
    revision: int = 0

    def __post_init__(self) -> None:
        """What can never be, whatever arrives (the database repeats it as CHECK constraints)."""
        assert (self.cancellation is not None) == (
            self.state.in_cancellation or self.state is State.DEACTIVATED
        ), "a cancellation runs exactly while the organization is on its way down"
        assert self.notice is None or self.notice.step is self.state.next_step, (
            "a notice belongs to the next step only"
        )
        assert (self.deactivation_cause is not None) == (self.state is State.DEACTIVATED), (
            "a deactivated organization knows its cause"
        )

    def created(self, fact: Created) -> "Organization":
        """The oldest telling of the creation counts; tier and owner are the newest (section 11)."""
        told = Creation(
            fact.occurred_at, fact.identity.id, fact.billing_cycle_anchor or fact.occurred_at
        )
        before = self.creation
        oldest = told if before is None else min(before, told, key=lambda c: (c.occurred_at, c.id))
        return replace(
            self,
            creation=oldest,
            tier=_newer(self.tier, Told(fact.occurred_at, fact.identity.id, fact.tier)),
            owner=_newer(self.owner, Told(fact.occurred_at, fact.identity.id, fact.owner)),
        )

    def tier_changed(self, fact: TierChanged) -> "Organization":
        """The newest tier counts."""
        told = Told(fact.occurred_at, fact.identity.id, fact.tier)
        return replace(self, tier=_newer(self.tier, told))

    def owner_changed(self, fact: OwnerChanged) -> "Organization":
        """The newest owner counts."""
        told = Told(fact.occurred_at, fact.identity.id, fact.owner)
        return replace(self, owner=_newer(self.owner, told))

    def commitment_linked(self, fact: CommitmentLinked) -> "Organization":
        """A commitment told again under the same id is the newest telling's, since its first."""
        told = Commitment(
            fact.commitment_id,
            fact.starts_at,
            fact.ends_at,
            linked_at=fact.occurred_at,
            told_at=fact.occurred_at,
            id=fact.identity.id,
        )
        by_id = {each.commitment_id: each for each in self.commitments}
        before = by_id.get(told.commitment_id, told)
        by_id[told.commitment_id] = replace(
            max(before, told, key=lambda c: (c.told_at, c.id)),
            linked_at=min(before.linked_at, told.linked_at),
        )
        return replace(self, commitments=tuple(by_id[key] for key in sorted(by_id)))

    def ends_reported(self, subscription: SubscriptionKey) -> int:
        """How many of a subscription's ends had their final report called for."""
        return next((r.ends for r in self.reported if r.subscription == subscription), 0)


def _newer(before: Told[_T] | None, told: Told[_T]) -> Told[_T]:
    if before is None or (before.occurred_at, before.id) < (told.occurred_at, told.id):
        return told
    return before
