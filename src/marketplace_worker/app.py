"""The worker: knows every part, puts them together, and owns the tasks.

Only this module reads the clock of the machine, and nothing is decided by it.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from pathlib import Path

import structlog

from marketplace_worker.contract.emails import email_hasher
from marketplace_worker.contract.policy_file import load_policy
from marketplace_worker.errors import Misconfigured, Unavailable
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.operations import metrics
from marketplace_worker.settings import Settings, Topics
from marketplace_worker.steps.deadlines import fire_due
from marketplace_worker.steps.deciding import OutboundTopics, Worker
from marketplace_worker.steps.ingest import ingest
from marketplace_worker.steps.relay import relay
from marketplace_worker.store import policies, safeguards
from marketplace_worker.store.database import Clock, Pool, connecting, database_clock, transaction
from marketplace_worker.store.migrations import require_current_schema
from marketplace_worker.store.policies import PolicyBook
from marketplace_worker.streams.consumer import consuming
from marketplace_worker.streams.producer import Publisher, producing
from marketplace_worker.streams.topics import require_topics
from marketplace_worker.translate import Feed

log = structlog.get_logger(__name__)

PAUSE_MIN_S = 0.1
PAUSE_MAX_S = 15.0
"""How long a loop waits after a failure: the pause doubles from the one to the other."""


class Loop(StrEnum):
    """What a worker does; several workers may share it out among them."""

    INGEST = "ingest"
    DEADLINES = "deadlines"
    RELAY = "relay"


def system_clock() -> datetime:
    """The time of this machine, UTC."""
    return datetime.now(UTC)  # noqa: TID251 - the one place


def feeds(topics: Topics) -> dict[str, Feed]:
    """What each inbound topic carries."""
    return {
        topics.aws_notifications: Feed.AWS,
        topics.gcp_notifications: Feed.GCP,
        topics.azure_notifications: Feed.AZURE,
        topics.logins: Feed.CLOUDEVENTS,
        topics.api_requests: Feed.CLOUDEVENTS,
        topics.organization_changes: Feed.CLOUDEVENTS,
        topics.support_requests: Feed.CLOUDEVENTS,
    }


def read_policy(file: Path | None) -> Policy:
    """The policy of a file, or the default.  Raises `Misconfigured`, naming field and line."""
    if file is None:
        return Policy()
    try:
        return load_policy(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, Misconfigured) as error:
        raise Misconfigured(f"{file}: {error}") from error


async def run(
    settings: Settings,
    loops: Collection[Loop] = tuple(Loop),
    *,
    clock: Clock = database_clock,
    stop: asyncio.Event | None = None,
) -> None:
    """Work until `stop` is set (SIGTERM and SIGINT set it), then finish what is under way.

    Raises:
        Misconfigured: what is set, the schema or the topics do not allow a start.
        Unavailable: Kafka or Postgres does not answer at the start; later it is waited for.
    """
    stop = stop or asyncio.Event()
    started = asyncio.Event()
    with _signals_set(stop):
        work = asyncio.create_task(_work(settings, frozenset(loops), clock, started, stop))
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not started.is_set():
                work.cancel()  # does nothing to a start that has failed
            await work
        except asyncio.CancelledError:
            if not stop.is_set():
                raise
            log.info("worker_stopped", while_starting=True)
        finally:
            stopped.cancel()
            work.cancel()


async def _work(
    settings: Settings,
    loops: frozenset[Loop],
    clock: Clock,
    started: asyncio.Event,
    stop: asyncio.Event,
) -> None:
    policy = read_policy(settings.policy_file)
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(connecting(settings.postgres))
        await require_current_schema(pool)
        await require_topics(settings.kafka, settings.topics)
        worker = worker_of(settings, policy, pool, clock)
        await _register(policy, worker)
        stack.enter_context(metrics.serving(settings.metrics_port))
        tasks = await stack.enter_async_context(_tasks(settings, worker, loops))
        started.set()
        log.info("worker_started", loops=sorted(loops), policy_version=policy.version)
        await _until_stopped(stop, tasks)
        log.info("worker_stopping")
    log.info("worker_stopped")


async def _register(policy: Policy, worker: Worker) -> None:
    """Before anything is decided by it: organizations will be pinned to it."""
    async with transaction(worker.pool) as conn:
        await policies.register(conn, policy, now=await worker.clock(conn))
        guard = await safeguards.read(conn)
    metrics.GUARD_TRIPPED.set(guard.trip is not None)
    log.info("policy_registered", policy_version=policy.version)


def worker_of(settings: Settings, policy: Policy, pool: Pool, clock: Clock) -> Worker:
    """What the steps work with; also for a command that takes one by itself."""
    topics = settings.topics
    return Worker(
        pool=pool,
        policies=PolicyBook(policy),
        clock=clock,
        hash_email=email_hasher(settings.email_key.get_secret_value().encode()),
        feeds=feeds(topics),
        topics=OutboundTopics(topics.lifecycle, topics.state, topics.dead_letters),
    )


@asynccontextmanager
async def _tasks(
    settings: Settings, worker: Worker, loops: frozenset[Loop]
) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Start the loops; on leaving, they end in the order of the flow: intake first, relay last."""
    repeating = partial(_repeating, stop_s=settings.stop_timeout_ms / 1000)
    async with AsyncExitStack() as stack:
        tasks = []
        if Loop.RELAY in loops:
            publisher = await stack.enter_async_context(producing(settings.kafka, settings.relay))
            send = partial(_send, worker.pool, publisher, settings.relay.batch_rows_max)
            idle_s = settings.relay.poll_interval_ms / 1000
            tasks.append(await stack.enter_async_context(repeating(Loop.RELAY, send, idle_s)))
        if Loop.DEADLINES in loops:
            fire = partial(fire_due, worker, limit=settings.deadlines.batch_rows_max)
            idle_s = settings.deadlines.poll_interval_ms / 1000
            tasks.append(await stack.enter_async_context(repeating(Loop.DEADLINES, fire, idle_s)))
        if Loop.INGEST in loops:
            handle = partial(ingest, worker=worker)
            consumers = await stack.enter_async_context(
                consuming(settings, facts=handle, activity=handle, clock=system_clock)
            )
            watch = asyncio.create_task(consumers.wait_failed(), name=Loop.INGEST)
            stack.callback(watch.cancel)
            tasks.append(watch)
        yield tasks


