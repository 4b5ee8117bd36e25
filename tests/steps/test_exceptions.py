"""How exceptions are handled that are raised while a record is read or decided on
(docs/exceptions.md).  For those of Postgres see `tests/store/test_refusals.py`.
"""

import errno
import os
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from acceptance.scenario import at, created
from acceptance.stage import MovableClock
from marketplace_worker.errors import Unavailable
from marketplace_worker.lifecycle.vocabulary import EmailHash
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.steps.deadlines import fire_due
from marketplace_worker.steps.ingest import ingest
from marketplace_worker.steps.redriving import Redrive, RedriveResult
from marketplace_worker.store.database import Connection
from marketplace_worker.store.dead_letters import OperatorAction
from steps.story_beginnings import records, states

OF_THE_MACHINE = [
    OSError(errno.EMFILE, os.strerror(errno.EMFILE)),
    OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
    ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)),
    TimeoutError(),
    MemoryError(),
    RuntimeError("can't start new thread"),
]

OURS = [
    ValueError("odd"),
    KeyError("odd"),
    TypeError("odd"),
    AttributeError("odd"),
    AssertionError("odd"),
    RecursionError("maximum recursion depth exceeded"),
    RuntimeError("odd"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "odd"),
]


class Failing:
    """Raises `error` for one email while it is set; otherwise works like `hash`."""

    def __init__(self, worker: Worker, error: Exception) -> None:
        self._hash = worker.hash_email
        self.error: Exception | None = error

    def __call__(self, email: str) -> EmailHash:
        if "@b." in email and self.error is not None:
            raise self.error
        return self._hash(email)


async def dead_letters(worker: Worker) -> list[str]:
    """The reasons of all dead letters."""
    rows = await worker.pool.fetch("SELECT reason FROM dead_letters ORDER BY id")
    return [row["reason"] for row in rows]


def three() -> list[dict[str, Any]]:
    """Three organizations that are created."""
    return [created(0, each) for each in ("a", "b", "c")]


@pytest.mark.parametrize("error", OF_THE_MACHINE, ids=repr)
async def test_no_record_is_parked_for_what_the_machine_refuses_while_it_is_read(
    worker: Worker, clock: MovableClock, error: Exception
) -> None:
    """It is processed when the machine has file descriptors, memory or threads again."""
    clock.now = at(1)
    failing = Failing(worker, error)

    with pytest.raises(Unavailable, match="this machine"):
        await ingest(records(*three()), replace(worker, hash_email=failing))
    assert await dead_letters(worker) == []
    failing.error = None
    await ingest(records(*three()), replace(worker, hash_email=failing))

    assert await dead_letters(worker) == []
    assert set(await states(worker)) == {"a", "b", "c"}


@pytest.mark.parametrize("error", OURS, ids=repr)
async def test_a_record_that_we_fail_on_is_parked_whatever_is_raised(
    worker: Worker, clock: MovableClock, error: Exception
) -> None:
    """Otherwise its batch would be redelivered forever; its neighbours are processed."""
    clock.now = at(1)

    await ingest(records(*three()), replace(worker, hash_email=Failing(worker, error)))

    assert await dead_letters(worker) == [
        f"marketplace-worker failed on it: {type(error).__name__}"
    ]
    assert set(await states(worker)) == {"a", "c"}


@pytest.mark.parametrize("error", [OF_THE_MACHINE[0], MemoryError()], ids=repr)
async def test_a_redrive_blames_no_dead_letter_for_what_the_machine_refuses(
    worker: Worker, clock: MovableClock, error: Exception
) -> None:
    """It ends as if Postgres were down, and continues when it is run again."""
    clock.now = at(1)
    failing = Failing(worker, ValueError("odd"))
    failed_record = replace(worker, hash_email=failing)
    await ingest(records(created(0, "b")), failed_record)

    failing.error = error
    with pytest.raises(Unavailable):
        await Redrive(failed_record, OperatorAction("Olga", "mended")).redrive([1], rate=100)
    assert await dead_letters(worker) == ["marketplace-worker failed on it: ValueError"]
    failing.error = None
    redrive = Redrive(failed_record, OperatorAction("Olga", "mended"))
    await redrive.redrive([1], rate=100)

    assert redrive.became[RedriveResult.REDRIVEN] == 1
    assert set(await states(worker)) == {"b"}


@pytest.mark.parametrize("error", OF_THE_MACHINE, ids=repr)
async def test_no_deadline_is_postponed_for_what_the_machine_refuses(
    worker: Worker, error: Exception
) -> None:
    """The loop waits, as if Postgres were down, and reports no organization as failed."""

    async def fails(_: Connection) -> datetime:
        raise error

    with capture_logs() as lines, pytest.raises(Unavailable):
        await fire_due(replace(worker, clock=fails), limit=10)

    assert [line["event"] for line in lines] == []
