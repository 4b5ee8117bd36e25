"""Kills the worker with SIGKILL at every statement of every transaction."""

import asyncio
import json
import signal
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest

import servers
from faults.database_contents import Content, Database, differing_rows
from faults.expected_outcome import EventKey, event_key
from faults.fault_points import COPIED, Point, act, all_statements
from faults.fork_server import ForkServer
from faults.steps_to_kill import POLICY, STEPS, Scene, Step, line_of, prepare
from marketplace_worker.contract.emails import email_hasher
from marketplace_worker.contract.outbound import encode
from marketplace_worker.contract.topics import feeds
from marketplace_worker.settings import UNKEYED_EMAIL_KEY, Topics
from marketplace_worker.simulate import Simulation
from steps.story_beginnings import records

pytestmark = pytest.mark.faults

AT_ONCE = 2
"""How many points are tested concurrently."""

ONLY_LOOKED_AT = {
    "activity.read",
    "dead_letters.backlog",
    "dead_letters.groups",
    "dead_letters.summaries",
    "dead_letters.knows_group",
    "dead_letters.page",
    "dead_letters.page_of_group",
    "dead_letters.read",
    "dead_letters.waiting_of_group",
    "intake.history",
    "journal.decided",
    "journal.history",
    "journal.holds_ended",
    "journal.newest_of_history",
    "listing.due",
    "listing.held",
    "listing.in_order",
    "listing.in_state",
    "listing.of_account",
    "listing.of_email",
    "listing.of_marketplace",
    "listing.of_subscription",
    "listing.passing",
    "listing.rows",
    "listing.waiting",
    "migrations.exists",
    "organizations.columns",
    "organizations.due_by_day",
    "organizations.due_until",
    "organizations.every_known",
    "organizations.overdue",
    "organizations.page",
    "outbox.held",
    "policies.in_force",
    "outbox.oldest",
    "outbox.topics",
    "replay.alone",
    "sessions.begin_reading",
    "snapshots.oldest_xmin_age",
    "state_counts.history",
    "state_counts.numbers",
    "replay.decided",
    "replay.rows_about",
    "sessions.server_process",
    "subscriptions.links_of",
    "subscriptions.page",
    "workers.read",
}
"""Statements with which no step writes: a kill there leaves nothing half done."""

LIFECYCLE = Topics().lifecycle

REACHED = pytest.StashKey[set[str]]()


@pytest.mark.parametrize("name", STEPS)
async def test_a_step_killed_at_any_statement_is_done_fully_or_not_at_all(
    pytestconfig: pytest.Config,
    postgres_server: str,
    fork_server: ForkServer,
    tmp_path: Path,
    name: str,
) -> None:
    """
    Run again, it produces the same result as without the kill, which is that of `simulate`: nothing
    is lost or duplicated.
    """
    step, template = STEPS[name], f"kills_{uuid4().hex}"
    async with servers.fresh_database(postgres_server, template) as dsn:
        await prepare(step, dsn)
        start = partial(_Trial.on_a_copy, step, postgres_server, template, fork_server)
        async with start(tmp_path / "undisturbed") as trial:
            want = await trial.undisturbed()
        if step.simulated:
            assert _simulated(step) == want.outgoing
        pytestconfig.stash.setdefault(REACHED, set()).update(want.reached)
        points = _points([each for each in want.reached if step.kills_at(each)])
        print(f"{name}: {len(points)} points, {len(set(want.reached))} statements")
        left = iter(points)

        async def share(number: int) -> None:
            async with start(tmp_path / f"copy {number}") as trial:
                for point in left:
                    await trial.killed(point, want)
                await trial.again("in the end", want)

        await asyncio.gather(*map(share, range(AT_ONCE)))


def test_every_statement_was_reached(pytestconfig: pytest.Config) -> None:
    """By the test above; each new statement needs a step that executes it."""
    reached = pytestconfig.stash.get(REACHED, set())
    if not reached:
        pytest.skip("the steps were not killed in this run")
    missed = ({*all_statements().values()} | COPIED) - reached - ONLY_LOOKED_AT
    assert missed == set()
    assert reached & ONLY_LOOKED_AT == set()


def _points(reached: Sequence[str]) -> list[Point]:
    """The points before and after each statement, at its first and last execution."""
    return [
        Point(statement, after, time)
        for statement, times in Counter(reached).items()
        for time in sorted({1, times})
        for after in (False, True)
    ]


