"""Relays every topic that has messages in the outbox, each by its own producer."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from marketplace_worker.operations.health import Heartbeat
from marketplace_worker.record import Outgoing
from marketplace_worker.settings import Settings
from marketplace_worker.steps.relay import relay
from marketplace_worker.store import outbox
from marketplace_worker.store.database import Pool, transaction
from marketplace_worker.store.floors import Floors
from marketplace_worker.streams.producer import Publisher, producing

FORMER_TOPICS_EVERY_S = 60.0
"""How often to check for messages to topics that are no longer in the settings."""


@dataclass(frozen=True, slots=True)
class Relays:
    """State that the relays of one process share."""

    pool: Pool
    settings: Settings
    floors: Floors

    def publisher(self) -> AbstractAsyncContextManager[Publisher]:
        """A connected producer, for one topic: what keeps it waiting keeps no other topic."""
        return producing(self.settings.kafka, self.settings.relay)

    async def send(self, topic: str, publisher: Publisher, heartbeat: Heartbeat) -> int:
        """Relay a topic.  Connects to Kafka before a shard is led, and not while it is.

        Raises:
            Unavailable: as `relay` does.
        """
        await publisher.start()

        async def publish(messages: Sequence[Outgoing]) -> Sequence[Exception | None]:
            heartbeat.beat()  # one shard of many, each with its own wait for Kafka
            return await publisher.publish(messages)

        kafka, own = self.settings.kafka, self.settings.relay
        return await relay(
            self.pool,
            publish,
            topic,
            self.floors,
            limit=own.batch_rows_max,
            # It may have to reconnect to Kafka while it leads, and sends refused messages twice.
            publish_max_s=2 * (kafka.request_timeout_ms + own.acknowledge_timeout_ms) / 1000,
        )

    async def send_former(self, heartbeat: Heartbeat) -> int:
        """Relay the messages to topics that are no longer in the settings.

        Raises:
            Unavailable: as `relay` does.
        """
        async with transaction(self.pool) as conn:
            former = await outbox.topics(conn) - set(self.settings.topics.outbound)
        sent = 0
        if former:
            async with self.publisher() as publisher:
                for topic in sorted(former):
                    sent += await self.send(topic, publisher, heartbeat)
        return sent
