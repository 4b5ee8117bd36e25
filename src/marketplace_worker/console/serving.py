"""Runs the console: the pool of connections and the HTTP server, until a signal."""

import asyncio
import signal

import structlog
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

from marketplace_worker.console.application import application
from marketplace_worker.console.page import PageContext
from marketplace_worker.errors import Misconfigured
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.settings import ConsoleSettings
from marketplace_worker.store.database import connecting
from marketplace_worker.store.migrations import require_current_schema
from marketplace_worker.store.policies import PolicyBook
from marketplace_worker.store.sessions import Access

log = structlog.get_logger(__name__)


async def serve(
    settings: ConsoleSettings, policy: Policy, *, stop: asyncio.Event | None = None
) -> None:
    """Serve the pages until `stop` is set (SIGTERM and SIGINT set it).

    Raises:
        Misconfigured: the schema is not this version's, or the port is taken.
        Unavailable: Postgres does not answer at the start.
    """
    requested = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, requested.set)
    console = settings.console
    async with connecting(settings.postgres, Access.READ) as pool:
        await require_current_schema(pool)
        context = PageContext(pool, PolicyBook(policy))
        await context.calendar.value()
        server = Server(
            application(context, console),
            address=str(console.address),
            port=console.port,
            interface=Interfaces.ASGINL,
            http=HTTPModes.http1,
            websockets=False,
            log_enabled=False,
        )
        serving = asyncio.create_task(_serve(server, console.address, console.port))
        waiting = asyncio.create_task(requested.wait())
        sampling = asyncio.create_task(context.calendar.keep_fresh())
        log.info("console_started", address=console.address_in_browser)
        try:
            await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            sampling.cancel()
            if not serving.done():
                server.stop()  # type: ignore[no-untyped-call]  # granian's
            await serving
    log.info("console_stopped")


async def _serve(server: Server, address: object, port: int) -> None:
    try:
        await server.serve()
    except (OSError, RuntimeError) as error:
        raise Misconfigured(f"console.port: {address}:{port}: {error}") from error
