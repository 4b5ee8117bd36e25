"""`send` and `tail`, as an operator runs them, against a broker and a worker."""

import asyncio
import json
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from acceptance.stage import PATIENCE_S, Stage, command, environment, until, worker_process
from command_line import run as run_here
from marketplace_worker.cli.delivering import slug
from marketplace_worker.embedded import kafka
from marketplace_worker.record import Record
from marketplace_worker.settings import KafkaSettings, Settings
from marketplace_worker.streams.groupless import consuming_alone
from marketplace_worker.streams.topics import create_topics
from marketplace_worker.testing import (
    ENVELOPES,
    STORIES,
    AwsKind,
    AzureKind,
    GcpKind,
    SupportRequestKind,
)

pytestmark = pytest.mark.broker

_PLACE = re.compile(r"^(\S+)/(\d+)/(\d+)  (.+)$", re.MULTILINE)


async def run(*arguments: str | Path, settings: Settings | None) -> tuple[int | None, str]:
    """Run a command to its end; returns exit status and output."""
    async with command(*map(str, arguments), settings=settings) as process:
        output, _ = await process.communicate()
    return process.returncode, output.decode()


async def lines(process: Process, count: int) -> list[str]:
    """The next lines that a command prints."""
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        return [(await process.stdout.readline()).decode().rstrip("\n") for _ in range(count)]


async def records(settings: Settings, topic: str, count: int) -> list[Record]:
    """The first records of a topic."""
    async with consuming_alone(settings.kafka, [topic], 2**20) as consumer:
        return [await consumer.getone() for _ in range(count)]


