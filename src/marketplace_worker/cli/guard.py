"""The command that shows the guard."""

from pathlib import Path

from marketplace_worker.cli.grammar import As, Config, Output
from marketplace_worker.cli.inspecting import inspecting
from marketplace_worker.cli.options import run_async
from marketplace_worker.cli.printing import Cell, print_data, print_facts, print_table, printed
from marketplace_worker.inspection.guarding import Counted, GuardStatus, guard_status
from marketplace_worker.lifecycle.safeguards import Trip

SET_BACK = (
    "the database holds less than was published, after a restore or failover: run "
    "`marketplace-worker recover --from-restore` first (docs/runbook.md)"
)


def status_command(config: Config = None, output: As = Output.TABLE) -> None:
    """Show whether the guard is tripped, its counts and limits, and the withheld steps."""
    status = run_async(_status(config))
    if output is not Output.TABLE:
        print_data(_as_data(status), output, rows="withheld")
        return
    _print_status(status)


async def _status(config: Path | None) -> GuardStatus:
    async with inspecting(config) as inspector:
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
