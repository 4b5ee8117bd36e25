"""Messages that are refused or fail at first, then are delivered again and redriven in any mix,
lead to the same result as in `simulate`, which reads all of them once.
"""

import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs
from pydantic import SecretStr
from structlog.testing import capture_logs

from acceptance.scenario import at, lines_in_any_order
from acceptance.stage import MovableClock, forget_everything
from acceptance.test_any_order import order_independent
from examples import examples
from marketplace_worker.contract.feeds import Feed
from marketplace_worker.contract.scenario import read_scenario
from marketplace_worker.contract.topics import feeds
from marketplace_worker.documents import organization_from_json
from marketplace_worker.errors import Malformed
from marketplace_worker.lifecycle.facts import ApiRequested, LoggedIn
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.lifecycle.vocabulary import EmailHash
from marketplace_worker.record import Record
from marketplace_worker.runtime.applying import read
from marketplace_worker.runtime.local_clock import LocalClock
from marketplace_worker.runtime.worker import Worker, worker_of
from marketplace_worker.settings import Kafka, Postgres, Settings, Topics
from marketplace_worker.simulate import Simulation
from marketplace_worker.steps.deadlines import fire_due
from marketplace_worker.steps.ingest import ingest
from marketplace_worker.steps.redriving import Redrive
from marketplace_worker.store import dead_letters, policies
from marketplace_worker.store.database import Pool, connecting, transaction
from marketplace_worker.store.dead_letters import OperatorAction
from marketplace_worker.store.migrations import migrate
from steps.story_beginnings import Line, login, use

ARRIVAL = at(70)
"""By then everything of the scenario has happened; all messages arrive at that moment."""

TOPICS = Topics()
POLICY = Policy()
MISREAD = {feed: Feed.AWS if feed is Feed.GCP else Feed.GCP for feed in Feed}
"""The translator whose failure makes a feed unreadable."""

Ending = tuple[Mapping[str, object], Mapping[str, tuple[int, int]], int]
"""The state of each organization, its logins and API requests, and the number of waiting dead
letters.
"""


def lines() -> list[Line]:
    """The scenario, and enough activity that some of it is refused between other records."""
    active = [each(day, "others") for day in range(9) for each in (login, use)]
    return sorted([*lines_in_any_order(), *active], key=lambda each: str(each["at"]))


def logs() -> dict[str, list[Record]]:
    """The records of each topic, all received at one moment."""
    found = defaultdict(list)
    for record in read_scenario((json.dumps(line).encode() for line in lines()), feeds(TOPICS)):
        found[record.topic].append(structs.replace(record, recorded_at=ARRIVAL))
    return dict(found)


LOGS = logs()


@pytest.fixture(scope="module")
async def worker(shared_postgres_dsn: str) -> AsyncIterator[Worker]:
    """A worker on a database that all examples use in turn."""
    chosen = Settings(
        kafka=Kafka(bootstrap_servers="nobody:1"),
        postgres=Postgres(dsn=SecretStr(shared_postgres_dsn)),
        email_key=SecretStr("sixteen characters"),
    )
    async with connecting(chosen.postgres) as pool:
        await migrate(pool)
        clock = MovableClock(ARRIVAL)
        yield worker_of(chosen, POLICY, pool, clock, clock.of_machine)


def spoiled(worker: Worker, topics: Iterable[str], *, fails: bool) -> Worker:
    """A worker that cannot read some topics, and may have a bug."""

    def fail(_: str) -> EmailHash:
        raise ZeroDivisionError

    misread = {topic: MISREAD[worker.feeds[topic]] for topic in topics}
    hash_email = fail if fails else worker.hash_email
    return replace(worker, feeds={**worker.feeds, **misread}, hash_email=hash_email)


@dataclass(frozen=True)
class Delivery:
    """Deliver this many records of a topic, after the group was set back by some."""

    topic: str
    back: int
    count: int


@dataclass(frozen=True)
class Redriving:
    """Redrive each third, each second or all of the waiting dead letters."""

    step: int


