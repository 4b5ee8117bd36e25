"""The fleet: everything that a decision may look up, and its state after a change.

In `simulate` it holds everything, and in the worker what was loaded for one batch.
"""

from dataclasses import field

from marketplace_worker.lifecycle.facts import ActivityFact, ApiRequested, LoggedIn
from marketplace_worker.lifecycle.inactivity import NEVER_SEEN, Feeds, LastSeen
from marketplace_worker.lifecycle.index import Index
from marketplace_worker.lifecycle.loaded import require
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.ownership import forget
from marketplace_worker.lifecycle.registers import Registers
from marketplace_worker.lifecycle.safeguards import Safeguards
from marketplace_worker.lifecycle.subscription import Subscription
from marketplace_worker.lifecycle.values import dataclass
from marketplace_worker.lifecycle.vocabulary import OrganizationId


@dataclass(slots=True)
class Fleet(Registers):
    """The registers, with the last use of each organization and the last record of each feed.

    The owner of a fleet fills it by `put` and `record_activity`, and `decide.apply` stores each
    decision in it.  A view shows what a change would come to, and leaves the fleet as it is.
    """

    seen: dict[OrganizationId, LastSeen] = field(default_factory=dict)
    feeds: Feeds = field(default_factory=Feeds)
    safeguards: Safeguards = field(default_factory=Safeguards)

    def last_seen(self, organization: OrganizationId) -> LastSeen:
        """When the organization was last in use.

        Raises:
            NotLoaded: its activity was not loaded.
        """
        seen = self.seen.get(organization)
        if seen is None and self.loaded is not None:
            require(self.loaded.activity, organization, "the activity")
        return seen or NEVER_SEEN

    def record_activity(self, activity: ActivityFact) -> None:
        """Record that an organization was in use, and that a feed carried an event."""
        seen, at = self.last_seen(activity.organization), activity.occurred_at
        match activity:
            case LoggedIn():
                seen = seen.with_login(at)
            case ApiRequested():
                seen = seen.with_request(at)
        self.seen[activity.organization] = seen
        self.feeds.record(activity.feed, at)

    def put(self, *changed: Organization | Subscription) -> None:
        """Replace the values under their keys."""
        changes = [self._put(each) for each in changed]
        if self.caches:
            forget(self, changes)

    def with_organization(self, changed: Organization) -> "Fleet":
        """The same fleet with one organization changed, as far as that affects who holds which
        plan; the fleet itself is not changed.
        """
        before = self.organization(changed.id)
        if (changed.proofs, changed.plans_taken_at) == (before.proofs, before.plans_taken_at):
            return self
        view = self.view()
        view.put(changed)
        return view

    def view(self) -> "Fleet":
        """A layer over the registers, their index and their caches, which holds only what is made
        different in it.  A copy would cost in proportion to the fleet.
        """
        return Fleet(
            seen=self.seen,
            feeds=self.feeds,
            safeguards=self.safeguards,
            population=self.population,
            crowded=self.crowded,
            loaded=self.loaded,
            caches=self.caches.view(),
            _index=Index(base=self._index),
            base=self,
        )
