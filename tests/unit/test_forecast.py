"""What will become of an organization if nothing more is received."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import assume, given, settings
from strategies import ORGANIZATIONS, TODAY, worlds
from world import ACME, DAY, HOUR, World

from examples import examples
from marketplace_worker.explain.forecast import (
    BlockedBy,
    ForecastEntry,
    ForecastKind,
    continue_feeds,
    first_trip,
    forecast,
)
from marketplace_worker.lifecycle.events import EventKind
from marketplace_worker.lifecycle.inactivity import Feeds
from marketplace_worker.lifecycle.policy import Guard, Inactivity
from marketplace_worker.lifecycle.safeguards import Safeguards, StepCount
from marketplace_worker.lifecycle.vocabulary import ActivityFeed, OrganizationId

UNTIL = TODAY + 120 * DAY
EVENTS_OF_STEPS = {
    EventKind.CANCELED: ForecastKind.CANCELED,
    EventKind.CONTROL_PLANE_LOST: ForecastKind.CONTROL_PLANE_LOSS,
    EventKind.SUSPENDED: ForecastKind.SUSPENDED,
    EventKind.DEACTIVATED: ForecastKind.DEACTIVATED,
    EventKind.REINSTATED: ForecastKind.REINSTATED,
    EventKind.NOTICE_GIVEN: ForecastKind.NOTICE,
    EventKind.NOTICE_WITHDRAWN: ForecastKind.NOTICE_WITHDRAWN,
    EventKind.REINSTATEMENT_PENDING: ForecastKind.REINSTATEMENT_PENDING,
    EventKind.REINSTATEMENT_LAPSED: ForecastKind.REINSTATEMENT_LAPSED,
}
STEPS = {
    ForecastKind.CANCELED,
    ForecastKind.CONTROL_PLANE_LOSS,
    ForecastKind.SUSPENDED,
    ForecastKind.DEACTIVATED,
}


@settings(max_examples=examples(400), deadline=None)
@given(worlds(), ORGANIZATIONS)
def test_a_forecast_is_what_then_happens(world: World, id_: OrganizationId) -> None:
    """Where nothing is received and no guard interferes: the same, at the same moments."""
    assume(world.policies.current.guard.minimum == 50)
    assume(world.fleet.safeguards.trip is None)
    organization = world.fleet.organization(id_)
    before = repr(world)
    coming = forecast(organization, world.fleet, world.policies, now=TODAY, until=UNTIL)
    assert repr(world) == before

    world.run_deadline(id_, TODAY)
    world.wait(UNTIL + timedelta.resolution)
    emitted = [
        each for each in world.events if each.subject == id_ and each.kind in EVENTS_OF_STEPS
    ]
    forecast_ = [e for e in coming if e.what is not ForecastKind.PLAN_ENDS and e.stopped_by is None]
    assert len({each.stopped_by for each in coming} - {None}) <= 1
    if all(each.stopped_by is None for each in coming):
        assert [(each.what, each.at) for each in forecast_] == [
            (EVENTS_OF_STEPS[each.kind], each.decided_at) for each in emitted
        ]
        assert [each.due_at for each in forecast_ if each.what in STEPS] == [
            each.effective_at for each in emitted if EVENTS_OF_STEPS[each.kind] in STEPS
        ]


@settings(max_examples=examples(300), deadline=None)
@given(worlds(), ORGANIZATIONS)
def test_a_forecast_is_in_order_and_overdue_things_happen_at_once(
    world: World, id_: OrganizationId
) -> None:
    """Nothing lies before now or beyond the end; what is due earlier says so."""
    organization = world.fleet.organization(id_)
    fleet = replace(world.fleet, feeds=continue_feeds(world.fleet.feeds, TODAY, UNTIL))
    coming = forecast(organization, fleet, world.policies, now=TODAY, until=UNTIL)
    assert [each.at for each in coming] == sorted(each.at for each in coming)
    for each in coming:
        assert TODAY <= each.at <= UNTIL
        assert each.due_at <= each.at
        assert (each.what in {ForecastKind.NOTICE, ForecastKind.NOTICE_WITHDRAWN}) == (
            each.step is not None
        )
        assert (each.what is ForecastKind.PLAN_ENDS) == (each.plan is not None)


# --- feeds ----------------------------------------------------------------------------------------


def silent(feeds: Feeds, day: int) -> bool:
    """Whether any feed is too silent to decide on inactivity that many days from today."""
    return bool(feeds.silent_feeds(TODAY, Inactivity(), now=TODAY + day * DAY))


def test_feeds_that_go_on_are_not_silent_later() -> None:
    """What was silent stays a gap of the past, and the feeds themselves stay as they are."""
    feeds = Feeds()
    for day in range(-100, 1):
        for feed in ActivityFeed:
            feeds.record(feed, TODAY + day * DAY)
    assert silent(feeds, 5)
    assert not silent(continue_feeds(feeds, TODAY, TODAY + 50 * DAY), 5)
    assert not silent(continue_feeds(feeds, TODAY, TODAY + 50 * DAY), 50)
    assert silent(continue_feeds(Feeds(), TODAY, TODAY + 90 * DAY), 5)
    assert not silent(continue_feeds(Feeds(), TODAY, TODAY + 90 * DAY), 65)
    assert silent(feeds, 5)


def test_feeds_go_on_from_now_not_from_this_morning() -> None:
    """The gap up to now is not forgotten."""
    feeds = Feeds()
    for day in range(-100, -2):
        for feed in ActivityFeed:
            feeds.record(feed, TODAY + day * DAY)
    assert silent(continue_feeds(feeds, TODAY + DAY / 2, TODAY + 9 * DAY), 5)
    assert not silent(continue_feeds(feeds, TODAY, TODAY + 9 * DAY), 5)


# --- the guard ------------------------------------------------------------------------------------


def step(
    minutes: int, what: ForecastKind = ForecastKind.SUSPENDED, stopped: BlockedBy | None = None
) -> ForecastEntry:
    """Something that happens so many minutes from now."""
    at = TODAY + minutes * HOUR / 60
    return ForecastEntry(ACME, at, at, what, stopped_by=stopped)


def trips(
    coming: list[ForecastEntry], most: int, safeguards: Safeguards | None = None
) -> ForecastEntry | None:
    """The first that an hour of `most` does not hold, whatever the fleet."""
    return first_trip(safeguards or Safeguards(), coming, Guard(most, 0, 0), 1_000)


def test_the_guard_would_trip_at_the_first_step_that_an_hour_does_not_hold() -> None:
    """Only steps count, and only what is taken; the last hour counts too."""
    assert trips([step(0), step(30), step(59)], 2) == step(59)
    assert trips([step(0), step(30), step(60)], 2) is None
    assert trips([step(0), step(1, ForecastKind.NOTICE), step(2, ForecastKind.CANCELED)], 1) is None
    assert trips([step(0), step(1, stopped=BlockedBy.GUARD), step(2)], 2) is None
    assert trips([step(0)], 2, Safeguards((StepCount(TODAY - HOUR / 2, 2),))) == step(0)
    assert trips([step(0)], 2, Safeguards((StepCount(TODAY - HOUR, 2),))) is None


def test_it_would_trip_as_well_at_a_loss_of_the_control_plane_counted_apart() -> None:
    """Each kind has its own limit."""
    loss = ForecastKind.CONTROL_PLANE_LOSS
    coming = [step(0), step(1, loss), step(2), step(3, loss)]
    assert trips(coming, 2) is None
    assert trips([*coming, step(4, loss), step(5)], 2) == step(4, loss)
    assert trips([step(0, loss)], 2, Safeguards(control_plane=(StepCount(TODAY, 2),))) == step(
        0, loss
    )
