"""Runs the worker of another commit: its source from git, with this environment if the lock files
are the same, otherwise with its own.
"""

import asyncio
import os
import subprocess
import sys
import tomllib
from asyncio.subprocess import PIPE, STDOUT
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.stage import PREFIX, ROOT, Place
from benchmarks.worker import Worker, working

LOCK = "requirements.lock"
RELEASED = ROOT / "docs/released.toml"


class Unavailable(Exception):
    """The commit cannot be run here; the message says why and what helps."""


class CommandFailed(Exception):
    """A command of the worker failed; the message has its output."""


@dataclass(frozen=True, slots=True)
class Version:
    """A version of the worker, used only by its commands, settings and log."""

    name: str
    python: str = sys.executable
    variables: dict[str, str] = field(default_factory=dict)

    async def run(self, place: Place, *arguments: str) -> None:
        """Run one of its commands, such as `migrate`, until it ends."""
        process = await asyncio.create_subprocess_exec(
            self.python, "-m", "marketplace_worker", *arguments,
            env=self.environment(place), stdout=PIPE, stderr=STDOUT,
        )  # fmt: skip
        output, _ = await process.communicate()
        if process.returncode != 0:
            command = " ".join(arguments)
            raise CommandFailed(f"{self.name}: {command}: {output.decode(errors='replace')}")

    def working(self, place: Place, loop: str) -> AbstractAsyncContextManager[Worker]:
        """Run the worker with one loop inside the block."""
        command = (self.python, "-m", "marketplace_worker")
        return working(place, [loop], command=command, variables=self.variables, name=self.name)

    def environment(self, place: Place | None) -> dict[str, str]:
        """The environment of its commands; without a place, of those that need no servers."""
        others = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        return {**others, **(place.environment if place else {}), **self.variables}


HERE = Version("this checkout")


def last_release() -> str:
    """The commit of the newest release."""
    releases = tomllib.loads(RELEASED.read_text())
    return str(next(iter(releases.values())))


def version_of(reference: str, folder: Path) -> Version:
    """The version of a commit, whose source is put into `folder`.

    Raises:
        Unavailable: the history has no such commit.
    """
    found = _git("rev-parse", "--verify", "--quiet", f"{reference}^{{commit}}")
    if found.returncode != 0:
        raise Unavailable(
            f"The history here has no commit {reference}, so nothing was compared."
            " A shallow clone lacks it: git fetch --unshallow"
        )
    commit = found.stdout.decode().strip()
    source = _git("archive", commit, "src", LOCK)
    source.check_returncode()
    subprocess.run(["tar", "-x", "-C", str(folder)], input=source.stdout, check=True)
    same = (folder / LOCK).read_bytes() == (ROOT / LOCK).read_bytes()
    python = sys.executable if same else _environment(folder)
    return Version(commit[:12], python, {"PYTHONPATH": str(folder / "src")})


def _environment(folder: Path) -> str:
    """Create an environment from the commit's lock file; returns its Python."""
    sys.stderr.write(f"installing what {LOCK} of the other commit says\n")
    python = str(folder / "environment/bin/python")
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(folder / "environment")], check=True
    )
    uv = [sys.executable, str(ROOT / ".ci/uv.py"), "pip", "install", "--quiet"]
    locked = ["--require-hashes", "-r", str(folder / LOCK)]
    subprocess.run([*uv, "--python", python, *locked], check=True)
    return python


def _git(*arguments: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)
