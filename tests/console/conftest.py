"""The console's application on a database with organizations in every state."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import httpx2
import pytest
from pydantic import SecretStr
from starlette.applications import Starlette

import servers
from acceptance.operator_scenario import FLEET, TODAY, UNREADABLE
from acceptance.scenario import at
from acceptance.stage import MovableClock
from marketplace_worker.console import page
from marketplace_worker.console.application import application
from marketplace_worker.console.page import PageContext
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.settings import Console, Postgres
from marketplace_worker.store.database import Pool, connecting
from marketplace_worker.store.policies import PolicyBook
from marketplace_worker.store.sessions import Access
from steps.conftest import working_on
from steps.story_beginnings import day_of, ingest_lines, wait

ADDRESS = "http://127.0.0.1:8600"


@pytest.fixture(scope="session")
async def postgres_template(postgres_server: str, schema_template: str) -> AsyncIterator[str]:
    """The name of a database with the fleet of docs/operating.md, all due steps taken."""
    name, clock = f"fleet_{uuid4().hex}", MovableClock()
    async with servers.fresh_database(postgres_server, name, schema_template) as dsn:
        async with working_on(dsn, clock) as worker:
            for line in FLEET:
                if day_of(line) <= TODAY:
                    await wait(worker, clock, day_of(line))
                    await ingest_lines(worker, clock, line)
            await wait(worker, clock, TODAY)
            await ingest_lines(worker, clock, *UNREADABLE)
        yield name


@pytest.fixture
async def pool(postgres_dsn: str) -> AsyncIterator[Pool]:
    """The console's own connections, with the rights of its login; here the owner's."""
    async with connecting(Postgres(dsn=SecretStr(postgres_dsn)), Access.READ) as pool:
        yield pool


@pytest.fixture
def settings() -> Console:
    """On loopback without a sign-in, where a test says nothing else."""
    return Console()


@pytest.fixture
def app(pool: Pool, settings: Console, monkeypatch: pytest.MonkeyPatch) -> Starlette:
    """The application, with the clock of the scenario."""
    clock = MovableClock(at(TODAY))
    monkeypatch.setattr(page, "database_clock", clock)
    monkeypatch.setattr(page, "system_clock", clock.of_machine)
    return application(PageContext(pool, PolicyBook(Policy())), settings)


@pytest.fixture
async def browser(app: Starlette, settings: Console) -> AsyncIterator[httpx2.AsyncClient]:
    """A client that keeps cookies, and does not follow redirects."""
    async with browsing(app, settings.address_in_browser) as client:
        yield client


@asynccontextmanager
async def browsing(app: Starlette, address: str = ADDRESS) -> AsyncIterator[httpx2.AsyncClient]:
    """Another client."""
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url=address) as client:
        yield client
