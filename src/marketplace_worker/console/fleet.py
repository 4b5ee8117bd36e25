"""The page of the fleet: organizations by state, what is due, the guard, and what waits."""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from marketplace_worker.console.page import context_of, render
from marketplace_worker.inspection.overview import overview


async def _fleet(request: Request) -> Response:
    context = context_of(request)
    found = await overview(await context.inspector(), context.floors)
    return render(request, "fleet.html", {"overview": found, "now": found.now})


async def _now(request: Request) -> Response:
    """The part that the page loads again every few seconds."""
    context = context_of(request)
    found = await overview(await context.inspector(), context.floors)
    return render(request, "now.html", {"overview": found})


ROUTES: Sequence[BaseRoute] = (
    Route("/", _fleet, methods=["GET"]),
    Route("/now", _now, methods=["GET"]),
)
