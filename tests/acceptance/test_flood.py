"""A flood of unreadable records, through the whole worker, on a broker and Postgres."""

import asyncio
import json
from contextlib import AbstractAsyncContextManager

import pytest

from acceptance.scenario import at, created, eventbridge
from acceptance.stage import PATIENCE_S, MovableClock, Stage, command, until, working
from marketplace_worker.app import Loop
from marketplace_worker.settings import Ingest, Settings
from marketplace_worker.streams import pausing

pytestmark = pytest.mark.broker

FLOODED = "marketplace.aws.notifications"
LIMIT = 60


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the time after which a stopped topic is checked again."""
    monkeypatch.setattr(pausing, "PAUSE_S", 0.2)


def worker(settings: Settings, refused_rows_max: int = LIMIT) -> AbstractAsyncContextManager[None]:
    """A worker that ingests, and stops a topic after this many refused records."""
    ingest = Ingest(batch_rows_max=50, refused_rows_max=refused_rows_max)
    limited = settings.model_copy(update={"ingest": ingest})
    return working(limited, [Loop.INGEST], MovableClock(at(2)))


def signed_up(first: int, count: int) -> list[tuple[str, bytes, bytes]]:
    """This many created organizations, on another topic."""
    lines = [created(1, f"org-{first + number}") for number in range(count)]
    return [
        (line["topic"], line["value"]["subject"].encode(), json.dumps(line["value"]).encode())
        for line in lines
    ]


def bought(count: int) -> list[tuple[str, bytes, bytes]]:
    """This many valid records of the flooded topic."""
    lines = [eventbridge(1, "License Updated", {"id": f"agmt-{n}"}) for n in range(count)]
    return [(FLOODED, b"key", json.dumps(line["value"]).encode()) for line in lines]


async def test_a_flooded_topic_waits_for_an_operator_and_others_continue(
    stage: Stage, settings: Settings
) -> None:
    """Also after a restart; after the resume the rest is ingested once."""

    async def count(query: str) -> int:
        return int(await stage.pool.fetchval(f"SELECT count(*) FROM {query}"))

    async def stopped() -> bool:
        return bool(await count("intake_stops WHERE resumed_at IS NULL"))

    await stage.send_all([(FLOODED, b"key", b"no JSON")] * 300)
    await stage.send_all(bought(20))
    async with worker(settings):
        await until(stopped)
        for first in range(0, 60, 20):
            await stage.send_all(signed_up(first, 20))
            await until(lambda first=first: stage.journalled(first + 20))  # type: ignore[misc]
    kept = await count("dead_letters")
    assert kept <= LIMIT

    async with worker(settings):
        await stage.send_all(signed_up(60, 20))
        await until(lambda: stage.journalled(80))
        assert await stopped()
        assert not await stage.all_committed()
    assert await count("dead_letters") == kept

    async with worker(settings, refused_rows_max=1_000):
        await resume(settings)
        await until(stage.all_committed)
    assert not await stopped()
    assert await count("dead_letters") == 300
    assert await count("journal") == 80 + 20


async def resume(settings: Settings) -> None:
    """Resume the topic, as an operator does."""
    by_jo = ("--by", "Jo", "--reason", "mended", "--yes")
    topic = settings.topics.aws_notifications
    async with command("intake", "resume", topic, *by_jo, settings=settings) as process:
        out, _ = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert process.returncode == 0, out
