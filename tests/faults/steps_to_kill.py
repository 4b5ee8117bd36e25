"""The worker's steps that are killed at each of their statements, and their initial databases.

Each run uses a copy of a database that is prepared once, so that all runs of a step start alike.
"""

import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from pydantic import SecretStr

from acceptance.scenario import (
    at,
    azure,
    committed,
    created,
    event,
    eventbridge,
    leaves_the_free_tier,
    line,
    login,
    requested,
    support,
)
from acceptance.stage import MovableClock
from faults.fault_points import passing
from marketplace_worker.app import _register
from marketplace_worker.clock import system_clock
from marketplace_worker.errors import Malformed, MessageRefused
from marketplace_worker.lifecycle.facts import ClosureJudged, Erased, GuardReleased, GuardTripped
from marketplace_worker.lifecycle.holders import HOLDERS_MAX
from marketplace_worker.lifecycle.policy import Guard, Policy
from marketplace_worker.lifecycle.reanchoring import WrongClockPeriod
from marketplace_worker.lifecycle.vocabulary import Identity, OrganizationId
from marketplace_worker.operations.health import Health
from marketplace_worker.record import Outgoing, Record, StartOffset
from marketplace_worker.runtime.intake import IntakeBreaker
from marketplace_worker.runtime.presence import OwnRow
from marketplace_worker.runtime.worker import Worker, worker_of
from marketplace_worker.settings import (
    UNKEYED_EMAIL_KEY,
    Ingest,
    Kafka,
    Postgres,
    Retention,
    Settings,
    Topics,
)
from marketplace_worker.steps import recovering
from marketplace_worker.steps.deadlines import fire_due
from marketplace_worker.steps.erasing import erase
from marketplace_worker.steps.guard_operations import operate
from marketplace_worker.steps.ingest import ingest
from marketplace_worker.steps.position_jumps import report_jumps
from marketplace_worker.steps.reanchoring import CorrectionOrder, correct
from marketplace_worker.steps.recovering import Operator
from marketplace_worker.steps.redriving import Redrive, discard
from marketplace_worker.steps.relay import relay
from marketplace_worker.steps.restore_detection import Comparison
from marketplace_worker.steps.retention import retain
from marketplace_worker.steps.state_counting import keep_state_counts
from marketplace_worker.store import dead_letters, intake
from marketplace_worker.store.database import connecting, transaction
from marketplace_worker.store.dead_letters import OperatorAction, RefusedPart
from marketplace_worker.store.floors import Floors
from marketplace_worker.store.migrations import migrate
from marketplace_worker.store.policies import register
from marketplace_worker.store.state_counts import UNMERGED_MAX
from marketplace_worker.store.workers import WorkerIdentity
from steps.story_beginnings import Line, bought, canceled, ended, linked, records, wait

POLICY = Policy(version="new", guard=Guard(minimum=1, fraction=1.0, control_plane_fraction=1.0))
"""With this policy the guard counts the fleet each time, and never trips by itself."""

FORMER = Policy(version="former", guard=POLICY.guard)
"""An older policy, to which organizations are pinned."""


