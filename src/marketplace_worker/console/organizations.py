"""The page that lists organizations; its filters are those of `org list`, and are in the address.

Not by email: an address in a browser's history and a proxy's log is personal data.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TypeVar
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from marketplace_worker.console.page import context_of, render
from marketplace_worker.contract.policy_file import parse_duration
from marketplace_worker.errors import Misconfigured
from marketplace_worker.inspection.listing import (
    EXAMINED_MAX,
    WAITING,
    Criteria,
    OrganizationPage,
    count_by_state,
    list_organizations,
    remarks,
)
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import Marketplace
from marketplace_worker.store.listing import WaitsFor

E = TypeVar("E", bound=StrEnum)

PAGE = 50

FILTERS = (
    "state",
    "marketplace",
    "subscription",
    "billing-account",
    "due-within",
    "waiting",
    "held",
)
"""The parameters of the address; an empty one selects all."""

LENGTHS = {"P1D": "a day", "P7D": "7 days", "P30D": "30 days", "P60D": "60 days"}
"""The values of `due-within` that the page offers; the address takes any duration."""


async def _organizations(request: Request) -> Response:
    chosen = {name: each for name in FILTERS if (each := request.query_params.get(name, ""))}
    criteria = _criteria(chosen)
    inspector = await context_of(request).inspector()
    try:
        found = await list_organizations(
            inspector, criteria, after=request.query_params.get("after"), limit=PAGE
        )
    except Misconfigured:
        raise HTTPException(404, "There is no such page") from None
    values = {
        "found": found,
        "remarks": remarks,
        "chosen": chosen,
        "counts": None if chosen.keys() - {"state"} else await count_by_state(inspector),
        "states": _addresses(chosen),
        "marketplaces": tuple(Marketplace),
        "lengths": _lengths(chosen),
        "waiting": WAITING,
        "examined_max": EXAMINED_MAX,
        "short": found.after is not None and len(found.organizations) < PAGE,
        "next": _next(chosen, found),
        "now": found.now,
    }
    return render(request, "organizations.html", values)


def _criteria(chosen: Mapping[str, str]) -> Criteria:
    """The filters of an address; raises a 404 for a value that there is not."""
    within = chosen.get("due-within")
    try:
        due_within = parse_duration(within) if within else None
    except (ValueError, OverflowError):
        raise HTTPException(404, "There is no such length of time") from None
    return Criteria(
        state=_one_of(State, chosen.get("state")),
        marketplace=_one_of(Marketplace, chosen.get("marketplace")),
        subscription=chosen.get("subscription"),
        billing_account=chosen.get("billing-account"),
        due_within=due_within,
        waits_for=_one_of(WaitsFor, chosen.get("waiting")),
        held="held" in chosen,
    )


def _one_of(kind: type[E], value: str | None) -> E | None:
    try:
        return kind(value) if value else None
    except ValueError:
        raise HTTPException(404, "There is no such filter") from None


def _addresses(chosen: Mapping[str, str]) -> Sequence[tuple[State | None, str]]:
    """Each state, and None for all, with the address of the list of it under the other filters."""
    others = {name: value for name, value in chosen.items() if name != "state"}
    return [
        (state, f"/organizations?{urlencode(others | ({'state': state.value} if state else {}))}")
        for state in (None, *State)
    ]


def _lengths(chosen: Mapping[str, str]) -> Mapping[str, str]:
    """What the page offers, and what the address has."""
    within = chosen.get("due-within")
    return {within: within} | LENGTHS if within and within not in LENGTHS else LENGTHS


def _next(chosen: Mapping[str, str], found: OrganizationPage) -> str | None:
    if found.after is None:
        return None
    return f"/organizations?{urlencode({**chosen, 'after': found.after})}"


ROUTES: Sequence[BaseRoute] = (Route("/organizations", _organizations, methods=["GET"]),)
