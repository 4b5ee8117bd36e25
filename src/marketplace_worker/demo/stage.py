"""Starts the servers and the worker, tells the story, and prints each event as it arrives."""

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from rich.console import Console

from marketplace_worker import standalone
from marketplace_worker.app import system_clock
from marketplace_worker.demo.story import Customer, Message, Teller, customers, unreadable
from marketplace_worker.embedded.postgres import Durability
from marketplace_worker.embedded.process import Command, Ready, running
from marketplace_worker.operations.logs import set_up_logs
from marketplace_worker.settings import Settings, Topics, load_settings

TIME_LIMIT_S = 25.0
"""After this, what has not come is missing."""


@dataclass(slots=True)
class Seen:
    """What came of each customer, in order of arrival, and how many dead letters."""

    events: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    dead_letters: int = 0

    def names(self, customer: str) -> list[str]:
        """The names of a customer's events."""
        return [_name(event) for event in self.events.get(customer, [])]


def show() -> int:
    """Run the demo; returns the exit status: 0, or 1 where anything did not come as it should.

    Everything it starts and writes is gone when it returns, also after Ctrl-C and SIGTERM.
    """
    console = Console(highlight=False)
    set_up_logs(sys.stderr, "warning")
    began = system_clock()
    cache = Path(".cache")
    cache.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="demo-", dir=cache) as name:
        folder = Path(name).resolve()
        policy = resources.files(__package__).joinpath("policy.toml").read_text(encoding="utf-8")
        (folder / "policy.toml").write_text(policy, encoding="utf-8")
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        seen, story = uvloop.run(_perform(folder, console))
        missing = _missing(seen, story)
        if missing:
            sys.stderr.write(_log(folder))
    _summarize(console, seen, story, missing)
    took_s = (system_clock() - began).total_seconds()
    console.print(f"{'Something is missing' if missing else 'All as it should be'}; {took_s:.0f} s")
    return 1 if missing else 0


async def _perform(folder: Path, console: Console) -> tuple["Seen", Sequence[Customer]]:
    console.print("Starting Postgres, a Kafka broker and the worker …")
    async with _servers(folder) as environment:
        settings = load_settings(None, environment)
        await standalone.prepare(settings)
        async with running(_worker(environment, folder), _started(folder), ready_seconds=15):
            return await _play(settings, console)


@asynccontextmanager
async def _servers(folder: Path) -> AsyncIterator[dict[str, str]]:
    """The demo's settings, for servers of its own or, for the broker, the one that KAFKA names."""
    given = os.environ.get("KAFKA")
    async with standalone.servers(folder, Durability.NONE, kafka=given) as environment:
        yield {
            **environment,
            "MARKETPLACE_WORKER_EMAIL_KEY": "only for the demo",
            "MARKETPLACE_WORKER_POLICY_FILE": str(folder / "policy.toml"),
            "MARKETPLACE_WORKER_DEADLINES__POLL_INTERVAL_MS": "50",
            **(_topics_of_its_own() if given else {}),
        }


def _topics_of_its_own() -> dict[str, str]:
    """On a broker that is not ours alone, topics and groups that nobody else reads."""
    tag = f"demo-{os.getpid()}-{int(system_clock().timestamp())}"
    names = Topics().model_dump()
    renamed = {f"MARKETPLACE_WORKER_TOPICS__{k.upper()}": f"{tag}.{v}" for k, v in names.items()}
    return {**renamed, "MARKETPLACE_WORKER_KAFKA__GROUP_PREFIX": tag}


