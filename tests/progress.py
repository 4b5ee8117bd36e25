"""A progress bar with an estimate, where a person watches the tests; else pytest's own output.

The estimate goes by how long each test took when it last passed here (pytest's cache), and the
average for a test that never did.
"""

import time
from datetime import timedelta

import pytest
from rich.console import Console
from rich.text import Text

DURATIONS = "marketplace-worker/durations"
"""Where the cache keeps seconds by test."""
BAR = 20
EVERY_S = 0.2


def install(config: pytest.Config) -> None:
    """Show the bar, unless nobody watches, or a person asked for more or less output."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(config, "workerinput"):
        return
    watched = reporter.isatty and config.getoption("verbose") == 0
    shows = watched and not config.getoption("collectonly")
    if shows:
        reporter.showfspath = False
        reporter._show_progress_info = False
    progress = Progress(config, reporter, shows=shows)
    config.pluginmanager.register(progress, "marketplace-worker-progress")


class Progress:
    """Draws the bar on one line, under the failures so far."""

    def __init__(
        self, config: pytest.Config, reporter: pytest.TerminalReporter, *, shows: bool
    ) -> None:
        self._reporter, self._shows = reporter, shows
        self._cache: pytest.Cache | None = getattr(config, "cache", None)
        self._known: dict[str, float] = self._cache.get(DURATIONS, {}) if self._cache else {}
        self._average = sum(self._known.values()) / len(self._known) if self._known else 1.0
        self._took: dict[str, float] = {}
        self._began = self._drawn_at = time.monotonic()
        self._expected_s = self._done_s = 0.0
        self._tests = self._done = self._failed = 0
        self._console = Console(file=reporter._tw._file, force_terminal=True)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._expect([item.nodeid for item in session.items])

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        self._expect(ids)

    def _expect(self, ids: list[str]) -> None:
        self._tests, self._expected_s = len(ids), sum(map(self._weight, ids))
        self._began = time.monotonic()

    def _weight(self, id_: str) -> float:
        return self._known.get(id_, self._average)

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(
        self, report: pytest.CollectReport | pytest.TestReport
    ) -> tuple[str, str, str] | None:
        """No letter for a test that passed or failed: the bar counts it."""
        if not self._shows or report.skipped or hasattr(report, "wasxfail"):
            return None
        if report.failed:
            return "failed" if report.when == "call" else "error", "", ""
        return ("passed", "", "") if report.when == "call" else None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._took[report.nodeid] = self._took.get(report.nodeid, 0) + report.duration
        if report.failed:
            self._failed += 1
            if self._shows:
                self._erase()
                self._reporter.write_line(f"FAILED {report.nodeid}", red=True)
        if report.when != "teardown":
            return
        self._done += 1
        self._done_s += self._weight(report.nodeid)
        if self._shows and (now := time.monotonic()) - self._drawn_at > EVERY_S:
            self._drawn_at = now
            self._draw(now - self._began)

    def _draw(self, passed_s: float) -> None:
        part = min(1.0, self._done_s / self._expected_s) if self._expected_s else 0.0
        left = f", about {_clock(passed_s / part - passed_s)} left" if part > 0.01 else ""
        full = round(BAR * part)
        line = Text(f"{part:4.0%} ")
        line.append("━" * full, "red" if self._failed else "green")
        line.append("━" * (BAR - full), "dim")
        line.append(f" {self._done}/{self._tests} tests, {self._failed} failed, {_clock(passed_s)}")
        line.append(left)
        self._erase()
        self._console.print(line, end="", overflow="crop", no_wrap=True)

    def _erase(self) -> None:
        self._console.file.write("\r\x1b[2K")

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        if self._shows:
            self._erase()
        if self._cache and self._took:
            rounded = {id_: round(each, 3) for id_, each in self._took.items()}
            self._cache.set(DURATIONS, self._known | rounded)


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds))).removeprefix("0:")
