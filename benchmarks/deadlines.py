"""`deadlines`: 100,000 organizations due for suspension at the same time, with an open guard.

The first ones are measured, in the order in which they are claimed.
"""

from datetime import UTC, datetime, timedelta
from functools import partial

from benchmarks import cloning, naive, workloads
from benchmarks.capturing import written_of_each
from benchmarks.measuring import Options, Ours, Rival, alternate, capture, compared, naive_rival
from benchmarks.results import Row
from benchmarks.stage import Connection, Stage
from marketplace_worker.settings import Settings

ORGANIZATIONS = 100_000
MEASURED_MAX = 48_000
"""The number that a floor processes in five seconds."""
OURS_FIRST = 14_000
"""How many `ours` processes in its first run."""
NAIVE_ORGANIZATIONS = 300
PREFIX = "out."
WANTED = "0.45 of floor"


async def measure(stage: Stage, options: Options) -> list[Row]:
    """Measure all contenders; returns one row."""
    organizations = options.size(ORGANIZATIONS, least=4_000)
    count = min(organizations, options.size(MEASURED_MAX, least=1_000))
    await stage.template("deadlines", partial(_build, organizations=organizations))
    await stage.template(
        "deadlines_naive", partial(naive.fill, organizations=organizations, due=True)
    )
    await stage.topics(PREFIX)
    ours = Ours(
        stage,
        "deadlines",
        PREFIX,
        loop="deadlines",
        event="deadlines_fired",
        counted="organizations",
        count=min(count, options.size(OURS_FIRST, least=1_000)),
        available=count,
    )
    written = await capture(ours, deadlines=True)
    rivals = {
        "floor": Rival(
            ours, "benchmarks.floor_deadlines", count, count, captured=written.save(stage.folder)
        ),
        "naive": naive_rival(
            ours,
            "benchmarks.naive_deadlines",
            options.size(NAIVE_ORGANIZATIONS, least=60),
            template="deadlines_naive",
        ),
    }
    runs = await alternate({"ours": ours, **rivals}, options)
    more = {"due": organizations, "written_of_each": written_of_each(written)}
    return [compared(ours, runs, "organizations/s", WANTED, rivals, **more)]


async def _build(connection: Connection, settings: Settings, *, organizations: int) -> None:
    now = datetime.now(UTC)
    (number,) = await cloning.seed(settings, [workloads.DUE], now, until=timedelta(days=2))
    await cloning.clone(
        connection, number, range(organizations), tables=cloning.WITHOUT_HISTORY, journal_rows=1
    )
