"""Runs stories through the worker, on Kafka and Postgres, with a clock that it moves.

Only the loops of `app.py` are replaced: each record is sent at its own time and awaited, each
deadline fires at its own time, and at one instant messages come before deadlines.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Any, Final

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from stories import HASH, Story
from story_language import API_REQUESTS, LOGINS, PolicyLoaded, StoryInput

from acceptance.comparison import (
    Json,
    by_subject,
    differing_events,
    differing_states,
    standing,
)
from acceptance.stage import PATIENCE_S, MovableClock, forget_everything
from marketplace_worker.contract.outbound import encode
from marketplace_worker.documents import organization_from_json, subscription_from_json
from marketplace_worker.inspection.fleet_view import Inspector
from marketplace_worker.inspection.replaying import verify
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.record import Record
from marketplace_worker.runtime.worker import Worker, worker_of
from marketplace_worker.settings import Ingest, Relay, Settings
from marketplace_worker.steps.deadlines import fire_due
from marketplace_worker.steps.guard_operations import operate
from marketplace_worker.steps.ingest import ingest
from marketplace_worker.steps.relay import relay
from marketplace_worker.store import activity, policies, safeguards
from marketplace_worker.store.database import Pool, connecting, transaction
from marketplace_worker.store.floors import Floors
from marketplace_worker.store.migrations import migrate
from marketplace_worker.streams import joining
from marketplace_worker.streams.consuming import consuming
from marketplace_worker.streams.producer import Publisher, producing
from marketplace_worker.streams.topics import create_topics
from streams.recording_handler import NO_OVERSIGHT

THE_END: Final = b"the end of a story"
"""Marks the end of a story's events, so that all of them have been read."""


ACTIVITY: Final = {LOGINS, API_REQUESTS}


@dataclass(frozen=True, slots=True)
class Ending:
    """The result of a story: the published events by subject, and the stored state.

    `refused`: topic and reason of the dead letters, sorted.  `misfolded`: differences between the
    stored state and a replay of the journal.
    """

    published: Mapping[str, Sequence[Json]]
    stands: Mapping[str, object]
    refused: Sequence[str] = ()
    misfolded: Sequence[str] = ()

    @classmethod
    def in_simulation(cls, story: Story) -> "Ending":
        """The expected result."""
        simulation = story.simulation
        stands = standing(simulation.fleet, simulation._due_at)
        encoded = (encode(event, simulation.traces.get(event.id)) for event in story.events)
        return cls(by_subject(encoded), stands, sorted(story.refused))

    def differences(self, came: "Ending") -> list[str]:
        """The differences, line by line; empty without any."""
        return [
            *differing_events(self.published, came.published),
            *differing_states(self.stands, came.stands),
            *differing_states({"refused": self.refused}, {"refused": came.refused}),
            *came.misfolded,
        ]


