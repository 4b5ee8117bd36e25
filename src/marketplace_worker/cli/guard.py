"""The commands about the guard: how it stands, the kill switch, and the release."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

import typer

from marketplace_worker.cli.options import (
    AsJson,
    Config,
    by_operator,
    go,
    inspecting,
    name_of,
    operating,
    reason_of,
)
from marketplace_worker.cli.printing import (
    Cell,
    print_facts,
    print_json,
    print_table,
    printed,
)
from marketplace_worker.errors import Misconfigured
from marketplace_worker.inspection.guarding import GuardStatus, guard_status
from marketplace_worker.lifecycle.decide import Outcome
from marketplace_worker.lifecycle.facts import GuardReleased, GuardTripped
from marketplace_worker.settings import Settings, load_settings
from marketplace_worker.steps.operating import operate
from marketplace_worker.store.database import transaction

STEPS_MAX = 1_000_000

guard_cli = typer.Typer(help="The guard against mass harm.", no_args_is_help=True)

By = Annotated[str, typer.Option(help="Your name; it is published with the event.")]
Reason = Annotated[str, typer.Option(help="Why; it is published with the event.")]


@guard_cli.command("status")
def status_command(config: Config = None, as_json: AsJson = False) -> None:
    """Show whether the guard is tripped, how near its limit is, and what it withholds."""
    status = go(_status(load_settings(config)))
    if as_json:
        print_json(
            {
                "tripped": status.trip is not None,
                "trip": status.trip,
                "steps_in_the_last_hour": status.steps,
                "limit": status.limit,
                "organizations": status.fleet,
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
        )
        return
    _print_status(status)


async def _status(settings: Settings) -> GuardStatus:
    async with inspecting(settings) as inspector:
        return await guard_status(inspector)


def _print_status(status: GuardStatus) -> None:
    trip = status.trip
    facts: dict[str, Cell] = {"guard": "tripped: harmful steps are withheld"}
    if trip is None:
        facts = {"guard": "not tripped"}
    else:
        facts |= {"since": trip.at, "by": trip.by or "its limit", "reason": trip.reason}
        if trip.allowance:
            facts |= {"steps let through": trip.allowance}
    fleet = f"of {status.fleet} organizations that are not deactivated"
    facts |= {
        "steps in the last hour": status.steps,
        "limit": f"{status.limit}, {fleet}",
        "withheld": len(status.withheld),
    }
    print_facts(facts)
    if status.withheld:
        printed("")
        print_table(
            ("organization", "state", "step", "due (UTC)", "withheld since (UTC)"),
            (
                (each.organization, each.state, each.step, each.due_at, each.withheld_since)
                for each in status.withheld
            ),
        )


@guard_cli.command("trip")
def trip_command(by: By, reason: Reason, config: Config = None) -> None:
    """Stop all harm now: no suspension and no deactivation, but those that Support asks for."""
    name, why = name_of(by), reason_of(reason)
    go(_operate(load_settings(config), lambda now: GuardTripped(by_operator(), now, name, why)))
    printed("tripped: harmful steps are withheld until `marketplace-worker guard release`")


@guard_cli.command("release")
def release_command(
    by: By,
    reason: Reason,
    config: Config = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, max=STEPS_MAX, help="Let so many steps through; all if not given."),
    ] = None,
) -> None:
    """Let harm go on: altogether, or for some steps to see what they do."""
    name, why = name_of(by), reason_of(reason)
    operation = _operate(
        load_settings(config), lambda now: GuardReleased(by_operator(), now, name, why, steps)
    )
    if go(operation) is Outcome.REFUSED:
        raise Misconfigured(
            "the guard is not tripped: there is nothing to release (see `marketplace-worker guard "
            "status`)"
        )
    printed(
        "released: what was withheld is due now"
        if steps is None
        else f"released, but stays tripped: steps let through: {steps}"
    )


async def _operate(
    settings: Settings, fact_at: Callable[[datetime], GuardTripped | GuardReleased]
) -> Outcome:
    """Decide on it as the workers do; the log line of it goes to standard error."""
    async with operating(settings) as worker:
        async with transaction(worker.pool) as conn:
            fact = fact_at(await worker.clock(conn))
        return (await operate(fact, worker)).outcome
