"""The version stands in one place, and each release names its commit."""

import json
import re
import subprocess
import tomllib

import pytest
from pages import ROOT

RELEASES: dict[str, str] = tomllib.loads((ROOT / "docs/released.toml").read_text(encoding="utf-8"))
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
HEADINGS = re.findall(r"(?m)^## (.*)$", CHANGELOG)


def git(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command's result, whatever it is."""
    return subprocess.run(
        ["git", *arguments], check=False, cwd=ROOT, capture_output=True, text=True
    )


def test_the_changelog_has_each_release_with_its_date_and_what_comes_next_first() -> None:
    """0.1.0 was never released: it has neither a date nor a commit."""
    assert HEADINGS[0] == "Unreleased"
    dated = [each for each in HEADINGS if re.fullmatch(r"[0-9.]+ - \d{4}-\d{2}-\d{2}", each)]
    assert [each.partition(" - ")[0] for each in dated] == list(RELEASES)


def test_the_version_is_that_of_the_newest_release_until_the_next_one() -> None:
    """In pyproject.toml, and from there in the published document."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    published = json.loads((ROOT / "schemas/asyncapi.json").read_text(encoding="utf-8"))["info"]
    assert project["version"] == published["version"] == next(iter(RELEASES))


@pytest.mark.parametrize("version", RELEASES)
def test_a_release_names_a_commit_of_the_history(version: str) -> None:
    """`make bench` and the comparisons check it out."""
    if git("rev-parse", "--is-shallow-repository").stdout.strip() != "false":
        pytest.skip("the history is not here")
    commit = RELEASES[version]
    assert re.fullmatch("[0-9a-f]{40}", commit)
    assert git("merge-base", "--is-ancestor", commit, "HEAD").returncode == 0, commit
