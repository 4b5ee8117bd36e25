"""No line that a test makes the worker log may contain an email address, a key or a password.

Watched are all lines that this process logs, also those that a test captures, and the logs of
workers that a test starts, which are files in its folder.
"""

import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import structlog

from marketplace_worker.settings import UNKEYED_EMAIL_KEY

BEGINNING_BYTES = 2**16
"""Within these a worker's log has a line of JSON."""

_FORBIDDEN = re.compile(
    r"\w@[\w.-]+\.example"  # the domain of the addresses in tests
    r"|://[^/\s:@]+:[^/\s@*]+@"  # a password in a DSN
    f"|{re.escape(UNKEYED_EMAIL_KEY)}"
    "|sixteen characters"  # the token and keys in tests
)

_found: list[str] = []


def watch() -> None:
    """Look at every line of this process from now on."""
    process_event = structlog.BoundLoggerBase._process_event

    def watched(
        self: structlog.BoundLoggerBase,
        method_name: str,
        event: str | None,
        event_kw: dict[str, Any],
    ) -> Any:  # noqa: ANN401 - as structlog's
        line = {**self._context, **event_kw}
        text = f"{event} {line}"
        if line.get("exc_info"):
            text += traceback.format_exc()
        _found.extend(_forbidden(text))
        return process_event(self, method_name, event, event_kw)

    structlog.BoundLoggerBase._process_event = watched  # type: ignore[method-assign]


def take_found(folder: Path | None = None) -> list[str]:
    """What was forbidden in the lines since the last call, and in the logs of a test's folder."""
    found = [*_found, *(_in_files(folder) if folder else ())]
    _found.clear()
    return found


def _in_files(folder: Path) -> Iterator[str]:
    for file in (*folder.glob("*"), *folder.glob("*/*")):
        try:
            if file.is_file() and b'{"event": ' in _beginning(file):
                yield from _forbidden(file.read_text(encoding="utf-8", errors="replace"))
        except OSError:  # a server has removed it, or it is no file of ours
            continue


def _beginning(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(BEGINNING_BYTES)


def _forbidden(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if found := _FORBIDDEN.search(line):
            yield f"{found.group()} in: {line[:500]}"
