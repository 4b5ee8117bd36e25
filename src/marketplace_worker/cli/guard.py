"""The commands of the guard: its status, tripping and releasing it."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

import typer

from marketplace_worker.cli.options import (
    AsJson,
    Config,
    by_operator,
    inspecting,
    name_of,
    operating,
    reason_of,
    run_async,
)
from marketplace_worker.cli.printing import (
    Cell,
    print_facts,
    print_json,
    print_table,
    printed,
)
from marketplace_worker.errors import Misconfigured
from marketplace_worker.inspection.guarding import Counted, GuardStatus, guard_status
from marketplace_worker.lifecycle.decide import Decision, Outcome
from marketplace_worker.lifecycle.facts import GuardReleased, GuardTripped
from marketplace_worker.lifecycle.safeguards import Trip
from marketplace_worker.lifecycle.vocabulary import GuardSide
from marketplace_worker.lifecycle.worker_details import (
    GuardReleasedDetails,
)
from marketplace_worker.settings import Settings, load_settings
from marketplace_worker.steps.guard_operations import operate
from marketplace_worker.store.database import transaction

SET_BACK = (
    "the database holds less than was published, after a restore or failover: run "
    "`marketplace-worker recover --from-restore` first (docs/runbook.md)"
)
NUMBER_MAX = 1_000_000

guard_cli = typer.Typer(help="The guard, which limits destructive steps.", no_args_is_help=True)

By = Annotated[str, typer.Option(help="Your name; it is published with the event.")]
Reason = Annotated[str, typer.Option(help="The reason; it is published with the event.")]


@guard_cli.command("status")
def status_command(config: Config = None, as_json: AsJson = False) -> None:
    """Show whether the guard is tripped, its counts and limits, and the withheld steps."""
    status = run_async(_status(load_settings(config)))
    if as_json:
        print_json(_as_data(status))
        return
    _print_status(status)


async def _status(settings: Settings) -> GuardStatus:
    async with inspecting(settings) as inspector:
        return await guard_status(inspector)


def _as_data(status: GuardStatus) -> dict[str, object]:
    return {
        "organizations": status.fleet,
        "database_set_back_at": status.set_back_at,
        "steps": {
            "tripped": status.trip is not None,
            "trip": status.trip,
            "harmful": status.harmful,
            "control_plane_loss": status.control_plane,
        },
        "requests": {
            "tripped": status.requests_trip is not None,
            "trip": status.requests_trip,
            "per_hour": status.requested,
            "per_person": status.by_one_person,
        },
        "withheld": [
            {
                "organization_id": each.organization,
                "state": each.state,
                "step": each.step,
                "due_at": each.due_at,
                "withheld_since": each.withheld_since,
            }
            for each in status.withheld
        ],
    }


def _print_status(status: GuardStatus) -> None:
    if status.set_back_at is not None:
        printed(f"{SET_BACK}; until then steps are withheld and requested deactivations refused")
        printed("")
    print_facts(
        {
            "guard for steps": "not tripped"
            if status.trip is None
            else "tripped: steps are withheld",
            **_trip(status.trip, "steps let through"),
            "destructive steps in the last hour": _counted(status.harmful),
            "entries into control_plane_loss": _counted(status.control_plane),
            "organizations": f"{status.fleet} not deactivated",
            "withheld steps": len(status.withheld),
        }
    )
    printed("")
    print_facts(
        {
            "guard for requests": "not tripped"
            if status.requests_trip is None
            else "tripped: requested deactivations are refused",
            **_trip(status.requests_trip, "requests let through"),
            "requested in the last hour": _counted(status.requested),
            "most by one requester": _counted(status.by_one_person),
        }
    )
    if status.withheld:
        printed("")
        print_table(
            ("organization", "state", "step", "due (UTC)", "withheld since (UTC)"),
            (
                (each.organization, each.state, each.step, each.due_at, each.withheld_since)
                for each in status.withheld
            ),
        )


def _trip(trip: Trip | None, allowance: str) -> dict[str, Cell]:
    if trip is None:
        return {}
    by = trip.by or _by_itself(trip)
    shown: dict[str, Cell] = {"since": trip.at, "by": by, "reason": trip.reason}
    if trip.request_id is not None:
        shown |= {"request": trip.request_id}
    if trip.allowance:
        shown |= {allowance: trip.allowance}
    return shown


def _by_itself(trip: Trip) -> str:
    if trip.limit is None:
        return "the database's clock, which jumped ahead"
    return f"its limit ({trip.which})" if trip.which else "its limit"


def _counted(each: Counted) -> str:
    return f"{each.counted} of at most {each.limit}"


@guard_cli.command("trip")
def trip_command(by: By, reason: Reason, config: Config = None) -> None:
    """Withhold all steps of cancellations, and all deactivations including requested ones."""
    name, why = name_of(by), reason_of(reason)
    run_async(
        _operate(load_settings(config), lambda now: GuardTripped(by_operator(), now, name, why))
    )
    printed(
        "tripped: no steps and no requested deactivations until `marketplace-worker guard release`"
    )


@guard_cli.command("release")
def release_command(
    by: By,
    reason: Reason,
    config: Config = None,
    steps: Annotated[
        str | None,
        typer.Option(metavar="N|all", help="Release withheld steps: N of them, or all."),
    ] = None,
    requests: Annotated[
        str | None,
        typer.Option(metavar="N|all", help="Allow requested deactivations: the next N, or all."),
    ] = None,
) -> None:
    """Resume withheld steps and requested deactivations; with --steps or --requests only these.

    With a number, that many are let through and the guard stays tripped.
    """
    name, why = name_of(by), reason_of(reason)
    number, asked = _number("--steps", steps), _number("--requests", requests)
    guard = GuardSide.BOTH
    if (steps is None) is not (requests is None):
        guard = GuardSide.STEPS if requests is None else GuardSide.REQUESTS
    operation = _operate(
        load_settings(config),
        lambda now: GuardReleased(by_operator(), now, name, why, number, asked, guard),
    )
    decision = run_async(operation)
    if decision.safeguards.set_back_at is not None:
        raise Misconfigured(SET_BACK)
    if decision.outcome is Outcome.REFUSED:
        raise Misconfigured(
            f"the guard{_SIDES[guard]} is not tripped: there is nothing to release (see "
            "`marketplace-worker guard status`)"
        )
    for event in decision.worker_events:
        assert isinstance(event.details, GuardReleasedDetails)
        _print_released(event.details)


def _print_released(released: GuardReleasedDetails) -> None:
    if released.guard is not GuardSide.REQUESTS:
        printed(
            "released: withheld steps are due now"
            if released.steps is None
            else f"still tripped; steps let through: {released.steps}"
        )
    if released.guard is not GuardSide.STEPS:
        printed(
            "released: requested deactivations are accepted again"
            if released.requests is None
            else f"still tripped; requests let through: {released.requests}"
        )


_SIDES = {
    GuardSide.STEPS: " for steps",
    GuardSide.REQUESTS: " for requests",
    GuardSide.BOTH: "",
}


def _number(option: str, given: str | None) -> int | None:
    """The number that an option lets through; None: all."""
    if given is None or given == "all":
        return None
    if given.isascii() and given.isdigit() and 1 <= int(given[:8]) <= NUMBER_MAX:
        return int(given)
    raise Misconfigured(f"{option} must be a number from 1 to {NUMBER_MAX}, or all")


async def _operate(
    settings: Settings, fact_at: Callable[[datetime], GuardTripped | GuardReleased]
) -> Decision:
    """Decide a fact as the workers do; its log line goes to standard error."""
    async with operating(settings) as worker:
        async with transaction(worker.pool) as conn:
            fact = fact_at(await worker.clock(conn))
        return await operate(fact, worker)
