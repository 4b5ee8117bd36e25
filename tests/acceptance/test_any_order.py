"""Through Postgres: order of arrival, duplicates and batch boundaries do not change the result."""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace as replaced
from datetime import datetime, timedelta
from itertools import groupby, pairwise
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from linked_stories import draw_story, printed
from linked_stories import records as records_of
from msgspec.structs import replace
from pydantic import SecretStr
from short_stories import accounts, azure_again, instants

from acceptance.scenario import at, lines_in_any_order
from acceptance.stage import MovableClock, forget_everything
from examples import examples
from marketplace_worker.contract.emails import email_hasher
from marketplace_worker.contract.scenario import read_scenario
from marketplace_worker.contract.topics import feeds
from marketplace_worker.documents import organization_from_json
from marketplace_worker.errors import Malformed
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.policy import AzureReinstatement, Policy, Reinstatement
from marketplace_worker.lifecycle.subscription import FOREVER
from marketplace_worker.record import Record
from marketplace_worker.runtime.intake import IntakeBreaker
from marketplace_worker.runtime.local_clock import LocalClock
from marketplace_worker.runtime.worker import OutboundTopics, Worker
from marketplace_worker.settings import Ingest, Postgres, Topics
from marketplace_worker.simulate import Simulation
from marketplace_worker.steps.deadlines import fire_due
from marketplace_worker.steps.ingest import ingest
from marketplace_worker.store.database import Pool, connecting, transaction
from marketplace_worker.store.migrations import migrate
from marketplace_worker.store.policies import PolicyBook, register

ARRIVAL = at(70)
"""By then everything of the scenario has happened; all messages arrive at that moment."""

CAME_BACK_AT_AZURE = "azure"
"""The organization of the scenario whose suspended plan Azure reinstates."""

TOPICS = Topics()
HASH = email_hasher(b"sixteen characters")

Final = dict[str, tuple[object, ...]]


def records() -> list[Record]:
    """The scenario: each message arrives at the same moment, with its own identity."""
    text = (json.dumps(line).encode() for line in lines_in_any_order())
    return [replace(record, recorded_at=ARRIVAL) for record in read_scenario(text, feeds(TOPICS))]


@pytest.fixture(scope="module")
async def pool(shared_postgres_dsn: str) -> AsyncIterator[Pool]:
    """A database with the schema, used by all examples in turn."""
    async with connecting(Postgres(dsn=SecretStr(shared_postgres_dsn))) as pool:
        await migrate(pool)
        yield pool


async def working(pool: Pool, clock: MovableClock, policy: Policy) -> Worker:
    """A worker on an empty database."""
    await forget_everything(pool)
    async with transaction(pool) as conn:
        await register(conn, policy, now=clock.now)
    return Worker(
        pool=pool,
        policies=PolicyBook(policy),
        clock=clock,
        local_clock=LocalClock(clock.of_machine),
        hash_email=HASH,
        feeds=feeds(TOPICS),
        topics=OutboundTopics(TOPICS.lifecycle, TOPICS.state, TOPICS.dead_letters),
        intake=IntakeBreaker(Ingest()),
    )


async def pass_time(worker: Worker, clock: MovableClock, before: datetime) -> None:
    """Move the clock to each deadline before a moment, one after another."""
    while True:
        due_at = await worker.pool.fetchval("SELECT min(next_due_at) FROM organizations")
        if due_at is None or due_at >= before:
            return
        clock.now = max(due_at, clock.now)
        await fire_due(worker, limit=100)


async def final_state(
    pool: Pool, batches: Sequence[Sequence[Record]], azure: AzureReinstatement
) -> Final:
    """The state of every organization after all deadlines."""
    clock = MovableClock(ARRIVAL)
    worker = await working(pool, clock, Policy(reinstatement=Reinstatement(azure=azure)))
    for batch in batches:
        if batch:
            await ingest(batch, worker)
    await pass_time(worker, clock, FOREVER)
    registers = await pool.fetch("SELECT subscription_id, document FROM subscriptions")
    return {row["subscription_id"]: (row["document"],) for row in registers} | {
        organization.id: order_independent(organization, azure)
        for row in await pool.fetch("SELECT document FROM organizations")
        for organization in [organization_from_json(row["document"])]
    }


