"""Measures each page of the console on a large fleet: `python -m benchmarks.console_pages`.

A fleet of 1,000,000 organizations, a twentieth of them on their way down, two years of history, and
100,000 dead letters that wait; the page of one organization shows one with 2,000 facts and 300
decisions, decided by the worker's own steps.  For each page: the median and the longest time until
the answer is complete.
"""

import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from time import perf_counter

import asyncpg
import httpx2
import uvloop
from pydantic import SecretStr
from rich.console import Console as Terminal
from rich.table import Table

from benchmarks.cloning import SetClock, pass_time
from marketplace_worker.console.application import PAGES, application
from marketplace_worker.console.page import PageContext
from marketplace_worker.documents import organization_to_json, subscription_to_json
from marketplace_worker.embedded.postgres import Durability, postgres
from marketplace_worker.lifecycle.cancellation import Cancellation
from marketplace_worker.lifecycle.organization import (
    Commitment,
    Creation,
    LatestWins,
    Organization,
)
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.subscription import Subscription
from marketplace_worker.lifecycle.vocabulary import (
    DeactivationCause,
    OrganizationId,
    SubscriptionKey,
)
from marketplace_worker.operations.logs import set_up_logs
from marketplace_worker.runtime.worker import worker_of
from marketplace_worker.settings import Console, Kafka, Postgres, Settings
from marketplace_worker.steps.ingest import ingest
from marketplace_worker.store import policies
from marketplace_worker.store.database import Pool, connecting, transaction
from marketplace_worker.store.migrations import migrate
from marketplace_worker.store.policies import PolicyBook
from marketplace_worker.store.sessions import Access
from marketplace_worker.testing import (
    AwsKind,
    Marketplace,
    Message,
    PlanType,
    Tier,
    aws_notification,
    created,
    subscription_linked,
    tier_changed,
)

ORGANIZATIONS = 1_000_000
LETTERS = 100_000
RUNS = 30

PATHS = {
    "/dead-letters/{id:int}": ("/dead-letters/77",),
    "/organizations/{id:path}": ("/organizations/acme",),
    "/organizations": (
        "/organizations",
        "/organizations?state=suspended",
        "/organizations?marketplace=gcp",
        "/organizations?subscription=sub-777777",
        "/organizations?billing-account=account-777777",
        "/organizations?due-within=P30D",
        "/organizations?held=yes",
        "/organizations?waiting=guard",
        "/organizations?state=active&marketplace=gcp",
        "/organizations?due-within=P30D&waiting=guard",
        "/organizations?state=suspended&marketplace=azure",
        "/organizations?due-within=P60D&marketplace=azure",
    ),
}
"""The measured paths of a route, where it is not its own alone.  Few organizations bought at Azure:
such a page ends at the largest number of organizations that it examines.
"""

AT = datetime(2026, 1, 1, tzinfo=UTC)


def _documents() -> str:
    """An organization in each state, about as long as real ones."""
    commitments = tuple(
        Commitment(f"commitment-{n}", AT, AT, linked_at=AT, updated_at=AT, id=f"{n}")
        for n in range(3)
    )
    cause = DeactivationCause.SUPPORT_REQUEST
    documents = {
        state: Organization(
            OrganizationId(""),
            Creation(AT, "created", AT),
            LatestWins(AT, "created", Tier.PLUS),
            commitments=commitments,
            state=state,
            entered_at=AT,
            cancellation=Cancellation(AT, "", "default") if state.in_cancellation else None,
            deactivation_cause=cause if state is State.DEACTIVATED else None,
        )
        for state in State
    }
    return json.dumps(
        {state: json.loads(organization_to_json(each)) for state, each in documents.items()}
    )


FILL = """
INSERT INTO organizations (organization_id, document, state, sequence, created, watches_activity,
                           next_due_at)
SELECT 'org-' || n,
       jsonb '$documents' -> state
       || jsonb_build_object('id', 'org-' || n)
       || CASE WHEN n % 1000 = 0 THEN jsonb '{"withheld_at": "2026-01-01T00:00:00Z"}'
               WHEN n % 2000 = 20 THEN jsonb '{"holds": [{"kind": "legal", "placed_at":
                                               "2026-01-01T00:00:00Z", "expires_at": null}]}'
               ELSE '{}' END,
       state, 1, true,
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
SELECT 'org-' || n, CASE WHEN n % 10000 = 0 THEN 'azure' WHEN n % 3 = 0 THEN 'gcp' ELSE 'aws' END,
       'sub-' || n
FROM generate_series(1, $organizations) AS n;
INSERT INTO subscriptions (marketplace, subscription_id, document)
SELECT marketplace, subscription_id,
       jsonb_set(jsonb '$subscription', '{key}', jsonb_build_object(
           'marketplace', marketplace, 'subscription_id', subscription_id
       ))
FROM links WHERE subscription_id LIKE 'sub-%';
INSERT INTO billing_accounts
SELECT marketplace, replace(subscription_id, 'sub', 'account'), subscription_id
FROM links WHERE subscription_id LIKE 'sub-%';
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


TIERS = (Tier.PLUS, Tier.ENTERPRISE)


def _story(now: datetime) -> Iterator[Message]:
    """Of `acme`, over 600 days: many plans, one after another, and many changes of its tier."""
    began = now - timedelta(days=600)
    yield created("acme", at=began, tier=Tier.PLUS)
    for n in range(30):
        plan, begins = f"agmt-acme-{n}", began + timedelta(days=20 * n)
        yield subscription_linked("acme", Marketplace.AWS, plan, at=begins, plan_type=PlanType.PAYG)
        for change in range(64):
            at = begins + timedelta(hours=1 + 2 * change)
            yield tier_changed("acme", TIERS[change % 2], at=at)
        yield aws_notification(AwsKind.AGREEMENT_ENDED, plan, at=begins + timedelta(days=6))


async def _decide(dsn: str) -> None:
    """Ingest the story, and fire each deadline at its own time."""
    settings = Settings(
        kafka=Kafka(bootstrap_servers="127.0.0.1:9"),  # it is not asked
        postgres=Postgres(dsn=SecretStr(dsn)),
        email_key=SecretStr("sixteen characters"),
    )
    now = datetime.now(UTC).replace(microsecond=0)
    clock = SetClock(now)
    async with connecting(settings.postgres) as pool:
        worker = worker_of(settings, Policy(), pool, clock, clock.of_machine)
        async with transaction(pool) as conn:
            await policies.register(conn, Policy(), now=now)
        for each in _story(now):
            await pass_time(worker, clock, each.at)
            await ingest([each.record()], worker)
        await pass_time(worker, clock, now)


async def _fill(owner: Pool) -> None:
    statements = FILL.replace("$organizations", str(ORGANIZATIONS))
    statements = statements.replace("$documents", _documents())
    blank = subscription_to_json(Subscription(SubscriptionKey(Marketplace.AWS, "")))
    statements = statements.replace("$subscription", blank)
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
                    rows += [await _page(browser, each) for each in PATHS.get(path, (path,))]
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
            await _decide(dsn)
            async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as owner:
                await _fill(owner)
            sys.stderr.write(f"{ORGANIZATIONS:,} organizations, {LETTERS:,} dead letters\n")
            table = Table("page", "median (ms)", "longest (ms)")
            for path, middle, longest in await _measure(dsn):
                table.add_row(path, f"{middle * 1000:.1f}", f"{longest * 1000:.1f}")
    Terminal().print(table)


if __name__ == "__main__":
    uvloop.run(main())
