"""Which errors of Postgres are temporary, and which are caused by the written values."""

import asyncio
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import asyncpg
import pytest

from marketplace_worker.errors import Unavailable
from marketplace_worker.lifecycle.vocabulary import Marketplace, OrganizationId, SubscriptionKey
from marketplace_worker.store import subscriptions
from marketplace_worker.store.database import Connection, Pool, one_moment, transaction

Begin = Callable[[Pool], AbstractAsyncContextManager[Connection]]

PAGE = (Path(__file__).parents[2] / "docs/exceptions.md").read_text(encoding="utf-8")


async def test_what_is_too_large_for_an_index_does_not_pass_by_itself(pool: Pool) -> None:
    """It would be retried forever, so the record is found in its batch and parked."""
    large = SubscriptionKey(Marketplace.AWS, secrets.token_hex(4_000))

    with pytest.raises(asyncpg.ProgramLimitExceededError):
        async with transaction(pool) as conn:
            await subscriptions.link(conn, {(OrganizationId("acme"), large)})


def done_by_code() -> dict[str, str]:
    """The page's treatment of each prefix of a SQLSTATE."""
    table = PAGE.split("## Postgres, by SQLSTATE")[1].split("`XX000` and")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("|")]
    codes = {code: done for codes, _, done in rows[2:] for code in codes.split(", ")}
    assert all(re.fullmatch(r"[0-9A-Z]{2}([0-9A-Z]{3})?", code) for code in codes)
    return codes


def done_about(code: str) -> str:
    """The treatment of a SQLSTATE: that of the longest prefix."""
    codes = done_by_code()
    known = [each for each in codes if code.startswith(each)]
    return codes[max(known, key=len)] if known else "retried"


def refusals() -> Iterator[type[asyncpg.PostgresError]]:
    """Every error class of asyncpg."""
    for each in vars(asyncpg.exceptions).values():
        if isinstance(each, type) and issubclass(each, asyncpg.PostgresError) and each.sqlstate:
            yield each


async def test_each_postgres_error_is_handled_as_the_page_describes(pool: Pool) -> None:
    """So that none parks a valid record for what the server is short of, and none that a value
    causes is waited for without end.
    """
    tried = set()
    for refusal in refusals():
        parked = done_about(refusal.sqlstate) == "parked"
        with pytest.raises(refusal if parked else Unavailable):
            async with transaction(pool):
                raise refusal("as Postgres raises it")
        tried.add(refusal.sqlstate[:2])

    assert len(tried) > 30
    assert {code[:2] for code in done_by_code()} <= tried


@pytest.mark.parametrize(
    "error",
    [
        OSError(24, "Too many open files"),
        TimeoutError(),
        MemoryError(),
        asyncpg.InterfaceError("connection was closed"),
        asyncpg.InternalClientError("unexpected state"),
        asyncpg.UnknownPostgresError("of a later version"),
    ],
)
async def test_what_the_machine_or_the_client_raises_is_waited_for(
    pool: Pool, error: Exception
) -> None:
    """None of these is caused by the written values."""
    with pytest.raises(Unavailable, match=type(error).__name__):
        async with transaction(pool):
            raise error


@pytest.mark.parametrize("begin", [transaction, one_moment])
@pytest.mark.parametrize(
    "error", [ValueError("odd"), RuntimeError("can't start new thread"), AssertionError("odd")]
)
async def test_whatever_goes_wrong_before_a_transaction_is_waited_for(
    postgres_dsn: str, begin: Begin, error: Exception
) -> None:
    """No record can be the cause before the transaction begins."""

    async def fails(_: object) -> None:
        raise error

    # asyncpg calls `setup` whenever a connection is got.
    async with asyncpg.create_pool(postgres_dsn, min_size=0, setup=fails) as failing:
        with pytest.raises(Unavailable, match=type(error).__name__):
            async with begin(failing):
                pytest.fail("no connection was to be got")


async def test_a_bug_in_a_transaction_is_raised_as_it_is(pool: Pool) -> None:
    """What is no error of Postgres's, of the connection or of the machine is ours."""
    with pytest.raises(ValueError, match="ours"):
        async with transaction(pool):
            raise ValueError("ours")


async def test_a_stop_amid_a_transaction_is_no_refusal(pool: Pool) -> None:
    """The transaction rolls back, and the cancellation is raised unchanged."""
    with pytest.raises(asyncio.CancelledError):
        async with transaction(pool):
            raise asyncio.CancelledError
