"""The command line: commands parse arguments, call other packages and print results.

Exit status: 0 done; 1 a server does not answer, the worker cannot go on, or the demo missed
something; 2 the settings, the policy or the input are unusable, with what to change on standard
error; 3 the command found that something is wrong; 130 ended by Ctrl-C; 141 nobody reads the output
any more.
"""

import errno
import os
import sys
import threading
from traceback import format_exception
from types import TracebackType
from typing import Annotated

import typer

from marketplace_worker.cli.grammar import Branch, Group, Leaf, Tree
from marketplace_worker.errors import CannotGoOn, Misconfigured, Unavailable
from marketplace_worker.terminal import visible

__all__ = ["COMMANDS", "main"]

UNREAD = 141
"""The exit status of a program that wrote to a pipe without a reader, as a shell reports it."""

_CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}

READ_WITHIN_S = 1.0
"""How long the last sentence waits for its reader."""

COMMANDS: Tree = {
    "run": Leaf("working:run_command", "Run the worker until SIGTERM or Ctrl-C."),
    "migrate": Leaf(
        "working:migrate_command",
        "Migrate the database schema to this version; does nothing if it is current.",
    ),
    "topics": Branch(
        "The Kafka topics.",
        {"create": Leaf("working:create_topics_command", "Create the missing topics.")},
    ),
    "status": Leaf(
        "status:status_command",
        "Show on one screen what is wrong, and what to do about it.",
        watched=True,
    ),
    "org": Branch(
        "List organizations; inspect or erase one.",
        {
            "list": Leaf(
                "listing:list_command",
                "List organizations: by state, marketplace, subscription, and what they wait for.",
                watched=True,
            ),
            "show": Leaf(
                "organizations:show_command",
                "Show an organization: state, capabilities, plans, holds, notice, next step.",
                watched=True,
            ),
            "history": Leaf(
                "organizations:history_command",
                "List the facts, transitions and events of an organization, in order.",
            ),
            "explain": Leaf(
                "organizations:explain_command",
                "Explain an organization's state, what comes next by which rule, and what would "
                "stop it.",
                watched=True,
            ),
            "erase": Leaf(
                "erasing:erase_command",
                "Erase the personal data of a deactivated organization permanently; can be "
                "repeated.",
            ),
        },
    ),
    "due": Leaf(
        "due:due_command",
        "List upcoming steps, notices and ends of plans, overdue ones first.",
        watched=True,
    ),
    "guard": Branch(
        "The guard, which limits destructive steps.",
        {
            "status": Leaf(
                "guard:status_command",
                "Show whether the guard is tripped, its counts and limits, and the withheld steps.",
                watched=True,
            ),
            "trip": Leaf(
                "guard_operating:trip_command",
                "Withhold all steps of cancellations, and all deactivations including requested "
                "ones.",
            ),
            "release": Leaf(
                "guard_operating:release_command",
                "Resume withheld steps and requested deactivations; with --steps or --requests "
                "only these.",
            ),
        },
    ),
    "dead-letters": Branch(
        "Records that could not be read or processed.",
        {
            "groups": Leaf(
                "dead_letters:groups_command",
                "List waiting dead letters by topic, field and reason.",
                watched=True,
            ),
            "list": Leaf("dead_letters:list_command", "List dead letters, the newest first."),
            "show": Leaf(
                "dead_letters:show_command",
                "Show a dead letter with its key, headers and value, which may contain personal "
                "data.",
            ),
            "redrive": Leaf(
                "redriving:redrive_command",
                "Process dead letters again; what can be read now takes effect, once.",
            ),
            "discard": Leaf(
                "redriving:discard_command",
                "Mark dead letters as not needed: they stop waiting, and retention deletes them "
                "later.",
            ),
        },
    ),
    "intake": Branch(
        "Topics that were stopped because too many records were refused.",
        {
            "status": Leaf(
                "intake:status_command",
                "Show the stopped topics with the reason, and earlier stops with who resumed them.",
                watched=True,
            ),
            "resume": Leaf(
                "resuming:resume_command",
                "Resume reading a stopped topic; its refused records are counted from 0 again.",
            ),
        },
    ),
    "policy": Branch(
        "The policy: timelines, dwell times, notices.",
        {
            "show": Leaf(
                "policies:show_command",
                "Print the policy in force as a complete file, with every default.",
            ),
            "check": Leaf(
                "policies:check_command",
                "Check a policy file: print its errors by line and field, or what it changes.",
            ),
            "diff": Leaf(
                "policies:diff_command",
                "Show whose next step a policy file would move, compared with the policy in force.",
            ),
        },
    ),
    "replay": Leaf(
        "replay:replay_command",
        "Replay the journal, to verify the stored state or show an earlier one.",
    ),
    "recover": Leaf(
        "recovering:recover_command",
        "Repair what a restore or a wrong database clock did; without --execute, list it.",
    ),
    "console": Leaf(
        "console:console_command", "Serve pages that show the fleet, until SIGTERM or Ctrl-C."
    ),
    "simulate": Leaf(
        "simulating:simulate_command",
        "Print the events that the worker would publish for a scenario; needs no servers.",
    ),
    "send": Leaf(
        "sending:send_cli",
        "Send messages to the worker's topics, as marketplaces and your own services would: for "
        "trials. Each is printed with where it is: topic/partition/offset. `send FILE` sends a "
        "file.",
    ),
    "tail": Leaf(
        "tailing:tail_command", "Print lifecycle events as they are published, until Ctrl-C."
    ),
    "demo": Leaf(
        "working:demo_command",
        "Demonstrate the worker on its own servers; ends in under half a minute.",
    ),
}


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version  # noqa: PLC0415 - slow, and rarely needed

        typer.echo(version("marketplace-worker"))
        raise typer.Exit


