"""The guard's state as one value for the fleet: what was counted, and which side is tripped."""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from uuid import UUID

from marketplace_worker.lifecycle.values import dataclass
from marketplace_worker.lifecycle.vocabulary import ActivityFeed, RequestLimit

WINDOW = timedelta(hours=1)
"""Over how long steps and requests are counted."""

CLOCK_TOLERANCE = timedelta(hours=1)
"""How far the clock of decisions and a worker's own may differ before that counts as a jump."""


@dataclass(frozen=True, slots=True)
class StepCount:
    """The number of steps of one kind that were taken at one moment."""

    at: datetime
    steps: int


@dataclass(frozen=True, slots=True)
class RequestCount:
    """The number of deactivations that were done at one moment on the requests of one person.

    `by` is a digest of the name: `org erase` does not reach the safeguards, so they hold no name.
    A digest keeps a name from being read, not from being guessed; the journal has the name itself.
    """

    at: datetime
    by: str
    requests: int


@dataclass(frozen=True, slots=True)
class Trip:
    """One side of the guard allows nothing since `at`.

    `by` is the operator, or None: the clock jumped, or a limit was reached.  For a limit, `counted`
    is the number within the hour, of at most `limit`; for requests also `which` limit, and the
    request that would have exceeded it.  `allowance`: how many an operator allows nevertheless.
    `event`: the published `guard.tripped`; None: not known.
    """

    at: datetime
    by: str | None
    reason: str
    allowance: int = 0
    counted: int | None = None
    limit: int | None = None
    which: RequestLimit | None = None
    request_id: str | None = None
    event: UUID | None = None


@dataclass(frozen=True, slots=True)
class Safeguards:
    """The guard's state.

    `recent` and `control_plane`: the destructive steps of the last hour, and the entries into
    `control_plane_loss`; `trip`: that of the guard for steps.  `requested` and `requests_trip`: the
    same for requested deactivations.  `sequence` is that of the worker's newest event; 0: none yet.
    `silences`: the newest day on which each feed was reported silent; `unreadable`: that on which
    its unreadable records without an organization were reported to postpone decisions.
    `clock_ahead`: by how much the clock of decisions was ahead of a worker's own at their last
    difference; `clock_jumped_at`: when it ran ahead, until an operator releases the guard for
    steps.

    `set_back_at`: when the database was found to hold less than the topics; until it is recovered
    no destructive step is taken, and the guard is not released.  `epoch`: how often it was
    recovered; `epoch_open`: that recovery is under way.
    """

    recent: tuple[StepCount, ...] = ()
    trip: Trip | None = None
    silences: tuple[tuple[ActivityFeed, date], ...] = ()
    sequence: int = 0
    control_plane: tuple[StepCount, ...] = ()
    requested: tuple[RequestCount, ...] = ()
    requests_trip: Trip | None = None
    unreadable: tuple[tuple[ActivityFeed, date], ...] = ()
    clock_ahead: timedelta = timedelta(0)
    clock_jumped_at: datetime | None = None
    set_back_at: datetime | None = None
    epoch: int = 0
    epoch_open: bool = False

    def destructive_steps_since(self, since: datetime) -> int:
        """How many destructive steps were taken after a moment."""
        return steps_of(each for each in self.recent if each.at > since)

    def control_plane_since(self, since: datetime) -> int:
        """How many entries into `control_plane_loss` there were after a moment."""
        return steps_of(each for each in self.control_plane if each.at > since)

    def requested_since(self, since: datetime) -> dict[str, int]:
        """How many requested deactivations were done after a moment, by the requester's digest."""
        counted: dict[str, int] = {}
        for each in self.requested:
            if each.at > since:
                counted[each.by] = counted.get(each.by, 0) + each.requests
        return counted


def clock_moved(known: timedelta, ahead: timedelta) -> bool:
    """Whether a clock that was `known` ahead of another has moved against it, forth or back."""
    return abs(ahead - known) > CLOCK_TOLERANCE


def steps_of(counted: Iterable[StepCount]) -> int:
    """How many steps those are."""
    return sum([each.steps for each in counted])