@dataclass(frozen=True)
class _Want:
    """The results of a step without a kill: reached points, content before and after, messages."""

    reached: Sequence[str]
    before: Content
    content: Content
    outgoing: Mapping[str, Sequence[EventKey]]
    sent: Sequence[str]


@dataclass
class _Trial:
    """A database on which a step is run repeatedly."""

    step: Step
    scene: Scene
    database: Database
    fork_server: ForkServer

    @classmethod
    @asynccontextmanager
    async def on_a_copy(
        cls, step: Step, server: str, template: str, fork_server: ForkServer, kafka: Path
    ) -> AsyncIterator["_Trial"]:
        """On a copy of the template."""
        async with (
            servers.fresh_database(server, f"kill_{uuid4().hex}", template) as dsn,
            Database.at(dsn) as database,
        ):
            await database.keep()
            yield cls(step, Scene(dsn, step.now, kafka), database, fork_server)

    async def undisturbed(self) -> _Want:
        """Run the step without a kill."""
        before, waiting = await self.database.content(), await self.database.outgoing()
        reached = await self._kill_at(None)
        content = await self.database.content()
        assert before != content, "a step that changes nothing tests nothing"
        left = await self.database.outgoing()
        if self._sent():
            assert left == []
            assert _by_key(self._sent()) == _by_key(map(line_of, waiting))
        outgoing = _by_subject(each.value or b"" for each in left if each.topic == LIFECYCLE)
        return _Want(reached, before, content, outgoing, self._sent())

    async def killed(self, point: Point, want: _Want) -> None:
        """Run the step and kill it at `point`.

        If it left nothing behind, the next trial serves as its repetition, because it starts from
        the same content; otherwise the step is repeated here.
        """
        await self._kill_at(point)
        left = await self.database.content()
        if left != want.before or self._sent():
            done = self.step.by_operator and left == want.content
            await self.again(f"killed {point}", want, done=done)

    async def again(self, when: str, want: _Want, *, done: bool = False) -> None:
        """Run the step to its end unless it is done, check the result, and restore the content."""
        if not done:
            await self._kill_at(None)
        came = await self.database.content()
        assert came == want.content, f"{when}: {differing_rows(want.content, came)}"
        sent = self._sent()
        for once in (_first_of_each(sent), _last_of_each(sent)):
            assert _by_key(once) == _by_key(want.sent), when
        await self.database.restore()
        self.scene.kafka.write_text("")

    def _sent(self) -> list[str]:
        kafka = self.scene.kafka
        return kafka.read_text().splitlines() if kafka.exists() else []

    async def _kill_at(self, end: Point | None) -> list[str]:
        """Run the step in its own process; returns the reached points, if it was not killed."""
        reached = self.scene.kafka.with_suffix(".reached")
        work = partial(self.scene.run, self.step.run)
        code = await self.fork_server.done(partial(act, work, end, reached))
        assert code == (-signal.SIGKILL if end else 0), f"{end}: {code}"
        await self.database.until_alone()
        return [] if end else reached.read_text().splitlines()


def _simulated(step: Step) -> Mapping[str, Sequence[EventKey]]:
    """The events of `simulate` for the same lines, up to the moment of the step."""
    simulation = Simulation(
        POLICY, feeds(Topics()), email_hasher(UNKEYED_EMAIL_KEY.encode()), lambda *_: None
    )
    lines = records(*step.simulated)
    return _by_subject(encode(each) for each in simulation.run(lines, until=step.now))


def _by_subject(values: Iterable[bytes]) -> Mapping[str, Sequence[EventKey]]:
    events: dict[str, list[EventKey]] = defaultdict(list)
    for event in map(json.loads, values):
        events[event["subject"]].append(event_key(event))
    return dict(events)


def _first_of_each(sent: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(sent))


def _last_of_each(sent: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(reversed(sent)))[::-1]


def _by_key(sent: Iterable[str]) -> Mapping[tuple[str, str], Sequence[str]]:
    """The messages sent under each key of each topic, in order."""
    lines: dict[tuple[str, str], list[str]] = defaultdict(list)
    for line in sent:
        topic, key, rest = line.split(" ")
        lines[topic, key].append(rest)
    return dict(lines)
