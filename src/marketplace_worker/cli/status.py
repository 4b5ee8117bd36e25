"""The command that shows on one screen whether everything is in order."""

from collections.abc import Sequence
from pathlib import Path

import typer

from marketplace_worker.cli.grammar import As, Config, Output
from marketplace_worker.cli.inspecting import inspecting
from marketplace_worker.cli.options import run_async
from marketplace_worker.cli.printing import Cell, print_data, print_facts, print_section, printed
from marketplace_worker.clock import system_clock
from marketplace_worker.errors import Misconfigured, Unavailable
from marketplace_worker.explain.operators import moment
from marketplace_worker.explain.wording import length
from marketplace_worker.inspection.status import (
    Finding,
    Severity,
    Status,
    findings,
    lag_in_words,
    read_status,
    unreachable,
)
from marketplace_worker.settings import load_inspection_settings
from marketplace_worker.store.floors import Floors

SOMETHING_WRONG = 3
"""The exit status where something is wrong."""


_HEADINGS = {Severity.WRONG: "Wrong", Severity.ATTENTION: "Needs attention"}


def status_command(config: Config = None, output: As = Output.TABLE) -> None:
    """Show on one screen what is wrong, and what to do about it.

    Reads the database alone.  Exit status 3 where something is wrong; what only needs attention
    does not count.
    """
    load_inspection_settings(config)  # what is wrong with the settings is no finding
    try:
        status = run_async(_status(config))
    except (Unavailable, Misconfigured) as error:
        found: Sequence[Finding] = [unreachable(str(error))]
        shown: dict[str, object] = {"findings": found}
    else:
        found = findings(status)
        shown = _data(status, found)
        if output is Output.TABLE:
            _print(status)
    if output is Output.TABLE:
        _print_findings(found)
    else:
        print_data(shown, output)
    if any(each.severity is Severity.WRONG for each in found):
        raise typer.Exit(SOMETHING_WRONG)


async def _status(config: Path | None) -> Status:
    async with inspecting(config) as inspector:
        return await read_status(inspector, system_clock(), Floors())


def _print(status: Status) -> None:
    fleet = status.fleet
    guard = fleet.guard
    states = ", ".join(f"{number} {state}" for state, number in fleet.states.now.items() if number)
    shown: dict[str, Cell] = {
        "database": f"answers, its schema is current; its clock says {moment(fleet.now)}",
        "organizations": states or "none",
        "guard for steps": "tripped"
        if guard.trip
        else f"{guard.destructive.counted} of at most {guard.destructive.limit} in the last hour",
        "guard for requests": "tripped"
        if guard.requests_trip
        else f"{guard.requested.counted} of at most {guard.requested.limit} in the last hour",
        "overdue": str(status.overdue),
        "outbox": f"the oldest message waits {length(fleet.outbox_age)}"
        if fleet.outbox_age
        else "empty",
        "workers": f"{len(status.running)} running" if status.running else "none running",
        "dead letters": f"{status.dead_letters} waiting",
        "stopped topics": ", ".join(each.topic for each in fleet.stopped) or "none",
    }
    for group, by_topic in sorted(status.lag.items()):
        shown[f"waiting for {group}"] = lag_in_words(by_topic) or "nothing"
    for feed, newest in fleet.feeds:
        shown[f"newest of {feed}"] = newest or "never received"
    print_facts(shown)


def _print_findings(found: Sequence[Finding]) -> None:
    if not found:
        printed("")
        printed("nothing is wrong")
    for severity, heading in _HEADINGS.items():
        print_section(
            heading,
            (
                f"{each.subject}: {each.sentence}.  To do: {each.remedy} (runbook: {each.runbook})"
                for each in found
                if each.severity is severity
            ),
        )


def _data(status: Status, found: Sequence[Finding]) -> dict[str, object]:
    fleet = status.fleet
    return {
        "now": fleet.now,
        "organizations": fleet.states.now,
        "guard": fleet.guard,
        "overdue": status.overdue,
        "outbox": {"oldest_for": fleet.outbox_age, "refused": fleet.held},
        "dead_letters": status.dead_letters,
        "workers": status.workers,
        "lag": status.lag,
        "stopped_topics": [each.topic for each in fleet.stopped],
        "feeds": dict(fleet.feeds),
        "clock_ahead": status.clock_ahead,
        "findings": found,
    }
