"""Measures the processor time of each part of processing a message or deadline, in microseconds.

In one process, with the worker's own functions, for a whole fleet; without I/O and without the
drivers of Postgres and Kafka.  Organizations and subscriptions are those that the worker reads from
its store: they were written as documents and read back.

Baselines for reading: `orjson.loads` of the same bytes, and for usage events the general reader,
`json` and pydantic.
"""

import io
import random
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import process_time
from typing import TypeVar

import orjson
import structlog
from matplotlib.figure import Figure

from benchmarks import results, workloads
from benchmarks.measuring import Options
from benchmarks.results import Row, row
from benchmarks.stage import EMAIL_KEY, POLICY, Message, Stage
from benchmarks.workloads import Kind, number_of
from marketplace_worker import documents
from marketplace_worker.app import rare_garbage_collection
from marketplace_worker.contract import inbound
from marketplace_worker.contract.cloudevents import read_cloudevents
from marketplace_worker.contract.emails import email_hasher
from marketplace_worker.contract.feeds import NAME_PREFIXES, Feed
from marketplace_worker.contract.outbound import encode, encode_snapshot
from marketplace_worker.contract.plain_activity import read_plain_activity
from marketplace_worker.contract.policy_file import load_policy
from marketplace_worker.contract.topics import feeds
from marketplace_worker.errors import Malformed
from marketplace_worker.journal.chain import BEGINNING, SALT_BYTES, seal
from marketplace_worker.lifecycle.decide import Decision, apply, deadline_of
from marketplace_worker.lifecycle.events import Snapshot
from marketplace_worker.lifecycle.facts import Fact
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.policy import Policies
from marketplace_worker.lifecycle.replay import Readings
from marketplace_worker.lifecycle.snapshot import snapshot
from marketplace_worker.operations.logs import set_up_logs
from marketplace_worker.record import Record
from marketplace_worker.runtime.log_lines import DecidedFact, log_decided
from marketplace_worker.settings import Topics
from marketplace_worker.simulate import Simulation
from marketplace_worker.translate import translate

ORGANIZATIONS = 600
USES = 10_000
ALL = "all of this"
MICROSECONDS = "us"
NOW = datetime(2026, 11, 1, tzinfo=UTC)
BUILT_UNTIL = NOW - timedelta(days=2)
"""The fleet's state is built up to this moment, so that the deadlines of `deadlines` are due."""

_T = TypeVar("_T")
_R = TypeVar("_R")

FEEDS = feeds(Topics())
HASH = email_hasher(EMAIL_KEY.encode())


async def measure(stage: Stage, options: Options) -> list[Row]:
    """Measure each part; returns a row for each.  The servers are not used."""
    rows = _reading(stage, options)
    log_before = structlog.get_config()
    set_up_logs(io.StringIO())
    try:
        with rare_garbage_collection():
            for name, kinds, until in (
                ("a notification", workloads.NOTIFIED, NOW),
                ("a deadline", [workloads.DUE], BUILT_UNTIL),
            ):
                runs = [_parts(kinds, until, options) for _ in range(options.runs)]
                for part in runs[0]:
                    spent = {"ours": [run[part] for run in runs]}
                    rows.append(
                        row("parts", f"{name}: {part}", MICROSECONDS, spent, ran_on=stage.ran_on)
                    )
    finally:
        structlog.configure(**log_before)
    return rows


def plot(rows: Sequence[Row], file: Path) -> None:
    """Plot the parts of each workload as a stacked bar, in their order."""
    figure = Figure(figsize=(7, 2.4), layout="constrained")
    axes = figure.subplots()
    spent: dict[str, dict[str, float]] = {}
    for each in rows:
        name, _, part = each.work.partition(": ")
        if each.unit == MICROSECONDS and part != ALL:
            spent.setdefault(part, {})[name] = each.ours
    names = list(dict.fromkeys(name for each in spent.values() for name in each))
    ends = dict.fromkeys(names, 0.0)
    for number, (part, of_each) in enumerate(spent.items()):
        widths = [of_each.get(name, 0.0) for name in names]
        axes.barh(names, widths, left=list(ends.values()), color=f"C{number}", label=part)
        ends = {name: ends[name] + of_each.get(name, 0.0) for name in names}
    axes.invert_yaxis()
    axes.set_xlabel("microseconds of a processor")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    results.store(figure, file)


# --- reading --------------------------------------------------------------------------------------


def _reading(stage: Stage, options: Options) -> list[Row]:
    organizations = options.size(ORGANIZATIONS, least=60)
    uses = workloads.usage(random.Random(1), organizations, NOW, options.size(USES, least=100))
    news = [kind.news(number, NOW) for kind, number in _numbered(workloads.NOTIFIED, organizations)]
    readers: dict[str, tuple[Sequence[Message], dict[str, Callable[[Record], object]]]] = {
        "usage (naive: all by pydantic)": (
            uses,
            {"ours": _translate, "floor": _parsed, "naive": _read_by_pydantic},
        ),
        "notifications": (news, {"ours": _translate, "floor": _parsed}),
    }
    assert all(read_plain_activity(_record(each), Feed.API_REQUESTS) for each in uses)
    return [
        row(
            "parts",
            f"reading {what}",
            "messages/s",
            {
                name: [1e6 / _us(read, messages) for _ in range(options.runs)]
                for name, read in contenders.items()
            },
            details={"bytes": round(sum(len(m[2]) for m in messages) / len(messages))},
            ran_on=stage.ran_on,
        )
        for what, (messages, contenders) in readers.items()
    ]


