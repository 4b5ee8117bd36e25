"""What a new user types: `run --embedded`, and the commands that it prints."""

import asyncio
import json
import os
import re
import signal
import stat
import sys
import tomllib
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2

from acceptance.stage import PATIENCE_S, command

_EXPORT = re.compile(r"^  export (\w+)='?([^'\n]*)'?$", re.MULTILINE)


@asynccontextmanager
async def trial(folder: Path) -> AsyncIterator[tuple[Process, str]]:
    """`run --embedded` in a folder; yields the process and what it printed until it ran."""
    async with command("run", "--embedded", "--folder", "data", folder=folder) as process:
        assert process.stdout is not None
        printed = ""
        async with asyncio.timeout(PATIENCE_S):
            async for line in process.stdout:
                printed += line.decode()
                if b'"worker_started"' in line:
                    break
        yield process, printed
        if process.returncode is None:
            process.terminate()
            await process.communicate()


async def output(folder: Path, shell: str, variables: Mapping[str, str]) -> str:
    """What a line prints that is typed into a shell in which the block was pasted."""
    process = await asyncio.create_subprocess_shell(
        shell, cwd=folder, env=dict(variables), stdout=PIPE, stderr=STDOUT
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, printed.decode()
    return printed.decode()


async def beginning(folder: Path, shell: str, variables: Mapping[str, str]) -> str:
    """The first two lines that a line prints which does not end."""
    process = await asyncio.create_subprocess_shell(
        f"exec {shell}", cwd=folder, env=dict(variables), stdout=PIPE, stderr=STDOUT
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_S):
            return "".join([(await process.stdout.readline()).decode() for _ in range(2)])
    finally:
        process.terminate()
        await process.communicate()


def severe(printed: str) -> list[str]:
    """The warnings and errors of a log."""
    assert '"event": "worker_' in printed
    return [line for line in printed.splitlines() if re.search(r'"level": "(warn|err)', line)]


def files(folder: Path, pattern: str) -> list[Path]:
    """The files of a pattern."""
    return list(folder.glob(pattern))


async def test_run_embedded_says_how_to_reach_its_servers(tmp_path: Path) -> None:
    """By variables to paste, and by a settings file that only its owner can read."""
    async with trial(tmp_path) as (process, printed):
        file = tmp_path / "data" / "connection.toml"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert "the broker's topics are lost when it stops" in printed
        exported = dict(_EXPORT.findall(printed))
        by_file = tomllib.loads(file.read_text())
        assert exported == {
            "MARKETPLACE_WORKER_POSTGRES__DSN": by_file["postgres"]["dsn"],
            "MARKETPLACE_WORKER_KAFKA__BOOTSTRAP_SERVERS": by_file["kafka"]["bootstrap_servers"],
            "MARKETPLACE_WORKER_KAFKA__SESSION_TIMEOUT_MS": str(
                by_file["kafka"]["session_timeout_ms"]
            ),
            "MARKETPLACE_WORKER_EMAIL_KEY_FILE": by_file["email_key_file"],
        }
        async with command("due", "--folder", "data", folder=tmp_path) as due:
            out, _ = await due.communicate()
        assert (due.returncode, b"0 due" in out) == (0, True), out
        assert '"level":"warning"' not in printed
        assert '"level":"error"' not in printed
        await healthy(tmp_path)
        process.terminate()
        rest, _ = await process.communicate()
        assert process.returncode == 0
        assert severe(printed + rest.decode()) == []
    assert not file.exists(), "its servers have stopped"


async def healthy(folder: Path) -> None:
    """Wait until `status` finds nothing wrong: the worker has joined its groups, and says so."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            async with command("status", "--folder", "data", "--json", folder=folder) as status:
                out, _ = await status.communicate()
            if status.returncode == 0:
                break
    (worker,) = json.loads(out)["workers"]
    assert worker["not_ready"] == []
    assert {group: sum(lag.values()) for group, lag in worker["lag"].items()} == {
        "activity": 0, "facts": 0
    }  # fmt: skip


_README = re.compile(r"```\n(\$ marketplace-worker send story .*?)```", re.DOTALL)
_CHANGING = (
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?"), "TIME"),
    (re.compile(r"/\d+/\d+  "), "/PLACE  "),
)


def comparable(text: str) -> list[str]:
    """The lines of an output without what differs each time."""
    for pattern, name in _CHANGING:
        text = pattern.sub(name, text)
    return text.splitlines()


async def test_the_readme_leads_to_a_customer_of_ones_own(tmp_path: Path) -> None:
    """`run --embedded`, then what the README shows, in a shell with the printed variables."""
    page = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (block,) = _README.findall(page)
    shown = [each.partition("\n") for each in block.split("$ ")[1:]]
    assert [command_.split()[1] for command_, _, _ in shown] == ["send", "tail", "org"]
    async with trial(tmp_path) as (_, printed):
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        variables = {**os.environ, "PATH": path, **dict(_EXPORT.findall(printed))}
        for line, _, _ in shown:
            assert f"\n  {line}\n" in printed, "both say the same"
        (send, _, sent), (tail, _, tailed), (explain, _, _) = shown
        out = await output(tmp_path, send, variables)
        first, _, last = comparable(sent)
        assert (comparable(out)[0], comparable(out)[-1]) == (first, last)
        assert comparable(await beginning(tmp_path, tail, variables)) == comparable(tailed)
        assert "acme is canceled, as of" in await output(tmp_path, explain, variables)


async def answer(browser: httpx2.AsyncClient, address: str) -> str:
    """A page, as soon as its server runs."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return (await browser.get(address)).text
            except httpx2.ConnectError:
                await asyncio.sleep(0.05)


async def test_a_demo_that_is_kept_can_be_looked_at(tmp_path: Path) -> None:
    """With the settings that it prints, until Ctrl-C; then nothing is left of it."""
    async with command("demo", "--keep", folder=tmp_path) as process:
        assert process.stdout is not None
        printed = ""
        async with asyncio.timeout(2 * PATIENCE_S):
            async for line in process.stdout:
                printed += line.decode()
                if b"The same settings are in" in line:
                    break
        assert "Everything arrived as expected" in printed
        (file,) = files(tmp_path, ".cache/demo-*/connection.toml")
        async with command("org", "show", "grove", "--config", str(file)) as show:
            out, _ = await show.communicate()
        assert b"state         deactivated" in out
        (address,) = re.findall(r"Its console: (http://127\.0\.0\.1:\d+)", printed)
        async with httpx2.AsyncClient() as browser:
            shown = await answer(browser, address)
        assert "What is due in the next 60 days" in shown
        process.send_signal(signal.SIGINT)
        await process.communicate()
    assert process.returncode == 0
    assert files(tmp_path, ".cache/*") == []
