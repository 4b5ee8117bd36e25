"""The commands that show stopped topics and resume one."""

from collections.abc import Sequence
from typing import Annotated

import typer

from marketplace_worker.cli.options import (
    AsJson,
    Config,
    inspecting,
    name_of,
    operating,
    reason_of,
    run_async,
)
from marketplace_worker.cli.printing import print_json, print_table, printed
from marketplace_worker.errors import Misconfigured
from marketplace_worker.settings import Settings, load_settings
from marketplace_worker.store import intake
from marketplace_worker.store.database import transaction
from marketplace_worker.store.intake import IntakeStopDetails

intake_cli = typer.Typer(
    help="Topics that were stopped because too many records were refused.", no_args_is_help=True
)


@intake_cli.command("status")
def status_command(config: Config = None, as_json: AsJson = False) -> None:
    """Show the stopped topics with the reason, and earlier stops with who resumed them."""
    stops = run_async(_history(load_settings(config)))
    if as_json:
        print_json({"stops": stops})
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
        )


def _why(stop: IntakeStopDetails) -> str:
    return f"{stop.field}: {stop.reason}" if stop.field else stop.reason


@intake_cli.command("resume")
def resume_command(
    topic: Annotated[str, typer.Argument(help="The topic, as `intake status` names it.")],
    by: Annotated[str, typer.Option(help="Your name; it is stored.")],
    reason: Annotated[str, typer.Option(help="The reason; it is stored.")],
    config: Config = None,
) -> None:
    """Resume reading a stopped topic; its refused records are counted from 0 again."""
    if not run_async(_resume(load_settings(config), topic, name_of(by), reason_of(reason))):
        raise Misconfigured(f"{topic} is not stopped (see `marketplace-worker intake status`)")
    printed(f"resumed: the workers read {topic} again within seconds")


async def _history(settings: Settings) -> Sequence[IntakeStopDetails]:
    async with inspecting(settings) as inspector, transaction(inspector.pool) as conn:
        return await intake.history(conn)


async def _resume(settings: Settings, topic: str, by: str, reason: str) -> bool:
    async with operating(settings) as worker, transaction(worker.pool) as conn:
        now = await worker.clock(conn)
        return await intake.resume(conn, topic, by=by, because=reason, now=now)