async def test_what_is_sent_is_decided_and_tailed(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The story of a customer who leaves: sent, decided by a worker, and printed line by line."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    settings = stage.settings
    async with worker_process(settings, tmp_path / "log"):
        async with command("tail", "--since", "PT1H", settings=settings) as tail:
            status, out = await run("send", "story", "leaves", settings=settings)
            assert status == 0, out
            places = _PLACE.findall(out)
            assert len(places) == len(out.splitlines()) == 6
            assert places[0][0] == settings.topics.organization_changes
            assert places[-1][3] == "Purchase Agreement Ended agmt-acme"

            first, second = await lines(tail, 2)
            assert re.fullmatch(
                r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d  acme +organization\.canceled +"
                r"active -> canceled, reason customer",
                first,
            )
            assert "acme" in second
            assert "metering.final_report_due" in second
            tail.send_signal(signal.SIGINT)
            out_, _ = await tail.communicate()
            assert (tail.returncode, out_) == (130, b"")

        selected = ("tail", "--since", "PT1H", "--kind", "metering", "--org", "acme", "-o", "jsonl")
        async with command(*selected, settings=settings) as tail:
            (only,) = await lines(tail, 1)
            event = json.loads(only)
            assert event["type"] == "io.marketplace-worker.metering.final_report_due.v1"


async def test_a_redelivery_is_sent_again_with_the_same_id(stage: Stage) -> None:
    """`--id` and `--at` make it the same message; the journal recognizes it."""
    one = (
        *("send", "azure", "subscribe", "--subscription", "sub-1", "--id", "op-1"),
        *("--at", "2025-01-01T00:00:00Z"),
    )
    for offset in (0, 1):
        status, out = await run(*one, settings=stage.settings)
        topic = stage.settings.topics.azure_notifications
        assert (status, out) == (0, f"{topic}/0/{offset}  Subscribe sub-1\n")
    first, second = await records(stage.settings, topic, 2)
    assert first.value == second.value
    assert first.recorded_at.year > 2025, "it arrives now, however late it is"


async def test_a_file_for_simulate_is_sent_with_its_times(stage: Stage, tmp_path: Path) -> None:
    """`send … --dry-run` writes such a file; a single payload needs its topic."""
    file, settings = tmp_path / "story.jsonl", stage.settings
    status, printed = await run("send", "story", "pays-late", "--dry-run", settings=None)
    assert status == 0
    file.write_text(printed)
    status, out = await run("send", file, settings=settings)
    assert (status, len(_PLACE.findall(out))) == (0, len(printed.splitlines())), out
    (request,) = await records(settings, settings.topics.support_requests, 1)
    last = json.loads(printed.splitlines()[-1])
    assert abs(request.recorded_at - datetime.fromisoformat(last["at"])) < timedelta(seconds=1)

    file.write_text('{"broken')
    topic = settings.topics.gcp_notifications
    for name in ("marketplace.gcp.notifications", topic):
        status, out = await run("send", "file", file, "--topic", name, settings=settings)
        assert (status, f"{topic}/0/" in out) == (0, True), out
    assert await stage.published(topic) == [b'{"broken'] * 2


async def test_messages_of_a_file_get_the_keys_that_services_give_them(
    stage: Stage, tmp_path: Path
) -> None:
    """So that an organization's messages stay in order; an own key remains."""
    _, printed = await run("send", "created", "--organization", "acme", "--dry-run", settings=None)
    line = json.loads(printed)
    body, file = tmp_path / "body.json", tmp_path / "lines.jsonl"
    body.write_text(json.dumps(line["value"]))
    file.write_text("".join(json.dumps({**line, "key": key}) + "\n" for key in (None, "mine")))
    topic = stage.settings.topics.organization_changes
    for arguments in ((file,), ("file", body, "--topic", topic)):
        status, out = await run("send", *arguments, settings=stage.settings)
        assert status == 0, out
    keys = [each.key for each in await records(stage.settings, topic, 3)]
    assert keys == [b"acme", b"mine", b"acme"]


async def test_kafka_alone_is_needed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the database nor the key of the email hashes."""
    kafka_alone = KafkaSettings(kafka=stage.settings.kafka, topics=stage.settings.topics)
    for name, value in environment(kafka_alone).items():
        monkeypatch.setenv(name, value)
    status, out = await run("send", "login", "--organization", "acme", settings=None)
    assert status == 0, out
    event = {"type": "io.marketplace-worker.logins.blocked.v1", "subject": "acme"}
    whole = {**event, "time": "2026-01-01T00:00:00Z", "data": {}}
    await stage.producer.send_and_wait(stage.settings.topics.lifecycle, json.dumps(whole).encode())
    async with command("tail", "--since", "PT1H") as tail:
        (line,) = await lines(tail, 1)
    assert line.endswith("logins.blocked")


async def test_what_others_write_to_the_topic_does_not_end_a_tail(stage: Stage) -> None:
    """Another program's messages are left out, or marked; control characters are written out."""
    topic, producer = stage.settings.topics.lifecycle, stage.producer
    named = {"type": "io.marketplace-worker.organization.canceled.v1", "subject": "a\x1b[2J"}
    dated = {**named, "time": "2026-01-01T00:00:00Z"}
    for value in (b"{", b"[]", b'"x"', b"\xff", json.dumps(named).encode()):
        await producer.send_and_wait(topic, value)
    await producer.send_and_wait(topic, None, key=b"k")
    await producer.send_and_wait(topic, json.dumps({**dated, "data": {}}).encode())
    async with command("tail", "--since", "PT1H", settings=stage.settings) as tail:
        (line,) = await lines(tail, 1)
    assert line.startswith("2026-01-01 00:00:00  a\\x1b[2J ")
    assert line.endswith("not written by the worker: its data is not valid")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("aws", "nonsense", "--subscription", "x"), "nonsense: must be one of purchase-agreement"),
        (("azure", "renew", "--subscription", "x", "--at", "2999-01-01T00:00:00Z"), "future"),
        (("gcp", "entitlement-active", "--subscription", "x", "--envelope", "y"), "--envelope: "),
        (("story", "nonsense"), "nonsense: must be one of leaves, "),
        (("story", "pays-late", "--at", "PT1H"), "9 days ago or more"),
        (("story", "leaves", "--every", "soon"), "--every: "),
        (
            (
                "committed",
                "--organization",
                "x",
                "--commitment",
                "c",
                "--starts-at",
                "P1D",
                "--ends-at",
                "2027-01-01T00:00:00Z",
            ),
            "--starts-at: ",
        ),
        (("support", "place-hold", "--organization", "x"), "kind: is required"),
        (("support", "place-hold"), "--organization: is required"),
        (("usage", "--organization", "x", "--requests", "0"), "requests: "),
        (("nowhere.jsonl",), "No such command"),
        (("file", "nowhere.jsonl"), "nowhere.jsonl: No such file"),
    ],
)
async def test_a_mistake_is_answered_with_its_correction(
    settings: Settings, arguments: Sequence[str], words: str
) -> None:
    """Exit status 2, before anything is sent."""
    status, out = await run("send", *arguments, settings=settings)
    assert (status, words in out) == (2, True), out


