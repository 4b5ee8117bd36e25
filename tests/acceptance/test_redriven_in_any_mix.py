"""Whatever is refused or failed on at first, delivered again and redriven, in any mix: in the end
it is what `simulate` says of the same records, read at once.
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

from acceptance.scenario import at, everything
from acceptance.stage import MovableClock, forget_everything
from acceptance.test_any_order import come_to
from examples import examples
from marketplace_worker.app import feeds, worker_of
from marketplace_worker.contract.feeds import Feed
from marketplace_worker.contract.scenario import read_scenario
from marketplace_worker.documents import organization_from_json
from marketplace_worker.errors import Malformed
from marketplace_worker.lifecycle.facts import ApiRequested, LoggedIn
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.lifecycle.vocabulary import EmailHash
from marketplace_worker.record import Record
from marketplace_worker.runtime.applying import read
from marketplace_worker.runtime.local_clock import LocalClock
from marketplace_worker.runtime.worker import Worker
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
"""Everything of the scenario has happened by then; it all arrives at that moment."""

TOPICS = Topics()
POLICY = Policy()
MISREAD = {feed: Feed.AWS if feed is Feed.GCP else Feed.GCP for feed in Feed}
"""By which translator each feed is unreadable."""

Ending = tuple[Mapping[str, object], Mapping[str, tuple[int, int]], int]
"""What became of each organization, its logins and API requests, and how many wait."""


def lines() -> list[Line]:
    """The scenario, and so much activity that some is refused between other records."""
    active = [each(day, "others") for day in range(9) for each in (login, use)]
    return sorted([*everything(), *active], key=lambda each: str(each["at"]))


def logs() -> dict[str, list[Record]]:
    """The records of each topic, all received at one moment."""
    found = defaultdict(list)
    for record in read_scenario((json.dumps(line).encode() for line in lines()), feeds(TOPICS)):
        found[record.topic].append(structs.replace(record, recorded_at=ARRIVAL))
    return dict(found)


LOGS = logs()


@pytest.fixture(scope="module")
async def worker(shared_postgres_dsn: str) -> AsyncIterator[Worker]:
    """A worker on a database that all examples use one after another."""
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
    """Deliver so many records of a topic, after the group was set back by some."""

    topic: str
    back: int
    count: int


@dataclass(frozen=True)
class Redriving:
    """Redrive each third, each second or all of the waiting dead letters."""

    step: int


Deed = Delivery | Redriving
DEEDS = st.lists(
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
"""What happens, which topics cannot be read then, and whether we fail on emails."""


@dataclass
class Life:
    """One example: topics, read positions, and what was done."""

    worker: Worker
    places: Counter[str] = field(default_factory=Counter)

    async def perform(self, deed: Deed, worker: Worker) -> None:
        """Perform a delivery by a worker or a redrive by an operator."""
        match deed:
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
    return {each.id: come_to(each, azure) for each in organizations}


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
@given(deeds=DEEDS)
async def test_any_mix_of_redrives_and_redeliveries_ends_as_in_simulate(
    worker: Worker, deeds: Sequence[tuple[Deed, set[str], bool]]
) -> None:
    """A group is set back, translators and bugs come and go, an operator redrives now and then."""
    clock = MovableClock(ARRIVAL)
    worker = replace(worker, clock=clock, local_clock=LocalClock(clock.of_machine))
    await forget_everything(worker.pool)
    async with transaction(worker.pool) as conn:
        await policies.register(conn, POLICY, now=ARRIVAL)
    life = Life(worker)

    with capture_logs():
        for deed, unreadable, fails in deeds:
            await life.perform(deed, spoiled(worker, unreadable, fails=fails))
        await life.end()
        got = await ending(worker, clock)

    assert got == simulated(worker)


def test_what_is_misread_is_refused(worker: Worker) -> None:
    """Otherwise the test above would ingest facts that no message contains."""
    misreading = spoiled(worker, LOGS, fails=False)
    for log in LOGS.values():
        assert all(isinstance(part.content, Malformed) for part in read(log, misreading).parts)