def _options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """The options before a command's name."""


def _root() -> Group:
    options = typer.Typer(rich_markup_mode=None)
    options.command()(_options)
    return Group(
        name="marketplace-worker",
        help="Manages the lifecycle of organizations by their cloud-marketplace subscriptions.",
        tree=COMMANDS,
        params=typer.main.get_command(options).params,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def main() -> None:
    """Run a command.  Wrong input and unavailable servers end in a message, not a traceback."""
    sys.excepthook = _report_bug
    try:
        status = _run()
        sys.stdout.flush()
    except BrokenPipeError:
        status = UNREAD
        _drop_output()
    except OSError as error:
        if error.errno not in _CANNOT_WRITE:
            raise
        _drop_output()
        status = _print_error(f"standard output: {error.strerror}", status=1)
    sys.exit(status)


def _run() -> int:
    try:
        _root()(prog_name="marketplace-worker")
    except SystemExit as ended:
        # typer ends the program so, with a status of its own.
        if isinstance(ended.__context__, BrokenPipeError):
            raise ended.__context__ from None
        return int(ended.code or 0)
    except Misconfigured as error:
        return _print_error(str(error), status=2)
    except (Unavailable, CannotGoOn) as error:
        return _print_error(str(error), status=1)
    return 0


def _drop_output() -> None:
    """Forget what is still to be written: the interpreter would try it again and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)


def _print_error(sentences: str, *, status: int) -> int:
    lines = f"marketplace-worker: {sentences}".splitlines()
    return _write_last("".join(f"{visible(line)}\n" for line in lines), status=status)


def _report_bug(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    _write_last("".join(format_exception(kind, error, traceback)), status=1)


def _write_last(sentence: str, *, status: int) -> int:
    """Write a sentence to standard error; returns the exit status.

    If it is not read in time, the process ends here.
    """
    writing = threading.Thread(target=sys.stderr.write, args=(sentence,), daemon=True)
    writing.start()
    writing.join(READ_WITHIN_S)
    if writing.is_alive():
        os._exit(status)  # its own end would wait for the same
    return status
