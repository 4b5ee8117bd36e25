"""deploy/dashboard.json shows every figure, and none that is not exported."""

import json
import re
from typing import Any

from metrics_page import figures
from pages import ROOT

DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/dashboard.json").read_text(encoding="utf-8"))
PANELS = [each for each in DASHBOARD["panels"] if each["type"] != "row"]


def test_the_dashboard_shows_exactly_the_exported_figures() -> None:
    """A misspelled one would be empty; one that is left out would be missed."""
    queries = [target["expr"] for panel in PANELS for target in panel["targets"]]
    used = {name for query in queries for name in re.findall(r"marketplace_worker_\w+", query)}
    assert used == figures().keys()


def test_every_panel_says_what_it_shows_and_has_its_place() -> None:
    """No two overlap, and each has a number of its own."""
    assert all(panel["title"] and panel["description"] for panel in PANELS)
    everywhere = DASHBOARD["panels"]
    assert len({each["id"] for each in everywhere}) == len(everywhere)
    cells = [
        (x, y)
        for place in (each["gridPos"] for each in everywhere)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
