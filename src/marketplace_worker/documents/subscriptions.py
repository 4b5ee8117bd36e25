"""The document of a subscription's register: its notifications and its links."""

from datetime import datetime
from operator import attrgetter
from typing import Literal

import msgspec
from msgspec.structs import astuple

from marketplace_worker.documents.shapes import (
    CORE,
    SHAPES,
    Document,
    Shape,
    decode,
    encode,
    stores,
    to_core,
    to_stored,
)
from marketplace_worker.lifecycle import notes, subscription, vocabulary
from marketplace_worker.lifecycle.notes import Progress
from marketplace_worker.lifecycle.vocabulary import Initiator, Marketplace, PlanEndReason, PlanType


@stores(vocabulary.SubscriptionKey)
class StoredSubscriptionKey(Shape):
    """The name of a subscription."""

    marketplace: Marketplace
    subscription_id: str


class StoredChange(Shape, tag_field="kind"):
    """The change of status that a notification reports."""


@stores(notes.Pended)
class StoredPended(StoredChange, tag="pended"):
    """Bought, not yet in force."""

    successor_of: StoredSubscriptionKey | None = None


@stores(notes.Activated)
class StoredActivated(StoredChange, tag="activated"):
    """In force."""


@stores(notes.Resumed)
class StoredResumed(StoredChange, tag="resumed"):
    """In force again."""

    where: Literal["ending", "suspended"]


@stores(notes.Ending)
class StoredEnding(StoredChange, tag="ending"):
    """Will end."""

    ends_at: datetime | None
    reason: PlanEndReason = PlanEndReason.UNKNOWN
    closes_usage: bool = False


@stores(notes.Suspended)
class StoredSuspended(StoredChange, tag="suspended"):
    """Suspended by Azure."""


@stores(notes.Ended)
class StoredEnded(StoredChange, tag="ended"):
    """Over."""

    reason: PlanEndReason
    initiator: Initiator
    terminal: bool


@stores(notes.Unsubscribed)
class StoredUnsubscribed(StoredChange, tag="unsubscribed"):
    """Over, at Azure."""

    by_partner: bool


@stores(notes.Superseded)
class StoredSuperseded(StoredChange, tag="superseded"):
    """Over, and continued by another."""


@stores(notes.VendorCancellationApproved)
class StoredVendorCancellationApproved(StoredChange, tag="vendor_cancellation_approved"):
    """The vendor's request to cancel was approved."""


@stores(notes.Unchanged)
class StoredUnchanged(StoredChange, tag="unchanged"):
    """Nothing of the status."""


@stores(notes.Note)
class StoredNote(Shape):
    """One notification."""

    occurred_at: datetime
    rank: int
    id: str
    change: (
        StoredPended
        | StoredActivated
        | StoredResumed
        | StoredEnding
        | StoredSuspended
        | StoredEnded
        | StoredUnsubscribed
        | StoredSuperseded
        | StoredVendorCancellationApproved
        | StoredUnchanged
    )
    plan_type: PlanType | None = None
    plan_type_settled: bool = False
    billing_account: str | None = None
    term_ends_at: datetime | None = None
    auto_renews: bool | None = None
    operation: str | None = None
    progress: Progress = Progress.SUCCEEDED
    licence: str | None = None
    term_started: bool | None = None
    closes_usage: bool = False


@stores(subscription.Link)
class StoredLink(Shape):
    """One link to an organization."""

    occurred_at: datetime
    id: str
    organization: str
    plan_type: PlanType | None = None
    billing_account: str | None = None


@stores(subscription.Subscription)
class StoredSubscription(Document):
    """The document."""

    key: StoredSubscriptionKey
    notes: tuple[StoredNote, ...] = ()
    links: tuple[StoredLink, ...] = ()


_DECODER = msgspec.json.Decoder(StoredSubscription)


def subscription_to_json(register: subscription.Subscription) -> str:
    """The document of a subscription's register."""
    return encode(
        StoredSubscription(
            to_stored(register.key, StoredSubscriptionKey),
            tuple(map(note_to_stored, register.notes)),
            tuple(to_stored(link, StoredLink) for link in register.links),
        )
    )


def subscription_from_json(text: str) -> subscription.Subscription:
    """A subscription's register from its document.  Raises `ValueError`, which names the field."""
    stored = decode(text, _DECODER)
    return subscription.Subscription(
        to_core(stored.key, vocabulary.SubscriptionKey),
        tuple(map(note_to_core, stored.notes)),
        tuple(to_core(link, subscription.Link) for link in stored.links),
    )


def note_to_stored(note: notes.Note) -> StoredNote:
    """A note as it is stored.  Converted by hand: msgspec cannot tell the core's changes apart."""
    values = list(_READ_NOTE(note))
    values[_CHANGE] = to_stored(note.change, SHAPES[type(note.change)])
    return StoredNote(*values)


def note_to_core(stored: StoredNote) -> notes.Note:
    """A note as the core has it."""
    values = list(astuple(stored))
    values[_CHANGE] = to_core(stored.change, CORE[type(stored.change)])
    return notes.Note(*values)


_READ_NOTE = attrgetter(*StoredNote.__struct_fields__)
_CHANGE = StoredNote.__struct_fields__.index("change")
