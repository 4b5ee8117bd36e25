"""Sets the database's clock a year ahead, and back again.

Meanwhile no step is taken, retention deletes nothing, and afterwards no deadline is a year late.

python tests/attacks/clock_ahead.py
"""

import asyncio
from datetime import datetime, timedelta

from outsider import Outsider, example, repeat, until

from marketplace_worker.clock import system_clock

YEAR = timedelta(days=365)
CHANGES = "organizations.changes"
KEPT = "SELECT (SELECT count(*) FROM journal), (SELECT count(*) FROM dead_letters)"


async def attack(outsider: Outsider) -> None:
    """One organization has lost its only plan, another has a plan for half a year more."""
    began = system_clock()
    await _set_clock(outsider, began)
    async with outsider.worker() as worker:
        for name, ends_at in (("gone", began - YEAR / 2), ("lives", began + YEAR / 2)):
            await _send(outsider, "organization.created", name, tier="plus")
            plan = {"starts_at": _text(began - YEAR), "ends_at": _text(ends_at)}
            await _send(outsider, "organization.commitment_linked", name, **plan)
        await outsider.send("identity.logins", b"\xff", key=b"somebody")
        await until(lambda: sum(each["records"] for each in worker.lines("batch_ingested")) == 5)

        await _set_clock(outsider, began + YEAR)
        outsider.require(await worker.logged("guard_tripped"), "the worker trips the guard")
        moved = await worker.logged("clock_moved")
        async with outsider.worker() as other:
            stopped = await other.logged("retention_stopped")
            outsider.require(stopped, "retention stops, and reports the reason")
        print(await outsider.succeed("guard", "status"))
        (journal, letters) = (await outsider.rows(KEPT))[0].values()
        outsider.require(journal >= 4 and letters == 1, "the journal and the dead letter are kept")
        states = await outsider.rows("SELECT DISTINCT state FROM organizations")
        outsider.require([row["state"] for row in states] == ["canceled"], "no step is taken")
        await _set_clock(outsider, system_clock())

    span = (moved or {}).get("own_clock_at", ""), (moved or {}).get("clock_at", "")
    recover = ("recover", "--clock-ran-ahead", *span)
    print(await outsider.succeed(*recover))
    who = ("--by", "Olga", "--reason", "the server's time was wrong", "--yes")
    print(await outsider.succeed(*recover, "--execute", *who))
    shown = await outsider.succeed("org", "show", "lives")
    outsider.require(
        "active" in shown, "an organization that lost its plan by the clock has it back"
    )
    late = "SELECT count(*) FROM organizations WHERE next_due_at > $1"
    (waiting,) = (await outsider.rows(late, system_clock() + YEAR * 0.9))[0].values()
    outsider.require(waiting == 0, "no deadline is a year late")
    await outsider.succeed("replay", "--verify")
    await outsider.succeed("guard", "release", *who)


async def _send(outsider: Outsider, event: str, organization: str, **data: object) -> None:
    value = example(event, organization, **data)
    await outsider.send(CHANGES, value, key=organization.encode())


def _text(moment: datetime) -> str:
    return moment.isoformat()


async def _set_clock(outsider: Outsider, moment: datetime) -> None:
    """Make `clock_timestamp()` return the time in a file, for every new connection."""
    file = outsider.folder / "clock"
    is_new = not file.exists()
    await asyncio.to_thread(file.write_text, _text(moment))
    if is_new:
        (name,) = (await outsider.rows("SELECT current_database()"))[0].values()
        body = f"SELECT pg_read_file(''{file}'')::timestamptz"
        kind = "RETURNS timestamptz LANGUAGE sql VOLATILE SECURITY DEFINER"
        for statement in (
            "CREATE SCHEMA moved",
            "GRANT USAGE ON SCHEMA moved TO PUBLIC",
            f"CREATE FUNCTION moved.clock_timestamp() {kind} AS '{body}'",
            f'ALTER DATABASE "{name}" SET search_path = moved, pg_catalog, public',
        ):
            await outsider.rows(statement)


if __name__ == "__main__":
    repeat(attack)
