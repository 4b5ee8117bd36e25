"""Runs the console: the pool of connections and the HTTP server, until a signal."""

import asyncio
import signal
import socket

import structlog
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server
from starlette.applications import Starlette

from marketplace_worker.console.application import application
from marketplace_worker.console.page import PageContext
from marketplace_worker.errors import Misconfigured
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.settings import Console, ConsoleSettings
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
        Misconfigured: the schema is not this version's, or the address or port cannot be used.
        Unavailable: Postgres does not answer at the start.
    """
    requested = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, requested.set)
    console = settings.console
    _require_free(console)
    async with connecting(settings.postgres, Access.READ) as pool:
        await require_current_schema(pool)
        context = PageContext(pool, PolicyBook(policy))
        await context.calendar.value()
        sampling = asyncio.create_task(context.calendar.keep_fresh())
        try:
            await _serve_until(requested, application(context, console), console)
        finally:
            sampling.cancel()
    log.info("console_stopped")


async def _serve_until(requested: asyncio.Event, app: Starlette, console: Console) -> None:
    server = Server(
        app,
        address=str(console.address),
        port=console.port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        websockets=False,
        log_enabled=False,
    )
    serving = asyncio.create_task(server.serve())
    waiting = asyncio.create_task(requested.wait())
    log.info("console_started", address=console.address_in_browser)
    try:
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        if not serving.done():
            server.stop()  # type: ignore[no-untyped-call]  # granian's
        await serving


def _require_free(console: Console) -> None:
    """Refuse a port that is taken: granian would share it with another process of the same user."""
    address = (str(console.address), console.port)
    family = socket.AF_INET6 if console.address.version == 6 else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise Misconfigured(
                f"console.address, console.port: {address[0]}, {address[1]}: {error.strerror}"
            ) from error
