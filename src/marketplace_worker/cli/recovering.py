"""The command for afterwards: the database was set back, or its clock was wrong."""

from dataclasses import dataclass
from typing import Annotated

import typer

from marketplace_worker.cli.options import AsJson, Config, name_of, reason_of
from marketplace_worker.errors import Misconfigured
from marketplace_worker.settings import load_settings


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
    if from_restore:
        raise Misconfigured("recover: --from-restore is not in this version")
    raise Misconfigured(f"recover: from what? ({operator}, {settings.http_port}, {as_json})")


def _operator(by: str | None, reason: str | None) -> Operator:
    if by is None or reason is None:
        raise Misconfigured("--by and --reason: who does it and why is kept (with --execute)")
    return Operator(name_of(by), reason_of(reason))