def _worker(environment: Mapping[str, str], folder: Path) -> Command:
    """The worker, as an operator starts it."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("MARKETPLACE_WORKER_")}
    return Command(
        name="marketplace-worker",
        program=[sys.executable, "-m", "marketplace_worker", "run"],
        folder=folder,
        stop_signals=[signal.SIGTERM],
        environment=tuple({**inherited, **environment}.items()),
    )


def _started(folder: Path) -> Ready:
    """Whether the worker says so, in its log."""

    async def started() -> bool:
        return "worker_started" in _log(folder)

    return started


def _log(folder: Path) -> str:
    return (folder / "log").read_text(encoding="utf-8")


async def _play(settings: Settings, console: Console) -> tuple[Seen, Sequence[Customer]]:
    """Tell the story, and read what the worker says until it is complete or the time is up."""
    topics = settings.topics
    seen = Seen()
    began = system_clock()
    story = customers(Teller(topics, began))
    by_name = {customer.name: customer for customer in story}
    async with (
        _reading(settings, topics.lifecycle, topics.dead_letters) as incoming,
        _sending(settings) as producer,
    ):
        await _tell(producer, [unreadable(topics), *(m for c in story for m in c.begins)])
        _print_header(console, story)
        try:
            async with asyncio.timeout(TIME_LIMIT_S):
                while _missing(seen, story):
                    record = await incoming.getone()
                    if record.topic == topics.dead_letters:
                        seen.dead_letters += 1
                        reason = dict(record.headers)["dead-letter-reason"].decode()
                        _print(console, began, "-", "dead letter", reason)
                        continue
                    event = json.loads(record.value)
                    seen.events.setdefault(event["subject"], []).append(event)
                    _print(console, began, event["subject"], _name(event), _remark(event))
                    answer = by_name[event["subject"]].then.get(_name(event))
                    if answer is not None:
                        message = answer(Teller(topics, system_clock()))
                        await _tell(producer, [message])
                        _print(console, began, event["subject"], "", f"<- {message.what}")
        except TimeoutError:
            pass
    return seen, story


@asynccontextmanager
async def _reading(settings: Settings, *topics: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of the demo's own: what a team that subscribes to the events would write."""
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
async def _sending(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def _tell(producer: AIOKafkaProducer, messages: Sequence[Message]) -> None:
    for message in messages:
        await producer.send_and_wait(message.topic, message.value, key=message.key.encode())


def _name(event: Mapping[str, Any]) -> str:
    name: str = event["type"].removeprefix("io.marketplace-worker.").removesuffix(".v1")
    return name


def _remark(event: Mapping[str, Any]) -> str:
    """Why, or what comes next: the part of an event that a person wants first."""
    data = event["data"]
    match _name(event):
        case "organization.canceled" | "organization.reinstated":
            return f"{data['previous_state']} -> {data['state']}, reason {data['reason']}"
        case "organization.control_plane_lost" | "organization.suspended":
            return f"{data['previous_state']} -> {data['state']}"
        case "organization.deactivated":
            return f"{data['previous_state']} -> {data['state']}, cause {data['cause']}"
        case "organization.notice_given":
            return f"{data['upcoming_state']} at {_clock(data['at'])}"
        case "metering.final_report_due":
            return f"{data['subscription_id']} until {_clock(data['deadline'])}"
        case _:
            return ""


def _clock(moment: str) -> str:
    return datetime.fromisoformat(moment).strftime("%H:%M:%S")


def _print_header(console: Console, story: Sequence[Customer]) -> None:
    for customer in story:
        console.print(f"  {customer.name:<6} {customer.what}")
    console.print(f"\n{'after':>7}  {'customer':<9} {'event':<31} remark")


def _print(console: Console, began: datetime, customer: str, name: str, remark: str) -> None:
    after_s = (system_clock() - began).total_seconds()
    style = "bold" if name.startswith("organization.") else "dim" if remark.startswith("<-") else ""
    line = f"{after_s:>6.1f}s  {customer:<9} {name:<31} {remark}".rstrip()
    console.print(line, style=style, soft_wrap=True, markup=False)


def _missing(seen: Seen, story: Sequence[Customer]) -> list[str]:
    """What should have come and did not, or came otherwise."""
    return list(_faults(seen, story))


def _faults(seen: Seen, story: Sequence[Customer]) -> Iterator[str]:
    if not seen.dead_letters:
        yield "the dead letter of the unreadable message"
    for customer in story:
        names = seen.names(customer.name)
        for place, expected in enumerate(customer.expected):
            came = names[place] if place < len(names) else "nothing"
            if came != expected:
                yield f"{customer.name}: {expected} (there came {came})"
                break
        else:
            if len(names) > len(customer.expected):
                yield f"{customer.name}: nothing more (there came {names[len(customer.expected)]})"


def _summarize(
    console: Console, seen: Seen, story: Sequence[Customer], missing: Sequence[str]
) -> None:
    console.print("\nIn the end:")
    for customer in story:
        events = seen.events.get(customer.name, [])
        data = events[-1]["data"] if events else {"state": "active", "reason": None}
        why = data["reason"] or "none: nothing happened to it"
        console.print(
            f"  {customer.name:<6} {data['state']:<12} {customer.what} (reason: {why}; "
            f"{len(events)} events)",
            soft_wrap=True,
            markup=False,
        )
    for each in missing:
        console.print(f"missing: {each}", style="bold red", markup=False)
