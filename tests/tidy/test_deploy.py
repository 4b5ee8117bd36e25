"""What deploy/ says is what the code has; no container engine is needed to know that."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from pages import ROOT

from command_line import parse

DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text(encoding="utf-8")
COMPOSE = (ROOT / "deploy/compose.yaml").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

_PINNED = re.compile(r"^([a-z0-9._-]+==\S+)", re.MULTILINE)
_COMMAND = re.compile(r"^ +command: (\[.+\])$", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z0-9._-]+")


def pins(path: str) -> set[str]:
    """What a lock file pins, each `name==version`."""
    return set(_PINNED.findall((ROOT / path).read_text(encoding="utf-8")))


def requirements(wanted: list[str]) -> set[str]:
    """The names of what is required."""
    return {found[0] for each in wanted if (found := _NAME.match(each))}


def commands() -> list[list[str]]:
    """The arguments with which compose starts the worker's image."""
    return [json.loads(found) for found in _COMMAND.findall(COMPOSE)]


def test_the_image_has_what_the_tests_ran_with() -> None:
    """Both lock files are part of the one that the tests install from."""
    everything = pins("requirements.lock")
    assert pins("deploy/requirements.lock") <= everything
    assert pins("deploy/build.lock") <= everything


def test_the_image_has_all_dependencies_and_none_of_the_embedded_servers() -> None:
    """`make lock` writes the image's lock file from the project with the console alone."""
    names = {pin.partition("==")[0] for pin in pins("deploy/requirements.lock")}
    assert requirements(PROJECT["dependencies"]) <= names
    assert requirements(PROJECT["optional-dependencies"]["console"]) <= names
    assert not requirements(PROJECT["optional-dependencies"]["embedded"]) & names
    assert not {"pytest", "mypy", "ruff", "hatchling"} & names


def test_the_image_has_a_version_label_and_runs_as_nobody() -> None:
    """A number for the user, and no shell between the engine's signals and the worker."""
    assert f'image.version="{PROJECT["version"]}"' in DOCKERFILE
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", DOCKERFILE, re.MULTILINE)
    assert re.search(r'^ENTRYPOINT \["marketplace-worker"\]$', DOCKERFILE, re.MULTILINE)
    assert "marketplace-worker" in PROJECT["scripts"]


def test_the_image_is_built_from_files_that_exist_and_are_not_ignored() -> None:
    """`.dockerignore` lets through what is copied, and nothing else."""
    copied = {
        path
        for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
        for path in line.split()
    }
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert all((ROOT / path).exists() for path in copied)
    assert {line.removeprefix("!") for line in ignore if line.startswith("!")} == copied


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_compose_uses_commands_that_exist(command: list[str]) -> None:
    """With their options."""
    parse(command)


def test_compose_prepares_before_it_runs() -> None:
    """The worker refuses an old schema and missing topics."""
    assert [command[0] for command in commands()] == ["migrate", "topics", "run"]
    assert COMPOSE.count("condition: service_completed_successfully") == 2


def test_compose_has_the_kafka_that_the_tests_run_on() -> None:
    """`make test-kafka` gets the version that the pom names."""
    pom = Path(ROOT / "tests/kafka/pom.xml").read_text(encoding="utf-8")
    version = re.search(r"<artifactId>kafka_2.13</artifactId>\s*<version>([\d.]+)</version>", pom)
    assert version is not None
    assert f"image: apache/kafka:{version[1]}\n" in COMPOSE


def test_compose_has_no_default_for_a_secret() -> None:
    """A default would be everybody's."""
    uses = re.findall(r"\$\{(\w+)(:\?)?", COMPOSE)
    assert {name for name, _ in uses} == {"POSTGRES_PASSWORD", "MARKETPLACE_WORKER_EMAIL_KEY"}
    assert all(required for _, required in uses)
