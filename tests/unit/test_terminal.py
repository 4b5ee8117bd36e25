"""Nothing that is printed or logged makes a terminal act, whatever others wrote."""

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest
import structlog

from marketplace_worker.cli import main
from marketplace_worker.cli.grammar import Output
from marketplace_worker.cli.printing import (
    print_data,
    print_facts,
    print_section,
    print_table,
    printed,
)
from marketplace_worker.operations.logs import set_up_logs
from marketplace_worker.terminal import escaped_json, visible
from plain_logs import log_plainly

SUSPECT = "".join(each for each in map(chr, range(sys.maxunicode + 1)) if not each.isprintable())
"""All of Unicode that `str.isprintable` refuses: also lone surrogates and what is not assigned."""

SAMPLE = "é東\x1b]0;title\x07\x9b31m\u202egnp.exe\u2028\u200b\ufeff\U000e0041\ud800\r\x7f\n"


class Terminal(io.StringIO):
    """A stream that somebody watches."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    """The log is one for the whole process: put back what pytest had."""
    root, ours = logging.getLogger(), logging.getLogger("marketplace_worker")
    before = [(each, each.handlers[:], each.level, each.propagate) for each in (root, ours)]
    yield
    for logger, handlers, level, propagates in before:
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate = propagates
    logging.captureWarnings(capture=False)
    log_plainly()


def harmless(output: str) -> bool:
    """Whether each line of it is printable."""
    return all(line.isprintable() for line in output.split("\n"))


def test_whatever_is_not_printable_is_written_out() -> None:
    """And only that: letters of all scripts stay."""
    assert visible(SUSPECT).isprintable()
    assert visible("a\x1b[31mb\rc\u202ed \U000e0041 é東") == (
        "a\\x1b[31mb\\x0dc\\u202ed \\U000e0041 é東"
    )


def test_json_is_parsed_to_the_same_value() -> None:
    """With the escapes that JSON has; its own line ends stay."""
    value = {"all": list(SUSPECT), SAMPLE: [SAMPLE]}
    document = escaped_json(json.dumps(value, ensure_ascii=False, indent=2))

    assert harmless(document)
    assert json.loads(document) == value


def test_no_command_prints_what_a_terminal_acts_on(capsys: pytest.CaptureFixture[str]) -> None:
    """Tables, facts, sections, sentences and JSON."""
    printed(SAMPLE)
    print_table(("a", "b"), [(SAMPLE, 1)])
    print_facts({"name": SAMPLE})
    print_section("title", [SAMPLE])
    print_data({"value": SAMPLE}, Output.JSON)

    output = capsys.readouterr().out
    assert harmless(output)
    assert output.count("\\x1b") == 4
    assert output.count("\\u001b") == 1


@pytest.mark.usefixtures("logging_as_before")
@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()], ids=["file", "terminal"])
def test_no_log_line_makes_a_terminal_act(stream: io.StringIO) -> None:
    """Ours with ids and reasons, a traceback, and a line of a library."""
    set_up_logs(stream)
    error = ValueError(SAMPLE)
    structlog.get_logger("marketplace_worker.x").error("failed", exc_info=error, on=SAMPLE)
    structlog.get_logger("marketplace_worker.x").warning("refused", ids=[SAMPLE], reason=SAMPLE)
    logging.getLogger("aiokafka").warning("topic %s is gone", SAMPLE)

    output = stream.getvalue()
    if stream.isatty():
        for colour in ("\x1b[0m", "\x1b[1m", "\x1b[2m", *(f"\x1b[3{n}m" for n in range(8))):
            output = output.replace(colour, "")
    else:
        refused = json.loads(output.splitlines()[1])
        assert (refused["ids"], refused["reason"]) == ([SAMPLE], SAMPLE)
    assert harmless(output)
    assert output.count("title") >= 5


def test_no_error_makes_a_terminal_act(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sentence with which a command ends names what others wrote."""
    monkeypatch.setattr(sys, "argv", ["marketplace-worker", "simulate", f"no such {SAMPLE[:20]}"])
    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert "no such é東\\x1b]0;title" in error
    assert harmless(error)
