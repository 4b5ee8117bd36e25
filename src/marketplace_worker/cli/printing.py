"""Output of the commands: tables for people, one JSON document for programs.

Only this module writes to the terminal.  What others wrote (ids, reasons) is shown without the
characters that a terminal would act on.
"""

import json
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from shutil import copyfileobj
from tempfile import TemporaryFile
from typing import Any, Final, Self
from uuid import UUID

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from marketplace_worker.cli.grammar import Output
from marketplace_worker.contract.policy_file import format_duration
from marketplace_worker.explain.operators import moment
from marketplace_worker.lifecycle.deadlines import Deadline
from marketplace_worker.lifecycle.vocabulary import SubscriptionKey
from marketplace_worker.terminal import escaped_json, visible

WORD_MAX = 40
"""The longest word that stays whole in a column of prose: every name of an event does."""

PIPE_WIDTH = 100_000
"""Without a terminal nothing folds: one row is one line, for grep and awk."""

Cell = str | int | datetime | None

_INDENTED: Final[dict[str, Any]] = {"indent": 2, "ensure_ascii": False}


def printed(text: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{visible(text)}\n")


def print_table(
    head: Sequence[str], rows: Iterable[Sequence[Cell]], *, prose: Collection[str] = ()
) -> None:
    """Print a table, one row a line; nothing is left out.  Times are in UTC.

    `prose`: the columns that fold where a terminal is too narrow.  The others, such as
    identifiers, stay whole, so that they can be copied.
    """
    shown = [[_in_table(cell) for cell in row] for row in rows]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    needed = 0
    for number, name in enumerate(head):
        folds = name in prose
        cells = [row[number] for row in shown]
        words = [word for cell in cells for word in cell.split()] if folds else cells
        least = max(map(cell_len, (name, *words)))
        if folds:
            least = min(least, WORD_MAX)
        table.add_column(name, overflow="fold", no_wrap=not folds, min_width=least)
        needed += least + 1
    for row in shown:
        table.add_row(*map(Text, row))
    _print(table, at_least=needed)


def print_facts(facts: Mapping[str, Cell]) -> None:
    """Print names and values, one pair per line."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    for name, value in facts.items():
        grid.add_row(Text(name), Text(_shown(value)))
    _print(grid)


def print_section(title: str, lines: Iterable[str]) -> None:
    """Print an empty line, a title and sentences; nothing if there are no sentences."""
    all_lines = list(lines)
    if all_lines:
        grid = Table.grid()
        grid.add_column(width=2)
        grid.add_column(overflow="fold")
        for line in all_lines:
            grid.add_row("", Text(visible(line)))
        printed("")
        _print(Text(title, style="bold"))
        _print(grid)


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on standard error, if it is a terminal; yields a function to advance it.

    `total` may be an estimate; None: unknown.
    """
    console = Console(stderr=True)
    bar = Progress(
        TextColumn(what), BarColumn(), TextColumn("{task.completed}"), TimeElapsedColumn(),
        TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal,
    )  # fmt: skip
    with bar:
        task = bar.add_task(what, total=total)

        def move(by: int) -> None:
            done = bar.tasks[0].completed + by
            # The estimate was too low: show that there is more until the end.
            bar.update(task, completed=done, total=total and max(total, done))

        yield move


def print_data(document: Mapping[str, object], output: Output, *, rows: str | None = None) -> None:
    """Print one JSON document, or with `jsonl` the member `rows` of it, one element a line."""
    if output is Output.JSON:
        sys.stdout.write(f"{escaped_json(json.dumps(as_data(document), **_INDENTED))}\n")
        return
    elements = [document] if rows is None else document[rows]
    assert isinstance(elements, Iterable)
    for each in elements:
        sys.stdout.write(_json_line(each))


def _json_line(value: object) -> str:
    return f"{escaped_json(json.dumps(as_data(value), ensure_ascii=False))}\n"


class DataList:
    """The last member of a JSON document, a list that is collected in a temporary file.

    It may exceed the memory, and a command that fails prints nothing.
    """

    def __init__(self, name: str, output: Output) -> None:
        self._name = name
        self._output = output
        self._file = TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - closed on leaving

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, value: object) -> None:
        """Add an element."""
        self._file.write(_json_line(value))

    def print(self, before: Mapping[str, object]) -> None:
        """Print the document: other members first, then this list, one element per line; with
        `jsonl` only the list.
        """
        self._file.seek(0)
        if self._output is Output.JSONL:
            copyfileobj(self._file, sys.stdout)
            return
        members = json.dumps(as_data(before), **_INDENTED).removesuffix("\n}")
        sys.stdout.write(f'{escaped_json(members)},\n  "{self._name}": [')
        for number, line in enumerate(self._file):
            sys.stdout.write(f"{',' if number else ''}\n    {line.rstrip()}")
        sys.stdout.write("\n  ]\n}\n")


def as_data(value: object) -> Any:  # noqa: ANN401 - whatever JSON has
    """A value as JSON has it: fields by name, times in RFC 3339, durations in ISO 8601."""
    match value:
        case SubscriptionKey() | UUID():
            return str(value)
        case Deadline():
            return _deadline(value)
        case Enum():
            return value.value
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case timedelta() if value < timedelta(0):
            return f"-{format_duration(-value)}"
        case timedelta():
            return format_duration(value)
        case Mapping():
            return {str(name): as_data(each) for name, each in value.items()}
        case str() | int() | float() | None:
            return value
        case Iterable():
            return [as_data(each) for each in value]
        case _:
            assert is_dataclass(value), f"no JSON for {type(value).__name__}"
            return {each.name: as_data(getattr(value, each.name)) for each in fields(value)}


def _deadline(deadline: Deadline) -> dict[str, Any]:
    return {
        "step": deadline.step.value,
        "at": as_data(deadline.at),
        "terms": [
            {
                "rule": term.rule.value,
                "at": as_data(term.at),
                "since": as_data(term.since),
                "length": as_data(term.length),
                "extension": as_data(term.extension),
                "paused": as_data(term.paused),
                "decides": term is deadline.deciding,
            }
            for term in deadline.terms
        ],
    }


def _shown(cell: Cell) -> str:
    match cell:
        case None:
            return "-"
        case datetime():
            return moment(cell)
        case _:
            return visible(str(cell))


def _in_table(cell: Cell) -> str:
    return _shown(cell).removesuffix(" UTC") if isinstance(cell, datetime) else _shown(cell)


def _print(shown: Table | Text, *, at_least: int = 0) -> None:
    """Print with the terminal's colours and width, if there is one, without trailing spaces."""
    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    console.width = max(console.width, at_least) if console.is_terminal else PIPE_WIDTH
    with console.capture() as captured:
        console.print(shown)
    for line in captured.get().splitlines():
        sys.stdout.write(f"{line.rstrip()}\n")