Action = Delivery | Redriving
ACTIONS = st.lists(
    st.tuples(
        st.one_of(
            st.builds(
                Delivery, st.sampled_from(sorted(LOGS)), st.integers(0, 6), st.integers(1, 12)
            ),
            st.builds(Redriving, st.integers(1, 3)),
        ),
        st.sets(st.sampled_from(sorted(LOGS))),
        st.booleans(),
    ),
    max_size=16,
)
"""A action, the topics that are unreadable meanwhile, and whether the worker fails on emails."""


@dataclass
class Life:
    """One example: topics, read positions, and history."""

    worker: Worker
    places: Counter[str] = field(default_factory=Counter)

    async def perform(self, action: Action, worker: Worker) -> None:
        """Perform a delivery by a worker or a redrive by an operator."""
        match action:
            case Delivery(topic, back, count):
                begin = max(self.places[topic] - back, 0)
                batch = LOGS[topic][begin : begin + count]
                self.places[topic] = begin + len(batch)
                if batch:
                    assert not await ingest(batch, worker)
            case Redriving(step):
                async with transaction(worker.pool) as conn:
                    waiting = await dead_letters.waiting(conn)
                await Redrive(worker, OperatorAction("Olga", "mended")).redrive(
                    waiting[::step], rate=10_000
                )

    async def end(self) -> None:
        """After the fix: deliver everything, and redrive what waits."""
        for topic, log in LOGS.items():
            await self.perform(Delivery(topic, 3, len(log)), self.worker)
        await self.perform(Redriving(1), self.worker)


async def ending(worker: Worker, clock: MovableClock) -> Ending:
    """The stored state after all deadlines."""
    pool: Pool = worker.pool
    while due_at := await pool.fetchval("SELECT min(next_due_at) FROM organizations"):
        clock.now = max(due_at, clock.now)
        await fire_due(worker, limit=100)
    documents = await pool.fetch("SELECT document FROM organizations")
    counted = await pool.fetch(
        "SELECT organization_id, logins, requests FROM activity WHERE logins + requests > 0"
    )
    waiting = await pool.fetchval("SELECT count(*) FROM dead_letters WHERE status = 'waiting'")
    stands = stood(organization_from_json(row["document"]) for row in documents)
    return stands, {row[0]: (row[1], row[2]) for row in counted}, waiting


def stood(organizations: Iterable[Organization]) -> dict[str, object]:
    """The values that must not depend on the order."""
    azure = POLICY.reinstatement.azure
    return {each.id: order_independent(each, azure) for each in organizations}


def simulated(worker: Worker) -> Ending:
    """The expected result."""
    refused: list[Record] = []
    simulation = Simulation(
        POLICY, worker.feeds, worker.hash_email, lambda record, _: refused.append(record)
    )
    arrived: Sequence[Record] = [record for log in LOGS.values() for record in log]
    assert list(simulation.run(arrived))
    logins, requests = Counter[str](), Counter[str]()
    for part in read(arrived, worker).parts:
        match part.content:
            case LoggedIn(organization=organization):
                logins[organization] += 1
            case ApiRequested(organization=organization, requests=count):
                requests[organization] += count
            case _:
                pass
    counted = {each: (logins[each], requests[each]) for each in logins | requests}
    return stood(simulation.fleet.organizations.values()), counted, len(refused)


@settings(
    max_examples=examples(25),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(actions=ACTIONS)
async def test_any_mix_of_redrives_and_redeliveries_leads_to_the_result_of_simulate(
    worker: Worker, actions: Sequence[tuple[Action, set[str], bool]]
) -> None:
    """A group is set back, translators and bugs come and go, and an operator redrives in
    between.
    """
    clock = MovableClock(ARRIVAL)
    worker = replace(worker, clock=clock, local_clock=LocalClock(clock.of_machine))
    await forget_everything(worker.pool)
    async with transaction(worker.pool) as conn:
        await policies.register(conn, POLICY, now=ARRIVAL)
    life = Life(worker)

    with capture_logs():
        for action, unreadable, fails in actions:
            await life.perform(action, spoiled(worker, unreadable, fails=fails))
        await life.end()
        got = await ending(worker, clock)

    assert got == simulated(worker)


def test_a_spoiled_topic_is_refused(worker: Worker) -> None:
    """Otherwise the test above would ingest facts that no message contains."""
    misreading = spoiled(worker, LOGS, fails=False)
    for log in LOGS.values():
        assert all(isinstance(part.content, Malformed) for part in read(log, misreading).parts)
