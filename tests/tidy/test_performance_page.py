"""The tables of docs/performance.md can be written anew from the stored results."""

import re
import subprocess
import sys
from pathlib import Path

from pages import ROOT

PAGE = ROOT / "docs/performance.md"


def tables(page: str) -> list[str]:
    """The names of the tables, in order; each ends before the next one begins."""
    return re.findall(
        r"<!-- benchmarks: ([\w ]+) -->(?:(?!<!-- benchmarks).)*?<!-- end -->", page, re.DOTALL
    )


def test_the_tables_of_the_page_can_be_written_anew(tmp_path: Path) -> None:
    """`make bench` ends with it.  Whatever is not between the marks stays."""
    before, copy = PAGE.read_text(encoding="utf-8"), tmp_path / "performance.md"
    copy.write_text(before, encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks.page", str(copy)]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    after = copy.read_text(encoding="utf-8")
    assert len(tables(before)) == before.count("<!-- benchmarks") > 0
    assert tables(after) == tables(before)
    outside = r"(<!-- benchmarks: [\w ]+ -->).*?(<!-- end -->)"
    assert re.sub(outside, r"\1\2", after, flags=re.DOTALL) == re.sub(
        outside, r"\1\2", before, flags=re.DOTALL
    )
