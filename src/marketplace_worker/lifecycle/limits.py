"""How many steps and requests the guard allows within an hour, and how they are counted (section
8).
"""

from datetime import datetime
from decimal import Decimal
from math import floor

from marketplace_worker.lifecycle.policy import Guard
from marketplace_worker.lifecycle.safeguards import RequestCount, StepCount, Trip, steps_of
from marketplace_worker.lifecycle.vocabulary import RequestLimit

BY_DESTRUCTIVE_STEPS = "the limit of harmful steps within an hour is reached"
BY_CONTROL_PLANE_STEPS = "the limit of entries into control_plane_loss within an hour is reached"
BY_REQUESTS = {
    RequestLimit.PER_HOUR: "the limit of requested deactivations within an hour is reached",
    RequestLimit.PER_PERSON: (
        "the limit of deactivations that one person requests within an hour is reached"
    ),
}
"""The reasons of a trip by a limit."""


def destructive_step_limit(guard: Guard, population: int) -> int:
    """The limit of destructive steps per hour; `population`: organizations not deactivated."""
    return _limit(guard.minimum, guard.fraction, population)


def control_plane_limit(guard: Guard, population: int) -> int:
    """The limit of entries into `control_plane_loss` per hour."""
    return _limit(guard.minimum, guard.control_plane_fraction, population)


def _limit(minimum: int, fraction: float, population: int) -> int:
    return max(minimum, floor(Decimal(str(fraction)) * population))


def with_one_step(counted: tuple[StepCount, ...], now: datetime) -> tuple[StepCount, ...]:
    """The count with one more step at `now`: each moment is counted once, the newest last."""
    if counted and counted[-1].at == now:  # the steps of one batch have one moment
        return (*counted[:-1], StepCount(now, counted[-1].steps + 1))
    earlier = tuple(each for each in counted if each.at != now)
    return (*earlier, StepCount(now, steps_of(each for each in counted if each.at == now) + 1))


def with_one_request(
    counted: tuple[RequestCount, ...], person: str, now: datetime
) -> tuple[RequestCount, ...]:
    """The count with one more request of a person at `now`."""
    same = sum(each.requests for each in counted if (each.at, each.by) == (now, person))
    others = tuple(each for each in counted if (each.at, each.by) != (now, person))
    return (*others, RequestCount(now, person, same + 1))


def trip_by_request(
    counted: dict[str, int], person: str, guard: Guard, now: datetime, request_id: str
) -> Trip | None:
    """The trip that one more request causes, by the fleet's limit or the person's; None: it does
    not.
    """
    for which, requests, most in (
        (RequestLimit.PER_HOUR, sum(counted.values()), guard.requested_per_hour),
        (RequestLimit.PER_PERSON, counted.get(person, 0), guard.requested_per_person),
    ):
        if requests >= most:
            reason = BY_REQUESTS[which]
            return Trip(
                now, None, reason, counted=requests, limit=most, which=which, request_id=request_id
            )
    return None
