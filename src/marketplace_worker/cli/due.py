"""The command that lists upcoming steps."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from marketplace_worker.cli.grammar import As, Config, Output
from marketplace_worker.cli.inspecting import inspecting
from marketplace_worker.cli.options import duration_of, run_async
from marketplace_worker.cli.printing import print_data, print_table, printed
from marketplace_worker.explain.forecast import BlockedBy, ForecastEntry, ForecastKind
from marketplace_worker.explain.operators import moment
from marketplace_worker.explain.wording import distance
from marketplace_worker.inspection.due import DueReport, due_report

_STOPPED = {
    BlockedBy.GUARD: "withheld by the guard",
    BlockedBy.SILENT_FEED: "postponed: silent activity feed",
    BlockedBy.UNREAD_RECORDS: "postponed: unreadable records (dead-letters redrive, or "
    "discard --no-use)",
}


def due_command(
    within: Annotated[str, typer.Option(help="How far to look ahead (ISO 8601 duration).")] = "P7D",
    config: Config = None,
    output: As = Output.TABLE,
) -> None:
    """List upcoming steps, notices and ends of plans, overdue ones first.

    Assumes that no more messages arrive, except the usual logins and API usage.
    """
    found = run_async(_forecast(config, duration_of("--within", within)))
    if output is not Output.TABLE:
        print_data(_data(found), output, rows="due")
        return
    if found.coming:
        print_table(
            ("when (UTC)", "", "organization", "what", "remark"),
            (
                (each.at, distance(each.at, found.now), each.organization, _what(each), remark)
                for each in found.coming
                for remark in [_remark(each, found.now)]
            ),
            prose=("what", "remark"),
        )
        printed("")
    organizations = len({each.organization for each in found.coming})
    printed(f"{len(found.coming)} due within {within}, in {organizations} organizations")
    _print_guard(found)


async def _forecast(config: Path | None, length: timedelta) -> DueReport:
    async with inspecting(config) as inspector:
        return await due_report(inspector, inspector.now + length)


def _print_guard(found: DueReport) -> None:
    if found.trip is not None:
        allowance = found.trip.allowance
        left = f"lets {allowance} more steps through" if allowance else "withholds every step"
        printed(f"the guard for steps has been tripped since {moment(found.trip.at)} and {left}")
    elif found.trips is not None:
        held = f"{found.limit} destructive steps"
        if not found.trips.what.destructive:
            held = f"{found.control_plane_limit} entries into control_plane_loss"
        printed(
            f"the guard would trip at {moment(found.trips.at)}: more than {held} within an hour"
        )


def _what(each: ForecastEntry) -> str:
    match each.what:
        case ForecastKind.NOTICE | ForecastKind.NOTICE_WITHDRAWN:
            named = f" on {moment(each.announced_for_at)}" if each.announced_for_at else ""
            return f"{each.what}: {each.step}{named}"
        case ForecastKind.PLAN_ENDS:
            return f"{each.what}: {each.plan}"
        case _:
            return each.what.value


def _remark(each: ForecastEntry, now: datetime) -> str:
    overdue = f"due since {moment(each.due_at)}" if each.due_at < min(each.at, now) else ""
    stopped = _STOPPED[each.stopped_by] if each.stopped_by else ""
    until = f"until {moment(each.stopped_until)}" if each.stopped_until else ""
    return "; ".join(part for part in (stopped, until, overdue) if part)


def _data(found: DueReport) -> dict[str, object]:
    return {
        "now": found.now,
        "until": found.until,
        "due": [
            {
                "at": each.at,
                "due_at": each.due_at,
                "organization_id": each.organization,
                "what": each.what,
                "step": each.step,
                "names": each.announced_for_at,
                "plan": each.plan,
                "stopped_by": each.stopped_by,
                "stopped_until": each.stopped_until,
            }
            for each in found.coming
        ],
        "guard": {
            "trip": found.trip,
            "limit": found.limit,
            "control_plane_limit": found.control_plane_limit,
            "trips_at": found.trips and found.trips.at,
        },
    }
