"""One log line per fact, as JSON without a terminal; the same format for libraries."""

import io
import json
import logging
import os
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from marketplace_worker.operations.line_writer import LineWriter
from marketplace_worker.operations.log_catalogue import LINES
from marketplace_worker.operations.logs import Level, set_up_logs
from plain_logs import log_plainly

_COLOUR = re.compile(r"\x1b\[\d+m")


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Restore pytest's logging, which is global."""
    root, ours = logging.getLogger(), logging.getLogger("marketplace_worker")
    before = [(each, each.handlers[:], each.level, each.propagate) for each in (root, ours)]
    yield
    for logger, handlers, level, propagates in before:
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate = propagates
    logging.captureWarnings(capture=False)
    log_plainly()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """What was written, line by line."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def ours(stream: io.StringIO, level: Level = "info") -> Any:  # noqa: ANN401
    """A logger of ours, writing to this stream."""
    set_up_logs(stream, level)
    return structlog.get_logger("marketplace_worker.steps.ingest")


def test_a_line_is_json_with_event_level_and_time_first() -> None:
    """Dashboards and people search by them."""
    stream = io.StringIO()
    ours(stream).info("fact_applied", fact_id="f-1", lag_ms=412)
    (line,) = lines(stream)
    assert list(line) == ["event", "level", "ts", "fact_id", "lag_ms"]
    assert (line["event"], line["level"], line["lag_ms"]) == ("fact_applied", "info", 412)
    assert line["ts"].endswith("Z")


def test_a_person_at_a_terminal_reads_columns_in_colour() -> None:
    """The same fields in the same order, without JSON; the longest event fits its column."""
    stream = Terminal()
    ours(stream).info("fact_applied", organization="acme", lag_ms=412)
    ours(stream).warning(max(LINES, key=len), organization="acme")
    assert "\x1b[" in stream.getvalue()
    first, second = (_COLOUR.sub("", line) for line in stream.getvalue().splitlines())
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[info     \] fact_applied +organization=acme lag_ms=412",
        first,
    )
    assert first.index("organization=") == second.index("organization=")


def test_lines_below_the_level_are_not_written() -> None:
    """Debug lines need the level debug."""
    stream = io.StringIO()
    ours(stream).debug("looked")
    ours(stream, "debug").debug("looked_again")
    assert [line["event"] for line in lines(stream)] == ["looked_again"]


def test_a_traceback_is_one_line() -> None:
    """A collector cuts at line ends."""
    stream = io.StringIO()
    log = ours(stream)
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        log.exception("batch_failed")
    (line,) = lines(stream)
    assert "ZeroDivisionError" in line["exception"]


def test_repeated_lines_of_libraries_are_limited_and_ours_are_not() -> None:
    """A broker that is away makes aiokafka write ten lines a second."""
    stream = io.StringIO()
    log = ours(stream)
    for number in range(100):
        logging.getLogger("aiokafka.conn").error("Unable to connect to %s", number)
        log.warning("ingest_waiting")
    logging.getLogger("aiokafka.conn").error("another sentence")
    events = [line["event"] for line in lines(stream)]
    assert events.count("library_logged") == 6
    assert events.count("ingest_waiting") == 100


def test_what_libraries_say_at_a_healthy_start_is_left_to_our_lines() -> None:
    """A member that joins makes the other's heartbeat fail; not every broker numbers messages."""
    stream = io.StringIO()
    ours(stream)
    library = logging.getLogger("aiokafka.consumer.group_coordinator")
    library.warning("Heartbeat failed for group %s because it is rebalancing", "facts")
    library.error("Unexpected error during InitProducerIdRequest: %s", "UnknownError")
    library.error("Heartbeat failed: %r", "another reason")
    assert [line["message"] for line in lines(stream)] == ["Heartbeat failed: 'another reason'"]


def test_libraries_are_logged_from_warnings_on() -> None:
    """At debug, aiokafka would write the payloads."""
    stream = io.StringIO()
    ours(stream, "debug")
    logging.getLogger("aiokafka.producer").debug("Sending (key=%s value=%s)", "k", "v")
    logging.getLogger("aiokafka.producer").warning("odd")
    (line,) = lines(stream)
    assert (line["message"], line["logger"]) == ("odd", "aiokafka.producer")


# --- a reader that stalls -------------------------------------------------------------------------

LINE = "x" * 999 + "\n"


@pytest.fixture
def pipe() -> Iterator[tuple[io.FileIO, LineWriter]]:
    """A pipe, whose reader waits for nothing, and who writes into it; 100 lines may wait."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    lines = LineWriter(writing, at_terminal=False, waiting_bytes_max=100 * len(LINE))
    with os.fdopen(reading, "rb", buffering=0) as reader:
        yield reader, lines
    os.close(writing)


def test_what_nobody_reads_in_time_is_dropped_and_counted(
    pipe: tuple[io.FileIO, LineWriter],
) -> None:
    """Nobody waits for a reader; once there is one, the log says how much it lacks."""
    reader, lines = pipe
    set_up_logs(lines)
    log = structlog.get_logger("marketplace_worker.steps.ingest")
    for _ in range(1_000):
        lines.write(LINE)
    text, logged = b"", 0
    while text.count(b"\n") < 100:
        text += reader.read(65_536) or b""
    while b"log_lines_dropped" not in text:
        log.info("fact_applied")  # dropped as well until the writer has counted what it wrote
        logged += 1
        time.sleep(0.01)
        text += reader.read(65_536) or b""
    lines.close()
    text += reader.read(65_536) or b""
    (line,) = [each for each in text.splitlines() if b"log_lines_dropped" in each]
    entry = json.loads(line)
    assert entry["level"] == "error"
    came = text.count(LINE.encode()) + text.count(b"fact_applied")
    assert entry["lines"] == 1_000 + logged - came > 0


def test_the_last_line_is_written_before_the_end(
    pipe: tuple[io.FileIO, LineWriter],
) -> None:
    """Where somebody reads."""
    reader, lines = pipe
    lines.write("last\n")
    lines.close()
    assert reader.read(100) == b"last\n"


def test_a_reader_that_is_gone_harms_nobody(pipe: tuple[io.FileIO, LineWriter]) -> None:
    """The lines are lost, as with any pipe."""
    reader, lines = pipe
    reader.close()
    for _ in range(10):
        lines.write(LINE)
    lines.close()
