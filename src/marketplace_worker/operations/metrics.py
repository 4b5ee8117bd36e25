"""The figures: what Prometheus reads of a worker.  Only this module knows its client library.

Each worker counts what it did itself; `guard_tripped` is the same for all of them.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from prometheus_client import Counter, Gauge, start_http_server

from marketplace_worker.errors import Misconfigured
from marketplace_worker.lifecycle.events import (
    STATE_EVENTS,
    Event,
    GuardReleasedDetails,
    GuardTrippedDetails,
    SilentFeedDetails,
    SupportDetails,
)

FACTS = Counter("marketplace_worker_facts", "Facts decided on, by what became of them", ["outcome"])
TRANSITIONS = Counter(
    "marketplace_worker_transitions", "Organizations that entered a state", ["state"]
)
SUPPORT_REQUESTS = Counter(
    "marketplace_worker_support_requests",
    "Support's requests, by their answer",
    ["request", "code"],
)
FEED_SILENT = Counter(
    "marketplace_worker_activity_feed_silent",
    "Days on which a feed was too silent to decide on inactivity",
    ["feed"],
)
GUARD_TRIPPED = Gauge(
    "marketplace_worker_guard_tripped", "1 while the guard withholds harmful steps"
)


def count(outcomes: Iterable[str], events: Iterable[Event]) -> None:
    """Add what one transaction came to, after its commit."""
    for outcome in outcomes:
        FACTS.labels(outcome).inc()
    for event in events:
        if event.kind in STATE_EVENTS and event.standing is not None:
            TRANSITIONS.labels(event.standing.state).inc()
        match event.details:
            case SupportDetails(request=request, code=code):
                SUPPORT_REQUESTS.labels(request, code or "completed").inc()
            case SilentFeedDetails(feed=feed):
                FEED_SILENT.labels(feed).inc()
            case GuardTrippedDetails():
                GUARD_TRIPPED.set(1)
            case GuardReleasedDetails(steps=None):
                GUARD_TRIPPED.set(0)
            case _:
                pass


@contextmanager
def serving(port: int | None) -> Iterator[None]:
    """While inside, answer `GET /metrics` on a port of all interfaces; None: nobody asks.

    Raises:
        Misconfigured: the port is taken.
    """
    if port is None:
        yield
        return
    try:
        server, thread = start_http_server(port)
    except OSError as error:
        raise Misconfigured(f"metrics_port: {port}: {error.strerror}") from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
