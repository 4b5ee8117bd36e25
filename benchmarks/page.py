"""`python -m benchmarks.page FILE`: writes the tables of docs/performance.md from the last results.

A table is between `<!-- benchmarks: NAME -->` and `<!-- end -->`.  Tables whose groups were not
measured are not changed.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.results import LATEST, SPREAD_MAX

Rows = Sequence[Mapping[str, Any]]
"""Rows of `results/latest.json`."""

YARDSTICK = ("usage", "notifications", "deadlines", "relay", "simulate")
WORKS = {
    "usage": "`usage`: events/s, Kafka to committed activity",
    "notifications": "`notifications`/s, Kafka to journal, state and three messages each",
    "deadlines": "`deadlines`: organizations/s, 100,000 due at once",
    "relay": "`relay`: messages/s, outbox to acknowledged and deleted",
    "simulate": "`simulate`: messages/s, no I/O (floor: `json.loads`)",
}
END = "<!-- end -->"
SERVERS = ("worker", "postgres", "kafka")
PARTS = ("a notification", "a deadline")


def main(file: Path) -> None:
    """Write the tables."""
    rows: Rows = json.loads(LATEST.read_text())["rows"]
    file.write_text(write_tables(file.read_text(), rows))


def write_tables(page: str, rows: Rows) -> str:
    """The page with its tables replaced."""
    for name, (groups, table) in TABLES.items():
        wanted = [row for row in rows if row["group"] in groups]
        if not wanted:
            continue
        begin = f"<!-- benchmarks: {name} -->"
        before, found, rest = page.partition(begin)
        if found:
            text = f"{begin}\n\n{_measured_on(wanted)}\n\n{table(wanted)}\n\n{END}"
            page = before + text + rest.partition(END)[2]
    return page


def _measured_on(rows: Rows) -> str:
    """When and where the rows were measured."""
    places = dict.fromkeys(f"{row['measured_at'][:10]} on {row['ran_on']}" for row in rows)
    return f"Measured on {' and on '.join(places)}:"


def _table(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---"] * len(columns)
    return "\n".join(f"| {' | '.join(line)} |" for line in (columns, rule, *lines))


def _yardstick(rows: Rows) -> str:
    by_group = {row["group"]: row for row in rows}
    columns = [
        "",
        "worker",
        "floor",
        "of floor",
        "target",
        "x naive",
        "us: worker, floor",
        "spread",
    ]
    return _table(
        columns,
        [
            [
                WORKS[group],
                _number(row["ours"]),
                _number(row["floor"]),
                f"{row['of_floor']:.2f}",
                row["wanted"].removesuffix(" of floor"),
                "" if row["times_naive"] is None else f"{row['times_naive']:.0f}",
                _processor_time(row),
                _spread(row),
            ]
            for group in YARDSTICK
            if (row := by_group.get(group))
        ],
    )


def _processor_time(row: Mapping[str, Any]) -> str:
    """Microseconds of a processor for each, of ours and the floor."""
    spent = row["details"].get("cpu_ms_of_each")
    return f"{1e3 * spent['ours']:.1f}, {1e3 * spent['floor']:.1f}" if spent else ""


def _spread(row: Mapping[str, Any]) -> str:
    """The spreads of ours and the floor; what makes them doubtful is in bold."""
    largest = [row["spread"][name] for name in ("ours", "floor") if name in row["spread"]]
    text = ", ".join(f"**{each:.0%}**" if each > SPREAD_MAX else f"{each:.0%}" for each in largest)
    short = ", ".join(f"{name} {seconds} s" for name, seconds in row.get("short", {}).items())
    return f"{text} (**short**: {short})" if short else text


def _one_value(rows: Rows) -> str:
    return _table(
        ["", "worker", "target"],
        [[_what(row), f"{_number(row['ours'])} {row['unit']}", row["wanted"]] for row in rows],
    )


def _what(row: Mapping[str, Any]) -> str:
    median_ms = row["details"].get("p50_ms")
    if median_ms is None:
        return str(row["work"])
    return f"arrival to readable by a consumer, {row['work']} (p50 {median_ms} ms)"


def _parts(rows: Rows) -> str:
    spent: dict[str, dict[str, str]] = {}
    for row in rows:
        name, _, part = row["work"].partition(": ")
        if name in PARTS:
            spent.setdefault(part, {})[name] = _number(row["ours"])
    lines = [[part, *(each.get(name, "") for name in PARTS)] for part, each in spent.items()]
    return _table(["us", *PARTS], lines)


def _peers(rows: Rows) -> str:
    columns = ["", "events/s", "spread", "us", "validates", "promises", "after a kill"]
    return _table(
        columns,
        [
            [
                f"**{row['work']}**" if row["work"] == "ours" else row["work"],
                _number(row["ours"]),
                _spread(row),
                str(row["details"]["cpu_us_of_each"]),
                row["details"]["validates"],
                row["details"]["promises"],
                row["details"]["after_a_kill"],
            ]
            for row in sorted(rows, key=lambda row: -row["ours"])
        ],
    )


def _cost(rows: Rows) -> str:
    columns = ["", "processor seconds: worker", "Postgres", "Kafka", "rows", "bytes in Postgres"]
    return _table(
        columns,
        [
            [
                row["work"],
                *(_number(row["details"]["cpu_s"][part]) for part in SERVERS),
                _number(row["details"]["rows"]),
                f"{row['details']['bytes'] / 1e9:.2f} GB",
            ]
            for row in rows
        ],
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10 else f"{value:.3g}"


TABLES: Mapping[str, tuple[Sequence[str], Callable[[Rows], str]]] = {
    "yardstick": (YARDSTICK, _yardstick),
    "latency and footprint": (("latency", "footprint"), _one_value),
    "parts": (("parts",), _parts),
    "peers": (("peers",), _peers),
    "cost": (("cost",), _cost),
}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
