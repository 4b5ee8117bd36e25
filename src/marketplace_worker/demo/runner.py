"""Starts the servers and the worker, sends the story's messages, and prints each event it reads."""

import asyncio
import io
import json
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord
from rich.console import Console

from marketplace_worker import standalone
from marketplace_worker.app import run
from marketplace_worker.clock import system_clock
from marketplace_worker.contract.event_lines import event_name, event_remark
from marketplace_worker.demo.clock import FastClock
from marketplace_worker.embedded.postgres import Durability
from marketplace_worker.operations.logs import set_up_logs
from marketplace_worker.policy_reading import read_policy
from marketplace_worker.settings import Settings, Topics, load_console_settings, load_settings
from marketplace_worker.testing.messages import Message
from marketplace_worker.testing.stories import RENEWS, STORIES, Story, everyday

LAST_DAY = 45
TIME_LIMIT_S = 60.0
"""When either has passed, the demo ends, and events that have not arrived count as missing."""

BEGINS_BEFORE_TODAY = timedelta(days=60)
"""The story must end before today: Apache Kafka refuses records with timestamps in the future."""


_INTERVALS = {
    "MARKETPLACE_WORKER_DEADLINES__POLL_INTERVAL_MS": "20",
    "MARKETPLACE_WORKER_RELAY__POLL_INTERVAL_MS": "20",
}
"""While the clock is fast."""


@dataclass(slots=True)
class Published:
    """The events received for each customer, in order of arrival, and how many dead letters."""

    events: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    dead_letters: int = 0

    def names(self, customer: str) -> list[str]:
        """The names of a customer's events."""
        return [event_name(event) for event in self.events.get(customer, [])]


def show(*, keep: bool = False) -> int:
    """Run the demo; returns the exit status: 0, or 1 if the events are not the expected ones.

    With `keep` the servers and a worker by the real clock run on until Ctrl-C or SIGTERM.
    Everything that it starts and writes is removed when it returns, also after Ctrl-C and SIGTERM.

    Raises:
        KeyboardInterrupt: it was interrupted before the end of the story.
    """
    demo = _Demo(Console(highlight=False), keep=keep)
    cache = Path(".cache")
    cache.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="demo-", dir=cache) as name:
        _interrupt_on_sigterm()
        try:
            seen = uvloop.run(demo.perform(Path(name).resolve()))
        except Exception:
            sys.stderr.write(demo.log.getvalue())
            raise
    if seen is None:
        raise KeyboardInterrupt
    return 1 if any(faults(seen, STORIES)) else 0


def unreadable(at: datetime) -> Message:
    """A message that cannot be read."""
    topic = Topics().aws_notifications
    return Message(topic, "-", b"{ not JSON", at, "a message that is not JSON")


def _interrupt_on_sigterm() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)


