"""Every test is run by a target."""

import tomllib

from pages import ROOT

OTHER_TARGETS = {
    "tests/acceptance": "test-acceptance",
    "tests/browser": "test-console",
    "tests/embedded": "test-embedded",
    "tests/faults": "test-faults",
    "tests/long": "test-long",
    "tests/streams": "test-streams",
    "tests/tidy": "check",
}
"""The folders that `make test` leaves out, and the target that runs each."""


def test_every_folder_with_tests_belongs_to_a_target() -> None:
    """`testpaths` lists the folders of `make test`, so that it need not import the others."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    everyday = set(settings["testpaths"])
    folders = {str(path.parent.relative_to(ROOT)) for path in (ROOT / "tests").glob("**/test_*.py")}
    assert folders == everyday | OTHER_TARGETS.keys()
    assert not everyday & OTHER_TARGETS.keys()


def test_every_target_for_a_folder_exists() -> None:
    """Each has a rule of its own in the Makefile."""
    makefile = (ROOT / "Makefile").read_text()
    assert [each for each in OTHER_TARGETS.values() if f"\n{each}:" not in makefile] == []
