"""What could not be read of the feeds of activity: it may have been somebody's use
(lifecycle.md section 5).
"""

from dataclasses import dataclass, field, replace
from datetime import date, datetime

from marketplace_worker.lifecycle.vocabulary import ActivityFeed, OrganizationId

IN_A_THOUSAND = 1_000
"""Fewer than one in so many records of a day that name nobody count for nobody."""


@dataclass(frozen=True, slots=True)
class DayCounts:
    """How many records a feed's topic had on one UTC day, by their own time.

    `nameless`: of these, the ones that could not be read and whose key names no organization.
    """

    records: int = 0
    nameless: int = 0

    @property
    def counts_for_everybody(self) -> bool:
        """Whether anybody may have been in use that day."""
        return self.nameless * IN_A_THOUSAND > self.records


@dataclass(slots=True)
class PossibleUse:
    """Possible use: by organization, the newest; and by day, where the records name nobody.

    An organization whose id is a key is kept by it also where it was not created yet.
    """

    named: dict[tuple[OrganizationId, ActivityFeed], datetime] = field(default_factory=dict)
    days: dict[ActivityFeed, dict[date, DayCounts]] = field(
        default_factory=lambda: {feed: {} for feed in ActivityFeed}
    )

    def count_record(self, feed: ActivityFeed, at: datetime) -> None:
        """A feed's topic had one more record, of that time (UTC)."""
        day = self._day(feed, at)
        self.days[feed][at.date()] = replace(day, records=day.records + 1)

    def count_unreadable(
        self, feed: ActivityFeed, at: datetime, key: OrganizationId | None, *, known: bool
    ) -> None:
        """A record could not be read.  `known`: whether its key is an organization's id."""
        if key is not None:
            newest = self.named.get((key, feed), at)
            self.named[key, feed] = max(newest, at)
        if not known:
            day = self._day(feed, at)
            self.days[feed][at.date()] = replace(day, nameless=day.nameless + 1)

    def _day(self, feed: ActivityFeed, at: datetime) -> DayCounts:
        return self.days[feed].get(at.date(), DayCounts())


@dataclass(frozen=True, slots=True)
class UnreadableFeed:
    """A feed had records that could not be read, within the window that a decision looks at.

    `organization`: whose use they may be, by their key; None: anybody's.
    """

    feed: ActivityFeed
    organization: OrganizationId | None
