"""The organization: registers of what was reported about it, and the state that was decided.

Facts change only the registers; only `settle` moves the state.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime
from typing import Generic, TypeVar

from marketplace_worker.lifecycle.cancellation import Cancellation, Notice, Pending
from marketplace_worker.lifecycle.facts import CommitmentLinked, Created, OwnerChanged, TierChanged
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.subscription import KEPT_MAX
from marketplace_worker.lifecycle.values import dataclass, replace
from marketplace_worker.lifecycle.vocabulary import (
    ActivityFeed,
    CompletedBy,
    DeactivationCause,
    EmailHash,
    HoldKind,
    Initiator,
    OrganizationId,
    PlanType,
    StateReason,
    SubscriptionKey,
    Tier,
    by_key,
)

_T = TypeVar("_T")

OrganizationFact = Created | TierChanged | OwnerChanged | CommitmentLinked
"""A fact about an organization itself."""


@dataclass(frozen=True, slots=True)
class LatestWins(Generic[_T]):
    """A value and when it was set: the latest wins, by time and then by id."""

    occurred_at: datetime
    id: str
    value: _T


@dataclass(frozen=True, slots=True)
class Creation:
    """When the organization was created; the oldest report wins."""

    occurred_at: datetime
    id: str
    billing_cycle_anchor: datetime


@dataclass(frozen=True, slots=True)
class Commitment:
    """A plan that begins and ends by itself: in force in `[starts_at, ends_at)`.

    `linked_at` is when it was first linked, `updated_at` when its current form was reported.
    """

    commitment_id: str
    starts_at: datetime
    ends_at: datetime
    linked_at: datetime
    updated_at: datetime
    id: str


@dataclass(frozen=True, slots=True)
class Grant:
    """An expiring plan that Support granted, by the id of its request: in force in `[starts_at,
    ends_at)`.
    """

    id: str
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Proof:
    """A plan with a pending reinstatement is the organization's: a user signed in, or Support
    confirmed it, at `at`.  If it was not linked, this links it (lifecycle.md section 4).

    A sign-in proves it only if the billing account was the organization's alone at that time.
    """

    subscription: SubscriptionKey
    at: datetime
    by: CompletedBy


@dataclass(frozen=True, slots=True)
class Hold:
    """No step is taken for the organization, up to `expires_at` (None: until it is released)."""

    kind: HoldKind
    placed_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Reported:
    """Which of a subscription's ends had their final metering report called for.

    `closed_at`: by the times that were known of them then, the newest `KEPT_MAX`.  `ends`: how many
    of the first, in a document that has no times yet.
    """

    subscription: SubscriptionKey
    ends: int = 0
    closed_at: tuple[datetime, ...] = ()

    def missing(self, ends: Sequence[datetime]) -> list[datetime]:
        """The ends that were not reported yet, of all ends in order.

        An end that a late report moves to an earlier time is the same end if no other lies between.
        """
        called = {bisect_right(ends, at) - 1 for at in self.closed_at}
        return [at for n, at in enumerate(ends) if n >= self.ends and n not in called]

    def with_all(self, ends: Sequence[datetime]) -> "Reported":
        """A copy with each of them reported."""
        new = ends if self.ends else self.missing(ends)
        if not new:
            return self
        closed_at = sorted({*self.closed_at, *new})
        return Reported(self.subscription, closed_at=tuple(closed_at[-KEPT_MAX:]))


@dataclass(frozen=True, slots=True)
class Recovery:
    """A reactivation, and the deactivation that it undid: plans linked up to the latter are
    removed, later ones count from the reactivation on (lifecycle.md section 11).
    """

    deactivated_at: datetime
    reactivated_at: datetime


@dataclass(frozen=True, slots=True)
class Organization:
    """One customer organization.  `entered_at`: when its state was really entered.

    `dwells_from`: from when its dwell counts where that is later, after a hold.  `withheld_at`:
    when the guard withheld the step that is due.  `postponed_until`: when its inactivity is looked
    at again, after a feed was silent or might hide its use; `unreadable`: the newest day on which a
    feed was reported whose unreadable records may be its use.  `erased_at`: when all that was
    personal of it was erased.  `decided_at`: when an event of it was last decided; its time never
    goes back before that, whatever a clock does.  `sequence` is that of its newest event,
    `revision` that of its newest snapshot; 0: none yet.  `published_closed`: for what it was
    deactivated as the topics have it, where a restore has lost that: until a person has judged it,
    no step is taken and no reinstatement accepted.
    """

    id: OrganizationId
    creation: Creation | None = None
    tier: LatestWins[Tier] | None = None
    owner: LatestWins[EmailHash] | None = None
    commitments: tuple[Commitment, ...] = ()
    grants: tuple[Grant, ...] = ()
    proofs: tuple[Proof, ...] = ()
    holds: tuple[Hold, ...] = ()
    state: State = State.ACTIVE
    previous_state: State | None = None
    entered_at: datetime | None = None
    dwells_from: datetime | None = None
    reason: StateReason | None = None
    initiator: Initiator | None = None
    plan_type: PlanType | None = None
    cancellation: Cancellation | None = None
    pending: Pending | None = None
    notice: Notice | None = None
    withheld_at: datetime | None = None
    postponed_until: datetime | None = None
    unreadable: tuple[tuple[ActivityFeed, date], ...] = ()
    deactivation_cause: DeactivationCause | None = None
    recoveries: tuple[Recovery, ...] = ()
    locked_email: EmailHash | None = None
    erased_at: datetime | None = None
    reported: tuple[Reported, ...] = ()
    decided_at: datetime | None = None
    sequence: int = 0
    revision: int = 0
    published_closed: DeactivationCause | None = None

    def __post_init__(self) -> None:
        """Check what must always hold (the database repeats it as CHECK constraints)."""
        ended = self.deactivation_cause is DeactivationCause.MARKETPLACE_CANCELLATION
        assert (self.cancellation is not None) == (self.state.in_cancellation or ended), (
            "a cancellation runs exactly while the organization is on its way down, or was"
        )
        assert self.notice is None or self.notice.step is self.upcoming, (
            "a notice belongs to the next step only"
        )
        assert (self.deactivation_cause is not None) == (self.state is State.DEACTIVATED), (
            "a deactivated organization knows its cause"
        )
        assert self.erased_at is None or self.state is State.DEACTIVATED, (
            "only what is closed can be erased"
        )
        assert self.pending is None or self.state.in_cancellation, (
            "only what is on its way down can be about to come back"
        )

    @property
    def exists(self) -> bool:
        """Whether it was created, and not erased since."""
        return self.creation is not None and self.erased_at is None

    @property
    def upcoming(self) -> State | None:
        """The step that may be taken next: of its cancellation, or for inactivity."""
        return State.DEACTIVATED if self.state is State.ACTIVE else self.state.next_step

    @property
    def recoverable(self) -> bool:
        """Whether it can be reactivated, or does not need to be."""
        if self.deactivation_cause is None:
            return True
        return self.deactivation_cause.recoverable and self.erased_at is None

    @property
    def watched_feeds(self) -> frozenset[ActivityFeed]:
        """The feeds whose events may change a decision as soon as they arrive: a sign-in completes
        a reinstatement, any use withdraws a notice of inactivity.
        """
        if self.state.in_cancellation:
            return frozenset({ActivityFeed.LOGINS})
        if self.state is State.ACTIVE and self.notice is not None:
            return frozenset(ActivityFeed)
        return frozenset()

    @property
    def watches_activity(self) -> bool:
        """Whether any feed's events may."""
        return bool(self.watched_feeds)

    @property
    def counts_in_the_fleet(self) -> bool:
        """Whether the guard's limit counts it: it exists and is not deactivated."""
        return self.creation is not None and self.state is not State.DEACTIVATED

    @property
    def dwelling_since(self) -> datetime | None:
        """From when the dwell of its state counts: since it was entered, or a hold ended."""
        return self.dwells_from or self.entered_at

    def keeps(self, linked_at: datetime) -> bool:
        """Whether a plan linked at that moment is still its own: a deactivation removes all."""
        taken_at = self.plans_taken_at
        return not taken_at or linked_at > max(taken_at)

    @property
    def plans_taken_at(self) -> tuple[datetime, ...]:
        """When it was deactivated, and lost its plans, each time."""
        if not self.recoveries and self.state is not State.DEACTIVATED:
            return ()
        undone = tuple([recovery.deactivated_at for recovery in self.recoveries])
        if self.state is not State.DEACTIVATED:
            return undone
        assert self.entered_at is not None
        return (*undone, self.entered_at)

    @property
    def recovery(self) -> Recovery | None:
        """The newest reactivation; None: there never was one."""
        return self.recoveries[-1] if self.recoveries else None

    def holds_standing(self, now: datetime) -> frozenset[HoldKind]:
        """The kinds of hold in force; an expired one counts as released."""
        return frozenset(
            hold.kind for hold in self.holds if hold.expires_at is None or now < hold.expires_at
        )

    def held(self, now: datetime) -> bool:
        """Whether any hold is in force."""
        return bool(self.holds_standing(now))

    def with_fact(self, fact: OrganizationFact) -> "Organization":
        """The organization with one more fact about it recorded."""
        match fact:
            case Created():
                return self.with_creation(fact)
            case TierChanged():
                return self.with_tier(fact)
            case OwnerChanged():
                return self.with_owner(fact)
            case CommitmentLinked():
                return self.with_commitment(fact)

    def with_creation(self, fact: Created) -> "Organization":
        """The oldest report of the creation counts; tier and owner are the newest (section 11)."""
        new = Creation(
            fact.occurred_at, fact.identity.id, fact.billing_cycle_anchor or fact.occurred_at
        )
        before = self.creation
        oldest = new if before is None else min(before, new, key=lambda c: (c.occurred_at, c.id))
        return replace(
            self,
            creation=oldest,
            tier=_newer(self.tier, LatestWins(fact.occurred_at, fact.identity.id, fact.tier)),
            owner=_newer(self.owner, LatestWins(fact.occurred_at, fact.identity.id, fact.owner)),
        )

    def with_tier(self, fact: TierChanged) -> "Organization":
        """The newest tier counts."""
        new = LatestWins(fact.occurred_at, fact.identity.id, fact.tier)
        return replace(self, tier=_newer(self.tier, new))

    def with_owner(self, fact: OwnerChanged) -> "Organization":
        """The newest owner counts."""
        new = LatestWins(fact.occurred_at, fact.identity.id, fact.owner)
        return replace(self, owner=_newer(self.owner, new))

    def with_commitment(self, fact: CommitmentLinked) -> "Organization":
        """A commitment with a known id is replaced by the newest report; its first link stays."""
        new = Commitment(
            fact.commitment_id,
            fact.starts_at,
            fact.ends_at,
            linked_at=fact.occurred_at,
            updated_at=fact.occurred_at,
            id=fact.identity.id,
        )
        by_id = {each.commitment_id: each for each in self.commitments}
        before = by_id.get(new.commitment_id, new)
        by_id[new.commitment_id] = replace(
            max(before, new, key=lambda c: (c.updated_at, c.id)),
            linked_at=min(before.linked_at, new.linked_at),
        )
        return replace(self, commitments=tuple(by_id[key] for key in sorted(by_id)))

    def with_reported_ends(
        self, ends: Mapping[SubscriptionKey, Sequence[datetime]]
    ) -> "Organization":
        """A copy with all these ends of subscriptions reported."""
        before = {each.subscription: each for each in self.reported}
        after = before | {
            key: before.get(key, Reported(key)).with_all(closed) for key, closed in ends.items()
        }
        if after == before:
            return self
        return replace(self, reported=tuple(after[key] for key in sorted(after, key=by_key)))

    def without_personal_data(self, at: datetime) -> "Organization":
        """A copy without personal data; it states that it existed, that it was erased, and which
        final reports were requested, so that none is requested again.
        """
        return replace(
            self,
            owner=None,
            commitments=(),
            grants=(),
            proofs=(),
            holds=(),
            locked_email=None,
            erased_at=at,
        )

    def with_unreadable_feeds(self, feeds: AbstractSet[ActivityFeed], day: date) -> "Organization":
        """A copy with the newest day on which these feeds were reported as unreadable for it."""
        reported = dict(self.unreadable) | dict.fromkeys(feeds, day)
        return replace(self, unreadable=tuple(sorted(reported.items())))

    def with_proofs(self, *new: Proof) -> "Organization":
        """A copy with more proofs that plans are its own; of the sign-ins of one UTC day, as of all
        logins, the first and the last are kept.
        """
        if not new:
            return self
        days: dict[object, list[Proof]] = {_day(proof): [] for proof in new}
        proofs = (*self.proofs, *new)
        for proof in proofs:
            days.get(_day(proof), []).append(proof)
        ends = {
            day: (min(made, key=lambda each: each.at), max(made, key=lambda each: each.at))
            for day, made in days.items()
        }
        return replace(
            self,
            proofs=tuple(each for each in proofs if each in ends.get(_day(each), (each,))),
        )


def _day(proof: Proof) -> object:
    """The key under which sign-ins of one UTC day that prove the same plan are grouped."""
    if proof.by is CompletedBy.SUPPORT:
        return proof
    return proof.subscription, proof.at.date()


def _newer(before: LatestWins[_T] | None, new: LatestWins[_T]) -> LatestWins[_T]:
    if before is None or (before.occurred_at, before.id) < (new.occurred_at, new.id):
        return new
    return before
