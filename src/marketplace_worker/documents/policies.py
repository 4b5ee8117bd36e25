"""The document of a policy, to which organizations are pinned.

A policy is checked when it is loaded from its file, not when it is read from here.
"""

from datetime import timedelta
from typing import Any

import msgspec
from msgspec import field

from marketplace_worker.documents.shapes import (
    Document,
    Shape,
    decode,
    encode,
    mend_duration,
    stores,
    to_core,
    to_stored,
)
from marketplace_worker.lifecycle import policy
from marketplace_worker.lifecycle.policy import AzureReinstatement


@stores(policy.Timeline)
class StoredTimeline(Shape):
    """The offsets of the steps."""

    control_plane_loss: timedelta
    suspended: timedelta
    deactivated: timedelta


@stores(policy.MinimumDwell)
class StoredMinimumDwell(Shape):
    """The minimum time in each state."""

    canceled: timedelta = timedelta(hours=1)
    control_plane_loss: timedelta = timedelta(days=1)
    suspended: timedelta = timedelta(days=7)


@stores(policy.NoticeLead)
class StoredNoticeLead(Shape):
    """The lead time of the notice of each step."""

    suspended: timedelta = timedelta(days=3)
    deactivated: timedelta = timedelta(days=7)
    inactivity: timedelta = timedelta(days=7)


@stores(policy.Inactivity)
class StoredInactivity(Shape):
    """When an organization counts as inactive."""

    no_login_for: timedelta = timedelta(days=30)
    billing_cycle: timedelta = timedelta(days=30)
    feed_max_gap: timedelta = timedelta(days=3)


@stores(policy.Reinstatement)
class StoredReinstatement(Shape):
    """Requirements for a reinstatement."""

    sign_in_required: bool = True
    azure: AzureReinstatement = AzureReinstatement.SUPPORT


@stores(policy.Grace)
class StoredGrace(Shape):
    """Limits of extra time."""

    max_extension: timedelta = timedelta(days=90)
    successor_within: timedelta = timedelta(days=7)


@stores(policy.Guard)
class StoredGuard(Shape):
    """The limits of the guard."""

    minimum: int = 50
    fraction: float = 0.01
    control_plane_fraction: float = 0.05
    requested_per_hour: int = 20
    requested_per_person: int = 10


def _timeline(*offsets: int) -> StoredTimeline:
    return StoredTimeline(*(timedelta(days=each) for each in offsets))


@stores(policy.Policy)
class StoredPolicy(Document):
    """The document."""

    version: str = "default"
    payg: StoredTimeline = field(default_factory=lambda: _timeline(1, 7, 37))
    commit: StoredTimeline = field(default_factory=lambda: _timeline(3, 14, 74))
    minimum_dwell: StoredMinimumDwell = field(default_factory=StoredMinimumDwell)
    notice: StoredNoticeLead = field(default_factory=StoredNoticeLead)
    inactivity: StoredInactivity = field(default_factory=StoredInactivity)
    reinstatement: StoredReinstatement = field(default_factory=StoredReinstatement)
    grace: StoredGrace = field(default_factory=StoredGrace)
    guard: StoredGuard = field(default_factory=StoredGuard)


_DECODER = msgspec.json.Decoder(StoredPolicy)


def policy_to_json(value: policy.Policy) -> str:
    """The document of a policy."""
    return encode(to_stored(value, StoredPolicy))


def policy_from_json(text: str) -> policy.Policy:
    """A policy from its document.  Raises `ValueError`, which names the field."""
    return to_core(decode(text, _DECODER, _mend), policy.Policy)


def _mend(document: dict[str, Any]) -> None:
    for section in document.values():
        if isinstance(section, dict):
            mend_duration(section, *section)
