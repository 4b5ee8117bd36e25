"""Unreadable records of the activity feeds: each may have been use of an organization
(lifecycle.md section 5).
"""

from dataclasses import field
from datetime import date, datetime

from marketplace_worker.lifecycle.values import dataclass, replace
from marketplace_worker.lifecycle.vocabulary import ActivityFeed, OrganizationId

IN_A_THOUSAND = 1_000
"""Up to one in this many records of a day may be unreadable and without an organization, without
any effect.
"""


@dataclass(frozen=True, slots=True)
class DayCounts:
    """The number of records of a feed's topic on one UTC day, by their timestamps.

    `nameless`: those of them that could not be read and whose key names no organization.
    """

    records: int = 0
    nameless: int = 0

    @property
    def counts_for_everybody(self) -> bool:
        """Whether any organization may have been in use that day."""
        return self.nameless * IN_A_THOUSAND > self.records


@dataclass(slots=True)
class PossibleUse:
    """Possible use: the newest of each organization; and daily counts of records that name none.

    A key that is an organization's id is kept even before the organization is created.
    """

    named: dict[tuple[OrganizationId, ActivityFeed], datetime] = field(default_factory=dict)
    days: dict[ActivityFeed, dict[date, DayCounts]] = field(
        default_factory=lambda: {feed: {} for feed in ActivityFeed}
    )

    def count_record(self, feed: ActivityFeed, at: datetime) -> None:
        """Count one more record of a feed's topic, by its timestamp (UTC)."""
        day = self._day(feed, at)
        self.days[feed][at.date()] = replace(day, records=day.records + 1)

    def count_unreadable(
        self, feed: ActivityFeed, at: datetime, key: OrganizationId | None, *, known: bool
    ) -> None:
        """Count one unreadable record.  `known`: whether its key is an organization's id."""
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
    """A feed had unreadable records within the window that a decision uses.

    `organization`: the organization whose use they may be, by their key; None: any.
    """

    feed: ActivityFeed
    organization: OrganizationId | None
