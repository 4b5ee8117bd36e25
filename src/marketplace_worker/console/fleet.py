"""The page of the fleet: organizations by state, what is due, the guard, and what waits."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from marketplace_worker.console.charts import STACKED, curve, stacked_bars
from marketplace_worker.console.page import context_of, render
from marketplace_worker.inspection.calendar import DAYS
from marketplace_worker.inspection.status import Status, findings
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import Marketplace
from marketplace_worker.store.organizations import DueOnDay

MONTH = 30
"""In days: over which a change is shown beside each number."""

OTHERS = "others"
"""In the address: organizations without a subscription, or with several marketplaces."""


async def _fleet(request: Request) -> Response:
    context = context_of(request)
    chosen = request.query_params.get("marketplace", "")
    calendar = await context.calendar.value()
    due = _filtered(calendar.due, chosen)
    counts = _by_day(due)
    first = calendar.now.date()
    status = await context.status()
    numbers_of = status.fleet.states.numbers
    values = {
        **_values(status),
        "curves": {state: curve(numbers) for state, numbers in numbers_of.items()},
        "month_ago": {state: numbers[-1 - MONTH] for state, numbers in numbers_of.items()},
        "calendar": calendar,
        "days": DAYS,
        "bars": stacked_bars(first, DAYS, counts),
        "rows": sorted(counts.items()),
        "stacked": STACKED,
        "chosen": chosen,
        "others": OTHERS,
        "choices": ("", *Marketplace, OTHERS),
        "due": sum(each.organizations for each in due),
        "overdue": sum(each.organizations for each in due if each.day < first),
        "within_a_week": sum(
            each.organizations for each in due if each.day < first + timedelta(days=7)
        ),
    }
    return render(request, "fleet.html", values)


def _filtered(due: Sequence[DueOnDay], chosen: str) -> Sequence[DueOnDay]:
    """What is due of one marketplace, or of all; raises a 404 for an unknown one."""
    if not chosen:
        return due
    try:
        wanted = None if chosen == OTHERS else Marketplace(chosen)
    except ValueError:
        raise HTTPException(404, "There is no such marketplace") from None
    return [each for each in due if each.marketplace == wanted]


def _by_day(due: Sequence[DueOnDay]) -> Mapping[date, Mapping[State, int]]:
    by_day: dict[date, dict[State, int]] = {}
    for each in due:
        of_day = by_day.setdefault(each.day, {})
        of_day[each.state] = of_day.get(each.state, 0) + each.organizations
    return by_day


def _values(status: Status) -> dict[str, Any]:
    """What the parts show that are loaded again."""
    return {"overview": status.fleet, "status": status, "findings": findings(status)}


async def _now(request: Request) -> Response:
    """A part that the page loads again every few seconds."""
    return render(request, "now.html", _values(await context_of(request).status()))


async def _findings(request: Request) -> Response:
    """Another one."""
    return render(request, "findings.html", _values(await context_of(request).status()))


ROUTES: Sequence[BaseRoute] = (
    Route("/", _fleet, methods=["GET"]),
    Route("/now", _now, methods=["GET"]),
    Route("/findings", _findings, methods=["GET"]),
)
