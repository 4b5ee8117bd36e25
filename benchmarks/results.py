"""Prints the results as a table, saves them to `results/latest.json`, and plots each group."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

FOLDER = Path(__file__).parent / "results"
LATEST = FOLDER / "latest.json"

SPREAD_MAX = 0.1
"""A row with a larger spread is marked, and measured more often."""

COLORS = {"ours": "#2a78d6", "floor": "#9aa4af", "naive": "#d98c3f"}

Plot = Callable[[Sequence["Row"], Path], None]
"""Draws the rows of one group into an SVG file."""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, slots=True)
class Row:
    """The results of one workload: the median of each contender's runs, in `unit`.

    `wanted`: the target, as text.  `of_floor` and `times_naive`: ratios of medians; None without
    such a contender.  `spread`: half the difference between a contender's best and worst run,
    relative to its median.  `runs`: the result of every run.  `short`: the shortest run in seconds
    of each contender without enough work for a run of five seconds.  `details`: further
    measurements and the amount of work.
    """

    group: str
    work: str
    unit: str
    ours: float
    floor: float | None = None
    naive: float | None = None
    of_floor: float | None = None
    times_naive: float | None = None
    wanted: str = ""
    spread: Mapping[str, float] = field(default_factory=dict)
    runs: Mapping[str, Sequence[float]] = field(default_factory=dict)
    short: Mapping[str, float] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    ran_on: str = ""
    measured_at: str = field(default_factory=_now)


def row(
    group: str,
    work: str,
    unit: str,
    runs: Mapping[str, Sequence[float]],
    *,
    wanted: str = "",
    short: Mapping[str, float] | None = None,
    details: Mapping[str, Any] | None = None,
    ran_on: str = "",
) -> Row:
    """A row from the runs of the contenders, one of which must be `ours`."""
    medians = {name: median(each) for name, each in runs.items()}
    ours, floor, naive = medians["ours"], medians.get("floor"), medians.get("naive")
    return Row(
        group,
        work,
        unit,
        ours,
        floor,
        naive,
        None if floor is None else ours / floor,
        None if naive is None else ours / naive,
        wanted,
        {name: spread(each) for name, each in runs.items()},
        runs,
        short or {},
        details or {},
        ran_on,
    )


def spread(rates: Sequence[float]) -> float:
    """Half the difference between the best and the worst run, relative to the median."""
    return (max(rates) - min(rates)) / 2 / median(rates)


def show(rows: Iterable[Row]) -> None:
    """Print the table."""
    table = Table(box=None, pad_edge=False)
    for name in ("work", "unit"):
        table.add_column(name)
    for name in ("ours", "floor", "naive", "of floor", "x naive", "spread", "wanted"):
        table.add_column(name, justify="right")
    for each in rows:
        table.add_row(
            f"{each.group}: {each.work}" if each.work != each.group else each.work,
            each.unit,
            _number(each.ours),
            _number(each.floor),
            _number(each.naive),
            "" if each.of_floor is None else f"{each.of_floor:.2f}",
            "" if each.times_naive is None else f"{each.times_naive:.1f}",
            spread_text(each),
            each.wanted,
        )
    Console(width=150).print(table)


def spread_text(row: Row) -> str:
    """The larger spread of `ours` and `floor`, and what makes the row doubtful."""
    largest = max(row.spread.get("ours", 0.0), row.spread.get("floor", 0.0))
    parts = [f"{largest:.0%}" + (" UNSTEADY" if largest > SPREAD_MAX else "")]
    parts += [f"{name} SHORT: {seconds:.1f} s" for name, seconds in row.short.items()]
    return ", ".join(parts)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def save(rows: Sequence[Row], plots: Mapping[str, Plot] | None = None) -> None:
    """Write the rows to `latest.json`, replacing those of the same groups, and plot them."""
    FOLDER.mkdir(exist_ok=True)
    groups = list(dict.fromkeys(each.group for each in rows))
    before = json.loads(LATEST.read_text())["rows"] if LATEST.exists() else []
    kept = [each for each in before if each["group"] not in groups]
    document = {"rows": kept + [asdict(each) for each in rows]}
    LATEST.write_text(json.dumps(document, indent=1, default=str) + "\n")
    for group in groups:
        draw = (plots or {}).get(group, dots)
        draw([each for each in rows if each.group == group], FOLDER / f"{group}.svg")


def dots(rows: Sequence[Row], file: Path) -> None:
    """Plot the contenders of each workload side by side; the line through each dot extends from the
    worst to the best run.  The axis is logarithmic if they are far apart.
    """
    figure = Figure(figsize=(7, 0.7 + 0.9 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, each in enumerate(reversed(rows)):
        for number, name in enumerate(("naive", "ours", "floor")):
            value = getattr(each, name)
            if value is None:
                continue
            runs, y = each.runs.get(name, [value]), place + (number - 1) * 0.26
            axes.plot([min(runs), max(runs)], [y, y], color=COLORS[name], linewidth=2)
            axes.plot(value, y, "o", color=COLORS[name], markersize=8)
            axes.annotate(
                f"{name} {_number(value)}", (value, y), (8, 0),
                textcoords="offset points", va="center", size=8,
            )  # fmt: skip
    labels = [f"{each.work}\n({each.unit})" for each in reversed(rows)]
    axes.set_yticks(range(len(rows)), labels, fontsize=8)
    axes.set_ylim(-0.5, len(rows) - 0.5)
    if any(each.naive for each in rows):
        axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.margins(x=0.25)
    if not any(each.naive for each in rows):
        axes.set_xlim(left=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="#dddddd", zorder=0)
    store(figure, file)


def store(figure: Figure, file: Path) -> None:
    """Write a figure as SVG, reproducibly: without a date and with fixed ids."""
    with mpl.rc_context({"svg.hashsalt": file.name, "svg.fonttype": "none"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
