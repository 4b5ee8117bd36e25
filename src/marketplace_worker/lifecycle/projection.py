"""The fold of a subscription's register: its status, and when it counted as an active plan.

The tables of marketplaces.md section 1, read in the order of event time (*Fold*).
"""

from collections.abc import Iterable
from dataclasses import field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeVar

from marketplace_worker.lifecycle.notes import (
    Activated,
    Change,
    Ended,
    Ending,
    Note,
    Pended,
    Resumed,
    Superseded,
    Suspended,
    Unchanged,
    Unsubscribed,
    VendorCancellationApproved,
)
from marketplace_worker.lifecycle.policy import (
    AZURE_KEEPS_AFTER_SUSPEND,
    AZURE_KEEPS_AFTER_UNSUBSCRIBE,
)
from marketplace_worker.lifecycle.subscription import Link, Subscription
from marketplace_worker.lifecycle.values import dataclass, replace
from marketplace_worker.lifecycle.vocabulary import Initiator, Marketplace, PlanEndReason, PlanType

_T = TypeVar("_T")


def final_report_window(marketplace: Marketplace) -> timedelta:
    """How long after an end a marketplace still accepts usage from before it."""
    match marketplace:
        case Marketplace.AWS | Marketplace.GCP:
            return timedelta(hours=1)
        case Marketplace.AZURE:
            return timedelta(hours=24)


