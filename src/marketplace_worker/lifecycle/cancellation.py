"""One cancellation: its beginning, its pauses, and the notice of its next step."""

from datetime import datetime, timedelta

from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.values import dataclass
from marketplace_worker.lifecycle.vocabulary import CompletedBy, SubscriptionKey

Pause = tuple[datetime, datetime]
"""A half-open interval that does not count towards the deadlines (lifecycle.md section 4)."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A plan is active again since `since`, and the reinstatement waits for its completion."""

    subscription: SubscriptionKey
    completed_by: CompletedBy
    since: datetime


@dataclass(frozen=True, slots=True)
class Cancellation:
    """A cancellation that runs, or that has run its course.

    `canceled_at` is the moment at which the last plan ended (event time) and follows old news;
    `moved_from` is what was decided first (None: no old news has moved it).  `correlation_id` is
    the id of its first event.  `extension`: what Support added to every offset.
    """

    canceled_at: datetime
    correlation_id: str
    policy_version: str
    extension: timedelta = timedelta(0)
    moved_from: datetime | None = None

    @property
    def decided_canceled_at(self) -> datetime:
        """The `canceled_at` that was decided when the cancellation was."""
        return self.canceled_at if self.moved_from is None else self.moved_from


@dataclass(frozen=True, slots=True)
class Notice:
    """A standing notice: it announced `step` for `announced_for_at`, and was written at `given_at`.

    `correlation_id`: that of the events from the notice on, where no cancellation runs.
    """

    step: State
    announced_for_at: datetime
    given_at: datetime
    correlation_id: str | None = None
