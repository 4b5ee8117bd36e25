"""The documents of facts, as the journal keeps them; `kind` is the kind of fact.

The journal's hashes cover the stored text: a fact is never encoded again.
"""

from datetime import datetime, timedelta
from typing import Any

import msgspec

from marketplace_worker.documents.shapes import (
    CORE,
    SHAPES,
    Document,
    Shape,
    decode,
    encode,
    mend_duration,
    stores,
    to_core,
    to_stored,
)
from marketplace_worker.documents.subscriptions import (
    StoredNote,
    StoredSubscriptionKey,
    note_to_core,
    note_to_stored,
)
from marketplace_worker.lifecycle import facts, vocabulary
from marketplace_worker.lifecycle.notes import Attention
from marketplace_worker.lifecycle.vocabulary import (
    DeactivationCause,
    GuardSide,
    HoldKind,
    PlanType,
    SupportRequestKind,
    Tier,
)


@stores(vocabulary.Identity)
class StoredIdentity(Shape):
    """The identity of a message."""

    source: str
    id: str


class StoredFact(Document, tag_field="kind"):
    """The document of a fact."""


@stores(facts.Notified)
class StoredNotified(StoredFact, tag="notified"):
    """A notification of a marketplace."""

    identity: StoredIdentity
    subscription: StoredSubscriptionKey
    note: StoredNote
    notification: str
    attention: Attention | None = None


@stores(facts.Unrecognized)
class StoredUnrecognized(StoredFact, tag="unrecognized"):
    """A message of an unknown kind."""

    identity: StoredIdentity
    occurred_at: datetime
    event_type: str


@stores(facts.Created)
class StoredCreated(StoredFact, tag="organization.created"):
    """The organization was created."""

    identity: StoredIdentity
    occurred_at: datetime
    organization: str
    tier: Tier
    owner: str
    billing_cycle_anchor: datetime | None = None


@stores(facts.TierChanged)
class StoredTierChanged(StoredFact, tag="organization.tier_changed"):
    """Its tier changed."""

    identity: StoredIdentity
    occurred_at: datetime
    organization: str
    tier: Tier


@stores(facts.OwnerChanged)
class StoredOwnerChanged(StoredFact, tag="organization.owner_changed"):
    """Its owner changed."""

    identity: StoredIdentity
    occurred_at: datetime
    organization: str
    owner: str


@stores(facts.SubscriptionLinked)
class StoredSubscriptionLinked(StoredFact, tag="organization.subscription_linked"):
    """A subscription was linked to it."""

    identity: StoredIdentity
    occurred_at: datetime
    organization: str
    subscription: StoredSubscriptionKey
    billing_account: str | None = None
    plan_type: PlanType | None = None


@stores(facts.CommitmentLinked)
class StoredCommitmentLinked(StoredFact, tag="organization.commitment_linked"):
    """A commitment was linked to it."""

    identity: StoredIdentity
    occurred_at: datetime
    organization: str
    commitment_id: str
    starts_at: datetime
    ends_at: datetime


@stores(facts.SupportRequested)
class StoredSupportRequested(StoredFact, tag="support_requested"):
    """A request of Support."""

    identity: StoredIdentity
    occurred_at: datetime
    organization: str | None
    request: SupportRequestKind
    requested_by: str
    reason: str
    ticket: str | None = None
    grant_until: datetime | None = None
    email: str | None = None
    hold: HoldKind | None = None
    expires_at: datetime | None = None
    days: int | None = None
    problem: str | None = None


@stores(facts.DeadlineCame)
class StoredDeadlineCame(StoredFact, tag="deadline_came"):
    """A deadline of the organization came."""

    identity: StoredIdentity
    occurred_at: datetime
    organization: str


@stores(facts.GuardTripped)
class StoredGuardTripped(StoredFact, tag="guard_tripped"):
    """An operator tripped the guard."""

    identity: StoredIdentity
    occurred_at: datetime
    by: str
    reason: str


@stores(facts.GuardReleased)
class StoredGuardReleased(StoredFact, tag="guard_released"):
    """An operator released the guard."""

    identity: StoredIdentity
    occurred_at: datetime
    by: str
    reason: str
    steps: int | None = None
    requests: int | None = None
    guard: GuardSide = GuardSide.BOTH


