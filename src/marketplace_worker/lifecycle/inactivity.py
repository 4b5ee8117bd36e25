"""When a free organization counts as inactive, whether the activity feeds are complete enough to
say so (lifecycle.md section 5), and which logins are kept.
"""

from collections.abc import Mapping
from dataclasses import field
from datetime import UTC, date, datetime, time, timedelta

from marketplace_worker.lifecycle.policy import Inactivity
from marketplace_worker.lifecycle.unreadable import PossibleUse, UnreadableFeed
from marketplace_worker.lifecycle.values import dataclass, replace
from marketplace_worker.lifecycle.vocabulary import ActivityFeed, OrganizationId

LOGINS_KEPT = timedelta(days=45)
"""Logins are kept by UTC day, from this long before the newest on (lifecycle.md section 5)."""


@dataclass(frozen=True, slots=True)
class LastSeen:
    """The newest login and API request of an organization; None: there was none.

    `logins`: in order, the first and the last login of each UTC day that is kept.  Without them
    only the newest is known: by what earlier versions wrote down, and where no sign-in can prove
    anything.
    """

    login_at: datetime | None = None
    request_at: datetime | None = None
    logins: tuple[datetime, ...] = ()

    @property
    def sign_ins(self) -> tuple[datetime, ...]:
        """All known logins, in order."""
        newest = set() if self.login_at is None else {self.login_at}
        return tuple(sorted(newest.union(self.logins)))

    def with_login(self, at: datetime) -> "LastSeen":
        """A copy with one more login, which need not be the newest."""
        newest = max(self.login_at or at, at)
        kept = {each for each in self.logins if first_kept(newest) <= each.date()}
        of_the_day = {each for each in kept if each.date() == at.date()} | {at}
        if first_kept(newest) <= at.date():
            kept = (kept - of_the_day) | {min(of_the_day), max(of_the_day)}
        return replace(self, login_at=newest, logins=tuple(sorted(kept)))

    def with_request(self, at: datetime) -> "LastSeen":
        """A copy with one more API request, which need not be the newest."""
        return replace(self, request_at=max(self.request_at or at, at))

    def used_after(self, moment: datetime) -> bool:
        """Whether it was in use after that moment."""
        used = (self.login_at, self.request_at)
        return any(at is not None and moment < at for at in used)


NEVER_SEEN = LastSeen()


def first_kept(newest: datetime) -> date:
    """The first UTC day whose logins are kept, given the newest login."""
    return (newest - LOGINS_KEPT).date()


def counts_until(
    feed: ActivityFeed, used_at: datetime, anchor: datetime, rules: Inactivity
) -> datetime:
    """The moment from which a use no longer counts.

    That is `no_login_for` after a login, and for an API request the end of the billing cycle after
    the one it was in.
    """
    match feed:
        case ActivityFeed.LOGINS:
            return used_at + rules.no_login_for
        case ActivityFeed.API_REQUESTS:
            cycle = (used_at - anchor) // rules.billing_cycle
            return anchor + rules.billing_cycle * (cycle + 2)


@dataclass(frozen=True, slots=True)
class DayRange:
    """The first and the last event of one UTC day, by event time."""

    first_at: datetime
    last_at: datetime

    def including(self, moment: datetime) -> "DayRange":
        """A copy with one more moment of the same day."""
        return DayRange(min(self.first_at, moment), max(self.last_at, moment))


@dataclass(slots=True)
class Feeds:
    """The events of each feed over the whole fleet, by day; and its unreadable records."""

    days: dict[ActivityFeed, dict[date, DayRange]] = field(
        default_factory=lambda: {feed: {} for feed in ActivityFeed}
    )
    possible_use: PossibleUse = field(default_factory=PossibleUse)

    def record(self, feed: ActivityFeed, moment: datetime) -> None:
        """Record that a feed carried an event of that moment (UTC)."""
        known = self.days[feed].get(moment.date())
        self.days[feed][moment.date()] = (
            known.including(moment) if known else DayRange(moment, moment)
        )

    def last_event_at(self, feed: ActivityFeed) -> datetime | None:
        """The newest event of a feed; None: it never carried one."""
        return max((span.last_at for span in self.days[feed].values()), default=None)

    def silent_feeds(
        self, anchor: datetime, rules: Inactivity, *, now: datetime
    ) -> tuple[ActivityFeed, ...]:
        """The feeds with too long a gap in the window that a decision uses now.

        That is the last 30 days for logins, and for API usage the previous and the current billing
        cycle of the organization.
        """
        cycle = (now - anchor) // rules.billing_cycle
        since: Mapping[ActivityFeed, datetime] = {
            ActivityFeed.LOGINS: now - rules.no_login_for,
            ActivityFeed.API_REQUESTS: anchor + rules.billing_cycle * (cycle - 1),
        }
        return tuple(
            feed
            for feed in ActivityFeed
            if self._longest_gap(feed, since[feed], now) > rules.feed_max_gap
        )

    def unreadable_feeds(
        self, organization: OrganizationId, anchor: datetime, rules: Inactivity, *, now: datetime
    ) -> dict[UnreadableFeed, datetime]:
        """The feeds that may hide use of the organization within the window that a decision uses
        now, each with the time at which that has left the window.
        """
        found: dict[UnreadableFeed, datetime] = {}
        for feed in ActivityFeed:
            used_at = self.possible_use.named.get((organization, feed))
            if used_at is not None:
                left_at = counts_until(feed, used_at, anchor, rules)
                found[UnreadableFeed(feed, organization)] = left_at
            days = [
                day
                for day, read in self.possible_use.days[feed].items()
                if read.counts_for_everybody
            ]
            if days:
                ends_at = datetime.combine(max(days), time.max, UTC)
                found[UnreadableFeed(feed, None)] = counts_until(feed, ends_at, anchor, rules)
        return {each: left_at for each, left_at in found.items() if now < left_at}

    def _longest_gap(self, feed: ActivityFeed, since: datetime, until: datetime) -> timedelta:
        """The longest time without an event within a window, also at its ends."""
        longest, received_at = timedelta(0), since
        for _, span in sorted(self.days[feed].items()):
            if span.last_at >= since and span.first_at <= until:
                longest = max(longest, span.first_at - received_at)
                received_at = max(received_at, min(span.last_at, until))
        return max(longest, until - received_at)