@dataclass(frozen=True)
class Scene:
    """A database, a clock that stands still, and a file in place of Kafka, which records the
    acknowledged messages.
    """

    dsn: str
    now: datetime
    kafka: Path

    async def run(self, step: "RunStep") -> None:
        """Run a step as a worker that has just been started."""
        async with connecting(_settings(self.dsn).postgres) as pool:
            clock = MovableClock(self.now)
            worker = worker_of(_settings(self.dsn), POLICY, pool, clock, clock.of_machine)
            await step(worker, self)

    async def publish(self, messages: Sequence[Outgoing]) -> Sequence[Exception | None]:
        """Write messages to the file, and acknowledge each."""
        await passing("kafka.first half", self._written(messages[: len(messages) // 2]))
        await passing("kafka.second half", self._written(messages[len(messages) // 2 :]))
        return [None] * len(messages)

    async def _written(self, messages: Sequence[Outgoing]) -> None:
        with self.kafka.open("a") as file:
            for each in messages:
                print(line_of(each), file=file)
            file.flush()
            os.fsync(file.fileno())


def line_of(message: Outgoing) -> str:
    """A message's line in that file: topic, key, and the rest, which makes it unique.  (Two dead
    letters may have the same value.)
    """
    parts = [
        message.value,
        *(each for name, value in message.headers for each in (name.encode(), value)),
    ]
    rest = "-".join((part or b"").hex() for part in parts)
    return f"{message.topic} {(message.key or b'').hex()} {rest}"


RunStep = Callable[[Worker, Scene], Awaitable[None]]
"""Runs a step.  Must be picklable: a function of a module."""


@dataclass(frozen=True)
class Step:
    """A step to kill: `prepare` fills its database, `now` is the time at which it runs.

    `simulated`: the lines with which `simulate` must produce the same result; empty if it cannot.
    `by_operator`: an operator runs it, and checks the result before running it again.  `killed_at`:
    kill it only at these statements, because another step covers the others.
    """

    run: RunStep
    now: datetime
    prepare: Callable[[Worker, MovableClock], Awaitable[None]] | None = None
    simulated: Sequence[Line] = ()
    by_operator: bool = False
    killed_at: frozenset[str] | None = None

    def kills_at(self, statement: str) -> bool:
        """Whether to kill the step at this statement."""
        return self.killed_at is None or statement in self.killed_at


def _settings(dsn: str) -> Settings:
    return Settings(
        kafka=Kafka(bootstrap_servers="localhost:1"),
        postgres=Postgres(dsn=SecretStr(dsn), pool_connections_max=8),
        email_key=SecretStr(UNKEYED_EMAIL_KEY),
    )


async def prepare(step: Step, dsn: str) -> None:
    """Fill an empty database for the step."""
    if step.prepare is None:
        return
    clock = MovableClock(at(0))
    async with connecting(_settings(dsn).postgres) as pool:
        await migrate(pool)
        async with transaction(pool) as conn:
            await register(conn, FORMER, now=at(0))
        worker = worker_of(_settings(dsn), FORMER, pool, clock, clock.of_machine)
        await step.prepare(worker, clock)


def _in_order(*lines: Line) -> list[Line]:
    return sorted(lines, key=lambda each: str(each["at"]))


RETAINED_AT = at(4 + 731)
"""When the batch has reached the age at which retention deletes it."""

# --- a batch of all kinds -------------------------------------------------------------------------

BEFORE = _in_order(
    *canceled("goes"),
    *canceled("returns"),
    created(0, "renews", tier="plus"),
    linked(0.1, "renews", "agmt-r1"),
    created(0, "stopped", tier="plus", owner="shared@owner.example"),
    support(1, "deactivate_organization", "stopped"),
    created(0, "free", tier="free"),
    created(0, "azure", tier="plus"),
    event(0.1, "organization.subscription_linked", "azure",
          {"marketplace": "azure", "subscription_id": "sub-1"}),
    azure(0.2, "Subscribe", "sub-1"),
    login(2, "goes"),
    created(0, "moves-from", tier="plus"),
    created(0, "moves-to", tier="plus"),
    linked(0.1, "moves-from", "agmt-m"),
    linked(2, "moves-to", "agmt-m"),
)  # fmt: skip

RENEWAL = {"id": "agmt-r2", "intent": "RENEW", "previousAgreementId": "agmt-r1"}

BATCH = [
    {**each, "at": at(4).isoformat()}
    for each in (
        bought(3.1, "second of returns", "account of returns"),
        login(3.2, "returns"),
        login(3.2, "goes"),
        requested(3.2, "free"),
        requested(3.3, "never heard of"),
        eventbridge(3, "Purchase Agreement Created", RENEWAL),
        eventbridge(3.1, "Purchase Agreement Ended", {"id": "agmt-r1", "status": "RENEWED"}),
        linked(3.2, "new", "agmt-new", "account of new"),
        ended(3.3, "agmt-new", "account of new"),
        created(3.1, "new", tier="plus", owner="Shared@owner.example"),
        committed(3.1, "commits", "c-1", 3, 9),
        leaves_the_free_tier(3.1, "free"),
        event(3.2, "organization.tier_changed", "moves-to", {"tier": "enterprise"}),
        event(3.2, "organization.owner_changed", "free", {"owner_email": "free@new.example"}),
        azure(3.3, "Suspend", "sub-1"),
        azure(3.3, "Suspend", "sub-1"),
        support(3.4, "reactivate_organization", "stopped"),
        support(3.5, "unlock_email", "stopped", email="nobody@owner.example"),
        support(3.6, "extend_grace", "goes", days=3),
        support(3.7, "place_hold", "renews", kind="legal"),
        line(3, "marketplace.gcp.notifications", "no notification"),
        line(3, "organizations.changes", {"specversion": "1.0"}),
        line(3, "identity.logins", {"specversion": "1.0"}),
    )
]


async def _before(worker: Worker, clock: MovableClock) -> None:
    await _ingest_and_wait(worker, clock, BEFORE, until=4)


async def _ingest_and_wait(
    worker: Worker, clock: MovableClock, lines: Sequence[Line], *, until: float
) -> None:
    """Ingest each line at its time, and fire every deadline up to `until` at its time."""
    for record in records(*lines):
        await wait(worker, clock, (record.recorded_at - at(0)) / timedelta(days=1))
        await ingest([record], worker)
    await wait(worker, clock, until)


async def _batch(worker: Worker, _: Scene) -> None:
    await ingest(_numbered(BATCH), worker)


def _numbered(lines: Sequence[Line]) -> list[Record]:
    """The records of a batch, at unused positions."""
    return records(*BEFORE, *lines)[len(BEFORE) :]


# --- a billing account with too many organizations ------------------------------------------------

RESOLD = [
    each
    for number in range(HOLDERS_MAX + 1)
    for each in (
        linked(number / 200, f"customer {number}", f"agmt-{number}", "a reseller"),
        bought(number / 200, f"agmt-{number}", "a reseller"),
    )
]


async def _until_crowded(worker: Worker, _: MovableClock) -> None:
    await ingest(records(*RESOLD[:-2]), worker)


async def _crowding(worker: Worker, _: Scene) -> None:
    await ingest(records(*RESOLD)[-2:], worker)


# --- due deadlines --------------------------------------------------------------------------------

DUE_DAY = 30

WAITING = _in_order(
    *(
        each
        for day in range(0, DUE_DAY, 2)
        for each in (login(day, "used"), requested(day, "used"))
    ),
    created(0, "idle", tier="free"),
    created(0, "suspended next", tier="plus"),
    linked(0.1, "suspended next", "agmt-s"),
    ended(DUE_DAY - 7, "agmt-s", "account s"),
    created(0, "lost next", tier="plus"),
    linked(0.1, "lost next", "agmt-l"),
    ended(DUE_DAY - 1, "agmt-l", "account l"),
)


async def _until_due(worker: Worker, clock: MovableClock) -> None:
    await _ingest_and_wait(worker, clock, WAITING, until=DUE_DAY - 0.001)


async def _due(worker: Worker, _: Scene) -> None:
    while await fire_due(worker, limit=100):
        pass


async def _until_due_and_one_is_broken(worker: Worker, clock: MovableClock) -> None:
    await _until_due(worker, clock)
    await worker.pool.execute(
        "UPDATE organizations SET document = '{}' WHERE organization_id = 'idle'"
    )


# --- the others -----------------------------------------------------------------------------------


async def _with_outbox(worker: Worker, clock: MovableClock) -> None:
    await _before(worker, clock)
    await ingest(_numbered(BATCH), worker)


async def _sent(worker: Worker, scene: Scene) -> None:
    for topic in Topics().outbound:
        while await relay(
            worker.pool, scene.publish, topic, Floors(look_every_s=0), limit=5, publish_max_s=5
        ):
            pass


async def _refused(worker: Worker, scene: Scene) -> None:
    """Kafka refuses all messages of one organization, and accepts them later."""

    async def refuses(messages: Sequence[Outgoing]) -> Sequence[Exception | None]:
        await scene.publish([each for each in messages if each.key != b"goes"])
        return [MessageRefused("too large") if each.key == b"goes" else None for each in messages]

    for topic in Topics().outbound:
        for _ in range(8):
            await relay(
                worker.pool, refuses, topic, Floors(look_every_s=0), limit=2, publish_max_s=5
            )
    await worker.pool.execute("UPDATE outbox SET held_until = now() WHERE held_until < 'infinity'")
    await _sent(worker, scene)


async def _nothing(worker: Worker, clock: MovableClock) -> None:
    pass


async def _registered(worker: Worker, _: Scene) -> None:
    await _register(POLICY, worker)


async def _trip(worker: Worker, scene: Scene) -> None:
    identity = Identity("operator", "trip")
    await operate(GuardTripped(identity, scene.now, "jo", "because"), worker)


async def _release(worker: Worker, scene: Scene) -> None:
    identity = Identity("operator", "release")
    await operate(GuardReleased(identity, scene.now, "jo", "because", None), worker)


async def _until_withheld(worker: Worker, clock: MovableClock) -> None:
    await _until_due(worker, clock)
    identity = Identity("operator", "trip")
    await operate(GuardTripped(identity, clock.now, "jo", "because"), worker)
    await wait(worker, clock, DUE_DAY + 0.1)


async def _with_dead_letter_fixed(worker: Worker, clock: MovableClock) -> None:
    """As if a translator had been fixed: one of the dead letters can be read now."""
    await _with_outbox(worker, clock)
    mended = json.dumps(created(3, "mended", tier="plus")["value"]).encode()
    letters = "UPDATE dead_letters SET value = $1 WHERE topic = 'organizations.changes'"
    await worker.pool.execute(letters, mended)


async def _redriven(worker: Worker, _: Scene) -> None:
    await Redrive(worker, OperatorAction("jo", "because")).redrive(
        await _waiting(worker), rate=1_000
    )


async def _discarded(worker: Worker, _: Scene) -> None:
    await discard(await _waiting(worker), OperatorAction("jo", "because"), worker)


async def _waiting(worker: Worker) -> Sequence[int]:
    async with transaction(worker.pool) as conn:
        return await dead_letters.waiting(conn)


async def _with_old_rows(worker: Worker, clock: MovableClock) -> None:
    """Everything is old enough for retention, also by the newest record in Kafka."""
    await _with_outbox(worker, clock)
    clock.now = RETAINED_AT
    value = json.dumps(login(4 + 731, "somebody")["value"]).encode()
    await ingest([Record("identity.logins", 9, 1, clock.now, b"somebody", value)], worker)


YEAR = timedelta(days=365)


async def _with_wrong_clock(worker: Worker, clock: MovableClock) -> None:
    """Deadlines fire by a clock that is a year ahead; then the clock is right again."""
    await _with_outbox(worker, clock)
    clock.now = at(4) + YEAR
    await fire_due(worker, limit=100)
    clock.now = at(5)


async def _corrected(worker: Worker, _: Scene) -> None:
    await correct(
        worker, WrongClockPeriod(at(4) + YEAR, YEAR), CorrectionOrder("o", "jo", "because")
    )


async def _retained(worker: Worker, _: Scene) -> None:
    while await retain(worker, Retention()):
        pass


async def _erased(worker: Worker, scene: Scene) -> None:
    identity = Identity("operator", "erase")
    stopped = OrganizationId("stopped")
    await erase(Erased(identity, scene.now, stopped, "jo", "because"), worker)


async def _published_more(_: int | None = None) -> AsyncIterator[Sequence[Record]]:
    """Published records that the database has lost by a restore."""
    data = {"state": "deactivated", "recoverable": False, "reason": "customer"}
    yield [
        _record_of(
            "goes", "organization.deactivated", 90, data | {"cause": "marketplace_cancellation"}
        ),
        _record_of("worker", "guard.tripped", 70, {}),
        _record_of("never heard of before", "organization.canceled", 80, {"state": "canceled"}),
    ]


def _record_of(subject: str, kind: str, sequence: int, data: dict[str, Any]) -> Record:
    event = {
        "id": f"{subject} {sequence}",
        "source": "/marketplace-worker",
        "type": f"io.marketplace-worker.{kind}.v1",
        "subject": subject,
        "time": at(3).isoformat(),
        "sequence": f"{sequence:020}",
        "data": data,
    }
    value = json.dumps(event).encode()
    return Record("organizations.lifecycle", 0, sequence, at(3), subject.encode(), value)


async def _compared(worker: Worker, _: Scene) -> None:
    await Comparison(worker, _published_more).compare()


async def _recovered(worker: Worker, _: Scene) -> None:
    operator = Operator("recover", "jo", "because")
    await recovering.withhold(worker)
    await recovering.gather(worker, _published_more)
    await recovering.begin(worker, operator)
    async for page in recovering.pages(worker):
        for each in page:
            if each.is_behind:
                await recovering.raise_numbers(worker, [each], operator.id)
    await recovering.complete(worker, operator)


async def _until_recovered(worker: Worker, clock: MovableClock) -> None:
    await _before(worker, clock)
    await _recovered(worker, Scene("", clock.now, Path()))


async def _judged(worker: Worker, scene: Scene) -> None:
    identity, goes = Identity("operator", "judge"), OrganizationId("goes")
    await recovering.judge(worker, ClosureJudged(identity, scene.now, goes, True, "jo", "why"))


FLOOD = (
    *(line(4, "marketplace.gcp.notifications", "no notification") for _ in range(3)),
    created(4, "beside the flood", tier="plus"),
)


async def _flooded(worker: Worker, _: Scene) -> None:
    """Refusals of the minutes before count too, so the batch stops its topic as a whole."""
    rows = len(FLOOD)
    limits = Ingest(batch_rows_max=rows, refused_rows_max=rows, refused_share_max=0.01)
    breaker, batch = IntakeBreaker(limits), _numbered(FLOOD)
    unreadable = batch[:-1]
    refusals = [RefusedPart(each, 0, Malformed("is not JSON")) for each in unreadable]
    breaker.record_applied(unreadable, refusals)
    await ingest(batch, replace(worker, intake=breaker))


async def _until_stopped(worker: Worker, clock: MovableClock) -> None:
    await _before(worker, clock)
    await _flooded(worker, Scene("", clock.now, Path()))


async def _resumed(worker: Worker, scene: Scene) -> None:
    async with transaction(worker.pool) as conn:
        topic = Topics().gcp_notifications
        await intake.resume(conn, topic, by="jo", because="because", now=scene.now)


JUMPED = StartOffset(Topics().organization_changes, 0, 500, 400)


async def _jumped(worker: Worker, _: Scene) -> None:
    async def holds_record(_beginning: StartOffset, _since: int) -> bool:
        return True

    await report_jumps([JUMPED], worker, holds_record)


async def _with_many_state_changes(worker: Worker, clock: MovableClock) -> None:
    """A worker of an earlier version has changed states, and left no changes."""
    await _with_outbox(worker, clock)
    clock.now = at(4)
    await worker.pool.execute(
        "INSERT INTO state_changes (day, state, change)"
        " SELECT '2026-01-04', 'active', 1 FROM generate_series(1, $1)",
        2 * UNMERGED_MAX,
    )


async def _counted(worker: Worker, _: Scene) -> None:
    await keep_state_counts(worker)


IDENTITY = WorkerIdentity(UUID(int=1), "host-1", "0.2.0", ["relay"], "first")


def _presence(worker: Worker, identity: WorkerIdentity = IDENTITY) -> OwnRow:
    health = Health(silence_max_s=60, stopping=lambda: False)
    return OwnRow(worker.pool, identity, health, lambda: {"facts": {"t": 3}}, system_clock)


async def _with_an_old_worker(worker: Worker, clock: MovableClock) -> None:
    """A worker that ended two days ago without a word."""
    await _with_outbox(worker, clock)
    await _presence(worker, replace(IDENTITY, id=UUID(int=2))).record()
    await worker.pool.execute("UPDATE workers SET seen_at = seen_at - interval '2 days'")


async def _present(worker: Worker, _: Scene) -> None:
    await _presence(worker).record()


async def _left(worker: Worker, _: Scene) -> None:
    await _presence(worker).leave()


async def _with_a_worker(worker: Worker, clock: MovableClock) -> None:
    await _with_outbox(worker, clock)
    await _presence(worker).record()


async def _migrated(worker: Worker, _: Scene) -> None:
    await migrate(worker.pool)


STEPS = {
    "ingest": Step(_batch, at(4), _before, simulated=[*BEFORE, *BATCH]),
    "ingest, an account is crowded": Step(
        _crowding,
        at(1),
        _until_crowded,
        killed_at=frozenset({"BEGIN", "subscriptions.record_crowded", "COMMIT"}),
    ),
    "deadlines": Step(_due, at(DUE_DAY), _until_due, simulated=WAITING),
    "deadlines, one broken": Step(
        _due,
        at(DUE_DAY),
        _until_due_and_one_is_broken,
        killed_at=frozenset({"BEGIN", "organizations.postpone", "COMMIT", "ROLLBACK"}),
    ),
    "relay": Step(_sent, at(4), _with_outbox),
    "refused messages": Step(_refused, at(4), _with_outbox),
    "start": Step(_registered, at(4), _nothing),
    "guard trip": Step(_trip, at(DUE_DAY), _until_due, by_operator=True),
    "guard release": Step(_release, at(DUE_DAY + 0.1), _until_withheld, by_operator=True),
    "redrive": Step(_redriven, at(4), _with_dead_letter_fixed, by_operator=True),
    "discard": Step(_discarded, at(4), _with_dead_letter_fixed, by_operator=True),
    "a clock corrected": Step(_corrected, at(5), _with_wrong_clock),
    "retention": Step(_retained, RETAINED_AT, _with_old_rows),
    "state counts": Step(_counted, at(4), _with_many_state_changes),
    "a worker's row": Step(_present, at(4), _with_an_old_worker),
    "the end of a worker": Step(_left, at(4), _with_a_worker),
    "compare": Step(_compared, at(4), _before),
    "recover": Step(_recovered, at(4), _before, by_operator=True),
    "judge a closure": Step(_judged, at(4), _until_recovered, by_operator=True),
    "erase": Step(_erased, at(4), _before, by_operator=True),
    "a flood of unreadable input": Step(_flooded, at(4), _before),
    "intake resume": Step(_resumed, at(4), _until_stopped, by_operator=True),
    "a jump of positions": Step(_jumped, at(4), _before),
    "migrate": Step(_migrated, at(0)),
}