@stores(facts.ClockMoved)
class StoredClockMoved(StoredFact, tag="clock_moved"):
    """The clock of decisions moved."""

    identity: StoredIdentity
    occurred_at: datetime
    ahead: timedelta


@stores(facts.ClockCorrected)
class StoredClockCorrected(StoredFact, tag="clock_corrected"):
    """An operator corrected what a wrong clock caused."""

    identity: StoredIdentity
    occurred_at: datetime
    organization: str | None
    since: datetime
    ahead: timedelta
    by: str
    reason: str


@stores(facts.EpochBegan)
class StoredEpochBegan(StoredFact, tag="epoch_began"):
    """A recovery from a restore began."""

    identity: StoredIdentity
    occurred_at: datetime
    by: str
    reason: str
    sequence: int


@stores(facts.EpochCompleted)
class StoredEpochCompleted(StoredFact, tag="epoch_completed"):
    """A recovery from a restore ended."""

    identity: StoredIdentity
    occurred_at: datetime
    by: str
    reason: str


@stores(facts.PublishedBefore)
class StoredPublishedBefore(StoredFact, tag="published_before"):
    """More was published of it than is stored."""

    identity: StoredIdentity
    occurred_at: datetime
    organization: str
    sequence: int
    revision: int
    deactivated_for: DeactivationCause | None = None


@stores(facts.ClosureJudged)
class StoredClosureJudged(StoredFact, tag="closure_judged"):
    """An operator decided whether its deactivation is confirmed."""

    identity: StoredIdentity
    occurred_at: datetime
    organization: str
    stands: bool
    by: str
    reason: str


@stores(facts.Erased)
class StoredErased(StoredFact, tag="organization.erased"):
    """An operator erased its personal data."""

    identity: StoredIdentity
    occurred_at: datetime
    organization: str
    by: str
    reason: str
    repeatable: bool = False


@stores(facts.LoggedIn)
class StoredLoggedIn(StoredFact, tag="identity.user.logged_in"):
    """A user signed in."""

    identity: StoredIdentity
    occurred_at: datetime
    organization: str


@stores(facts.ApiRequested)
class StoredApiRequested(StoredFact, tag="usage.api_requests"):
    """Its API keys were used."""

    identity: StoredIdentity
    occurred_at: datetime
    organization: str
    requests: int = 1


_DECODER: msgspec.json.Decoder[StoredFact] = msgspec.json.Decoder(
    StoredNotified
    | StoredUnrecognized
    | StoredCreated
    | StoredTierChanged
    | StoredOwnerChanged
    | StoredSubscriptionLinked
    | StoredCommitmentLinked
    | StoredSupportRequested
    | StoredDeadlineCame
    | StoredGuardTripped
    | StoredGuardReleased
    | StoredClockMoved
    | StoredClockCorrected
    | StoredEpochBegan
    | StoredEpochCompleted
    | StoredPublishedBefore
    | StoredClosureJudged
    | StoredErased
    | StoredLoggedIn
    | StoredApiRequested
)


def fact_to_json(fact: facts.Fact) -> str:
    """The document of a fact."""
    if not isinstance(fact, facts.Notified):
        return encode(to_stored(fact, SHAPES[type(fact)]))
    return encode(
        StoredNotified(
            to_stored(fact.identity, StoredIdentity),
            to_stored(fact.subscription, StoredSubscriptionKey),
            note_to_stored(fact.note),
            fact.notification,
            fact.attention,
        )
    )


def fact_from_json(text: str) -> facts.Fact:
    """A fact from its document.  Raises `ValueError`, which names the field."""
    stored = decode(text, _DECODER, _mend)
    if not isinstance(stored, StoredNotified):
        fact: facts.Fact = to_core(stored, CORE[type(stored)])
        return fact
    return facts.Notified(
        to_core(stored.identity, vocabulary.Identity),
        to_core(stored.subscription, vocabulary.SubscriptionKey),
        note_to_core(stored.note),
        stored.notification,
        stored.attention,
    )


def _mend(document: dict[str, Any]) -> None:
    mend_duration(document, "ahead")
