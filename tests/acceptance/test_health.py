"""The worker's probes, and that it exits when it cannot continue."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from acceptance.probed_worker import ProbedStage, ask
from acceptance.scenario import created, login
from acceptance.stage import Stage, command, until, worker_process
from marketplace_worker import app
from marketplace_worker.embedded import process
from marketplace_worker.errors import CannotGoOn
from marketplace_worker.settings import Settings
from marketplace_worker.streams.consuming import MEMBERS, Consumers, consuming
from marketplace_worker.streams.failure_detection import ConsumerFailed


async def test_a_worker_without_a_partition_is_ready(probed: ProbedStage, tmp_path: Path) -> None:
    """Of three workers that share two partitions of activity, one has none."""
    ports = [process.free_port() for _ in range(3)]
    logs = [tmp_path / f"log-{port}" for port in ports]
    async with AsyncExitStack() as stack:
        for port, log in zip(ports, logs, strict=True):
            settings = probed.settings.model_copy(update={"http_port": port})
            await stack.enter_async_context(worker_process(settings, log))

        async def all_ready() -> bool:
            answers = [await asyncio.to_thread(ask, port, "/readyz") for port in ports]
            return all(answer == (200, "ready\n") for answer in answers)

        async def one_without() -> bool:
            last = [_last_assignment(log) for log in logs]
            return [] in last and None not in last

        await until(one_without)
        await until(all_ready)
        # Checked repeatedly: there may be a rebalance, or no time to answer.
        relay = f"relay {probed.settings.topics.lifecycle}: "
        alive = (
            "alive",
            "ingest facts-1: ",
            "ingest facts-2: ",
            "deadlines: ",
            relay,
            "event loop: ",
        )
        await until(lambda: _answers(ports[0], "/livez", *alive))
        figures = (
            "marketplace_worker_ready 1.0",
            "marketplace_worker_silence_seconds",
            'marketplace_worker_lag_records{consumer="facts"} 0.0',
            "marketplace_worker_outbox_age_seconds 0.0",
        )
        await until(lambda: _answers(ports[0], "/metrics", *figures))


async def _answers(port: int, path: str, *words: str) -> bool:
    status, text = await asyncio.to_thread(ask, port, path)
    return status == 200 and all(word in text for word in words)


def _last_assignment(log: Path) -> list[str] | None:
    """Of the members of the group for activity; None while one has no assignment."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assigned = {
        line["consumer"]: line["partitions"]
        for line in lines
        if line["event"] == "partitions_assigned" and line["consumer"].startswith("activity-")
    }
    if len(assigned) < MEMBERS:
        return None
    return [each for partitions in assigned.values() for each in partitions]


async def test_a_worker_with_an_outdated_schema_is_not_ready(
    probed: ProbedStage, postgres_dsn: str, tmp_path: Path
) -> None:
    """A newer version has migrated the schema: this worker must be replaced."""
    async with worker_process(probed.settings, tmp_path / "log"):
        await until(probed.ready)
        owner = await asyncpg.connect(postgres_dsn)
        await owner.execute(
            "INSERT INTO schema_migrations (version, name, checksum) VALUES (9999, '9999_new', 'x')"
        )
        await owner.close()
        await until(lambda: probed.replies("/readyz", "schema: ", "9999_new"))
        assert await probed.answered("/livez") == 200


@pytest.mark.broker
async def test_a_healthy_worker_logs_no_warning_and_no_error(
    settings: Settings, stage: Stage, tmp_path: Path
) -> None:
    """Nor does one that joins it and leaves; the first is not ready while they share anew."""
    logs = tmp_path / "first", tmp_path / "second"
    async with worker_process(settings, logs[0]) as first:
        await until(lambda: _has(logs[0], b'"worker_ready"'))
        async with worker_process(settings, logs[1]) as second:
            await until(lambda: _has(logs[1], b'"worker_ready"'))
            second.terminate()
            assert await second.wait() == 0
        # Once it has read of both groups, both have shared their partitions anew: a member that is
        # stopped before that may not be answered by Kafka in time.
        topics = settings.topics
        for topic, line in (
            (topics.organization_changes, created(0, "acme")),
            (topics.logins, login(0, "acme")),
        ):
            value = json.dumps(line["value"]).encode()
            await stage.producer.send_and_wait(topic, value, key=b"acme")
        await until(lambda: stage.journalled(1))
        await until(lambda: _has(logs[0], b'"activity": 1'))
        first.terminate()
        assert await first.wait() == 0
    lines = [[json.loads(line) for line in log.read_text().splitlines()] for log in logs]
    assert "acme" in {line.get("organization") for line in lines[0]}
    severe = [[line for line in each if line["level"] != "info"] for each in lines]
    assert [line for line in severe[0] if line["event"] != "worker_not_ready"] == []
    assert severe[1] == []


async def _has(log: Path, words: bytes) -> bool:
    return words in await asyncio.to_thread(log.read_bytes)


@pytest.mark.broker
@pytest.mark.usefixtures("stage")
async def test_a_worker_whose_consumer_failed_exits(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would look alive, but read nothing."""
    made: list[Consumers] = []

    @asynccontextmanager
    async def seen(*arguments: object, **more: object) -> AsyncIterator[Consumers]:
        async with consuming(*arguments, **more) as consumers:  # type: ignore[arg-type]
            made.append(consumers)
            yield consumers

    monkeypatch.setattr(app, "consuming", seen)
    work = asyncio.create_task(app.run(settings))

    async def joined() -> bool:
        return bool(made)

    await until(joined)
    await made[0].activity[1].subscriber.stop()
    with pytest.raises(ConsumerFailed):
        await asyncio.wait_for(work, timeout=30)


@pytest.mark.broker
@pytest.mark.usefixtures("stage")
async def test_a_worker_exits_when_one_of_its_tasks_ends(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No task may end before the stop, not even without an error."""

    async def ends(*_: object) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(app, "watch", ends)
    with pytest.raises(CannotGoOn, match="tasks ended unexpectedly: watch"):
        await asyncio.wait_for(app.run(settings), timeout=30)


@pytest.mark.parametrize("away", ["Kafka", "Postgres"])
async def test_a_worker_that_cannot_reach_a_server_at_start_exits_and_names_it(
    probed: ProbedStage, away: str, tmp_path: Path
) -> None:
    """A supervisor restarts it; meanwhile it reports that it is not ready."""
    settings = probed.settings
    nowhere = f"127.0.0.1:{process.free_port()}"
    if away == "Kafka":
        kafka = settings.kafka.model_copy(update={"bootstrap_servers": nowhere})
        settings = settings.model_copy(update={"kafka": kafka})
    else:
        probed.postgres.refusing = True
    log = tmp_path / "log"
    with log.open("ab") as output:
        async with command("run", settings=settings, output=output) as worker:
            status = await asyncio.wait_for(worker.wait(), timeout=60)
    assert status == 1
    assert f"marketplace-worker: {away}" in log.read_text()
