"""Timelines, dwell and notices: the policy as data (lifecycle.md section 3).

A `Policy` that exists has been checked: `problems()` is what its loader refuses it for.
"""

from collections.abc import Iterator, Mapping
from dataclasses import field
from datetime import timedelta
from enum import StrEnum
from typing import TypeVar

from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.values import dataclass
from marketplace_worker.lifecycle.vocabulary import PlanType

STEPS = (State.CONTROL_PLANE_LOSS, State.SUSPENDED, State.DEACTIVATED)
"""The steps of a cancellation that deadlines take, in order."""

DESTRUCTIVE_STEPS = frozenset({State.SUSPENDED, State.DEACTIVATED})
"""Steps that revoke or delete what is hard to restore (lifecycle.md section 11)."""

AZURE_KEEPS_AFTER_SUSPEND = timedelta(days=30)
AZURE_KEEPS_AFTER_UNSUBSCRIBE = timedelta(days=7)
"""Azure's floors: how long data must stay recoverable (lifecycle.md section 3, 4)."""

FLOOR = max(AZURE_KEEPS_AFTER_SUSPEND, AZURE_KEEPS_AFTER_UNSUBSCRIBE)
"""No timeline deletes data sooner than the longest of the marketplaces' floors."""

FEED_GAP_MIN = timedelta(days=1)
"""Feeds are recorded by day: a shorter gap could not be detected."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Offsets of the steps, counted from `canceled_at`."""

    control_plane_loss: timedelta
    suspended: timedelta
    deactivated: timedelta

    def offset(self, step: State) -> timedelta:
        """How long after `canceled_at` a step is due."""
        match step:
            case State.CONTROL_PLANE_LOSS:
                return self.control_plane_loss
            case State.SUSPENDED:
                return self.suspended
            case State.DEACTIVATED:
                return self.deactivated
            case State.ACTIVE | State.CANCELED:
                raise AssertionError(f"no deadline leads into {step}")


@dataclass(frozen=True, slots=True)
class MinimumDwell:
    """The minimum time in each state, counted from really entering it."""

    canceled: timedelta = timedelta(hours=1)
    control_plane_loss: timedelta = timedelta(days=1)
    suspended: timedelta = timedelta(days=7)

    def of(self, state: State) -> timedelta:
        """The dwell of a state of a cancellation."""
        match state:
            case State.CANCELED:
                return self.canceled
            case State.CONTROL_PLANE_LOSS:
                return self.control_plane_loss
            case State.SUSPENDED:
                return self.suspended
            case State.ACTIVE | State.DEACTIVATED:
                raise AssertionError(f"{state} has no dwell")


@dataclass(frozen=True, slots=True)
class NoticeLead:
    """How long before a step its notice must have been written.  No notice, no step."""

    suspended: timedelta = timedelta(days=3)
    deactivated: timedelta = timedelta(days=7)
    inactivity: timedelta = timedelta(days=7)

    def of(self, step: State) -> timedelta | None:
        """The lead of a step's notice; None: the step needs none."""
        match step:
            case State.SUSPENDED:
                return self.suspended
            case State.DEACTIVATED:
                return self.deactivated
            case State.ACTIVE | State.CANCELED | State.CONTROL_PLANE_LOSS:
                return None


@dataclass(frozen=True, slots=True)
class Inactivity:
    """When a free organization counts as inactive (lifecycle.md section 5)."""

    no_login_for: timedelta = timedelta(days=30)
    billing_cycle: timedelta = timedelta(days=30)
    feed_max_gap: timedelta = timedelta(days=3)

    @property
    def longest_window(self) -> timedelta:
        """The longest window that a decision on inactivity may use."""
        return max(self.no_login_for, 2 * self.billing_cycle)


class AzureReinstatement(StrEnum):
    """What completes the reinstatement of an Azure organization (lifecycle.md section 4)."""

    SUPPORT = "support"
    AUTOMATIC = "automatic"


@dataclass(frozen=True, slots=True)
class Reinstatement:
    """What completes a reinstatement.  `sign_in_required`: AWS and Google."""

    sign_in_required: bool = True
    azure: AzureReinstatement = AzureReinstatement.SUPPORT

    def more_lenient(self, newer: "Reinstatement") -> "Reinstatement":
        """The requirements that both policies have: requiring less is more lenient."""
        automatic = AzureReinstatement.AUTOMATIC in {self.azure, newer.azure}
        return Reinstatement(
            self.sign_in_required and newer.sign_in_required,
            AzureReinstatement.AUTOMATIC if automatic else AzureReinstatement.SUPPORT,
        )


@dataclass(frozen=True, slots=True)
class Grace:
    """Additional time.  `max_extension`: by Support, in all, per cancellation.
    `successor_within`: how long a superseded plan counts while it has no successor.
    """

    max_extension: timedelta = timedelta(days=90)
    successor_within: timedelta = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Guard:
    """The fleet's limits within a sliding hour (lifecycle.md section 8).

    Destructive steps: the larger of `minimum` and `fraction` of the organizations that are not
    deactivated.  Entries into `control_plane_loss`: the same with `control_plane_fraction`.
    Requested deactivations: `requested_per_hour` in all, and `requested_per_person` by one
    `requested_by`.  A limit of 0 allows none.
    """

    minimum: int = 50
    fraction: float = 0.01
    control_plane_fraction: float = 0.05
    requested_per_hour: int = 20
    requested_per_person: int = 10