class SubscriptionStatus(StrEnum):
    """The status of a subscription by its notifications (marketplaces.md section 1)."""

    PENDING = "pending"
    ACTIVE = "active"
    ENDING = "ending"
    SUSPENDED = "suspended"
    ENDED = "ended"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open interval in which the subscription counted as an active plan.

    `ends_at` is None while no end is known.  An end of a subscription that was never active is an
    empty span.  `inferred`: no reason was reported; an announced end passed.  `superseded`: another
    subscription is to continue it.
    """

    starts_at: datetime
    ends_at: datetime | None = None
    reason: PlanEndReason = PlanEndReason.UNKNOWN
    initiator: Initiator = Initiator.SYSTEM
    inferred: bool = False
    superseded: bool = False

    @property
    def counted(self) -> bool:
        """Whether it lasted at all."""
        return self.ends_at is None or self.starts_at < self.ends_at


@dataclass(frozen=True, slots=True)
class Projection:
    """The result of the fold.

    `floor`: until when the marketplace wants the data kept (lifecycle.md section 3, 4).
    `usage_closed_at`: from when the last usage is to be reported, once per end of a subscription
    that had counted as active.
    """

    status: SubscriptionStatus | None = None
    spans: tuple[Span, ...] = ()
    ends_at: datetime | None = None
    plan_type: PlanType | None = None
    floor: datetime | None = None
    usage_closed_at: tuple[datetime, ...] = ()

    def counts_at(self, at: datetime) -> bool:
        """Whether it counts as an active plan for a message of that time, rather than only as
        superseded: an end that comes by itself then is still ahead (lifecycle.md section 11).
        """
        return any(
            span.starts_at <= at
            and (
                span.ends_at is None
                or at < span.ends_at
                or (at == span.ends_at and span.inferred and span.counted)
            )
            for span in self.spans
        )


def fold(subscription: Subscription, links: tuple[Link, ...]) -> Projection:
    """Read a register from its beginning.

    `links` are the links in force, in order: the register's own, or those inherited from its
    predecessor.  After a link, an unknown or pending subscription counts as active.
    """
    linked_at = links[0].occurred_at if links else None
    approved_at = [
        note.occurred_at
        for note in subscription.notes
        if isinstance(note.change, VendorCancellationApproved)
    ]
    folding = _Folding(
        every_end_closes_usage=subscription.key.marketplace is Marketplace.AWS,
        vendor_approved_at=min(approved_at, default=None),
    )
    for note in subscription.notes:
        if not note.counts:
            continue
        if linked_at is not None and linked_at <= note.occurred_at:
            folding.link(linked_at)
            linked_at = None
        folding.apply(note)
    if linked_at is not None:
        folding.link(linked_at)
    return folding.projection(plan_type=_newest([link.plan_type for link in links]))


@dataclass(slots=True)
class _Folding:
    """The fold's working memory; lives for one call of `fold`."""

    every_end_closes_usage: bool
    vendor_approved_at: datetime | None
    status: SubscriptionStatus | None = None
    terminal: bool = False
    open_since: datetime | None = None
    spans: list[Span] = field(default_factory=list)
    runs_out_at: datetime | None = None
    runs_out_for: PlanEndReason = PlanEndReason.UNKNOWN
    floor: datetime | None = None
    usage_closed_at: list[datetime] = field(default_factory=list)
    usage_open: bool = True
    has_counted: bool = False
    was_activated: bool = False
    licences: set[str] = field(default_factory=set)
    plan_type: PlanType | None = None
    plan_type_settled: bool = False
    term_ends_at: datetime | None = None
    auto_renews: bool | None = None
    term_started: bool | None = None

    def link(self, at: datetime) -> None:
        if self.status in {None, SubscriptionStatus.PENDING}:
            self._activate(at)

    def apply(self, note: Note) -> None:
        self._run_out(until=note.occurred_at)
        if self.terminal:
            self._apply_after_the_end(note)
            self.plan_type = self.plan_type or note.plan_type
        else:
            self._apply_change(note.change, note)
            self._remember(note)

    def projection(self, plan_type: PlanType | None) -> Projection:
        self._run_out(until=None)
        if self.open_since is not None:
            self.spans.append(Span(self.open_since))
        return Projection(
            status=self.status,
            spans=tuple(self.spans),
            ends_at=self.runs_out_at,
            plan_type=plan_type or self.plan_type,
            floor=self.floor,
            usage_closed_at=tuple(self.usage_closed_at),
        )

    def _apply_change(self, change: Change, note: Note) -> None:
        at = note.occurred_at
        match change:
            case Pended():
                self.status = self.status or SubscriptionStatus.PENDING
            case Activated():
                self._activate(at)
                self.was_activated = True
            case Resumed(where=where):
                if self.status == where:
                    self._activate(at)
                    self.floor = None
            case Ending():
                if not (change.closes_usage and self._another_licence_lives(note)):
                    self._begin_to_end(change, note)
            case Suspended():
                self._close(at, PlanEndReason.NON_PAYMENT, Initiator.MARKETPLACE)
                self.status = SubscriptionStatus.SUSPENDED
                self.floor = at + AZURE_KEEPS_AFTER_SUSPEND
            case Ended(reason=reason, initiator=initiator, terminal=terminal):
                if reason is PlanEndReason.CUSTOMER and self._vendor_approved(at):
                    reason, initiator = PlanEndReason.VENDOR, Initiator.VENDOR
                self._end(note, reason, initiator)
                self.terminal = terminal
            case Unsubscribed():
                reason, initiator = self._why_unsubscribed(note, change)
                self.usage_open &= self.status is not SubscriptionStatus.SUSPENDED
                self._end(note, reason, initiator)
                self.terminal = True
                self.floor = max(self.floor or at, at + AZURE_KEEPS_AFTER_UNSUBSCRIBE)
            case Superseded():
                self._supersede(note)
            case VendorCancellationApproved() | Unchanged():
                pass

    def _apply_after_the_end(self, note: Note) -> None:
        """Nothing revives it; but a later notification may report the reason, or that it was
        superseded.
        """
        match note.change:
            case Superseded():
                self._supersede(note)
            case Ended() if self.status is not SubscriptionStatus.SUPERSEDED:
                self._apply_change(replace(note.change, terminal=True), note)
            case Unsubscribed():
                self._close(note.occurred_at, *self._why_unsubscribed(note, note.change))
            case _:
                pass

    def _activate(self, at: datetime) -> None:
        self.status = SubscriptionStatus.ACTIVE
        self.runs_out_at = None
        self.usage_open = True
        self._open(at)

    def _open(self, at: datetime) -> None:
        self.has_counted = True
        if self.open_since is None:
            self.open_since = at

    def _begin_to_end(self, change: Ending, note: Note) -> None:
        self._open(note.occurred_at)
        self.status = SubscriptionStatus.ENDING
        self.runs_out_at = change.ends_at
        self.runs_out_for = change.reason
        if change.closes_usage:
            self._close_usage(note)

    def _another_licence_lives(self, deprovisioned: Note) -> bool:
        """Whether a licence of the agreement remains after AWS revoked one."""
        if deprovisioned.licence is None:
            self.licences.clear()
        else:
            self.licences.discard(deprovisioned.licence)
        return bool(self.licences)

    def _end(self, note: Note, reason: PlanEndReason, initiator: Initiator) -> None:
        self._close(note.occurred_at, reason, initiator)
        self._close_usage(note)
        self.status = SubscriptionStatus.ENDED
        self.runs_out_at = None

    def _supersede(self, note: Note) -> None:
        self._close(note.occurred_at, PlanEndReason.UNKNOWN, Initiator.SYSTEM)
        self._close_usage(note)
        self.spans[-1] = replace(
            self.spans[-1],
            superseded=True,
            reason=PlanEndReason.UNKNOWN,
            initiator=Initiator.SYSTEM,
        )
        self.status = SubscriptionStatus.SUPERSEDED
        self.terminal = True
        self.runs_out_at = None

    def _close(self, at: datetime, reason: PlanEndReason, initiator: Initiator) -> None:
        """End the open span.  If it has ended already, the time is that of the earliest
        end, and the reason is the first known one.
        """
        if self.open_since is not None:
            self.spans.append(Span(self.open_since, at, reason, initiator))
            self.open_since = None
        elif not self.spans:
            self.spans.append(Span(at, at, reason, initiator))
        elif self.spans[-1].reason is PlanEndReason.UNKNOWN or (
            self.spans[-1].inferred and reason is not PlanEndReason.UNKNOWN
        ):
            self.spans[-1] = replace(
                self.spans[-1], reason=reason, initiator=initiator, inferred=False
            )

    def _close_usage(self, note: Note) -> None:
        closes = self.every_end_closes_usage or note.closes_usage
        if closes and self.has_counted and self.usage_open:
            self.usage_closed_at.append(note.occurred_at)
            self.usage_open = False

    def _run_out(self, until: datetime | None) -> None:
        """An announced end takes effect without a notification of it (lifecycle.md section 11)."""
        announced = self.runs_out_at
        if (
            self.status is not SubscriptionStatus.ENDING
            or announced is None
            or self.open_since is None
        ):
            return
        if until is None or announced <= until:
            ends_at = max(announced, self.open_since)
            self._close(ends_at, self.runs_out_for, Initiator.SYSTEM)
            self.spans[-1] = replace(self.spans[-1], inferred=True)

    def _vendor_approved(self, at: datetime) -> bool:
        return self.vendor_approved_at is not None and self.vendor_approved_at <= at

    def _why_unsubscribed(
        self, note: Note, change: Unsubscribed
    ) -> tuple[PlanEndReason, Initiator]:
        """The reason of an Azure end: the first that applies (marketplaces.md section 1)."""
        term_ends_at = note.term_ends_at or self.term_ends_at
        if self.status is SubscriptionStatus.SUSPENDED:
            return PlanEndReason.NON_PAYMENT, Initiator.MARKETPLACE
        if change.by_partner:
            return PlanEndReason.VENDOR, Initiator.VENDOR
        if term_ends_at and term_ends_at <= note.occurred_at and self.auto_renews is False:
            return PlanEndReason.COMMIT_EXPIRED, Initiator.SYSTEM
        if not self._was_ever_active(note):
            return PlanEndReason.UNKNOWN, Initiator.MARKETPLACE
        return PlanEndReason.CUSTOMER, Initiator.CUSTOMER

    def _was_ever_active(self, note: Note) -> bool:
        """Whether an Azure subscription was ever active; its link alone does not prove it if its
        term never began.
        """
        started = self.term_started if note.term_started is None else note.term_started
        return self.was_activated or (self.has_counted if started is None else started)

    def _remember(self, note: Note) -> None:
        if note.plan_type is not None and (note.plan_type_settled or not self.plan_type_settled):
            self.plan_type = note.plan_type
            self.plan_type_settled = note.plan_type_settled
        self.term_ends_at = note.term_ends_at or self.term_ends_at
        if note.auto_renews is not None:
            self.auto_renews = note.auto_renews
        if note.term_started is not None:
            self.term_started = note.term_started
        is_deprovisioned = isinstance(note.change, Ending) and note.change.closes_usage
        if note.licence is not None and not is_deprovisioned:
            self.licences.add(note.licence)


def _newest(values: Iterable[_T | None]) -> _T | None:
    """The last that is not None."""
    newest: _T | None = None
    for each in values:
        newest = each if each is not None else newest
    return newest
