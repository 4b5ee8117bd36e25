"""The command for afterwards: the database was set back, or its clock was wrong."""

from dataclasses import dataclass
from typing import Annotated
from uuid import uuid4

import typer

from marketplace_worker.cli.options import AsJson, Config, name_of, reason_of
from marketplace_worker.cli.reanchoring import recover_from_wrong_clock
from marketplace_worker.errors import Misconfigured
from marketplace_worker.settings import load_settings
from marketplace_worker.steps.reanchoring import Order


@dataclass(frozen=True, slots=True)
class Operator:
    """Who recovers, and why; both are kept with what is decided."""

    by: str
    reason: str


def recover_command(
    *,
    from_restore: Annotated[
        bool, typer.Option("--from-restore", help="After a restore, or a failover that lost any.")
    ] = False,
    clock_ran_ahead: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--clock-ran-ahead",
            metavar="FROM TO",
            help="After the database's clock ran ahead, from a time to another, and was set right.",
        ),
    ] = None,
    by: Annotated[str | None, typer.Option(help="Your name; it is kept and published.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why; it is kept and published.")] = None,
    execute: Annotated[
        bool, typer.Option("--execute", help="Do it; otherwise it is only said what would be.")
    ] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Mend what a restore or a wrong clock of the database did; without --execute, only say it."""
    operator = _operator(by, reason) if execute else None
    settings = load_settings(config)
    if clock_ran_ahead is not None and not from_restore:
        order = Order(str(uuid4()), operator.by, operator.reason) if operator else None
        recover_from_wrong_clock(settings, clock_ran_ahead, order, as_json=as_json)
        return
    if from_restore:
        raise Misconfigured("recover: --from-restore is not in this version")
    raise Misconfigured(f"recover: from what? ({operator}, {settings.http_port}, {as_json})")


def _operator(by: str | None, reason: str | None) -> Operator:
    if by is None or reason is None:
        raise Misconfigured("--by and --reason: who does it and why is kept (with --execute)")
    return Operator(name_of(by), reason_of(reason))
