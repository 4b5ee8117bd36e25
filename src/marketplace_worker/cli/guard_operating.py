"""The commands that trip the guard and release it."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from marketplace_worker.cli.grammar import Config
from marketplace_worker.cli.guard import SET_BACK
from marketplace_worker.cli.inspecting import inspecting
from marketplace_worker.cli.operating import Yes, by_operator, confirm, operating
from marketplace_worker.cli.options import name_of, reason_of, run_async
from marketplace_worker.cli.printing import printed
from marketplace_worker.errors import Misconfigured
from marketplace_worker.lifecycle.decide import Decision, Outcome
from marketplace_worker.lifecycle.facts import GuardReleased, GuardTripped
from marketplace_worker.lifecycle.safeguards import Safeguards
from marketplace_worker.lifecycle.vocabulary import GuardSide
from marketplace_worker.lifecycle.worker_details import GuardReleasedDetails
from marketplace_worker.settings import Settings, load_settings
from marketplace_worker.steps.guard_operations import operate
from marketplace_worker.store import safeguards
from marketplace_worker.store.database import one_moment, transaction

NUMBER_MAX = 1_000_000

By = Annotated[str, typer.Option(help="Your name; it is published with the event.")]
Reason = Annotated[str, typer.Option(help="The reason; it is published with the event.")]


def trip_command(by: By, reason: Reason, config: Config = None) -> None:
    """Withhold all steps of cancellations, and all deactivations including requested ones."""
    name, why = name_of(by), reason_of(reason)
    run_async(
        _operate(load_settings(config), lambda now: GuardTripped(by_operator(), now, name, why))
    )
    printed(
        "tripped: no steps and no requested deactivations until `marketplace-worker guard release`"
    )


def release_command(
    *,
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
    yes: Yes = False,
) -> None:
    """Resume withheld steps and requested deactivations; with --steps or --requests only these.

    With a number, that many are let through and the guard stays tripped.
    """
    name, why = name_of(by), reason_of(reason)
    number, asked = _number("--steps", steps), _number("--requests", requests)
    guard = GuardSide.BOTH
    if (steps is None) is not (requests is None):
        guard = GuardSide.STEPS if requests is None else GuardSide.REQUESTS
    settings = load_settings(config)
    run_async(_require_tripped(config, guard))
    confirm(f"Release the guard{_SIDES[guard]}", settings, yes=yes)
    operation = _operate(
        settings,
        lambda now: GuardReleased(by_operator(), now, name, why, number, asked, guard),
    )
    decision = run_async(operation)
    if decision.outcome is Outcome.REFUSED:
        raise _refused(decision.safeguards, guard)
    for event in decision.worker_events:
        assert isinstance(event.details, GuardReleasedDetails)
        _print_released(event.details)


async def _require_tripped(config: Path | None, guard: GuardSide) -> None:
    async with inspecting(config) as inspector, one_moment(inspector.pool) as conn:
        found = await safeguards.read(conn)
    steps = found.trip is not None and guard is not GuardSide.REQUESTS
    requests = found.requests_trip is not None and guard is not GuardSide.STEPS
    if found.set_back_at is not None or not (steps or requests):
        raise _refused(found, guard)


def _refused(found: Safeguards, guard: GuardSide) -> Misconfigured:
    if found.set_back_at is not None:
        return Misconfigured(SET_BACK)
    return Misconfigured(
        f"the guard{_SIDES[guard]} is not tripped: there is nothing to release (see "
        "`marketplace-worker guard status`)"
    )


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
