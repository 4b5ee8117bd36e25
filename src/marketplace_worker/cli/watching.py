"""Repeats a look until Ctrl-C: what `--watch` does."""

import io
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout

import typer

from marketplace_worker.clock import system_clock
from marketplace_worker.errors import Unavailable
from marketplace_worker.terminal import visible

INTERRUPTED = 130
"""The exit status of a program that Ctrl-C ends."""

_CLEAR = "\x1b[H\x1b[2J"


class _Screen(io.StringIO):
    """What the next look prints, as if on the terminal: it is shown at once."""

    def isatty(self) -> bool:
        """As the terminal, so that the same is printed."""
        return True


def watch(look: Callable[[], object], every_s: float) -> None:
    """Repeat a look until Ctrl-C.

    A terminal shows the newest alone; elsewhere each follows the one before.  The exit status of a
    look does not end it, nor does a server that is away.

    Raises:
        typer.Exit: at Ctrl-C, with its status.
        Misconfigured: the look did.
    """
    try:
        while True:
            if sys.stdout.isatty():
                screen = _Screen()
                with redirect_stdout(screen):
                    _run_once(look)
                head = f"{system_clock():%H:%M:%S} UTC, every {every_s:g} s until Ctrl-C\n\n"
                sys.stdout.write(f"{_CLEAR}{head}{screen.getvalue()}")
            else:
                _run_once(look)
            sys.stdout.flush()
            time.sleep(every_s)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def _run_once(look: Callable[[], object]) -> None:
    try:
        look()
    except typer.Exit:
        pass
    except Unavailable as error:
        sys.stdout.write(f"{visible(str(error))}\n")