async def _send(pool: Pool, publisher: Publisher, limit: int) -> int:
    """Relay, connected: Kafka is looked for before a shard is led, not while it is."""
    await publisher.start()
    return await relay(pool, publisher.publish, limit=limit)


async def _until_stopped(stop: asyncio.Event, tasks: Collection[asyncio.Task[None]]) -> None:
    """Wait for the stop; a task that ends before it has failed, and its error is raised."""
    stopped = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait({stopped, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        stopped.cancel()


@asynccontextmanager
async def _repeating(
    loop: Loop, step: Callable[[], Awaitable[int]], idle_s: float, *, stop_s: float
) -> AsyncIterator[asyncio.Task[None]]:
    """A task that takes a step over and over.

    On leaving, the step under way is finished; after `stop_s` it is given up, and its transaction
    rolls back.
    """
    stop = asyncio.Event()
    task = asyncio.create_task(_repeat(loop, step, idle_s, stop), name=loop)
    try:
        yield task
    finally:
        stop.set()
        await asyncio.wait({task}, timeout=stop_s)
        if task.cancel():
            log.warning("step_given_up", loop=loop)
            await asyncio.wait({task})


async def _repeat(
    loop: Loop, step: Callable[[], Awaitable[int]], idle_s: float, stop: asyncio.Event
) -> None:
    """Take the step at once again while it finds work; wait while it finds none or fails."""
    failures = 0
    while not stop.is_set():
        try:
            pause_s = 0.0 if await step() else idle_s
            failures = 0
        except Unavailable as error:
            failures += 1
            pause_s = _pause_s(failures)
            log.warning(
                "loop_waiting", loop=loop, reason=str(error), pause_s=pause_s, failures=failures
            )
        except Exception:  # a bug of ours: say so, and go on with what can go on
            failures += 1
            pause_s = _pause_s(failures)
            log.exception("loop_failed", loop=loop, pause_s=pause_s, failures=failures)
        await _wait(stop, pause_s)


def _pause_s(failures: int) -> float:
    # The exponent is clamped, not only the result: it must not overflow after a long night.
    return min(PAUSE_MIN_S * 2.0 ** min(failures - 1, 16), PAUSE_MAX_S)


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass


@contextmanager
def _signals_set(stop: asyncio.Event) -> Iterator[None]:
    """While inside, SIGTERM and SIGINT set the event instead of ending the process."""
    loop = asyncio.get_running_loop()
    both = (signal.SIGTERM, signal.SIGINT)
    for each in both:
        loop.add_signal_handler(each, stop.set)
    try:
        yield
    finally:
        for each in both:
            loop.remove_signal_handler(each)
