"""The schema: applied once, by one process, and never to a database that is not ours."""

import asyncio

import pytest
from pydantic import SecretStr

from marketplace_worker.errors import Misconfigured, Unavailable
from marketplace_worker.settings import Postgres
from marketplace_worker.store.database import Pool, connecting
from marketplace_worker.store.migrations import migrate, migrations, require_current_schema


async def test_migrating_twice_applies_everything_once(empty: Pool) -> None:
    """An operator may type it as often as he likes."""
    assert [each.name for each in await migrate(empty)] == [each.name for each in migrations()]
    assert await migrate(empty) == []


async def test_several_processes_that_migrate_at_once_take_turns(empty: Pool) -> None:
    """A rollout may start the migration several times."""
    applied = await asyncio.gather(*(migrate(empty) for _ in range(4)))

    assert sorted(map(len, applied)) == [0, 0, 0, len(migrations())]


async def test_an_old_schema_is_refused_with_what_to_type(empty: Pool) -> None:
    """`run` never migrates by itself: several workers of different versions may be starting."""
    with pytest.raises(Misconfigured, match=r"0001_first\.sql.*`marketplace-worker migrate`"):
        await require_current_schema(empty)


async def test_a_current_schema_is_accepted(pool: Pool) -> None:
    """Nothing is said."""
    await require_current_schema(pool)


async def test_a_migration_that_was_changed_after_it_was_applied_is_refused(pool: Pool) -> None:
    """Two databases would differ though both say that they are current."""
    await pool.execute("UPDATE schema_migrations SET checksum = 'another'")

    with pytest.raises(Misconfigured, match=r"0001_first\.sql is not the file that was applied"):
        await migrate(pool)


async def test_a_database_of_a_newer_version_is_refused(pool: Pool) -> None:
    """An old worker does not know what a newer schema means."""
    await pool.execute("INSERT INTO schema_migrations VALUES (9999, '9999_later.sql', 'x')")

    with pytest.raises(Misconfigured, match=r"9999_later\.sql.*run the newer version"):
        await require_current_schema(pool)


async def test_a_database_that_does_not_answer_is_unavailable_and_a_wrong_one_misconfigured(
    postgres_dsn: str,
) -> None:
    """The one passes by waiting, the other only when somebody changes the settings."""
    nobody = Postgres(dsn=SecretStr("postgresql://u:p@127.0.0.1:1/none"))
    wrong = Postgres(dsn=SecretStr(postgres_dsn.rsplit("/", 1)[0] + "/no-such-database"))

    with pytest.raises(Unavailable):
        async with connecting(nobody):
            pass
    with pytest.raises(Misconfigured, match=r"postgres\.dsn.*no-such-database"):
        async with connecting(wrong):
            pass
