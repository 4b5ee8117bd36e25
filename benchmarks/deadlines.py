"""`deadlines`: 100,000 organizations due for suspension at the same time, with an open guard.

If a run through all of them takes more than a few seconds, only the first ones are measured, in the
order in which they are claimed.
"""

from datetime import UTC, datetime, timedelta
from functools import partial

from benchmarks import cloning, naive, workloads
from benchmarks.capturing import written_of_each
from benchmarks.measuring import Options, Ours, Rival, capture, compared, taking_turns
from benchmarks.results import Row
from benchmarks.stage import Connection, Stage
from marketplace_worker.settings import Settings

ORGANIZATIONS = 100_000
MEASURED = 2_400
NAIVE_ORGANIZATIONS = 150
PREFIX = "out."
WANTED = "0.5 of floor, 12 x naive"
TABLES = tuple(table for table in cloning.TABLES if table != "decisions")
"""Without the history, which is not read here: copying it takes longer than everything else."""


async def measure(stage: Stage, options: Options) -> list[Row]:
    """Measure all contenders; returns one row."""
    organizations = options.size(ORGANIZATIONS, least=4_000)
    count = min(organizations, options.size(MEASURED, least=1_000))
    await stage.template("deadlines", partial(_build, organizations=organizations))
    await stage.template(
        "deadlines_naive", partial(naive.fill, organizations=organizations, due=True)
    )
    await stage.topics(PREFIX)
    ours = Ours(stage, "deadlines", PREFIX, "deadlines", "deadlines_fired", "organizations", count)
    written = await capture(ours, deadlines=True)
    naive_count = options.size(NAIVE_ORGANIZATIONS, least=60)
    rivals = {
        "floor": Rival(
            ours, "benchmarks.floor_deadlines", ours.count, captured=written.save(stage.folder)
        ),
        "naive": Rival(ours, "benchmarks.naive_deadlines", naive_count, template="deadlines_naive"),
    }
    runs = await taking_turns({"ours": ours, **rivals}, options.runs)
    more = {"due": organizations, "written_of_each": written_of_each(written)}
    return [compared(ours, runs, "organizations/s", WANTED, rivals, **more)]


async def _build(connection: Connection, settings: Settings, *, organizations: int) -> None:
    now = datetime.now(UTC)
    (number,) = await cloning.seed(settings, [workloads.DUE], now, until=timedelta(days=2))
    await cloning.clone(connection, number, range(organizations), tables=TABLES, journal_rows=1)
