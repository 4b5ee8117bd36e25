"""The log: one line per fact, as JSON or, on a terminal, as readable text.

Lines of libraries, which use the standard logging, look the same; only this module sets it up.
"""

import json
import logging
import time
from contextlib import suppress
from typing import Literal, TextIO

import msgspec
import structlog
from structlog.typing import EventDict, Processor

from marketplace_worker.operations.line_writer import LineWriter
from marketplace_worker.terminal import escaped_json, visible

LIBRARY_LINES_MAX = 5
LIBRARY_LINES_WITHIN_S = 60.0
"""Libraries repeat a message for as long as a server is away; one line in this time is enough."""

_SAID_BY_US = (
    # `producer_started` says what the broker can.
    "Unexpected error during InitProducerIdRequest",
    # `partitions_revoked` and `partitions_assigned`: another member has joined.
    "Heartbeat failed for group %s because it is rebalancing",
)
"""How aiokafka's messages begin (before their arguments) for what happens at a healthy start too,
and has a line of ours."""

EVENT_CHARACTERS = 36
"""The width of the column of events in a terminal: the longest."""

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
    rendered = _rendered(stream)
    ours = _Lines(stream)
    structlog.configure(
        processors=rendered,
        logger_factory=lambda *_: ours,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,
    )
    theirs = logging.StreamHandler(ours)
    theirs.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_library_line],
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
        if isinstance(self._stream, LineWriter) and self._stream.lacks_lines:
            dropped = self._stream.dropped_before()
            if dropped:
                structlog.get_logger(__name__).error("log_lines_dropped", lines=dropped)


def _rendered(stream: TextIO | LineWriter) -> list[Processor]:
    if stream.isatty():
        return [
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=True, key="ts"),
            structlog.processors.format_exc_info,
            _visible,
            structlog.dev.ConsoleRenderer(
                timestamp_key="ts",
                sort_keys=False,  # as in JSON: whom it concerns comes first
                pad_event_to=EVENT_CHARACTERS,
                # The rich one would show local variables, and with them addresses and secrets.
                exception_formatter=structlog.dev.plain_traceback,
            ),
        ]
    return [_Json()]


class _Json:
    """Renders a line as JSON: event, level and time first, then the other fields as given.

    One function instead of structlog's four, for each event that is published has a line.
    """

    def __init__(self) -> None:
        self._encoder = msgspec.json.Encoder(enc_hook=str)
        self._second = 0, ""

    def __call__(self, _logger: object, level: str, line: EventDict) -> str:
        """The JSON of a line, without a line end."""
        if "exc_info" in line:
            line = structlog.processors.format_exc_info(None, level, line)
        if level == "exception":
            level = "error"
        line = {"event": line.pop("event"), "level": level, "ts": self._now(), **line}
        try:
            document = msgspec.json.format(self._encoder.encode(line), indent=0).decode()
        except (UnicodeEncodeError, TypeError, OverflowError):  # half a surrogate, a huge number
            document = json.dumps(line, default=str, ensure_ascii=False)
        return escaped_json(document)

    def _now(self) -> str:
        """Now in UTC, as ISO 8601; the text of a second is made once."""
        now = time.time()  # noqa: TID251 - when a line was written is no argument of a decision
        second, text = self._second
        if int(now) != second:
            second = int(now)
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second, text  # at once: libraries log from other threads
        return f"{text}.{int((now - second) * 1e6):06d}Z"


def _visible(_logger: object, _method: str, line: EventDict) -> EventDict:
    """Escape text for a terminal, which must not interpret log content; a traceback keeps its
    lines.
    """
    return {
        name: "\n".join(map(visible, value.split("\n"))) if isinstance(value, str) else value
        for name, value in line.items()
    }


def _library_line(_logger: object, _method: str, line: EventDict) -> EventDict:
    """A library's sentence is no event: it becomes the message of one that can be counted."""
    record: logging.LogRecord = line["_record"]
    return {**line, "event": "library_logged", "logger": record.name, "message": line["event"]}


class _RateLimit(logging.Filter):
    """Drops what we say ourselves, and messages that a library repeats, identified by their place
    in its code.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, int], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if str(record.msg).startswith(_SAID_BY_US):
            return False
        where = (record.pathname, record.lineno)
        now = time.monotonic()
        since, count = self._said.get(where, (now, 0))
        if now - since >= LIBRARY_LINES_WITHIN_S:
            since, count = now, 0
        self._said[where] = (since, count + 1)
        return count < LIBRARY_LINES_MAX
