"""Helpers that build a state by sending messages through the worker's own steps."""

import json
from datetime import timedelta
from typing import Any

from acceptance.scenario import at, created, event, eventbridge
from acceptance.stage import MovableClock
from marketplace_worker.contract.fields import read_time
from marketplace_worker.contract.scenario import read_scenario
from marketplace_worker.contract.topics import feeds
from marketplace_worker.errors import Malformed
from marketplace_worker.lifecycle.facts import Fact
from marketplace_worker.record import Record
from marketplace_worker.runtime.applying import read
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.settings import Topics
from marketplace_worker.steps.deadlines import fire_due
from marketplace_worker.steps.ingest import ingest

Line = dict[str, Any]


def records(*lines: Line) -> list[Record]:
    """Lines of a scenario, as records."""
    return list(read_scenario((json.dumps(line).encode() for line in lines), feeds(Topics())))


def facts(worker: Worker, *lines: Line) -> list[Fact]:
    """Lines of a scenario, as facts."""
    read_parts = read(records(*lines), worker).parts
    return [each.content for each in read_parts if not isinstance(each.content, Malformed)]


async def ingest_lines(worker: Worker, clock: MovableClock, *lines: Line) -> None:
    """Ingest lines of a scenario, each at its own time and in its own batch."""
    for record in records(*lines):
        clock.now = max(record.recorded_at, clock.now)
        await ingest([record], worker)


async def move_to_day(worker: Worker, clock: MovableClock, day: float) -> None:
    """Move the clock to a day, and ingest a login, so that Kafka's newest record is of that day."""
    clock.now = at(day)
    await ingest(records(login(day, "somebody")), worker)


async def wait(worker: Worker, clock: MovableClock, until: float) -> None:
    """Fire every deadline up to that day at its own time."""
    first = "SELECT min(next_due_at) FROM organizations"
    while (due_at := await worker.pool.fetchval(first)) is not None and due_at <= at(until):
        clock.now = max(due_at, clock.now)
        await fire_due(worker, limit=1_000)
    clock.now = at(until)


def day_of(line: Line) -> float:
    """When a line is received."""
    return (read_time(line["at"]) - at(0)) / timedelta(days=1)


def login(day: float, organization: str, *, happened: float | None = None) -> Line:
    """A user signs in."""
    return event(day, "identity.user.logged_in", organization, {"user_id": "u"}, happened=happened)


def use(day: float, organization: str) -> Line:
    """The API is used."""
    return event(day, "usage.api_requests", organization, {"requests": 1})


def support(day: float, request: str, organization: str, **data: Any) -> Line:  # noqa: ANN401
    """A request of Support."""
    asked = {"requested_by": "Jo Doe", "reason": "because", "ticket": "T-1", **data}
    line = event(day, f"support.{request}", organization, asked)
    line["value"]["id"] = f"{request} {organization} {day}"
    return line


def linked(
    day: float,
    organization: str,
    agreement: str,
    account: str | None = None,
    *,
    happened: float | None = None,
) -> Line:
    """A sign-up links an AWS agreement, optionally with its billing account."""
    data = {"marketplace": "aws", "subscription_id": agreement, "plan_type": "payg"}
    if account is not None:
        data["billing_account"] = account
    name = "organization.subscription_linked"
    return event(day, name, organization, data, happened=happened)


def bought(day: float, agreement: str, account: str) -> Line:
    """An AWS agreement is in force."""
    return _of(eventbridge(day, "License Updated", {"id": agreement}), account)


def ended(day: float, agreement: str, account: str) -> Line:
    """The customer canceled an AWS agreement."""
    agreed = {"id": agreement, "status": "CANCELLED"}
    return _of(eventbridge(day, "Purchase Agreement Ended", agreed), account)


def _of(line: Line, account: str) -> Line:
    line["value"]["detail"]["acceptor"]["accountId"] = account
    return line


def canceled(organization: str) -> list[Line]:
    """An organization with the agreement `first of …` of its own customer, canceled on day 1."""
    agreement, account = f"first of {organization}", f"account of {organization}"
    return [
        created(0, organization),
        linked(0.5, organization, agreement),
        ended(1, agreement, account),
    ]


async def states(worker: Worker) -> dict[str, str]:
    """The state of every organization."""
    rows = await worker.pool.fetch("SELECT organization_id, state FROM organizations")
    return {row["organization_id"]: row["state"] for row in rows}


async def events_of(worker: Worker, subject: str) -> list[Line]:
    """The events in the outbox about an organization or the worker itself, in order."""
    rows = await worker.pool.fetch(
        "SELECT value FROM outbox WHERE topic = $1 AND key = $2 ORDER BY id",
        worker.topics.lifecycle,
        subject.encode(),
    )
    return [json.loads(row["value"]) for row in rows]


async def kinds(worker: Worker, subject: str) -> list[str]:
    """The names of these events."""
    return [
        each["type"].removeprefix("io.marketplace-worker.").removesuffix(".v1")
        for each in await events_of(worker, subject)
    ]
