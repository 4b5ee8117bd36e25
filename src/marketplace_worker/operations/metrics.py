"""The metrics that Prometheus reads from a worker.  Only this module knows its client library.

Each worker counts its own work; `guard_tripped` is the same for all of them.
"""

from collections.abc import Iterable, Mapping

from prometheus_client import Counter, Gauge, MetricsHandler

from marketplace_worker.lifecycle.events import (
    STATE_EVENTS,
    Event,
    SupportDetails,
)
from marketplace_worker.lifecycle.safeguards import Safeguards
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import ActivityFeed, GuardSide
from marketplace_worker.lifecycle.worker_details import (
    GuardReleasedDetails,
    GuardTrippedDetails,
    SilentFeedDetails,
    UnreadableFeedDetails,
)
from marketplace_worker.operations.health import Health

Exposition = MetricsHandler
"""Answers a request on a port in Prometheus's format."""

FACTS = Counter("marketplace_worker_facts", "Facts decided, by outcome", ["outcome"])
TRANSITIONS = Counter(
    "marketplace_worker_transitions", "Organizations that entered a state", ["state"]
)
SUPPORT_REQUESTS = Counter(
    "marketplace_worker_support_requests",
    "Requests of Support, by answer",
    ["request", "code"],
)
FEED_SILENT = Counter(
    "marketplace_worker_activity_feed_silent",
    "Days on which a feed had too few messages to decide on inactivity",
    ["feed"],
)
FEED_UNREADABLE = Counter(
    "marketplace_worker_activity_feed_unreadable",
    "Days on which unreadable records postponed decisions on inactivity, once per organization "
    "that they name",
    ["feed"],
)
GUARD_TRIPPED = Gauge(
    "marketplace_worker_guard_tripped",
    "1 while this side of the guard is tripped: steps, or requested deactivations",
    ["guard"],
)
for _side in (GuardSide.STEPS, GuardSide.REQUESTS):
    GUARD_TRIPPED.labels(_side)  # 0 until it is known
SET_BACK = Gauge(
    "marketplace_worker_database_set_back",
    "1 while the database is known to hold less than was published",
)
MASS_CANCELLATIONS = Counter(
    "marketplace_worker_mass_cancellations",
    "Hours with more cancellations than the guard's limit of destructive steps",
)
INTAKE_STOPPED = Gauge("marketplace_worker_intake_stopped", "1 while a topic is stopped", ["topic"])
POSITION_JUMPS = Counter(
    "marketplace_worker_position_jumps",
    "Times that reading of a partition did not continue where it stopped, by cause",
    ["topic", "cause"],
)
READY = Gauge("marketplace_worker_ready", "1 while /readyz answers 200")
SILENCE = Gauge(
    "marketplace_worker_silence_seconds", "The longest time since the last heartbeat of a loop"
)
LAG = Gauge(
    "marketplace_worker_lag_records",
    "Records not processed yet, of this worker's partitions and of those that no member reads",
    ["consumer"],
)
OLDEST_XMIN_AGE = Gauge(
    "marketplace_worker_oldest_xmin_age_transactions",
    "Transactions since the oldest snapshot held in the database; rows deleted since stay in "
    "tables and indexes",
)
LOG_LINES_DROPPED = Counter(
    "marketplace_worker_log_lines_dropped", "Log lines dropped because nobody read them in time"
)
ORGANIZATIONS = Gauge(
    "marketplace_worker_organizations", "Organizations in a state, of the whole database", ["state"]
)
DEAD_LETTERS_WAITING = Gauge(
    "marketplace_worker_dead_letters_waiting",
    "Records that could not be read and wait for an operator, counted up to 10,000",
)
OUTBOX_AGE = Gauge(
    "marketplace_worker_outbox_age_seconds",
    "Age of the oldest unsent message, except those that Kafka refused",
)
OUTBOX_REFUSED = Gauge(
    "marketplace_worker_outbox_refused_messages",
    "Messages that Kafka refused; each blocks its key",
)


for _state in State:
    TRANSITIONS.labels(_state)  # a counter that begins at 1 would not be seen to increase
for _feed in ActivityFeed:
    FEED_SILENT.labels(_feed)
    FEED_UNREADABLE.labels(_feed)


def count(outcomes: Iterable[str], events: Iterable[Event]) -> None:
    """Add the results of one transaction, after its commit."""
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
            case UnreadableFeedDetails(feed=feed):
                FEED_UNREADABLE.labels(feed).inc()
            case GuardTrippedDetails(guard=guard):
                for side in _sides(guard):
                    GUARD_TRIPPED.labels(side).set(1)
            case GuardReleasedDetails(guard=guard) as released:
                for side in _sides(guard):
                    number = released.steps if side is GuardSide.STEPS else released.requests
                    GUARD_TRIPPED.labels(side).set(number is not None)
            case _:
                pass


def show_guard(safeguards: Safeguards) -> None:
    """Show the guard as it was found."""
    GUARD_TRIPPED.labels(GuardSide.STEPS).set(safeguards.trip is not None)
    GUARD_TRIPPED.labels(GuardSide.REQUESTS).set(safeguards.requests_trip is not None)
    SET_BACK.set(safeguards.set_back_at is not None)


def show_states(numbers: Mapping[State, int]) -> None:
    """Show how many organizations are in each state."""
    for state in State:
        ORGANIZATIONS.labels(state).set(numbers.get(state, 0))


def _sides(guard: GuardSide) -> tuple[GuardSide, ...]:
    return (GuardSide.STEPS, GuardSide.REQUESTS) if guard is GuardSide.BOTH else (guard,)


def observe(health: Health) -> None:
    """Read the metrics of health from this worker whenever they are requested."""
    READY.set_function(lambda: not health.not_ready_reasons())
    SILENCE.set_function(lambda: max(health.silences().values(), default=0.0))