@dataclass
class StoryRunner:
    """Runs stories one after another; made by `StoryRunner.ready`.

    Offsets by topic: `sent` and `ingested` of the last record, `begun` of the story's first.
    """

    settings: Settings
    pool: Pool
    sending: AIOKafkaProducer
    events_consumer: AIOKafkaConsumer
    publisher: Publisher
    clock: MovableClock
    worker: Worker
    sent: dict[str, int] = field(default_factory=dict)
    ingested: dict[str, int] = field(default_factory=dict)
    begun: dict[str, int] = field(default_factory=dict)
    progress: asyncio.Condition = field(default_factory=asyncio.Condition)
    lost: bool = False

    @classmethod
    @asynccontextmanager
    async def ready(cls, settings: Settings) -> AsyncIterator["StoryRunner"]:
        """With new topics, the schema, and consumers that have joined."""
        settings = _hurried(settings)
        kafka, clock = settings.kafka, MovableClock()
        await _create_inbound(settings)
        await create_topics(kafka, settings.topics, partitions=1, replication_factor=1)
        async with (
            connecting(settings.postgres) as pool,
            producing(kafka, settings.relay) as publisher,
            _client(AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers)) as sending,
            _client(_event_consumer(settings)) as events_consumer,
        ):
            await migrate(pool)
            worker = worker_of(settings, Policy(), pool, clock, clock.of_machine)
            runner = cls(settings, pool, sending, events_consumer, publisher, clock, worker)
            ingest = runner._ingest
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(joining, "IDLE_WAIT_MS", 5)
                async with consuming(
                    settings, facts=[ingest], activity=[ingest], hooks=NO_OVERSIGHT
                ):
                    yield runner

    async def run(self, story: Story) -> Ending:
        """Run a story from an empty database to its end.

        If it fails, some of its records may still be in flight: no other story can run.
        """
        assert not self.lost, "an earlier story failed: some of its records may still be in flight"
        self.lost = True
        async with asyncio.timeout(PATIENCE_S):
            self.clock.now = min((first.at for first in story.inputs), default=story.ended_at)
            await self._begin(story.policies[0])
            for inputs in _together(story.inputs):
                await self._process_together(inputs, story)
            await self._pass_time(story.ended_at + timedelta.resolution)
            published, stands = by_subject(await self._published()), await self._standing()
            ending = Ending(published, stands, await self._refused(), await self._misfolded())
        self.lost = False
        return ending

    # --- from beginning to end ---

    async def _begin(self, policy: Policy) -> None:
        """Empty the database."""
        self.begun = dict(self.sent)
        await forget_everything(self.pool)
        await self._restart_with(policy)

    async def _restart_with(self, policy: Policy) -> None:
        """Continue like a worker that was restarted with this policy."""
        worker = worker_of(self.settings, policy, self.pool, self.clock, self.clock.of_machine)
        self.worker = replace(worker, hash_email=HASH)
        async with transaction(self.pool) as conn:
            await policies.register(conn, policy, now=self.clock.now)

    async def _process_together(self, together: Sequence[StoryInput], story: Story) -> None:
        """Process records that may be sent together, or one command of an operator."""
        at, what = together[0].at, together[0].what
        if not isinstance(what, Record):
            await self._pass_time(at + timedelta.resolution)
            self.clock.now = at
        match what:
            case Record():
                await self._receive(together)
            case PolicyLoaded(version=version):
                await self._restart_with(next(p for p in story.policies if p.version == version))
            case fact:
                await operate(fact, self.worker)

    async def _receive(self, together: Sequence[StoryInput]) -> None:
        """Process records and deadlines in order; records between two deadlines go together."""
        while together:
            await self._pass_time(together[0].at)
            due_at = await self._next_due_at()
            before = [each for each in together if due_at is None or each.at <= due_at]
            self.clock.now = before[-1].at
            await self._send([each.what for each in before if isinstance(each.what, Record)])
            together = together[len(before) :]

    async def _pass_time(self, before: datetime) -> None:
        """Move the clock to each deadline before a moment, one after another."""
        while (due_at := await self._next_due_at()) is not None and due_at < before:
            self.clock.now = max(due_at, self.clock.now)
            await fire_due(self.worker, limit=self.settings.deadlines.batch_rows_max)

    async def _next_due_at(self) -> datetime | None:
        due_at: datetime | None = await self.pool.fetchval(
            "SELECT min(next_due_at) FROM organizations"
        )
        return due_at

    # --- Kafka ---

    async def _send(self, records: Sequence[Record]) -> None:
        """Send records, each with its own time; returns when the worker has ingested them."""
        sent = [
            await self.sending.send(
                self._prefix + record.topic,
                record.value,
                key=record.key,
                timestamp_ms=round(record.recorded_at.timestamp() * 1000),
                headers=list(record.headers),
            )
            for record in records
        ]
        for each in await asyncio.gather(*sent):
            self.sent[each.topic] = max(self.sent.get(each.topic, 0), each.offset + 1)
        async with self.progress:
            await self.progress.wait_for(self._all_ingested)

    def _all_ingested(self) -> bool:
        return all(self.ingested.get(topic, 0) >= end for topic, end in self.sent.items())

    async def _ingest(self, records: Sequence[Record]) -> AbstractSet[str]:
        """Ingest a batch, without redelivered records of an earlier story."""
        ours = [each for each in records if each.offset >= self.begun.get(each.topic, 0)]
        if ours:
            await ingest(ours, self.worker)
        async with self.progress:
            for record in ours:
                self.ingested[record.topic] = record.offset + 1
            self.progress.notify_all()
        return frozenset()

    async def _published(self) -> list[bytes]:
        """Relay the outbox, and read the published events."""
        for topic in self.settings.topics.outbound:
            while await relay(
                self.pool,
                self.publisher.publish,
                topic,
                Floors(),
                limit=self.settings.relay.batch_rows_max,
                publish_max_s=30,
            ):
                pass
        await self.sending.send_and_wait(self.settings.topics.lifecycle, THE_END)
        values: list[bytes] = []
        async for record in self.events_consumer:
            if record.value == THE_END:
                break
            values.append(self._in_the_story(record.value.decode()).encode())
        return values

    def _in_the_story(self, text: str) -> str:
        """The text with the offsets of the story, where a position is an identity."""

        def counted(found: re.Match[str]) -> str:
            begun = self.begun.get(self._prefix + found[1], 0)
            return f"{found[1]}/0/{int(found[2]) - begun}"

        return re.sub(rf"{re.escape(self._prefix)}([a-z.-]+)/0/(\d+)", counted, text)

    async def _standing(self) -> dict[str, object]:
        """The stored state."""
        fleet = Fleet()
        rows = await self.pool.fetch("SELECT document, next_due_at FROM organizations")
        stored = [(organization_from_json(row["document"]), row["next_due_at"]) for row in rows]
        fleet.put(*(organization for organization, _ in stored))
        for row in await self.pool.fetch("SELECT document FROM subscriptions"):
            fleet.put(subscription_from_json(self._in_the_story(row["document"])))
        async with transaction(self.pool) as conn:
            fleet.safeguards = await safeguards.read(conn)
            everybody = await conn.fetch("SELECT organization_id FROM activity")
            fleet.seen = await activity.read(conn, [row["organization_id"] for row in everybody])
            fleet.feeds = await activity.feeds(conn, since=date.min)
        return standing(fleet, {organization.id: due_at for organization, due_at in stored})

    async def _refused(self) -> list[str]:
        """Topic and reason of each dead letter."""
        rows = await self.pool.fetch("SELECT topic, field, reason FROM dead_letters")
        refused = [(row["topic"].removeprefix(self._prefix), row) for row in rows]
        return sorted(f"{topic}: {row['field']}: {row['reason']}" for topic, row in refused)

    async def _misfolded(self) -> list[str]:
        """The differences between the journal and the stored state."""
        inspector = Inspector(self.pool, self.worker.policies, self.clock.now)
        return [
            f"folded again: {each}" async for page in verify(inspector) for each in page.differences
        ]

    @property
    def _prefix(self) -> str:
        prefix: str = self.settings.topics.lifecycle.removesuffix("organizations.lifecycle")
        return prefix


