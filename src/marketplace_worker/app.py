"""The worker: creates every part, connects them, and owns the tasks."""

import asyncio
import gc
import signal
import socket
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import partial
from importlib.metadata import version
from typing import NoReturn
from uuid import uuid4

import structlog

from marketplace_worker.clock import system_clock
from marketplace_worker.errors import CannotGoOn, Unavailable
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.operations import metrics
from marketplace_worker.operations.health import Health
from marketplace_worker.operations.serving import serving
from marketplace_worker.operations.shutdown import Shutdown
from marketplace_worker.policy_reading import read_policy
from marketplace_worker.runtime.batch_sizing import BatchSizer
from marketplace_worker.runtime.loops import CANCEL_TIMEOUT_S, Step, looping, unless_stopped
from marketplace_worker.runtime.presence import CHECK_EVERY_S, OwnRow
from marketplace_worker.runtime.probes import (
    PROBE_EVERY_S,
    STATES_EVERY_S,
    ingest_heartbeat,
    keep_connections_current,
    probe_consumer,
    probe_lag,
    probe_postgres,
    probe_states,
)
from marketplace_worker.runtime.watchdog import silence_max_s, watch
from marketplace_worker.runtime.worker import Worker, worker_of
from marketplace_worker.settings import Settings
from marketplace_worker.settings.credentials import Credentials
from marketplace_worker.steps.deadlines import fire_due
from marketplace_worker.steps.ingest import ingest
from marketplace_worker.steps.position_jumps import report_jumps
from marketplace_worker.steps.relay_topics import FORMER_TOPICS_EVERY_S, Relays
from marketplace_worker.steps.restore_detection import restore_check
from marketplace_worker.steps.retention import RETAIN_EVERY_S, retain
from marketplace_worker.steps.state_counting import COUNT_EVERY_S, keep_state_counts
from marketplace_worker.store import policies, safeguards
from marketplace_worker.store.database import (
    DecisionClock,
    Pool,
    connecting,
    database_clock,
    transaction,
)
from marketplace_worker.store.floors import Floors
from marketplace_worker.store.migrations import require_current_schema
from marketplace_worker.store.workers import Lag, WorkerIdentity
from marketplace_worker.streams.consumer import ConsumerHooks
from marketplace_worker.streams.consuming import MEMBERS, Consumers, consuming
from marketplace_worker.streams.failure_detection import ConsumerFailed
from marketplace_worker.streams.reading_back import read_back
from marketplace_worker.streams.renewing import Renewal
from marketplace_worker.streams.rights import Right, to_read, to_read_back, to_write
from marketplace_worker.streams.starting_positions import holds_record
from marketplace_worker.streams.topics import TopicWarning, find_topic_warnings, require_access

GARBAGE_THRESHOLDS = (20_000, 20, 50)
"""For `gc.set_threshold`: allocations before a young collection, and collections of a generation
before the next older one is collected.
"""

log = structlog.get_logger(__name__)


class Loop(StrEnum):
    """The loops of a worker.  A process may run only some of them."""

    INGEST = "ingest"
    DEADLINES = "deadlines"
    RELAY = "relay"
    RETENTION = "retention"


async def run(
    settings: Settings,
    loops: Collection[Loop] = tuple(Loop),
    *,
    clock: DecisionClock = database_clock,
    local_clock: Callable[[], datetime] = system_clock,
    stop: asyncio.Event | None = None,
) -> None:
    """Run until `stop` is set (SIGTERM and SIGINT set it), then finish the work in progress.

    `clock` dates decisions; it is compared with `local_clock` to detect jumps.

    Raises:
        Misconfigured: the settings, the schema, the topics or the rights in Kafka do not allow a
            start; or a right was revoked.
        Unavailable: Kafka or Postgres does not answer at the start (later the worker waits).
        CannotGoOn: a loop has ended or hangs: the process must be restarted.
    """
    requested = stop or asyncio.Event()
    # Its own event: a start that fails also stops what it has started already.
    ending = Shutdown(asyncio.Event(), within_s=settings.stop_timeout_ms / 1000)
    started = asyncio.Event()
    with _signals_set(requested), ending:
        clocks = (clock, local_clock)
        work = asyncio.create_task(_work(settings, frozenset(loops), clocks, started, ending))
        waiting = asyncio.create_task(requested.wait())
        try:
            await asyncio.wait({work, waiting}, return_when=asyncio.FIRST_COMPLETED)
            ending.request()
            if work.done() or started.is_set():
                await work
            else:
                await _give_up_start(work)
        finally:
            waiting.cancel()
            work.cancel()


