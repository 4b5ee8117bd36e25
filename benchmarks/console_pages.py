"""Measures each page of the console on a large fleet: `python -m benchmarks.console_pages`.

A fleet of 1,000,000 organizations, a twentieth of them on their way down, two years of history, and
100,000 dead letters that wait.  For each page: the median and the longest time until the answer is
complete.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import perf_counter

import asyncpg
import httpx2
import uvloop
from pydantic import SecretStr
from rich.console import Console as Terminal
from rich.table import Table

from marketplace_worker.console.application import PAGES, application
from marketplace_worker.console.page import PageContext
from marketplace_worker.embedded.postgres import Durability, postgres
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.operations.logs import set_up_logs
from marketplace_worker.settings import Console, Postgres
from marketplace_worker.store.database import Pool, connecting
from marketplace_worker.store.migrations import migrate
from marketplace_worker.store.policies import PolicyBook
from marketplace_worker.store.sessions import Access

ORGANIZATIONS = 1_000_000
LETTERS = 100_000
RUNS = 30

PATHS = {
    "/dead-letters/{id:int}": "/dead-letters/77",
    "/organizations/{id:path}": "/organizations/acme",
}
"""A path for each route with a parameter."""

FILL = """
INSERT INTO organizations (organization_id, document, state, sequence, created, watches_activity,
                           next_due_at)
SELECT 'org-' || n, jsonb_build_object('id', n, 'told', repeat('x', 800)), state, 1, true,
       state NOT IN ('active', 'deactivated'),
       CASE WHEN state <> 'deactivated' THEN now() + random() * 90 * interval '1 day' END
FROM (
    SELECT n, CASE n % 20
                  WHEN 0 THEN (ARRAY['canceled', 'control_plane_loss', 'suspended'])[1 + n / 20 % 3]
                  WHEN 1 THEN 'deactivated'
                  ELSE 'active'
              END AS state
    FROM generate_series(1, $organizations) AS n
) AS numbered;
INSERT INTO links
SELECT 'org-' || n, (ARRAY['aws', 'gcp', 'azure'])[1 + n % 3], 'sub-' || n
FROM generate_series(1, $organizations) AS n;
INSERT INTO dead_letters (topic, partition, "offset", part, recorded_at, refused_at, reason, field,
                          headers, group_id, status, value)
SELECT 't', 0, n, 0, now(), now(), 'is missing', 'field', '[]', 'group-' || n % 40, 'waiting',
       convert_to(repeat('x', 500), 'UTF8')
FROM generate_series(1, $letters) AS n;
INSERT INTO state_changes (day, state, change)
SELECT current_date - n % 730, state, 1
FROM unnest(ARRAY['active', 'canceled', 'control_plane_loss', 'suspended', 'deactivated']) AS state,
     generate_series(1, 930) AS n;
INSERT INTO feed_days
SELECT feed, current_date - n, partition, now(), now()
FROM unnest(ARRAY['logins', 'api_requests']) AS feed, generate_series(0, 90) AS n,
     generate_series(0, 11) AS partition;
"""


async def _fill(owner: Pool) -> None:
    statements = FILL.replace("$organizations", str(ORGANIZATIONS))
    await owner.execute(statements.replace("$letters", str(LETTERS)), timeout=600)
    await owner.execute("VACUUM (ANALYZE)", timeout=600)


async def _measure(dsn: str) -> Sequence[tuple[str, float, float]]:
    """Path, median and longest time (s) of each page."""
    async with connecting(Postgres(dsn=SecretStr(dsn)), Access.READ) as pool:
        context = PageContext(pool, PolicyBook(Policy()))
        began = perf_counter()
        await context.calendar.value()
        took = perf_counter() - began
        rows = [("(the calendar, in the background)", took, took)]
        settings = Console()
        transport = httpx2.ASGITransport(app=application(context, settings))
        async with httpx2.AsyncClient(
            transport=transport, base_url=settings.address_in_browser
        ) as browser:
            for route in PAGES:
                path = str(getattr(route, "path", ""))
                if "GET" in (getattr(route, "methods", None) or ()):
                    rows.append(await _page(browser, PATHS.get(path, path)))
    return rows


async def _page(browser: httpx2.AsyncClient, path: str) -> tuple[str, float, float]:
    times = []
    for _ in range(RUNS):
        began = perf_counter()
        answer = await browser.get(path)
        assert answer.status_code == 200, path
        times.append(perf_counter() - began)
    return path, median(times), max(times)


async def main() -> None:
    """Fill a database, ask for each page, and print the times."""
    set_up_logs(sys.stderr, "warning")
    with tempfile.TemporaryDirectory() as folder:
        async with postgres(Path(folder), Durability.NONE) as dsn:
            async with connecting(Postgres(dsn=SecretStr(dsn))) as pool:
                await migrate(pool)
            async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as owner:
                await _fill(owner)
            sys.stderr.write(f"{ORGANIZATIONS:,} organizations, {LETTERS:,} dead letters\n")
            table = Table("page", "median (ms)", "longest (ms)")
            for path, middle, longest in await _measure(dsn):
                table.add_row(path, f"{middle * 1000:.1f}", f"{longest * 1000:.1f}")
    Terminal().print(table)


if __name__ == "__main__":
    uvloop.run(main())
