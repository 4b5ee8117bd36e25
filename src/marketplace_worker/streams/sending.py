"""Sends single messages, as the marketplaces' forwarders and other services do: for `send`."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from marketplace_worker.errors import Misconfigured, Unavailable
from marketplace_worker.record import EPOCH, Record
from marketplace_worker.settings import Kafka
from marketplace_worker.streams.connection_errors import connection_error
from marketplace_worker.streams.producer import REFUSALS, REQUEST_BYTES_MAX
from marketplace_worker.streams.rights import Operation, Resource, Right, explained
from marketplace_worker.streams.security import client_arguments
from marketplace_worker.streams.topics import require_access


@dataclass(frozen=True, slots=True)
class Place:
    """Where Kafka has stored a message."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


@dataclass(frozen=True, slots=True)
class Sender:
    """Sends messages, one after another.  `hosts`: of all brokers, as Kafka advertises them."""

    hosts: frozenset[str]
    _kafka: Kafka
    _producer: AIOKafkaProducer

    async def send(self, record: Record) -> Place:
        """Send a message and wait until Kafka has it.

        Its partition and offset are Kafka's choice; with `EPOCH` as its time, its timestamp too.

        Raises:
            Misconfigured: Kafka refuses the message.
            Unavailable: it does not answer.
        """
        at, where = record.recorded_at, f"Kafka at {self._kafka.bootstrap_servers}"
        try:
            sent = await self._producer.send_and_wait(
                record.topic,
                record.value,
                key=record.key,
                headers=list(record.headers),
                timestamp_ms=None if at == EPOCH else round(at.timestamp() * 1000),
            )
        except REFUSALS as error:
            name = type(error).__name__
            raise Misconfigured(f"{where} refuses a message for {record.topic}: {name}") from error
        except (KafkaError, OSError) as error:
            reason = explained(self._kafka, error, Operation.WRITE) or repr(error)
            raise Unavailable(f"{where}: {reason}") from error
        return Place(sent.topic, sent.partition, sent.offset)


@asynccontextmanager
async def sending(kafka: Kafka, topics: Collection[str]) -> AsyncIterator[Sender]:
    """Connect a producer for these topics.

    Raises:
        Misconfigured: one does not exist, or Kafka does not let us write to it, or log in.
        Unavailable: Kafka does not answer.
    """
    await require_access(kafka, [Right(Operation.WRITE, Resource.TOPIC, name) for name in topics])
    producer = AIOKafkaProducer(
        **client_arguments(kafka),
        acks="all",
        max_request_size=REQUEST_BYTES_MAX,
        request_timeout_ms=kafka.request_timeout_ms,
    )
    try:
        await producer.start()
    except (KafkaError, OSError) as error:
        await producer.stop()
        raise await connection_error(kafka, error) from error
    try:
        hosts = frozenset(broker.host for broker in producer.client.cluster.brokers())
        yield Sender(hosts, kafka, producer)
    finally:
        await producer.stop()
