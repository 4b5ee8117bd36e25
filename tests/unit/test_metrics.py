"""Each metric has the value that docs/metrics.md promises, and no other metric moves with it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from prometheus_client import REGISTRY

from marketplace_worker.contract.examples import example_event
from marketplace_worker.lifecycle.events import Event, EventKind
from marketplace_worker.lifecycle.safeguards import Safeguards, Trip
from marketplace_worker.lifecycle.vocabulary import GuardSide
from marketplace_worker.lifecycle.worker_details import GuardReleasedDetails, GuardTrippedDetails
from marketplace_worker.operations import health, metrics
from marketplace_worker.operations.health import Health

BY_THE_CLOCK = "silence_seconds"
"""Computed whenever it is read; another test may have begun it in this process."""

GUARD, SET_BACK = "guard_tripped", "database_set_back"


def values() -> dict[str, float]:
    """Every sample of ours: `name label label` without the prefix, and its value."""
    return {
        f"{sample.name.removeprefix('marketplace_worker_')}"
        + "".join(f" {value}" for value in sample.labels.values()): sample.value
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if sample.name.startswith("marketplace_worker_") and not sample.name.endswith("_created")
    }


def increases(before: dict[str, float]) -> dict[str, float]:
    """What has changed since, and by how much."""
    return {
        name: value - before.get(name, 0)
        for name, value in values().items()
        if value != before.get(name, 0) and name != BY_THE_CLOCK
    }


def example(kind: EventKind) -> Event:
    """An event of a kind."""
    return example_event(kind, sequence=1)


@pytest.mark.parametrize(
    ("outcomes", "kinds", "moved"),
    [
        (["applied", "stale", "applied"], [], {"facts_total applied": 2, "facts_total stale": 1}),
        ([], [EventKind.SUSPENDED], {"transitions_total suspended": 1}),
        ([], [EventKind.CANCELED, EventKind.CANCELED], {"transitions_total canceled": 2}),
        ([], [EventKind.REINSTATED, EventKind.REACTIVATED], {"transitions_total active": 2}),
        ([], [EventKind.API_KEYS_REVOKED, EventKind.NOTICE_GIVEN], {}),
        (
            [],
            [EventKind.SUPPORT_REQUEST_COMPLETED],
            {"support_requests_total place_hold completed": 1},
        ),
        (
            [],
            [EventKind.SUPPORT_REQUEST_REJECTED],
            {"support_requests_total reactivate_organization irreversible": 1},
        ),
        ([], [EventKind.ACTIVITY_FEED_SILENT], {"activity_feed_silent_total logins": 1}),
        ([], [EventKind.ACTIVITY_FEED_UNREADABLE], {"activity_feed_unreadable_total logins": 1}),
    ],
)
def test_a_transaction_moves_its_counters_and_no_other(
    outcomes: list[str], kinds: list[EventKind], moved: dict[str, float]
) -> None:
    """An effect or a notice is no transition."""
    before = values()
    metrics.count(outcomes, [example(kind) for kind in kinds])
    assert increases(before) == moved


# --- the guard ------------------------------------------------------------------------------------


def tripped(guard: GuardSide) -> Event:
    """An operator tripped a side, or both."""
    details = GuardTrippedDetails(guard, counted=None, limit=None, by="olga", reason="why")
    return replace(example(EventKind.GUARD_TRIPPED), details=details)


def released(guard: GuardSide, steps: int | None = None, requests: int | None = None) -> Event:
    """An operator released a side, or both: altogether, or for so many."""
    details = GuardReleasedDetails(
        guard, steps, requests, counted=None, limit=None, by="olga", reason="why"
    )
    return replace(example(EventKind.GUARD_RELEASED), details=details)


@pytest.fixture
def open_guard() -> Iterator[None]:
    """Neither side is tripped, before and after a test."""
    metrics.show_guard(Safeguards())
    yield
    metrics.show_guard(Safeguards())


STEPS, REQUESTS, BOTH = GuardSide.STEPS, GuardSide.REQUESTS, GuardSide.BOTH


@pytest.mark.usefixtures("open_guard")
@pytest.mark.parametrize(
    ("events", "steps", "requests"),
    [
        ([], 0, 0),
        ([tripped(STEPS)], 1, 0),
        ([tripped(REQUESTS)], 0, 1),
        ([tripped(BOTH)], 1, 1),
        ([tripped(BOTH), released(STEPS)], 0, 1),
        ([tripped(BOTH), released(REQUESTS)], 1, 0),
        ([tripped(BOTH), released(BOTH)], 0, 0),
        ([tripped(STEPS), released(STEPS, steps=20)], 1, 0),
        ([tripped(REQUESTS), released(REQUESTS, requests=3)], 0, 1),
        ([tripped(BOTH), released(BOTH, steps=20)], 1, 0),
        ([tripped(BOTH), released(BOTH, requests=3)], 0, 1),
        ([tripped(BOTH), released(BOTH, steps=20, requests=3)], 1, 1),
    ],
)
def test_each_side_of_the_guard_is_shown_as_it_stands(
    events: list[Event], steps: float, requests: float
) -> None:
    """A release of a number leaves the guard tripped (`guard release --steps 20`)."""
    metrics.count([], events)
    assert (values()[f"{GUARD} steps"], values()[f"{GUARD} requests"]) == (steps, requests)


TRIP = Trip(datetime(2026, 1, 1, tzinfo=UTC), None, "too many")


@pytest.mark.usefixtures("open_guard")
@pytest.mark.parametrize(
    ("found", "shown"),
    [
        (Safeguards(), (0, 0, 0)),
        (Safeguards(trip=TRIP), (1, 0, 0)),
        (Safeguards(requests_trip=TRIP), (0, 1, 0)),
        (Safeguards(trip=replace(TRIP, allowance=5)), (1, 0, 0)),
        (Safeguards(set_back_at=TRIP.at), (0, 0, 1)),
    ],
)
def test_the_guard_is_shown_as_it_was_found(found: Safeguards, shown: tuple[float, ...]) -> None:
    """A worker that starts shows a trip of before; the next look shows that it is over."""
    metrics.show_guard(found)
    names = (f"{GUARD} steps", f"{GUARD} requests", SET_BACK)
    assert tuple(values()[name] for name in names) == shown
    metrics.show_guard(Safeguards())
    assert [values()[name] for name in names] == [0, 0, 0]


# --- health ---------------------------------------------------------------------------------------


def test_readiness_and_silence_are_those_of_the_moment_of_asking(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The silence of the most silent loop, in seconds; a loop that rests is not silent."""

    class Clock:
        now = 100.0

        @classmethod
        def monotonic(cls) -> float:
            return cls.now

    monkeypatch.setattr(health, "time", Clock)
    worker = Health(silence_max_s=60.0, stopping=lambda: False)
    metrics.observe(worker)
    assert (values()["ready"], values()["silence_seconds"]) == (0, 0)
    worker.started = True
    worker.heartbeat("relay").beat()
    worker.heartbeat("deadlines").beat(rest_s=30.0)
    Clock.now = 107.0
    worker.heartbeat("ingest facts").beat()
    Clock.now = 109.0
    assert (values()["ready"], values()["silence_seconds"]) == (1, 9)
    Clock.now = 140.0
    assert values()["silence_seconds"] == 40
    Clock.now = 161.0
    assert (values()["ready"], values()["silence_seconds"]) == (0, 61)