async def _give_up_start(work: asyncio.Task[None]) -> None:
    """Cancel a start because a stop was requested; its errors while it ends are ignored."""
    work.cancel()
    await asyncio.wait({work})
    log.info("worker_stopped", while_starting=True)


async def _work(
    settings: Settings,
    loops: frozenset[Loop],
    clocks: tuple[DecisionClock, Callable[[], datetime]],
    started: asyncio.Event,
    stop: Shutdown,
) -> None:
    policy = read_policy(settings.policy_file)
    health = Health(silence_max_s=silence_max_s(settings), stopping=stop.requested.is_set)
    async with AsyncExitStack() as stack:
        stack.enter_context(serving(settings.http_port, health))
        tasks = [asyncio.create_task(watch(health, stop), name="watch")]
        stack.callback(tasks[0].cancel)
        pool = await stack.enter_async_context(connecting(settings.postgres))
        cutting = asyncio.create_task(_cut_off(pool, stop))
        stack.callback(cutting.cancel)
        await require_current_schema(pool)
        await require_access(settings.kafka, rights := _rights(settings, loops))
        warnings = await find_topic_warnings(settings.kafka, settings.topics.state, rights)
        for each in warnings:
            log.warning("topic_settings_doubtful", topic=each.topic, reason=each.sentence)
        worker = worker_of(settings, policy, pool, *clocks)
        await _register(policy, worker)
        identity = _identity(loops, policy, warnings)
        tasks += await stack.enter_async_context(_tasks(settings, worker, identity, health, stop))
        started.set()
        health.started = True
        log.info("worker_started", loops=sorted(loops), policy_version=policy.version)
        try:
            with rare_garbage_collection():
                await _until_stopped(stop, tasks)
        finally:
            stop.request()
            log.info("worker_stopping")
    log.info("worker_stopped")


def _identity(
    loops: Collection[Loop], policy: Policy, warnings: Sequence[TopicWarning]
) -> WorkerIdentity:
    """What `status` shows of this process while it runs."""
    return WorkerIdentity(
        uuid4(),
        socket.gethostname(),
        version("marketplace-worker"),
        sorted(loops),
        policy.version,
        [f"{each.topic} {each.sentence}" for each in warnings],
    )


@contextmanager
def rare_garbage_collection() -> Iterator[None]:
    """While inside, garbage is collected less often and without the objects loaded at the start.

    Each batch creates and drops many thousands of objects, few of them in cycles.  With Python's
    defaults, collections took a fifth of the time of a decision.
    """
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


async def _cut_off(pool: Pool, stop: Shutdown) -> None:
    """Close the connections of tasks that were cancelled and did not roll back in time."""
    await stop.requested.wait()
    await asyncio.sleep(stop.work_left_s() + CANCEL_TIMEOUT_S)
    pool.terminate()


def _rights(settings: Settings, loops: Collection[Loop]) -> Sequence[Right]:
    """The rights in Kafka that these loops need."""
    return (
        *(to_read(settings.kafka, settings.topics) if Loop.INGEST in loops else ()),
        *(to_write(settings.topics) if Loop.RELAY in loops else ()),
        *(to_read_back(settings.topics) if Loop.RELAY in loops else ()),
    )


async def _register(policy: Policy, worker: Worker) -> None:
    """Store the policy before anything is decided by it: organizations will be pinned to it."""
    async with transaction(worker.pool) as conn:
        await policies.register(conn, policy, now=await worker.clock(conn))
        guard = await safeguards.read(conn)
    metrics.show_guard(guard)
    log.info("policy_registered", policy_version=policy.version)