class _Demo:
    """One run of the demo.  `log`: the worker's log, until the story ends."""

    def __init__(self, console: Console, *, keep: bool) -> None:
        self._console = console
        self._keep = keep
        self._began = system_clock()
        start = datetime.combine(self._began - BEGINS_BEFORE_TODAY, time(), self._began.tzinfo)
        self._clock = FastClock(start)
        self.log = io.StringIO()
        set_up_logs(self.log)

    async def perform(self, folder: Path) -> Published | None:
        """Run the story; returns the received events, None if it was stopped before the end."""
        self._console.print("Starting Postgres, a Kafka broker and the worker …")
        async with _servers(folder) as environment:
            settings = load_settings(None, {**environment, **_INTERVALS})
            await standalone.prepare(settings)
            seen = await self._play_story(settings)
            if seen is not None and self._keep:
                await _run_on(folder, environment)
            return seen

    async def _play_story(self, settings: Settings) -> Published | None:
        stop, clock = asyncio.Event(), self._clock
        worker = asyncio.create_task(
            run(settings, clock=clock.of_worker, local_clock=clock, stop=stop)
        )
        play = asyncio.create_task(_play(settings, STORIES, clock, self._console))
        try:
            await asyncio.wait({worker, play}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.set()
            play.cancel()
            await asyncio.wait({worker, play})
            _interrupt_on_sigterm()  # again: the worker resets SIGTERM to the default when it ends
        worker.result()
        if play.cancelled():
            return None
        self._report(play.result())
        return play.result()

    def _report(self, seen: Published) -> None:
        missing = list(faults(seen, STORIES))
        if missing:
            sys.stderr.write(self.log.getvalue())
        _summarize(self._console, seen, STORIES, missing)
        days = self._clock.day(self._clock())
        took_s = (system_clock() - self._began).total_seconds()
        verdict = "Not everything" if missing else "Everything"
        self._console.print(f"{verdict} arrived as expected; {days:.0f} days in {took_s:.0f} s")


async def _run_on(folder: Path, environment: Mapping[str, str]) -> None:
    """Run a worker by the real clock and a console on the same servers; say how to reach them."""
    log, stop, port = folder / "worker.log", asyncio.Event(), _free_port()
    with log.open("w", encoding="utf-8", buffering=1) as lines:
        set_up_logs(lines)
        kept = (
            f"All runs on until Ctrl-C, by the real clock, and is then removed.  Its log: {log}\n"
            f"Its console: http://127.0.0.1:{port}"
        )
        with standalone.reachable(folder, environment, kept=kept, customer="juno"):
            console = asyncio.create_task(_serve_console(environment, port, stop))
            try:
                await run(load_settings(None, environment), stop=stop)
            finally:
                stop.set()
                await console


async def _serve_console(environment: Mapping[str, str], port: int, stop: asyncio.Event) -> None:
    from marketplace_worker.console import serve  # noqa: PLC0415 - only where the demo is kept

    variables = {**environment, "MARKETPLACE_WORKER_CONSOLE__PORT": str(port)}
    await serve(load_console_settings(None, variables), read_policy(None), stop=stop)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@asynccontextmanager
async def _servers(folder: Path) -> AsyncIterator[dict[str, str]]:
    """Run the demo's servers; yields the settings.  The broker may be the one that KAFKA names."""
    given = os.environ.get("KAFKA")
    async with standalone.servers(folder, Durability.NONE, kafka=given) as environment:
        yield {
            **environment,
            "MARKETPLACE_WORKER_EMAIL_KEY": "only for the demo",
            **(_topics_of_its_own() if given else {}),
        }


def _topics_of_its_own() -> dict[str, str]:
    """Settings for topics and groups that no other client of a shared broker uses."""
    tag = f"demo-{os.getpid()}-{int(system_clock().timestamp())}"
    names = Topics().model_dump()
    renamed = {f"MARKETPLACE_WORKER_TOPICS__{k.upper()}": f"{tag}.{v}" for k, v in names.items()}
    return {**renamed, "MARKETPLACE_WORKER_KAFKA__GROUP_PREFIX": tag}


@dataclass(frozen=True, slots=True)
class _Outside:
    """The services around the worker: sends messages, dated by the demo's clock."""

    producer: AIOKafkaProducer
    topics: Topics
    clock: FastClock

    async def send(self, messages: Sequence[Message]) -> None:
        """Send messages, each with its time as timestamp; returns when the broker has them."""
        for message in messages:
            await self.producer.send_and_wait(
                self.topics.configured(message.topic),
                message.value,
                key=message.key.encode(),
                timestamp_ms=round(message.at.timestamp() * 1000),
            )


async def _play(
    settings: Settings, story: Sequence[Story], clock: FastClock, console: Console
) -> Published:
    """Send the story's messages, and read events until all have arrived or the time is up.

    The clock starts when the worker has published its first event.
    """
    topics = settings.topics
    seen = Published()
    async with (
        _reading(settings, topics.lifecycle, topics.dead_letters) as incoming,
        _outside(settings, clock) as outside,
    ):
        beginning = [
            message
            for customer in story
            for message in customer.begins(customer.organization, clock())
        ]
        await outside.send([unreadable(clock()), *beginning])
        _print_header(console, story, clock)
        life = None
        try:
            async with asyncio.timeout(TIME_LIMIT_S):
                while any(faults(seen, story)) and clock.day(clock()) < LAST_DAY:
                    arrived = await incoming.getmany(timeout_ms=100)
                    if arrived and life is None:
                        life = asyncio.create_task(_life(outside))
                    for record in chain.from_iterable(arrived.values()):
                        if record.topic == topics.dead_letters:
                            _note_dead_letter(record, seen, clock, console)
                        else:
                            await _process_event(
                                json.loads(record.value), seen, story, outside, console
                            )
        except TimeoutError:
            pass
        finally:
            if life is not None:
                life.cancel()
    return seen


async def _life(outside: _Outside) -> None:
    """Run the clock, and send a login and some API usage every day.

    Without any activity in the feeds no organization counts as inactive (lifecycle.md section 5).
    """
    async with asyncio.TaskGroup() as group:
        group.create_task(outside.clock.run())
        while True:
            await outside.clock.later(timedelta(days=1))
            await outside.send(everyday(RENEWS.organization, outside.clock()))


def _note_dead_letter(
    record: ConsumerRecord, seen: Published, clock: FastClock, console: Console
) -> None:
    """Count a dead letter and print its reason."""
    seen.dead_letters += 1
    headers = {name: value.decode() for name, value in record.headers}
    day = clock.day(_moment(headers["dead-letter-at"]))
    _print(console, day, "-", "dead letter", headers["dead-letter-reason"])


async def _process_event(
    event: Mapping[str, Any],
    seen: Published,
    story: Sequence[Story],
    outside: _Outside,
    console: Console,
) -> None:
    """Record and print an event, and send the messages that the story has in reply to it."""
    name, who, clock = event_name(event), event["subject"], outside.clock
    remark = event_remark(event, partial(_day_and_time, clock=clock))
    seen.events.setdefault(who, []).append(dict(event))
    _print(console, clock.day(_moment(event["time"])), who, name, remark)
    customer = next((each for each in story if each.organization == who), None)
    reply = customer.replies.get(name) if customer else None
    if reply is not None:
        await clock.later()
        messages = reply.messages(who, clock())
        said = ", ".join(message.what for message in messages)
        _print(console, clock.day(clock()), who, "", f"<- {said}")
        await outside.send(messages)


@asynccontextmanager
async def _reading(settings: Settings, *topics: str) -> AsyncIterator[AIOKafkaConsumer]:
    """Run a consumer such as a team that subscribes to the events would write."""
    consumer = AIOKafkaConsumer(
        *topics,
        bootstrap_servers=settings.kafka.bootstrap_servers,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=50,
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


@asynccontextmanager
async def _outside(settings: Settings, clock: FastClock) -> AsyncIterator[_Outside]:
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers)
    await producer.start()
    try:
        yield _Outside(producer, settings.topics, clock)
    finally:
        await producer.stop()


def _day_and_time(moment: datetime, clock: FastClock) -> str:
    return f"day {int(clock.day(moment))}, {moment:%H:%M}"


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _print_header(console: Console, story: Sequence[Story], clock: FastClock) -> None:
    for customer in story:
        console.print(f"  {customer.organization:<6} {customer.what}", soft_wrap=True)
    console.print(
        f"\nThe policy is the default; the clock starts at {clock():%Y-%m-%d} and runs at about "
        "four days per second.",
        soft_wrap=True,
    )
    console.print(f"\n{'day':>5}  {'customer':<9} {'event':<34} remark")


def _print(console: Console, day: float, customer: str, name: str, remark: str) -> None:
    style = "bold" if name.startswith("organization.") else "dim" if remark.startswith("<-") else ""
    line = f"{day:>5.1f}  {customer:<9} {name:<34} {remark}".rstrip()
    console.print(line, style=style, soft_wrap=True, markup=False)


def faults(seen: Published, story: Sequence[Story]) -> Iterator[str]:
    """Describe the events that are missing, differ from the expected ones, or were not expected."""
    if seen.dead_letters != 1:
        yield f"one dead letter, of the unreadable message (received {seen.dead_letters})"
    expected_of = {customer.organization: customer.expected for customer in story}
    for who in dict.fromkeys((*expected_of, *seen.events)):
        wanted, names = expected_of.get(who, ()), seen.names(who)
        for place, expected in enumerate(wanted):
            came = names[place] if place < len(names) else "nothing"
            if came != expected:
                yield f"{who}: {expected} (received {came})"
                break
        else:
            if len(names) > len(wanted):
                yield f"{who}: no further event (received {names[len(wanted)]})"


def _summarize(
    console: Console, seen: Published, story: Sequence[Story], missing: Sequence[str]
) -> None:
    console.print("\nFinal states:")
    for customer in story:
        events = seen.events.get(customer.organization, [])
        data = events[-1]["data"] if events else {"state": "active", "reason": None}
        console.print(
            f"  {customer.organization:<6} {data['state']:<12} {customer.what} "
            f"(reason: {data['reason'] or 'none'}; events: {len(events)})",
            soft_wrap=True,
            markup=False,
        )
    for each in missing:
        console.print(f"missing: {each}", style="bold red", soft_wrap=True, markup=False)
