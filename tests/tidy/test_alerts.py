"""deploy/alerts.yaml uses figures and headings that exist; `make test-alerts` runs it."""

import re
from datetime import timedelta

from metrics_page import figures, page
from pages import ROOT

from marketplace_worker.inspection.status import LAG_MAX, LATE_AFTER

ALERTS = (ROOT / "deploy/alerts.yaml").read_text(encoding="utf-8")
CASES = (ROOT / "deploy/alerts.test.yaml").read_text(encoding="utf-8")
RUNBOOK = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")

_NAMES = re.findall(r"^ +- alert: (\w+)$", ALERTS, re.MULTILINE)


def anchors() -> set[str]:
    """The headings of the runbook, as addresses."""
    headings = re.findall(r"^#+ (.+)$", RUNBOOK, re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", each.lower()).replace(" ", "-") for each in headings}


def test_every_alert_has_what_a_person_needs() -> None:
    """A summary, a severity, and a heading of the runbook."""
    rules = re.split(r"^ +- alert: ", ALERTS, flags=re.MULTILINE)[1:]
    assert len(rules) > 15
    for rule in rules:
        assert re.search(r"severity: (none|warning|critical)\}", rule), rule
        assert re.search(r"summary: .{20,}", rule), rule
        (anchor,) = re.findall(r"runbook_url: docs/runbook\.md#(\S+)", rule)
        assert anchor in anchors(), anchor


def test_every_figure_of_an_alert_is_exported() -> None:
    """A misspelled one would never fire."""
    assert set(re.findall(r"marketplace_worker_\w+", ALERTS)) <= figures().keys()


def test_the_page_of_figures_is_what_the_code_says() -> None:
    """`make docs` writes it."""
    assert (ROOT / "docs/metrics.md").read_text(encoding="utf-8") == page()


THRESHOLDS = {
    "MarketplaceWorkerBehind": LAG_MAX,
    "MarketplaceWorkerOutboxWaits": LATE_AFTER / timedelta(seconds=1),
    "MarketplaceWorkerMessageRefused": 0,
    "MarketplaceWorkerDeadLetters": 0,
}
"""Above which value `status` has a finding, for each alert on the same figure."""

ONLY_ALERTS = {
    "MarketplaceWorkerManyCancellations",
    "MarketplaceWorkerMassCancellations",
    "MarketplaceWorkerFeedUnreadable",
    "MarketplaceWorkerFeedSilent",
    "MarketplaceWorkerLogLinesDropped",
    "MarketplaceWorkerLoopSilent",
    "MarketplaceWorkerOldSnapshot",
    "MarketplaceWorkerPositionJumped",
}
"""On counters of one process, and on what `status` judges by other figures."""


def test_alerts_and_status_judge_alike() -> None:
    """A new alert with a threshold belongs into one of the tables above."""
    rules = re.split(r"^ +- alert: ", ALERTS, flags=re.MULTILINE)[1:]
    limits = {
        rule.split("\n", 1)[0]: float(found[1])
        for rule in rules
        if (found := re.search(r"marketplace_worker_[^>]* > ([0-9]+)", rule))
    }
    assert limits.keys() == THRESHOLDS.keys() | ONLY_ALERTS
    assert {name: limits[name] for name in THRESHOLDS} == THRESHOLDS


def test_every_alert_is_tested_both_ways() -> None:
    """Once where it fires, once where it does not."""
    asked = re.findall(r"alertname: (\w+)\n +exp_alerts:( \[\])?", CASES)
    for name in _NAMES:
        outcomes = {bool(quiet) for each, quiet in asked if each == name}
        expected = {False} if name == "MarketplaceWorkerAlertsArrive" else {False, True}
        assert outcomes == expected, name
