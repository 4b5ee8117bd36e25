"""Moves what was decided by a clock that was ahead to when it really was.

Only moments of decisions move.  What others reported (the end of a plan, a sign-in, when a hold
expires) is by other clocks, and stays.
"""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import TypeVar, overload

from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.safeguards import CLOCK_TOLERANCE, Safeguards
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.values import dataclass, replace
from marketplace_worker.lifecycle.vocabulary import CompletedBy

_F = TypeVar("_F")


@dataclass(frozen=True, slots=True)
class WrongClockPeriod:
    """The time in which the clock of decisions was `ahead`: by that clock, `since` and later."""

    since: datetime
    ahead: timedelta

    @classmethod
    def between(cls, began: datetime, went_to: datetime) -> "WrongClockPeriod":
        """The clock was right up to `began`, and showed `went_to` when the jump was detected.

        It may have been wrong for a while before that: an hour, or a tenth of a jump that is
        shorter than ten.
        """
        ahead = went_to - began
        return cls(went_to - min(CLOCK_TOLERANCE, ahead / 10), ahead)

    def holds(self, at: datetime | None) -> bool:
        """Whether a moment of a decision is of that time."""
        return at is not None and at >= self.since

    @overload
    def right(self, at: datetime) -> datetime: ...
    @overload
    def right(self, at: datetime | None) -> datetime | None: ...
    def right(self, at: datetime | None) -> datetime | None:
        """When a decision really was made."""
        return at - self.ahead if at is not None and at >= self.since else at

    def before(self, days: Iterable[tuple[_F, date]]) -> tuple[tuple[_F, date], ...]:
        """The days that are not of that time."""
        return tuple((what, day) for what, day in days if day < self.since.date())


def reanchored(organization: Organization, wrong: WrongClockPeriod) -> Organization:
    """The organization as if what was decided of it then had been decided by a clock that is right.

    Its standing notice stays as it is: what it named was published, and is withdrawn as such.
    """
    postponed_until = organization.postponed_until
    return replace(
        organization,
        tier=organization.tier
        and replace(organization.tier, occurred_at=wrong.right(organization.tier.occurred_at)),
        grants=tuple(
            replace(each, starts_at=wrong.right(each.starts_at)) for each in organization.grants
        ),
        proofs=tuple(
            replace(each, at=wrong.right(each.at)) if each.by is CompletedBy.SUPPORT else each
            for each in organization.proofs
        ),
        holds=tuple(
            replace(each, placed_at=wrong.right(each.placed_at)) for each in organization.holds
        ),
        entered_at=wrong.right(organization.entered_at),
        dwells_from=wrong.right(organization.dwells_from),
        withheld_at=wrong.right(organization.withheld_at),
        postponed_until=None if wrong.holds(postponed_until) else postponed_until,
        unreadable=wrong.before(organization.unreadable),
        recoveries=tuple(
            replace(
                each,
                deactivated_at=wrong.right(each.deactivated_at),
                reactivated_at=wrong.right(each.reactivated_at),
            )
            for each in organization.recoveries
        ),
        erased_at=wrong.right(organization.erased_at),
        decided_at=wrong.right(organization.decided_at),
    )


def announced_wrongly(organization: Organization, wrong: WrongClockPeriod) -> bool:
    """Whether its standing notice was written then, and named a date that is too late."""
    return organization.notice is not None and wrong.holds(organization.notice.given_at)


def stepped_wrongly(organization: Organization, wrong: WrongClockPeriod) -> bool:
    """Whether it entered its state then, and lost something by that."""
    return wrong.holds(organization.entered_at) and organization.state is not State.ACTIVE


def reanchored_safeguards(safeguards: Safeguards, wrong: WrongClockPeriod) -> Safeguards:
    """The counts and trips of that time, moved to their real time."""
    trip, requests_trip = safeguards.trip, safeguards.requests_trip
    return replace(
        safeguards,
        recent=tuple(replace(each, at=wrong.right(each.at)) for each in safeguards.recent),
        control_plane=tuple(
            replace(each, at=wrong.right(each.at)) for each in safeguards.control_plane
        ),
        requested=tuple(replace(each, at=wrong.right(each.at)) for each in safeguards.requested),
        trip=trip and replace(trip, at=wrong.right(trip.at)),
        requests_trip=requests_trip and replace(requests_trip, at=wrong.right(requests_trip.at)),
        silences=wrong.before(safeguards.silences),
        unreadable=wrong.before(safeguards.unreadable),
        clock_jumped_at=wrong.right(safeguards.clock_jumped_at),
    )
