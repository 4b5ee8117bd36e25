"""The page of one organization: its timeline, why it is as it is, what to do, and its history."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from marketplace_worker.console.page import before_of, context_of, record_view, render
from marketplace_worker.console.timeline_chart import Past, draw
from marketplace_worker.explain import for_customers, for_operators
from marketplace_worker.explain.commands import commands
from marketplace_worker.explain.operators import moment, stops_heading
from marketplace_worker.explain.wording import length
from marketplace_worker.inspection.history import for_people
from marketplace_worker.inspection.organizations import Report, full_report
from marketplace_worker.lifecycle.vocabulary import OrganizationId
from marketplace_worker.store.dead_letters import BIGINT_MAX

FACTS = 50
"""Of the history, on one page."""

UNKNOWN = "No message about this organization was ever received"

PAST_NAMES = {Past.QUARTER: "90 days back", Past.YEAR: "a year back", Past.ALL: "all"}


async def _organization(request: Request) -> Response:
    if wanted := request.query_params.get("id"):  # of the form in the head of each page
        return RedirectResponse(f"/organizations/{quote(wanted.strip(), safe='')}", status_code=303)
    id_, before, past = _id(request), before_of(request), _past(request)
    inspector = await context_of(request).inspector()
    found = await full_report(inspector, id_, before=before or BIGINT_MAX, facts=FACTS)
    if not found.known:
        raise _unknown()
    record_view(request, id_)
    explanation = found.report.explanation
    values = {
        "id": id_,
        "organization": found.report.organization,
        "explanation": explanation,
        "operators": for_operators(explanation),
        "heading": stops_heading(explanation),
        "customers": for_customers(explanation),
        "commands": list(commands(explanation)),
        "details": _details(found.report),
        "plans": found.report.snapshot.plans if found.report.snapshot else (),
        "past_names": PAST_NAMES,
        "about": _about,
        "timeline": found.timeline,
        "drawing": draw(found.timeline, past),
        "facts": found.history.facts,
        "next": found.history.before,
        "before": before,
        "now": inspector.now,
    }
    return render(request, "organization.html", values)


def _details(found: Report) -> dict[str, str | datetime]:
    """Names and values of what is known; a page shows a moment with its distance."""
    organization, explanation = found.organization, found.explanation
    cancellation, notice = organization.cancellation, organization.notice
    created = organization.creation
    capabilities = asdict(explanation.state.capabilities) if created else {}
    shown: dict[str, str | datetime | None] = {
        "created": created.occurred_at if created else None,
        "tier": organization.tier.value if organization.tier else None,
        "plan type": organization.plan_type,
        "reason": organization.reason and f"{organization.reason}, by {organization.initiator}",
        "canceled at": cancellation.canceled_at if cancellation else None,
        "extended by": length(cancellation.extension)
        if cancellation and cancellation.extension
        else None,
        "notice": f"{notice.step} on {moment(notice.announced_for_at)}" if notice else None,
        "allowed": ", ".join(name for name, allowed in capabilities.items() if allowed),
        "not allowed": ", ".join(name for name, allowed in capabilities.items() if not allowed),
        "last login": found.seen.login_at,
        "last API request": found.seen.request_at,
        "policy": explanation.standing.policy_version,
        "sequence": str(organization.sequence),
    }
    return {name: value for name, value in shown.items() if value}


def _about(details: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The details of a line of the history, as text."""
    for name, value in for_people(details):
        match value:
            case datetime():
                yield name, moment(value)
            case timedelta():
                yield name, length(value)
            case _:
                yield name, str(value)


def _id(request: Request) -> OrganizationId:
    """The id in the path; raises a 404 for one that Postgres cannot store."""
    id_: str = request.path_params["id"]
    if "\0" in id_ or any("\ud800" <= each <= "\udfff" for each in id_):
        raise _unknown()
    return OrganizationId(id_)


def _unknown() -> HTTPException:
    return HTTPException(404, UNKNOWN)


def _past(request: Request) -> Past:
    try:
        return Past(request.query_params.get("past", Past.QUARTER))
    except ValueError:
        raise HTTPException(404, "There is no such timeline") from None


ROUTES: Sequence[BaseRoute] = (Route("/organizations/{id:path}", _organization, methods=["GET"]),)