@asynccontextmanager
async def _tasks(
    settings: Settings, worker: Worker, identity: WorkerIdentity, health: Health, stop: Shutdown
) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Start the loops; on leaving, stop them in the order of the data flow, from intake to relay.

    The shutdown is signalled to all of them at once, with one deadline.
    """
    loops = identity.loops
    async with AsyncExitStack() as stack:
        tasks = _Tasks(settings, worker, health, stop, stack)
        floors = Floors()
        await tasks.watch_postgres(floors)
        if Loop.RELAY in loops:
            await tasks.relay(floors)
        if Loop.DEADLINES in loops:
            fire = partial(fire_due, worker, limit=settings.deadlines.batch_rows_max)
            await tasks.repeat(Loop.DEADLINES, fire, settings.deadlines.poll_interval_ms / 1000)
        if Loop.RETENTION in loops:
            delete_old = partial(retain, worker, settings.retention)
            await tasks.repeat(Loop.RETENTION, delete_old, RETAIN_EVERY_S)
            await tasks.repeat("state counts", partial(keep_state_counts, worker), COUNT_EVERY_S)
        lag = await tasks.ingest() if Loop.INGEST in loops else dict
        await tasks.record(OwnRow(worker.pool, identity, health, lag, system_clock))
        yield tasks.started


@dataclass(slots=True)
class _Tasks:
    """Starts tasks; they end with `stack`, in reverse order."""

    settings: Settings
    worker: Worker
    health: Health
    stop: Shutdown
    stack: AsyncExitStack
    started: list[asyncio.Task[None]] = field(default_factory=list)

    async def repeat(
        self, name: str, step: Step, idle_s: float, wake: asyncio.Event | None = None
    ) -> None:
        heartbeat = self.health.heartbeat(name)
        loop = looping(name, step, idle_s=idle_s, heartbeat=heartbeat, stop=self.stop, wake=wake)
        self.started.append(await self.stack.enter_async_context(loop))

    async def watch_postgres(self, floors: Floors) -> None:
        pool, postgres = self.worker.pool, self.settings.postgres
        probe = partial(probe_postgres, pool, self.health, floors)
        await probe()
        await self.repeat("check of Postgres", probe, PROBE_EVERY_S)
        await self.repeat("numbers by state", partial(probe_states, pool), STATES_EVERY_S)
        renew = partial(keep_connections_current, pool, postgres, Credentials(postgres))
        await self.repeat("check of Postgres credentials", renew, PROBE_EVERY_S)

    async def relay(self, floors: Floors) -> None:
        settings, health = self.settings, self.health
        compare = await restore_check(self.worker, partial(read_back, settings))
        await self.repeat("compare", compare, PROBE_EVERY_S)
        relays = Relays(self.worker.pool, settings, floors)
        for topic in settings.topics.outbound:
            name, wakeup = f"{Loop.RELAY} {topic}", asyncio.Event()
            publisher = await self.stack.enter_async_context(relays.publisher())
            send = partial(relays.send, topic, publisher, health.heartbeat(name))
            self.worker.relay_wakeups.append(wakeup)
            await self.repeat(name, send, settings.relay.poll_interval_ms / 1000, wakeup)
        name = f"{Loop.RELAY} former topics"
        send_former = partial(relays.send_former, health.heartbeat(name))
        await self.repeat(name, send_former, FORMER_TOPICS_EVERY_S)

    async def record(self, presence: OwnRow) -> None:
        self.stack.push_async_callback(presence.leave)
        await self.repeat("worker's row", presence.record, CHECK_EVERY_S)

    async def ingest(self) -> Callable[[], Lag]:
        """Returns what measures the lag of each group."""
        settings, kafka = self.settings, self.settings.kafka
        hooks = ConsumerHooks(
            on_turn=lambda name: ingest_heartbeat(self.health, name).beat(),
            work_left_s=self.stop.work_left_s,
            on_beginning=partial(
                report_jumps, worker=self.worker, holds_record=partial(holds_record, kafka)
            ),
        )
        facts, activity = (
            [partial(ingest, worker=self.worker, sizer=BatchSizer()) for _ in range(MEMBERS)]
            for _ in range(2)
        )
        consumers = await self.stack.enter_async_context(
            consuming(settings, facts=facts, activity=activity, hooks=hooks)
        )
        await self.repeat("lag", partial(probe_lag, consumers.lag), PROBE_EVERY_S)
        for each in consumers.members:
            probe = partial(probe_consumer, each, self.health)
            await probe()
            await self.repeat(f"check of {each.name}", probe, PROBE_EVERY_S)
            renew = partial(unless_stopped, self.stop, Renewal(each, kafka).check)
            await self.repeat(f"check of Kafka for {each.name}", renew, PROBE_EVERY_S)
        failing = asyncio.create_task(_failing(consumers, settings), name=Loop.INGEST)
        self.stack.callback(failing.cancel)
        self.started.append(failing)
        return consumers.lag


async def _failing(consumers: Consumers, settings: Settings) -> NoReturn:
    """Wait until a consumer fails, then check its rights: aiokafka does not always report which one
    is missing.

    Raises:
        Misconfigured: a right was revoked; the message names it and the command that grants it.
        ConsumerFailed: the consumer ended for another reason.
    """
    try:
        await consumers.wait_failed()
    except ConsumerFailed:
        with suppress(Unavailable):
            await require_access(settings.kafka, to_read(settings.kafka, settings.topics))
        raise


async def _until_stopped(stop: Shutdown, tasks: Collection[asyncio.Task[None]]) -> None:
    """Wait for the stop; if a task ends before, raise its error."""
    ordered = asyncio.create_task(stop.requested.wait())
    try:
        done, _ = await asyncio.wait({ordered, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ordered.cancel()
    for task in done:
        task.result()
    if not stop.requested.is_set():
        raise CannotGoOn(f"tasks ended unexpectedly: {', '.join(task.get_name() for task in done)}")


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
