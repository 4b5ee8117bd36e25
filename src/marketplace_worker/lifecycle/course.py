"""What a subscription's register comes to: its status, and when it counted as an active plan.

The tables of marketplaces.md section 1, read in the order of event time (*Fold*).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
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
from marketplace_worker.lifecycle.plans import Link, Subscription
from marketplace_worker.lifecycle.policy import (
    AZURE_KEEPS_AFTER_SUSPEND,
    AZURE_KEEPS_AFTER_UNSUBSCRIBE,
)
from marketplace_worker.lifecycle.vocabulary import Initiator, Marketplace, PlanType, Reason

_T = TypeVar("_T")

FINAL_REPORT_WINDOW = timedelta(hours=1)
"""AWS meters the last usage for about an hour after an end (lifecycle.md section 9)."""


class Status(StrEnum):
    """What a subscription's notifications come to (marketplaces.md section 1)."""

    PENDING = "pending"
    ACTIVE = "active"
    ENDING = "ending"
    SUSPENDED = "suspended"
    ENDED = "ended"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open interval in which the subscription counted as an active plan.

    `ends_at` is None while no end is known.  An end of something that was never seen active is a
    span of no length.  `superseded`: another subscription is to continue it.
    """

    starts_at: datetime
    ends_at: datetime | None = None
    reason: Reason = Reason.UNKNOWN
    initiator: Initiator = Initiator.SYSTEM
    superseded: bool = False


@dataclass(frozen=True, slots=True)
class Course:
    """What a register comes to: the outcome of the fold.

    `floor`: until when the marketplace wants the data kept (lifecycle.md section 3, 4).
    `usage_closed_at`: when the marketplace began to close metering, once per end.
    """

    status: Status | None = None
    spans: tuple[Span, ...] = ()
    ends_at: datetime | None = None
    plan_type: PlanType | None = None
    floor: datetime | None = None
    usage_closed_at: tuple[datetime, ...] = ()


def fold(subscription: Subscription, links: tuple[Link, ...]) -> Course:
    """Read a register from its beginning.

    `links` are the links in force, in order: the register's own, or those that it inherits from its
    predecessor.  A link counts a subscription that was never heard of, or is pending, as active.
    """
    linked_at = links[0].occurred_at if links else None
    folding = _Folding(
        usage_closes=subscription.key.marketplace is Marketplace.AWS,
        vendor_approved_at=min(
            (
                note.occurred_at
                for note in subscription.notes
                if isinstance(note.change, VendorCancellationApproved)
            ),
            default=None,
        ),
    )
    for note in subscription.notes:
        if not note.counts:
            continue
        if linked_at is not None and linked_at <= note.occurred_at:
            folding.link(linked_at)
            linked_at = None
        folding.take(note)
    if linked_at is not None:
        folding.link(linked_at)
    return folding.course(plan_type=_newest(link.plan_type for link in links))


@dataclass(slots=True)
class _Folding:
    """The fold's working memory; lives for one call of `fold`."""

    usage_closes: bool
    vendor_approved_at: datetime | None
    status: Status | None = None
    terminal: bool = False
    open_since: datetime | None = None
    spans: list[Span] = field(default_factory=list)
    runs_out_at: datetime | None = None
    runs_out_for: Reason = Reason.UNKNOWN
    floor: datetime | None = None
    usage_closed_at: list[datetime] = field(default_factory=list)
    usage_open: bool = True
    plan_type: PlanType | None = None
    plan_type_settled: bool = False
    term_ends_at: datetime | None = None
    auto_renews: bool | None = None

    def link(self, at: datetime) -> None:
        if self.status in {None, Status.PENDING}:
            self._activate(at)

    def take(self, note: Note) -> None:
        self._run_out(until=note.occurred_at)
        if self.terminal:
            self._take_after_the_end(note)
        else:
            self._take_change(note.change, note)
        self._remember(note)

    def course(self, plan_type: PlanType | None) -> Course:
        self._run_out(until=None)
        if self.open_since is not None:
            self.spans.append(Span(self.open_since))
        return Course(
            status=self.status,
            spans=tuple(self.spans),
            ends_at=self.runs_out_at,
            plan_type=plan_type or self.plan_type,
            floor=self.floor,
            usage_closed_at=tuple(self.usage_closed_at) if self.usage_closes else (),
        )

    def _take_change(self, change: Change, note: Note) -> None:
        at = note.occurred_at
        match change:
            case Pended():
                self.status = self.status or Status.PENDING
            case Activated():
                self._activate(at)
            case Resumed(where=where):
                if self.status == where:
                    self._activate(at)
                    self.floor = None
            case Ending():
                self._begin_to_end(change, note)
            case Suspended():
                self._close(at, Reason.NON_PAYMENT, Initiator.MARKETPLACE)
                self.status = Status.SUSPENDED
                self.floor = at + AZURE_KEEPS_AFTER_SUSPEND
            case Ended(reason=reason, initiator=initiator, terminal=terminal):
                if reason is Reason.CUSTOMER and self._vendor_approved(at):
                    reason, initiator = Reason.VENDOR, Initiator.VENDOR
                self._end(at, reason, initiator)
                self.terminal = terminal
            case Unsubscribed(by_partner=by_partner):
                self._end(at, *self._why_unsubscribed(note, by_partner=by_partner))
                self.terminal = True
                self.floor = max(self.floor or at, at + AZURE_KEEPS_AFTER_UNSUBSCRIBE)
            case Superseded():
                self._supersede(at)
            case VendorCancellationApproved() | Unchanged():
                pass

    def _take_after_the_end(self, note: Note) -> None:
        """Nothing revives it; a following reason, or that it was superseded, is taken over."""
        match note.change:
            case Superseded():
                self._supersede(note.occurred_at)
            case Ended() if self.status is not Status.SUPERSEDED:
                self._take_change(replace(note.change, terminal=True), note)
            case _:
                pass

    def _activate(self, at: datetime) -> None:
        self.status = Status.ACTIVE
        self.runs_out_at = None
        self.usage_open = True
        if self.open_since is None:
            self.open_since = at

    def _begin_to_end(self, change: Ending, note: Note) -> None:
        if self.open_since is None:
            self.open_since = note.occurred_at
        self.status = Status.ENDING
        self.runs_out_at = change.ends_at
        self.runs_out_for = change.reason
        if change.closes_usage:
            self._close_usage(note.occurred_at)

    def _end(self, at: datetime, reason: Reason, initiator: Initiator) -> None:
        self._close(at, reason, initiator)
        self._close_usage(at)
        self.status = Status.ENDED
        self.runs_out_at = None

    def _supersede(self, at: datetime) -> None:
        self._close(at, Reason.UNKNOWN, Initiator.SYSTEM)
        self._close_usage(at)
        self.spans[-1] = replace(
            self.spans[-1],
            superseded=True,
            reason=Reason.UNKNOWN,
            initiator=Initiator.SYSTEM,
        )
        self.status = Status.SUPERSEDED
        self.terminal = True
        self.runs_out_at = None

    def _close(self, at: datetime, reason: Reason, initiator: Initiator) -> None:
        """End the open span; where it has ended already, the earliest end tells the time and the
        first known reason the reason.
        """
        if self.open_since is not None:
            self.spans.append(Span(self.open_since, at, reason, initiator))
            self.open_since = None
        elif not self.spans:
            self.spans.append(Span(at, at, reason, initiator))
        elif self.spans[-1].reason is Reason.UNKNOWN:
            self.spans[-1] = replace(self.spans[-1], reason=reason, initiator=initiator)

    def _close_usage(self, at: datetime) -> None:
        if self.usage_open:
            self.usage_closed_at.append(at)
            self.usage_open = False

    def _run_out(self, until: datetime | None) -> None:
        """An end that was announced comes untold (lifecycle.md section 11)."""
        announced = self.runs_out_at
        if self.status is not Status.ENDING or announced is None or self.open_since is None:
            return
        if until is None or announced <= until:
            ends_at = max(announced, self.open_since)
            self._close(ends_at, self.runs_out_for, Initiator.SYSTEM)

    def _vendor_approved(self, at: datetime) -> bool:
        return self.vendor_approved_at is not None and self.vendor_approved_at <= at

    def _why_unsubscribed(self, note: Note, *, by_partner: bool) -> tuple[Reason, Initiator]:
        """Azure's reasons, in their order (marketplaces.md section 1, Unsubscribe)."""
        term_ends_at = note.term_ends_at or self.term_ends_at
        if self.status is Status.SUSPENDED:
            return Reason.NON_PAYMENT, Initiator.MARKETPLACE
        if by_partner:
            return Reason.VENDOR, Initiator.VENDOR
        if term_ends_at and term_ends_at <= note.occurred_at and self.auto_renews is False:
            return Reason.COMMIT_EXPIRED, Initiator.SYSTEM
        return Reason.CUSTOMER, Initiator.CUSTOMER

    def _remember(self, note: Note) -> None:
        if note.plan_type is not None and (note.plan_type_settled or not self.plan_type_settled):
            self.plan_type = note.plan_type
            self.plan_type_settled = note.plan_type_settled
        self.term_ends_at = note.term_ends_at or self.term_ends_at
        if note.auto_renews is not None:
            self.auto_renews = note.auto_renews


def _newest(told: Iterable[_T | None]) -> _T | None:
    """The last of them that tells anything."""
    newest: _T | None = None
    for each in told:
        newest = each if each is not None else newest
    return newest
