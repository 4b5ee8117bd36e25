"""The console on a port of its own with a large fleet, and a headless Chromium.

Chromium is Debian's: `apt-get install chromium`.
"""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal
from uuid import uuid4

import pytest
from playwright.async_api import Browser, Page, async_playwright
from pydantic import SecretStr

import servers
from acceptance.scenario import at
from acceptance.stage import MovableClock, until
from browser.large_fleet import TODAY, fill
from marketplace_worker.console import page as shared
from marketplace_worker.console import serve
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.settings import Console, ConsoleSettings, Postgres
from steps.conftest import working_on

Scheme = Literal["light", "dark"]


@pytest.fixture(scope="session")
async def filled_dsn(postgres_server: str, schema_template: str) -> AsyncIterator[str]:
    """The DSN of a database with the fleet; the tests only read it."""
    name, clock = f"console_{uuid4().hex}", MovableClock()
    async with servers.fresh_database(postgres_server, name, schema_template) as dsn:
        async with working_on(dsn, clock) as worker:
            await fill(worker, clock)
            await worker.pool.execute("DELETE FROM outbox")  # as if a relay had sent all
        yield dsn


@pytest.fixture(scope="session")
async def address(filled_dsn: str) -> AsyncIterator[str]:
    """The address of the console, which runs on the clock of the fleet."""
    settings = ConsoleSettings(
        postgres=Postgres(dsn=SecretStr(filled_dsn)), console=Console(port=_free_port())
    )
    stop = asyncio.Event()
    with pytest.MonkeyPatch.context() as patch:
        clock = MovableClock(at(TODAY))
        patch.setattr(shared, "database_clock", clock)
        patch.setattr(shared, "system_clock", clock.of_machine)
        serving = asyncio.create_task(serve(settings, Policy(), stop=stop))
        await until(lambda: _answers(serving, settings.console.port))
        yield settings.console.address_in_browser
        stop.set()
        await serving


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


async def _answers(serving: asyncio.Task[None], port: int) -> bool:
    if serving.done():
        serving.result()
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


@pytest.fixture(scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """Debian's."""
    program = shutil.which("chromium")
    if program is None:
        pytest.fail("there is no chromium (on Debian: apt-get install chromium)", pytrace=False)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        await browser.close()


@asynccontextmanager
async def visiting(
    chromium: Browser, address: str, *, scheme: Scheme = "light", width: int = 1280
) -> AsyncIterator[Page]:
    """A page of a new session; at the end there must have been no error and no report of the CSP.

    Chromium writes to the console what the CSP blocks, and each file that it does not get.
    """
    complaints: list[str] = []
    context = await chromium.new_context(
        base_url=address, color_scheme=scheme, viewport={"width": width, "height": 900}
    )
    page = await context.new_page()
    page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    page.on("requestfailed", lambda request: complaints.append(f"failed: {request.url}"))
    yield page
    await context.close()
    assert complaints == []
