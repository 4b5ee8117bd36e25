"""Details of the worker's own events, on the guard and on feeds (lifecycle.md section 9)."""

from datetime import date, datetime
from uuid import UUID

from marketplace_worker.lifecycle.values import dataclass
from marketplace_worker.lifecycle.vocabulary import (
    ActivityFeed,
    GuardSide,
    OrganizationId,
    RequestLimit,
)


@dataclass(frozen=True, slots=True)
class GuardTrippedDetails:
    """`guard.tripped`: one side of the guard, or both, allow nothing from now on.

    By a limit: `counted` within the hour, of at most `limit`; `which` limit and by which request,
    if it is a limit of requests.  By hand: `by` the operator, without the others.  `added_to`: the
    event of an existing trip, whose details still apply.
    """

    guard: GuardSide
    counted: int | None
    limit: int | None
    by: str | None
    reason: str
    which: RequestLimit | None = None
    request_id: str | None = None
    added_to: UUID | None = None


@dataclass(frozen=True, slots=True)
class GuardReleasedDetails:
    """`guard.released`: for so many `steps` or `requests`, or (None) altogether.

    `counted`, `limit`, `which` and `request_id` are those of the trip, where it was one trip.
    """

    guard: GuardSide
    steps: int | None
    requests: int | None
    counted: int | None
    limit: int | None
    by: str
    reason: str
    which: RequestLimit | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class SilentFeedDetails:
    """`activity_feed.silent`: on this UTC day the feed was too silent to decide on inactivity.

    `last_heard_at` is None where it was never heard.
    """

    feed: ActivityFeed
    day: date
    last_heard_at: datetime | None


@dataclass(frozen=True, slots=True)
class UnreadableFeedDetails:
    """`activity_feed.unreadable`: on this UTC day unreadable records postponed a decision on
    inactivity.

    `organization` is the one whose use they may be, by their key; None: any.
    """

    feed: ActivityFeed
    day: date
    organization: OrganizationId | None