def order_independent(organization: Organization, azure: AzureReinstatement) -> tuple[object, ...]:
    """The results that must not depend on the order.

    An end may be reported by an earlier or a later time of it, whichever was known first; how many
    are is the same.  Where Azure waits for Support, whether a plan that came back ever counted
    depends on whether the cancellation had been decided; and so does from when a later one counts.
    """
    cancellation = organization.cancellation
    waits = azure is AzureReinstatement.SUPPORT and organization.id == CAME_BACK_AT_AZURE
    return (
        organization.state,
        organization.deactivation_cause,
        None if waits or cancellation is None else cancellation.canceled_at,
        organization.creation,
        organization.tier,
        organization.owner,
        organization.commitments,
        organization.proofs,
        organization.locked_email,
        [(each.subscription, len(each.closed_at)) for each in organization.reported],
    )


@pytest.mark.parametrize("azure", AzureReinstatement)
@settings(
    max_examples=examples(25),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
async def test_order_duplicates_and_batches_do_not_change_the_result(
    pool: Pool, azure: AzureReinstatement, data: st.DataObject
) -> None:
    """Kafka orders no records across topics, redelivers, and cuts batches anywhere
    (invariant 7).
    """
    in_order = records()
    again = data.draw(st.lists(st.sampled_from(in_order), max_size=10), label="delivered again")
    arrivals = data.draw(st.permutations([*in_order, *again]), label="arrivals")
    cuts = data.draw(st.lists(st.integers(0, len(arrivals)), max_size=6), label="cuts")
    edges = sorted({0, *cuts, len(arrivals)})

    want = await final_state(pool, [in_order], azure)
    got = await final_state(pool, [arrivals[begin:end] for begin, end in pairwise(edges)], azure)

    assert got == want


# --- connected stories ----------------------------------------------------------------------------


@settings(
    max_examples=settings().max_examples // 10 or 1,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(random=st.randoms(use_true_random=True))
async def test_a_story_in_any_batches_has_the_same_result_as_simulate(
    pool: Pool, random: Random
) -> None:
    """Records of one instant may be in any batches; the instant may be a deadline of the story."""
    story = random.choice([draw_story, accounts, azure_again, instants])(random)
    records = [replace(record, offset=offset) for offset, record in enumerate(records_of(story))]
    end = records[-1].recorded_at + timedelta(days=120)

    want = Simulation(Policy(), feeds(TOPICS), HASH, refuse)
    events = [(event.kind, event.effective_at) for event in want.run(records, until=end)]

    clock = MovableClock(records[0].recorded_at)
    worker = await working(pool, clock, Policy())
    for arrived_at, together in groupby(records, key=lambda record: record.recorded_at):
        await pass_time(worker, clock, arrived_at)
        clock.now = arrived_at
        for batch in cut(random, list(together)):
            await ingest(batch, worker)
    await pass_time(worker, clock, end + timedelta.resolution)

    rows = await pool.fetch("SELECT document FROM organizations")
    came = {each.id: each for row in rows for each in [organization_from_json(row["document"])]}
    wanted = want.fleet.organizations
    for id_ in sorted(came.keys() | {id_ for id_, each in wanted.items() if each.creation}):
        one, other = (replaced(each, revision=0) for each in (wanted[id_], came[id_]))
        assert other == one, f"in other batches:\n{printed(story)}\n{events}"


def cut(random: Random, together: Sequence[Record]) -> Sequence[Sequence[Record]]:
    """Records that arrive together, cut into batches."""
    edges = sorted({0, len(together), *(random.randint(0, len(together)) for _ in range(2))})
    return [together[begin:end] for begin, end in pairwise(edges)]


def refuse(record: Record, refusal: Malformed) -> None:
    """Fail: every drawn record is readable."""
    raise AssertionError(f"{record}: {refusal}")