def _us(read: Callable[[Record], object], messages: Sequence[Message]) -> float:
    records = [_record(each) for each in messages]
    return _each(read, records)[0]


def _translate(record: Record) -> Sequence[Fact | Malformed]:
    return translate(record, FEEDS[record.topic], HASH)


def _parsed(record: Record) -> object:
    return orjson.loads(record.value or b"")


def _read_by_pydantic(record: Record) -> object:
    (event,) = read_cloudevents(record)
    assert not isinstance(event, Malformed)
    return inbound.read_fact(
        event, record, carries=NAME_PREFIXES[FEEDS[record.topic]], hash_email=HASH
    )


# --- deciding and encoding ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Made:
    """The results of one fact."""

    fact: Fact
    decision: Decision

    def documents(self) -> tuple[str, ...]:
        """The documents as stored: of the organization, and of a notification's subscription."""
        settled, subscription = self.decision.results, self.decision.subscription
        kept = [documents.organization_to_json(each.organization) for each in settled]
        if subscription is not None:
            kept.append(documents.subscription_to_json(subscription))
        return tuple(kept)


def _parts(kinds: Sequence[Kind], until: datetime, options: Options) -> dict[str, float]:
    """Microseconds of each part, in the order of execution."""
    fleet, records = _fleet_and_news(kinds, until, options.size(ORGANIZATIONS, least=60))
    policies = Policies(load_policy(POLICY))
    spent: dict[str, float] = {}
    if kinds is workloads.NOTIFIED:
        spent["reading"], read = _each(_translate, records)
        facts = [fact for each in read for fact in each if not isinstance(fact, Malformed)]
    else:
        facts = [deadline_of(each, NOW) for each in fleet.organizations.values()]

    def decide(fact: Fact) -> _Made:
        return _Made(fact, apply(fact, fleet, policies, now=NOW))

    spent["deciding"], made = _each(decide, facts)
    assert all(each.decision.events for each in made), "each of them changes something"
    spent["the snapshot"], shown = _each(_snapshot, made)
    spent["bytes of the events"], _ = _each(
        lambda each: [encode(event) for event in each.decision.events], made
    )
    spent["bytes of the snapshot"], _ = _each(encode_snapshot, shown)
    spent["documents written"], kept = _each(_Made.documents, made)
    spent["documents read"], _ = _each(_read_documents, kept)
    spent["journal and history"], _ = _each(_journal, made)
    spent["the log's lines"], _ = _each(
        lambda each: log_decided([DecidedFact.of(each.fact, each.decision, "t/0/1", None)]), made
    )
    spent[ALL] = sum(spent.values())
    return spent


def _snapshot(made: _Made) -> Snapshot:
    (result,) = made.decision.results
    return snapshot(result.view, revision=1, causation_id="x")


def _read_documents(kept: tuple[str, ...]) -> None:
    documents.organization_from_json(kept[0])
    for subscription in kept[1:]:
        documents.subscription_from_json(subscription)


def _journal(made: _Made) -> None:
    fact = documents.fact_to_json(made.fact)
    readings = documents.readings_to_json(Readings(answers=made.decision.answers))
    seal(fact, (made.fact.identity.id, readings), BEGINNING, secrets.token_bytes(SALT_BYTES))
    documents.events_to_json(made.decision.events)


def _fleet_and_news(
    kinds: Sequence[Kind], until: datetime, organizations: int
) -> tuple[Fleet, list[Record]]:
    """A fleet in its state at `until`, and the records to process."""
    history: list[tuple[datetime, Message]] = []
    news: list[Record] = []
    for kind, number in _numbered(kinds, organizations):
        history += kind.history(number, NOW)
        news.append(_record(kind.news(number, NOW)))
    records = [_record(message, at) for at, message in sorted(history, key=lambda each: each[0])]
    simulation = Simulation(load_policy(POLICY), FEEDS, HASH, lambda *_: None)
    for _ in simulation.run(records, until):
        pass
    _read_back(simulation.fleet)
    return simulation.fleet, news


def _read_back(fleet: Fleet) -> None:
    """Replace each value of the fleet by the one that its stored document is read as."""
    organizations = [*fleet.organizations.values()]
    subscriptions = [*fleet.subscriptions.values()]
    for organization in organizations:
        document = documents.organization_to_json(organization)
        fleet.put(documents.organization_from_json(document))
    for subscription in subscriptions:
        document = documents.subscription_to_json(subscription)
        fleet.put(documents.subscription_from_json(document))


def _numbered(kinds: Sequence[Kind], organizations: int) -> list[tuple[Kind, str]]:
    return [(kinds[n % len(kinds)], number_of(n)) for n in range(organizations)]


def _record(message: Message, at: datetime = NOW) -> Record:
    topic, key, value = message
    return Record(topic, 0, 0, at, key, value)


def _each(do: Callable[[_T], _R], values: Sequence[_T]) -> tuple[float, list[_R]]:
    """Microseconds of processor time per value, and the results."""
    began = process_time()
    made = [do(each) for each in values]
    return 1e6 * (process_time() - began) / len(values), made
