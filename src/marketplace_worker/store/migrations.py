"""Migrates the schema with numbered SQL files: each is applied once, in order.

All missing ones are applied in one transaction.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources

import asyncpg

from marketplace_worker.errors import Misconfigured
from marketplace_worker.store.database import Connection, Pool, transaction
from marketplace_worker.store.queries import queries

SQL = queries("migrations")

TIMEOUT_S = 3_600.0
"""How long one migration may take, and how long to wait for another migrating process."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of `migrations/`: `0001_first.sql` is version 1.

    `checksum` is the SHA-256 of its text: an applied file must never change.
    """

    version: int
    name: str
    sql: str
    checksum: str


def migrations() -> Sequence[Migration]:
    """All migrations that this version of the worker knows, in order."""
    folder = resources.files(__package__).joinpath("migrations")
    files = sorted(
        (each for each in folder.iterdir() if each.name.endswith(".sql")), key=lambda e: e.name
    )
    texts = ((file.name, file.read_text(encoding="utf-8")) for file in files)
    return [
        Migration(int(name.split("_")[0]), name, sql, hashlib.sha256(sql.encode()).hexdigest())
        for name, sql in texts
    ]


def _amended(migration: Migration, applied_checksum: str) -> Migration | None:
    """The amendment for a database to which an earlier text of a migration was applied.

    Some migrations were changed between two releases.  `amendments/` has the missing statements for
    each earlier text, by the beginning of its checksum.  None if that text is unknown.
    """
    name = migration.name.replace(".sql", f".{applied_checksum[:8]}.sql")
    file = resources.files(__package__).joinpath("migrations", "amendments", name)
    if not file.is_file():
        return None
    return replace(migration, sql=file.read_text(encoding="utf-8"))


async def migrate(pool: Pool) -> Sequence[Migration]:
    """Apply the missing migrations; returns those applied.  Safe for concurrent processes.

    Raises:
        Misconfigured: an applied migration differs from the one of this version, or the database's
            encoding is not UTF8, or the user may not change the schema.
        Unavailable: Postgres is down.
    """
    async with transaction(pool) as conn:
        try:
            return await _apply_missing(conn)
        except asyncpg.InsufficientPrivilegeError as error:
            raise Misconfigured(
                f"the user of postgres.dsn may not migrate this database ({error}): log in as the "
                "owner of its tables, who may create roles or is a member of marketplace_worker_app"
            ) from error


async def _apply_missing(conn: Connection) -> Sequence[Migration]:
    await conn.execute(SQL["as_owner"])
    await _require_utf8(conn)
    await conn.execute(SQL["unbound"])
    await conn.execute(SQL["lock"], timeout=TIMEOUT_S)
    await conn.execute(SQL["prepare"])
    missing = await _missing(conn)
    for migration in missing:
        await conn.execute(migration.sql, timeout=TIMEOUT_S)
        await conn.execute(SQL["record"], migration.version, migration.name, migration.checksum)
    return missing


async def require_current_schema(pool: Pool) -> None:
    """Refuse a database whose schema is older or newer than this version of the worker.

    Raises:
        Misconfigured: the schema differs; the message says which command to run.
        Unavailable: Postgres is down.
    """
    async with transaction(pool) as conn:
        await conn.execute(SQL["as_owner"])
        await _require_utf8(conn)
        known = migrations()
        if not await conn.fetchval(SQL["exists"]):
            missing: Sequence[Migration] = known
        else:
            missing = await _missing(conn)
    if missing:
        names = ", ".join(each.name for each in missing)
        raise Misconfigured(
            f"the database lacks {names}: run `marketplace-worker migrate`, then start again"
        )


async def _require_utf8(conn: Connection) -> None:
    """Refuse a database with another encoding: it could not store every valid record."""
    encoding = await conn.fetchval(SQL["encoding"])
    if encoding != "UTF8":
        raise Misconfigured(
            f"the database has the encoding {encoding}, and UTF8 is needed: make one with "
            "`createdb --encoding=UTF8 --template=template0`"
        )


async def _missing(conn: Connection) -> Sequence[Migration]:
    """The migrations that were not applied yet, and amendments to those with an earlier text."""
    known = {each.version: each for each in migrations()}
    amended = []
    applied = await conn.fetch(SQL["applied"])
    for row in applied:
        ours = known.pop(row["version"], None)
        if ours is None:
            raise Misconfigured(
                f"the database has the migration {row['name']}, which this version of "
                "marketplace-worker does not know: run a newer version"
            )
        if ours.checksum == row["checksum"]:
            continue
        amendment = _amended(ours, row["checksum"])
        if amendment is None:
            raise Misconfigured(
                f"the migration {ours.name} differs from the one applied to this database: "
                "restore the file, and put the change in a new migration"
            )
        amended.append(amendment)
    return sorted([*known.values(), *amended], key=lambda each: each.version)