@dataclass(frozen=True, slots=True)
class Policy:
    """All that an operator may tune.  Defaults: lifecycle.md section 3."""

    version: str = "default"
    payg: Timeline = field(
        default_factory=lambda: Timeline(timedelta(days=1), timedelta(days=7), timedelta(days=37))
    )
    commit: Timeline = field(
        default_factory=lambda: Timeline(timedelta(days=3), timedelta(days=14), timedelta(days=74))
    )
    minimum_dwell: MinimumDwell = field(default_factory=MinimumDwell)
    notice: NoticeLead = field(default_factory=NoticeLead)
    inactivity: Inactivity = field(default_factory=Inactivity)
    reinstatement: Reinstatement = field(default_factory=Reinstatement)
    grace: Grace = field(default_factory=Grace)
    guard: Guard = field(default_factory=Guard)

    def offset(self, plan_type: PlanType | None, step: State) -> timedelta:
        """How long after `canceled_at` a step is due; an unknown plan type takes the longest."""
        match plan_type:
            case PlanType.PAYG:
                return self.payg.offset(step)
            case PlanType.COMMIT:
                return self.commit.offset(step)
            case None:
                return max(self.payg.offset(step), self.commit.offset(step))

    def more_lenient(self, newer: "Policy") -> "Policy":
        """This policy, with the later or less demanding value where a newer policy has one (section
        3).

        What concerns no cancellation, inactivity and the guard, is the newer one's.
        """
        return Policy(
            version=self.version,
            payg=_longer(self.payg, newer.payg),
            commit=_longer(self.commit, newer.commit),
            minimum_dwell=_longer(self.minimum_dwell, newer.minimum_dwell),
            notice=_longer(self.notice, newer.notice),
            inactivity=newer.inactivity,
            reinstatement=self.reinstatement.more_lenient(newer.reinstatement),
            grace=_longer(self.grace, newer.grace),
            guard=newer.guard,
        )

    def problems(self) -> Iterator[tuple[str, str]]:
        """What is wrong with it, as (field, sentence); empty for a usable policy."""
        durations = {
            **_fields("timeline.payg", self.payg),
            **_fields("timeline.commit", self.commit),
            **_fields("minimum_dwell", self.minimum_dwell),
            **_fields("notice", self.notice),
            **_fields("inactivity", self.inactivity),
            **_fields("grace", self.grace),
        }
        for name, duration in durations.items():
            if duration <= timedelta(0):
                yield name, "must be positive"
        for name, timeline in (("payg", self.payg), ("commit", self.commit)):
            if timeline.suspended <= timeline.control_plane_loss:
                yield f"timeline.{name}.suspended", "must come after control_plane_loss"
            if timeline.deactivated <= timeline.suspended:
                yield f"timeline.{name}.deactivated", "must come after suspended"
            if timeline.deactivated < FLOOR:
                yield (
                    f"timeline.{name}.deactivated",
                    f"must be at least P{FLOOR.days}D, for which Azure requires the data",
                )
        if self.inactivity.feed_max_gap < FEED_GAP_MIN:
            yield "inactivity.feed_max_gap", "must be at least P1D: feeds are recorded by the day"
        for name in ("minimum", "requested_per_hour", "requested_per_person"):
            if getattr(self.guard, name) < 0:
                yield f"guard.{name}", "must not be negative"
        for name in ("fraction", "control_plane_fraction"):
            if not 0 <= getattr(self.guard, name) <= 1:
                yield f"guard.{name}", "must be from 0 to 1"


@dataclass(frozen=True, slots=True)
class Policies:
    """The policy in force, and those that organizations were pinned to, by version."""

    current: Policy = field(default_factory=Policy)
    pinned: Mapping[str, Policy] = field(default_factory=dict)

    def pinned_to(self, version: str | None) -> Policy:
        """The policy for an organization that is pinned to a version, or (None) to none.

        An unknown version counts as the one in force.
        """
        pinned = self.pinned.get(version) if version else None
        if pinned is None or pinned == self.current:
            return self.current
        return pinned.more_lenient(self.current)


_Durations = TypeVar("_Durations", Timeline, MinimumDwell, NoticeLead, Grace)


def _longer(older: _Durations, newer: _Durations) -> _Durations:
    """The longer of each duration."""
    return type(older)(
        **{name: max(getattr(older, name), getattr(newer, name)) for name in older.__slots__}
    )


def _fields(
    prefix: str, durations: Timeline | MinimumDwell | NoticeLead | Inactivity | Grace
) -> dict[str, timedelta]:
    return {f"{prefix}.{name}": getattr(durations, name) for name in durations.__slots__}
