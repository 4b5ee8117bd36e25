"""The commands that show one organization: its state, its history, and the reasons."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from marketplace_worker.cli.grammar import As, Config, Output
from marketplace_worker.cli.inspecting import inspecting
from marketplace_worker.cli.options import run_async
from marketplace_worker.cli.printing import (
    Cell,
    as_data,
    print_data,
    print_facts,
    print_section,
    print_table,
    printed,
)
from marketplace_worker.errors import Misconfigured
from marketplace_worker.explain import Explanation, for_customers, for_operators
from marketplace_worker.explain.operators import moment, stops_heading
from marketplace_worker.explain.values import NotCreated
from marketplace_worker.inspection.history import HistoryLine, LineKind, for_people, history
from marketplace_worker.inspection.organizations import Report, report
from marketplace_worker.lifecycle.vocabulary import OrganizationId
from marketplace_worker.terminal import visible

Id = Annotated[str, typer.Argument(help="The organization's id.", metavar="ORG")]


async def _report(config: Path | None, organization: str) -> Report:
    async with inspecting(config) as inspector:
        return await report(inspector, OrganizationId(organization))


async def _history(config: Path | None, organization: str) -> list[HistoryLine]:
    async with inspecting(config) as inspector:
        return await history(inspector, OrganizationId(organization))


def never_received(organization: str) -> Misconfigured:
    """The error for an organization of which nothing was ever received."""
    return Misconfigured(
        f"{visible(organization)}: no message about this organization was ever received (its id is "
        "the subject of its events)"
    )


# --- show -----------------------------------------------------------------------------------------


def show_command(organization: Id, config: Config = None, output: As = Output.TABLE) -> None:
    """Show an organization: state, capabilities, plans, holds, notice, next step."""
    show(run_async(_report(config, organization)), output)


def show(found: Report, output: Output) -> None:
    """Print the state of an organization, current or past."""
    if found.explanation.why == NotCreated(kept=False):
        raise never_received(found.organization.id)
    if output is not Output.TABLE:
        print_data(_as_shown(found), output)
        return
    print_facts(_facts(found))
    print_section("Why", for_operators(found.explanation).why)
    if found.snapshot is not None and found.snapshot.plans:
        printed("")
        print_table(
            ("plan", "status", "active", "plan type", "ends (UTC)"),
            (
                (p.name, p.status, "yes" if p.active else "no", p.plan_type, p.ends_at)
                for p in found.snapshot.plans
            ),
        )
    if found.organization.holds:
        printed("")
        print_table(
            ("hold", "placed (UTC)", "expires (UTC)"),
            ((h.kind, h.placed_at, h.expires_at) for h in found.organization.holds),
        )


def _as_shown(found: Report) -> dict[str, object]:
    organization, standing = found.organization, found.explanation.standing
    cancellation = organization.cancellation
    return {
        "organization_id": organization.id,
        "created_at": organization.creation and organization.creation.occurred_at,
        "state": standing.state if organization.creation else None,
        "since": found.explanation.since,
        "previous_state": organization.previous_state,
        "capabilities": standing.capabilities if organization.creation else None,
        "reason": organization.reason,
        "initiator": organization.initiator,
        "plan_type": organization.plan_type,
        "recoverable": organization.recoverable,
        "erased_at": organization.erased_at,
        "tier": organization.tier and organization.tier.value,
        "policy_version": standing.policy_version,
        "canceled_at": cancellation and cancellation.canceled_at,
        "extension": cancellation and cancellation.extension,
        "next_step": standing.next_step,
        "schedule": found.explanation.schedule,
        "notice": organization.notice
        and {
            "step": organization.notice.step,
            "at": organization.notice.announced_for_at,
            "given_at": organization.notice.given_at,
        },
        "pending": organization.pending,
        "withheld_since": organization.withheld_at,
        "postponed_until": organization.postponed_until,
        "plans": found.snapshot.plans if found.snapshot else (),
        "holds": organization.holds,
        "last_login_at": found.seen.login_at,
        "last_api_request_at": found.seen.request_at,
        "sequence": organization.sequence,
        "revision": organization.revision,
    }


def _facts(found: Report) -> dict[str, Cell]:
    """The fields of the table; empty ones are left out."""
    organization, standing = found.organization, found.explanation.standing
    created = organization.creation is not None
    notice, pending, step = organization.notice, organization.pending, standing.next_step
    shown: dict[str, Cell] = {
        "organization": organization.id,
        "state": standing.state if created else "never created",
        "since": found.explanation.since,
        "allowed": _capabilities(found.explanation, having=True) if created else None,
        "not allowed": _capabilities(found.explanation, having=False) if created else None,
        "reason": organization.reason and f"{organization.reason}, by {organization.initiator}",
        "plan type": organization.plan_type,
        "next step": f"{step.state} on {moment(step.at)}" if step else None,
        "notice": f"{notice.step} on {moment(notice.announced_for_at)}" if notice else None,
        "notice given": notice.given_at if notice else None,
        "pending": f"{pending.subscription}, completed by {pending.completed_by}"
        if pending
        else None,
        "withheld since": organization.withheld_at,
        "postponed until": organization.postponed_until,
        "erased": organization.erased_at,
        "tier": organization.tier.value if organization.tier else None,
        "last login": found.seen.login_at,
        "last API request": found.seen.request_at,
        "policy": standing.policy_version,
        "sequence": organization.sequence,
    }
    return {name: value for name, value in shown.items() if value is not None}


def _capabilities(explanation: Explanation, *, having: bool) -> str | None:
    may: Mapping[str, bool] = as_data(explanation.standing.capabilities)
    return ", ".join(name for name, allowed in may.items() if allowed is having) or None


# --- history --------------------------------------------------------------------------------------


def history_command(organization: Id, config: Config = None, output: As = Output.TABLE) -> None:
    """List the facts, transitions and events of an organization, in order."""
    lines = run_async(_history(config, organization))
    if not lines:
        raise never_received(organization)
    if output is not Output.TABLE:
        document = {"organization_id": organization, "history": lines}
        print_data(document, output, rows="history")
        return
    print_table(
        ("decided (UTC)", "", "what", "by", "outcome", "policy"),
        (_line(each) for each in lines),
        prose=("what",),
    )


def _line(line: HistoryLine) -> tuple[Cell, ...]:
    """A row; the consequences of a fact repeat nothing from its row."""
    match line.line:
        case LineKind.FACT:
            what = f"{line.what}{_about(line.about)}"
            return line.at, "", what, line.actor, line.outcome, line.policy_version
        case LineKind.TRANSITION:
            return "", "", line.what, "", "", line.policy_version
        case LineKind.EVENT:
            return "", line.sequence, f"{line.what}{_about(line.about)}", "", "", ""


def _about(about: Mapping[str, Any]) -> str:
    return "".join(f" {name}={as_data(value)}" for name, value in for_people(about))


# --- explain --------------------------------------------------------------------------------------


def explain_command(organization: Id, config: Config = None, output: As = Output.TABLE) -> None:
    """Explain an organization's state, what comes next by which rule, and what would stop it.

    The last section is written for the customer and can be passed on.
    """
    explanation = run_async(_report(config, organization)).explanation
    operators, customers = for_operators(explanation), for_customers(explanation)
    if output is not Output.TABLE:
        print_data(
            {
                "organization_id": explanation.standing.organization,
                "now": explanation.now,
                "state": None if isinstance(explanation.why, NotCreated) else explanation.state,
                "since": explanation.since,
                "why": explanation.why,
                "next": explanation.next,
                "schedule": explanation.schedule,
                "stoppers": explanation.remedies,
                "links": explanation.links,
                "policy_version": explanation.standing.policy_version,
                "policy_in_force": explanation.policy_in_force,
                "words": {"operator": operators, "customer": customers},
            },
            output,
        )
        return
    created = not isinstance(explanation.why, NotCreated)
    state = explanation.state if created else "unknown"
    printed(f"{explanation.standing.organization} is {state}, as of {moment(explanation.now)}")
    print_section("Why", operators.why)
    print_section("What comes next", operators.next)
    print_section(stops_heading(explanation), operators.stops)
    print_section("For the customer", (*customers.why, *customers.next, *customers.stops))
