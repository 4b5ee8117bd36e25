"""Stops aiokafka's clients within a time limit: their own `stop` waits for other members, or for
Kafka.

- `AIOKafkaConsumer.stop` in aiokafka 0.14 waits for a rebalance under way before it leaves the
  group, so for the batches of all other members.
- `AIOKafkaProducer.stop` sends what it holds, however long Kafka does not acknowledge; an old
  snapshot could then follow a newer one.

Upstream: no issue found (searched 2026-11-30).  Remove when both have a stop with a time limit.
"""
# ruff: noqa: SLF001 - there is no public way

import asyncio
import contextlib

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.protocol.group import LeaveGroupRequest

LEAVE_AT_ONCE_TIMEOUT_S = 0.4
DISCONNECT_TIMEOUT_S = 0.2
ABANDON_TIMEOUT_S = 0.5

log = structlog.get_logger(__name__)


async def leave_at_once(consumer: AIOKafkaConsumer) -> None:
    """Leave the group during a rebalance, which ends only when others have finished their batches.

    aiokafka waits for that before it leaves.  Without a request to leave, the group would assign
    partitions to this member, and they would be unread until its session times out.
    """
    coordinator = consumer._coordinator
    if coordinator.coordinator_id is None:
        return
    goodbye = LeaveGroupRequest(coordinator.group_id, coordinator.member_id)
    try:
        async with asyncio.timeout(LEAVE_AT_ONCE_TIMEOUT_S):
            # Not on the connection that waits for the rebalance: Kafka answers its requests in
            # order.
            await consumer._client.send(coordinator.coordinator_id, goodbye)
    except (KafkaError, TimeoutError) as error:
        log.warning("group_not_left", group=coordinator.group_id, reason=type(error).__name__)
    else:
        log.info("group_left_amid_a_rebalance", group=coordinator.group_id)


async def disconnect(consumer: AIOKafkaConsumer) -> None:
    """Do for a consumer that could not leave what its own stop does after that."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DISCONNECT_TIMEOUT_S):
            await consumer._fetcher.close()
            await consumer._client.close()


async def abandon(producer: AIOKafkaProducer) -> None:
    """Close a producer at once; messages that it still holds are not sent."""
    # This is `AIOKafkaProducer.stop` of 0.14 without its flush.
    producer._closed = True
    sender = producer._sender.sender_task
    assert sender is not None
    sender.cancel()
    # Requests in flight end with their connections; the sender waits for them.
    await producer.client.close()
    done, _ = await asyncio.wait([sender], timeout=ABANDON_TIMEOUT_S)
    if not done:
        sender.cancel()
        await asyncio.wait([sender])
