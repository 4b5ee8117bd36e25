"""The log: one line per fact, as JSON or, on a terminal, as readable text.

Lines of libraries, which use the standard logging, look the same; only this module sets it up.
"""

import json
import logging
import time
from contextlib import suppress
from typing import Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor

from marketplace_worker.operations.line_writer import LineWriter
from marketplace_worker.terminal import escaped_json, visible

LIBRARY_LINES_MAX = 5
LIBRARY_LINES_WITHIN_S = 60.0
"""Libraries repeat a message for as long as a server is away; one line in this time is enough."""

LIBRARY_LEVEL = logging.WARNING
"""Below this, aiokafka would write the payloads of what it sends."""

Level = Literal["debug", "info", "warning", "error"]


def set_up_logs(stream: TextIO | LineWriter, level: Level = "info") -> None:
    """Send all log lines to `stream`, from now on; call once, before anything is logged.

    Args:
        stream: standard output for the worker, standard error where a command's output is on
            standard output; of what runs for long, one that never waits (`never_waiting`).
        level: the least important lines of ours; of libraries there are warnings and errors.
    """
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
    ]
    rendered = _rendered(stream)
    ours = _Lines(stream)
    structlog.configure(
        processors=[*shared, *rendered],
        logger_factory=lambda *_: ours,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,
    )
    theirs = logging.StreamHandler(ours)
    theirs.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_library_line, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
        )
    )
    theirs.addFilter(_RateLimit())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(theirs)
    root.setLevel(LIBRARY_LEVEL)
    logging.captureWarnings(capture=True)


class _Lines:
    """Writes rendered lines to a stream, and how many were dropped, once there is room again.

    structlog calls the method of the line's level.  Its lines do not go through the standard
    logging, which would cost as much as all the rest of a line.
    """

    def __init__(self, stream: TextIO | LineWriter) -> None:
        self._stream = stream

    def info(self, line: str) -> None:
        """Write a line of ours."""
        self.write(f"{line}\n")

    debug = warning = error = critical = info

    def write(self, text: str) -> None:
        """Write a line; it is lost if the reader is gone."""
        with suppress(OSError, ValueError):  # ValueError: the stream is closed
            self._stream.write(text)
            self._stream.flush()
        if isinstance(self._stream, LineWriter):
            dropped = self._stream.dropped_before()
            if dropped:
                structlog.get_logger(__name__).error("log_lines_dropped", lines=dropped)


def _rendered(stream: TextIO | LineWriter) -> list[Processor]:
    if stream.isatty():
        return [
            structlog.processors.format_exc_info,
            _visible,
            structlog.dev.ConsoleRenderer(
                timestamp_key="ts",
                # The rich one would show local variables, and with them addresses and secrets.
                exception_formatter=structlog.dev.plain_traceback,
            ),
        ]
    return [
        structlog.processors.format_exc_info,
        _event_first,
        structlog.processors.JSONRenderer(serializer=_json),
    ]


_ENCODER = json.JSONEncoder(default=str, ensure_ascii=False)


def _json(line: EventDict, **_of_structlog: object) -> str:
    """Like `json.dumps`, which would make an encoder for each line."""
    return escaped_json(_ENCODER.encode(line))


def _visible(_logger: object, _method: str, line: EventDict) -> EventDict:
    """Escape text for a terminal, which must not interpret log content; a traceback keeps its
    lines.
    """
    return {
        name: "\n".join(map(visible, value.split("\n"))) if isinstance(value, str) else value
        for name, value in line.items()
    }


def _event_first(_logger: object, _method: str, line: EventDict) -> EventDict:
    """Order the fields: event, level and time first, then the others as given."""
    first = {name: line.pop(name) for name in ("event", "level", "ts") if name in line}
    return {**first, **line}


def _library_line(_logger: object, _method: str, line: EventDict) -> EventDict:
    """A library's sentence is no event: it becomes the message of one that can be counted."""
    record: logging.LogRecord = line["_record"]
    return {**line, "event": "library_logged", "logger": record.name, "message": line["event"]}


class _RateLimit(logging.Filter):
    """Drops messages that a library repeats, identified by their place in its code."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, int], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        where = (record.pathname, record.lineno)
        now = time.monotonic()
        since, count = self._said.get(where, (now, 0))
        if now - since >= LIBRARY_LINES_WITHIN_S:
            since, count = now, 0
        self._said[where] = (since, count + 1)
        return count < LIBRARY_LINES_MAX