def _hurried(settings: Settings) -> Settings:
    """Settings without waits for fuller batches, and with longer time-outs."""
    return settings.model_copy(
        update={
            "kafka": settings.kafka.model_copy(update={"session_timeout_ms": 6_000}),
            "ingest": Ingest(fetch_wait_ms=10),
            "relay": Relay(linger_ms=0),
        }
    )


async def _create_inbound(settings: Settings) -> None:
    """Some stories begin years from now: Kafka would refuse a record of more than an hour ahead."""
    for_ever = {"message.timestamp.after.max.ms": str(2**63 - 1)}
    topics = (*settings.topics.facts, *settings.topics.activity)
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(each, 1, 1, topic_configs=for_ever) for each in topics])
    finally:
        await admin.close()


def _together(inputs: Sequence[StoryInput]) -> list[list[StoryInput]]:
    """Groups of inputs that may be sent together: neighbours of one topic and time, and others.

    Others are organizations with activity only, which keeps the feeds alive.
    """
    records = [each.what for each in inputs if isinstance(each.what, Record)]
    known = {_subject(record) for record in records if record.topic not in ACTIVITY}

    def place(item: StoryInput) -> object:
        match item.what:
            case Record(topic=topic) as record:
                others = topic in ACTIVITY and _subject(record) not in {*known, None}
                return "others" if others else (item.at, topic)
            case _:
                return id(item)

    return [list(together) for _, together in groupby(inputs, key=place)]


def _subject(record: Record) -> object:
    """The subject of a product message; None for a marketplace's."""
    value = json.loads(record.value or b"{}")
    return value.get("subject") if isinstance(value, dict) else None


def _event_consumer(settings: Settings) -> AIOKafkaConsumer:
    events_consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka.bootstrap_servers, auto_offset_reset="earliest"
    )
    events_consumer.assign([TopicPartition(settings.topics.lifecycle, 0)])
    return events_consumer


@asynccontextmanager
async def _client(client: Any) -> AsyncIterator[Any]:  # noqa: ANN401 - aiokafka has no types
    try:
        await client.start()
        yield client
    finally:
        await client.stop()