async def test_a_broker_elsewhere_needs_a_word_for_each_host(settings: Settings) -> None:
    """What is sent counts like a marketplace's own message.  Nothing is connected to before."""
    servers = settings.kafka.model_copy(
        update={"bootstrap_servers": "kafka-1.prod.invalid:9092,127.0.0.1:1,[2001:db8::1]:9092"}
    )
    elsewhere = settings.model_copy(update={"kafka": servers})
    login = ("send", "login", "--organization", "acme")
    status, out = await run(*login, settings=elsewhere)
    assert status == 2
    assert "add --yes-to 2001:db8::1 --yes-to kafka-1.prod.invalid" in out
    status, out = await run(*login, "--yes-to", "kafka-1.prod.invalid", settings=elsewhere)
    assert (status, "add --yes-to 2001:db8::1\n" in out) == (2, True)


async def test_a_broker_that_advertises_another_machine_needs_a_word_too(
    settings: Settings, tmp_path: Path
) -> None:
    """As behind a forwarded port.  127.1 is this machine, in a spelling that is not recognized."""
    async with kafka.broker(tmp_path, advertised_host="127.1") as address:
        own = settings.kafka.model_copy(update={"bootstrap_servers": address})
        forwarded = settings.model_copy(update={"kafka": own})
        await create_topics(own, settings.topics, partitions=1, replication_factor=1)
        login = ("send", "login", "--organization", "acme")
        status, out = await run(*login, settings=forwarded)
        assert (status, "add --yes-to 127.1" in out) == (2, True), out
        status, out = await run(*login, "--yes-to", "127.1", settings=forwarded)
        assert (status, out.endswith("/0/0  identity.user.logged_in acme\n")) == (0, True), out


async def test_missing_topics_are_answered_with_their_command(settings: Settings) -> None:
    """Of both commands."""
    for arguments in (("send", "login", "--organization", "acme"), ("tail",)):
        status, out = await run(*arguments, settings=settings)
        assert (status, "marketplace-worker topics create" in out) == (2, True), out


async def test_an_unknown_kind_of_event_is_answered_with_all(settings: Settings) -> None:
    """Exit status 2."""
    status, out = await run("tail", "--kind", "organization.gone", settings=settings)
    assert (status, "organization.suspended" in out) == (2, True), out


async def test_a_tail_whose_reader_ends_ends_quietly(stage: Stage, tmp_path: Path) -> None:
    """`tail | head -1`: status 0 and no traceback."""
    settings = stage.settings
    tail = f"{sys.executable} -m marketplace_worker tail --since PT1H"
    process = await asyncio.create_subprocess_shell(
        f"set -o pipefail; {tail} 2>{tmp_path / 'errors'} | head -n 1",
        stdout=PIPE, executable="/bin/bash",
        env={**os.environ, **environment(settings)},
    )  # fmt: skip
    event = {"type": "io.marketplace-worker.logins.blocked.v1", "subject": "acme"}
    whole = {**event, "time": "2026-01-01T00:00:00Z", "data": {}}

    async def ended() -> bool:
        await stage.producer.send_and_wait(settings.topics.lifecycle, json.dumps(whole).encode())
        return process.returncode is not None

    await until(ended)
    assert process.stdout is not None
    assert b"logins.blocked" in await process.stdout.read()
    assert (process.returncode, (tmp_path / "errors").read_text()) == (0, "")


@pytest.mark.parametrize(
    ("command_", "names"),
    [
        ("story", [f"{story.name}: " for story in STORIES]),
        ("aws", [*map(slug, AwsKind), *ENVELOPES]),
        ("gcp", map(slug, GcpKind)),
        ("azure", map(slug, AzureKind)),
        ("support", map(slug, SupportRequestKind)),
    ],
)
def test_the_help_lists_what_can_be_sent(
    command_: str,
    names: Iterable[str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Whole: no name is broken at a hyphen."""
    _, shown, _ = run_here(["send", command_, "--help"], monkeypatch, capfd)
    assert [name for name in names if name not in shown] == []
