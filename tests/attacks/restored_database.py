"""Restores a backup: published sequences, and a deactivation, are missing from the database.

The worker detects it and takes no steps; the runbook recovers it.

python tests/attacks/restored_database.py
"""

import asyncio
import json
from collections import defaultdict
from typing import Any

import asyncpg
from outsider import Outsider, example, repeat

LIFECYCLE, REQUESTS = "organizations.lifecycle", "support.requests"
BY = ("--by", "an outsider", "--reason", "a backup was restored", "--yes", "--execute")


async def attack(outsider: Outsider) -> None:
    """By `DROP DATABASE` and an older copy."""
    async with outsider.worker():
        for each in ("acme", "globex"):
            created = example("organization.created", each, owner_email=f"owner@{each}.example")
            await outsider.send("organizations.changes", created, each.encode())
        await until_state(outsider, acme="active", globex="active")
    await restored(outsider, "CREATE DATABASE backup TEMPLATE %s")
    async with outsider.worker():
        closed = example("support.deactivate_organization", "globex")
        await outsider.send(REQUESTS, closed, b"globex")
        await until_state(outsider, globex="deactivated")
        await outsider.succeed("guard", "trip", *BY[:4])
        await published(outsider, "globex", "organization.deactivated")
    before = await numbers(outsider)

    await restored(outsider, "DROP DATABASE %s", "ALTER DATABASE backup RENAME TO %s")
    async with outsider.worker() as worker:
        line = await worker.logged("database_set_back")
        outsider.require(line, "a worker detects that the database was set back")
        status, output = await outsider.command("guard", "release", *BY[:5])
        refused = status == 2 and "recover --from-restore" in output
        outsider.require(refused, "the guard is not released before the recovery")
    output = await outsider.succeed("recover", "--from-restore", "--json", *BY)
    found = json.loads(output[output.index("{\n") :])
    otherwise = {each["organization_id"]: each for each in found["otherwise"]}
    outsider.require("globex" in otherwise, "an organization published as deactivated is listed")
    async with outsider.worker():
        again = example("support.reinstate_organization", "globex")
        await outsider.send(REQUESTS, again, b"globex")
        await published(outsider, "globex", "support_request.rejected")
        await outsider.succeed("recover", "--closed", "globex", *BY)
        await until_state(outsider, globex="deactivated")
        await asyncio.sleep(2)  # the relay sends the events of the decisions
    after = await numbers(outsider)
    twice = [number for number, ids in after.items() if len(ids) > 1]
    outsider.require(not twice, f"no sequence is used for two events ({twice[:3]})")
    outsider.require(len(after) > len(before), "later events are published, too")
    status, output = await outsider.command("replay", "--verify")
    outsider.require(status == 0, f"the journal folds to the stored state ({output.strip()})")


async def until_state(outsider: Outsider, **states: str) -> None:
    """Wait until these organizations are in these states."""
    for _ in range(600):
        rows = await outsider.rows("SELECT organization_id, state FROM organizations")
        if states.items() <= {row["organization_id"]: row["state"] for row in rows}.items():
            return
        await asyncio.sleep(0.1)
    raise SystemExit(f"never came to {states}")


async def published(outsider: Outsider, organization: str, kind: str) -> None:
    """Wait until an event is on the topic."""
    for _ in range(60):
        events = [json.loads(value or b"{}") for _, value in await outsider.records(LIFECYCLE)]
        if any(e["subject"] == organization and kind in e["type"] for e in events):
            return
        await asyncio.sleep(0.5)
    raise SystemExit(f"{kind} of {organization} was never published")


async def numbers(outsider: Outsider) -> dict[tuple[str, str], set[str]]:
    """The ids of the events by organization and sequence."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for _, value in await outsider.records(LIFECYCLE):
        event: dict[str, Any] = json.loads(value or b"{}")
        found[event["subject"], event["sequence"]].add(event["id"])
    return found


async def restored(outsider: Outsider, *statements: str) -> None:
    """Execute statements about the database from another one."""
    at, _, name = outsider.dsn.rpartition("/")
    connection = await asyncpg.connect(f"{at}/template1")
    for each in statements:
        await connection.execute(each.replace("%s", f'"{name}"'))
    await connection.close()


if __name__ == "__main__":
    repeat(attack)
