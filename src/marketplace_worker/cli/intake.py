"""The command that shows stopped topics."""

from collections.abc import Sequence
from pathlib import Path

from marketplace_worker.cli.grammar import As, Config, Output
from marketplace_worker.cli.inspecting import inspecting
from marketplace_worker.cli.options import run_async
from marketplace_worker.cli.printing import print_data, print_table, printed
from marketplace_worker.store import intake
from marketplace_worker.store.database import one_moment
from marketplace_worker.store.intake import IntakeStopDetails


def status_command(config: Config = None, output: As = Output.TABLE) -> None:
    """Show the stopped topics with the reason, and earlier stops with who resumed them."""
    stops = run_async(_history(config))
    if output is not Output.TABLE:
        print_data({"stops": stops}, output, rows="stops")
        return
    holding = [each for each in stops if each.resumed_at is None]
    if not holding:
        printed("no topic is stopped")
    else:
        print_table(
            ("stopped topic", "since (UTC)", "refused", "last reason"),
            (
                (each.topic, each.stopped_at, f"{each.refused} of {each.records}", _why(each))
                for each in holding
            ),
            prose=("last reason",),
        )
    over = [each for each in stops if each.resumed_at is not None]
    if over:
        printed("")
        print_table(
            ("resumed topic", "stopped (UTC)", "resumed (UTC)", "by", "reason"),
            (
                (
                    each.topic,
                    each.stopped_at,
                    each.resumed_at,
                    each.resumed_by,
                    each.resumed_because,
                )
                for each in over
            ),
            prose=("reason",),
        )


def _why(stop: IntakeStopDetails) -> str:
    return f"{stop.field}: {stop.reason}" if stop.field else stop.reason


async def _history(config: Path | None) -> Sequence[IntakeStopDetails]:
    async with inspecting(config) as inspector, one_moment(inspector.pool) as conn:
        return await intake.history(conn)
