"""The command line: commands parse arguments, call other packages and print results.

Exit status: 0 done; 1 a server does not answer, the worker cannot go on, or the demo missed
something; 2 the settings, the policy or the input are unusable, with what to change on standard
error.
"""

import sys
from importlib.metadata import version
from traceback import format_exception
from types import TracebackType
from typing import Annotated

import typer

from marketplace_worker.cli.console import console_command
from marketplace_worker.cli.dead_letters import dead_letters_cli
from marketplace_worker.cli.due import due_command
from marketplace_worker.cli.erasing import erase_command
from marketplace_worker.cli.guard import guard_cli
from marketplace_worker.cli.intake import intake_cli
from marketplace_worker.cli.organizations import organizations_cli
from marketplace_worker.cli.policies import policy_cli
from marketplace_worker.cli.recovering import recover_command
from marketplace_worker.cli.replay import replay_command
from marketplace_worker.cli.sending import send_cli
from marketplace_worker.cli.simulating import simulate_command
from marketplace_worker.cli.tailing import tail_command
from marketplace_worker.cli.working import demo_command, migrate_command, run_command, topics_cli
from marketplace_worker.errors import CannotGoOn, Misconfigured, Unavailable
from marketplace_worker.operations.line_writer import write_last
from marketplace_worker.terminal import visible

__all__ = ["cli", "main"]

cli = typer.Typer(
    name="marketplace-worker",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(version("marketplace-worker"))
        raise typer.Exit


@cli.callback(
    help="Manages the lifecycle of organizations by their cloud-marketplace subscriptions."
)
def _common_options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    pass


cli.command("run")(run_command)
cli.command("migrate")(migrate_command)
cli.add_typer(topics_cli, name="topics")
organizations_cli.command("erase")(erase_command)
cli.add_typer(organizations_cli, name="org")
cli.command("due")(due_command)
cli.add_typer(guard_cli, name="guard")
cli.add_typer(dead_letters_cli, name="dead-letters")
cli.add_typer(intake_cli, name="intake")
cli.add_typer(policy_cli, name="policy")
cli.command("console")(console_command)
cli.command("replay")(replay_command)
cli.command("recover")(recover_command)
cli.command("simulate")(simulate_command)
cli.add_typer(send_cli, name="send")
cli.command("tail")(tail_command)
cli.command("demo")(demo_command)


def main() -> None:
    """Run a command.  Wrong input and unavailable servers end in a message, not a traceback."""
    sys.excepthook = _report_bug
    try:
        cli()
    except Misconfigured as error:
        sys.exit(_print_error(error, status=2))
    except (Unavailable, CannotGoOn) as error:
        sys.exit(_print_error(error, status=1))


def _print_error(error: Exception, *, status: int) -> int:
    lines = f"marketplace-worker: {error}".splitlines()
    return write_last("".join(f"{visible(line)}\n" for line in lines), status=status)


def _report_bug(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    write_last("".join(format_exception(kind, error, traceback)), status=1)
