"""Puts one billing account on 10,000 organizations, with two workers: nothing waits for long.

All purchases are sent before any sign-up, so that the account is not known to be a reseller's while
it grows. Then come one sign-up, one notification, and the rest, with messages about other
organizations in between.

python tests/attacks/one_account.py [ORGANIZATIONS]
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from uuid import uuid4

from aiokafka import AIOKafkaProducer
from outsider import Outsider, Worker, example, repeat

ORGANIZATIONS = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
NOTIFICATIONS, CHANGES = "marketplace.aws.notifications", "organizations.changes"
LEFT = ("partitions_revoked", "member_lost")
"""Logged when partitions are reassigned, as when the second worker joins."""

ONE_S, BATCH_S = 5.0, 15.0
"""Limits for one message and one batch. Without a limit on the account they took 18 and 50
seconds.
"""

Message = tuple[str, bytes, bytes]


def purchase(number: int) -> Message:
    """A marketplace reports that a licence is in force; all have the same account."""
    agreement = f"agmt-{number}"
    event = {
        "id": str(uuid4()),
        "source": "aws.agreement-marketplace",
        "detail-type": "License Updated - Manufacturer",
        "time": "2026-01-01T00:00:00Z",
        "detail": {"agreement": {"id": agreement}, "acceptor": {"accountId": "one account"}},
    }
    return NOTIFICATIONS, agreement.encode(), json.dumps(event).encode()


def sign_up(number: int) -> Iterator[Message]:
    """An organization is created and its purchase linked."""
    key = f"org-{number}"
    yield CHANGES, key.encode(), example("organization.created", key)
    linked = example(
        "organization.subscription_linked",
        key,
        marketplace="aws",
        subscription_id=f"agmt-{number}",
        billing_account=None,
    )
    yield CHANGES, key.encode(), linked


async def seconds_to_ingest(
    outsider: Outsider, workers: list[Worker], messages: list[Message]
) -> float:
    """Send these, wait until they are in the journal, and return how long that took."""
    before = await journalled(outsider)
    began = time.monotonic()
    async with AIOKafkaProducer(bootstrap_servers=outsider.kafka, linger_ms=20) as producer:
        sent = [await producer.send(topic, value, key=key) for topic, key, value in messages]
        await asyncio.gather(*sent)
    while await journalled(outsider) < before + len(messages):
        if time.monotonic() - began > 600 or any(w.process.returncode is not None for w in workers):
            raise SystemExit("not all messages were processed")
        await asyncio.sleep(0.05)
    return time.monotonic() - began


async def journalled(outsider: Outsider) -> int:
    """The number of processed messages."""
    return int((await outsider.rows("SELECT count(*) AS n FROM journal"))[0]["n"])


async def is_created(outsider: Outsider, name: str) -> bool:
    """Whether an organization exists already."""
    query = "SELECT FROM organizations WHERE organization_id = $1 AND created"
    return bool(await outsider.rows(query, name))


async def attack(outsider: Outsider) -> None:
    """Let the account grow, and measure messages meanwhile."""
    everybody = range(ORGANIZATIONS)
    async with outsider.worker() as one, outsider.worker() as other:
        both = [one, other]
        joined = [len(w.lines(*LEFT)) for w in both]
        bought = await seconds_to_ingest(outsider, both, [purchase(n) for n in everybody])
        first = await seconds_to_ingest(outsider, both, list(sign_up(0)))
        news = await seconds_to_ingest(outsider, both, [purchase(0)])
        rest = asyncio.create_task(
            seconds_to_ingest(outsider, both, [m for n in everybody[1:] for m in sign_up(n)])
        )
        slowest_stranger = 0.0
        while not rest.done():
            name = f"stranger-{time.monotonic_ns()}"
            await outsider.send(CHANGES, example("organization.created", name), name.encode())
            sent = time.monotonic()
            while not await is_created(outsider, name):  # noqa: ASYNC110 - Postgres sets no event
                await asyncio.sleep(0.05)
            slowest_stranger = max(slowest_stranger, time.monotonic() - sent)
            await asyncio.sleep(0.2)
        linked = await rest
        last = await seconds_to_ingest(outsider, both, [purchase(n) for n in range(500)])
        slowest_batch = max(
            (each.get("took_ms", 0) / 1000 for w in both for each in w.lines("batch_ingested")),
            default=0.0,
        )
        left = [len(w.lines(*LEFT)) for w in both] != joined
        ended = [w for w in both if w.process.returncode is not None]
    print(f"{ORGANIZATIONS} purchases {bought:.1f} s; one sign-up {first:.1f} s; "
          f"one notification {news:.1f} s; all sign-ups {linked:.1f} s; 500 notifications "
          f"{last:.1f} s; slowest batch {slowest_batch:.1f} s; "
          f"slowest message of another {slowest_stranger:.1f} s")  # fmt: skip
    crowded = await outsider.rows("SELECT FROM crowded_accounts")
    outsider.require(len(crowded) == 1, "the account is recognized as a reseller's")
    outsider.require(max(first / 2, news) < ONE_S, "one message is processed in seconds")
    outsider.require(slowest_batch < BATCH_S, "every batch is processed within the limit")
    outsider.require(slowest_stranger < BATCH_S, "other organizations do not wait for the account")
    outsider.require(not ended and not left, "no worker ended or left its group")
    outsider.require(not await outsider.rows("SELECT FROM dead_letters"), "nothing was parked")


if __name__ == "__main__":
    repeat(attack)
