"""What corrects aiokafka and FastStream is checked again with each new version of them."""

import re
from pathlib import Path

from marketplace_worker.streams import mends

ROOT = Path(__file__).parents[2]
MENDS = Path(mends.__file__).parent


def test_the_mends_were_checked_with_the_locked_versions() -> None:
    """They replace inner parts: read each of them again before you change these versions."""
    for lock in ("requirements.lock", "deploy/requirements.lock"):
        text = (ROOT / lock).read_text()
        locked = {
            name: found[1]
            for name in mends.CHECKED_WITH
            if (found := re.search(rf"^{name}(?:\[[^\]]*\])?==(\S+)", text, re.MULTILINE))
        }
        assert locked == mends.CHECKED_WITH, lock


def test_each_mend_names_its_version_its_upstream_issue_and_when_it_goes() -> None:
    """So that none stays for longer than it is needed."""
    for path in sorted(MENDS.glob("[a-z]*.py")):
        text = path.read_text()
        docstring = text[: text.index('"""', 3)]
        assert re.search(r"(aiokafka|FastStream) 0\.\d", docstring), path.name
        assert "Upstream:" in docstring, path.name
        assert "Remove when" in docstring, path.name
        assert f"`{path.stem}`" in (MENDS / "__init__.py").read_text(), path.name
