"""The policies table: every policy that was ever in force.  The SQL is in policies.sql.

Organizations are pinned to a policy by its version (lifecycle.md section 3).
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

from marketplace_worker.documents import policy_from_json, policy_to_json
from marketplace_worker.errors import Misconfigured
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.policy import Policies, Policy
from marketplace_worker.store.database import Connection
from marketplace_worker.store.queries import queries

SQL = queries("policies")


async def register(conn: Connection, policy: Policy, *, now: datetime) -> None:
    """Store a policy, so that organizations can be pinned to it.  Idempotent.

    Raises:
        Misconfigured: a different policy was registered under the same version.
    """
    await conn.execute(SQL["register"], policy.version, policy_to_json(policy), now)
    known = await read(conn, [policy.version])
    if known[policy.version] != policy:
        raise Misconfigured(
            f"policy {policy.version}: another policy has already used this version, and "
            "organizations may be pinned to it: set another `version` in the policy file"
        )


async def read(conn: Connection, versions: Collection[str]) -> dict[str, Policy]:
    """The policies that were registered under these versions."""
    rows = await conn.fetch(SQL["read"], sorted(versions))
    return {row["version"]: policy_from_json(row["document"]) for row in rows}


async def in_force(conn: Connection) -> Policy | None:
    """The policy that the workers use; None: no worker has ever used any."""
    document = await conn.fetchval(SQL["in_force"])
    return None if document is None else policy_from_json(document)


async def read_all(conn: Connection) -> dict[str, Policy]:
    """Every policy that was ever in force, by its version."""
    rows = await conn.fetch(SQL["read_all"])
    return {row["version"]: policy_from_json(row["document"]) for row in rows}


@dataclass(slots=True)
class PolicyBook:
    """The policy in force, and a cache of the policies that organizations are pinned to."""

    current: Policy
    _known: dict[str, Policy] = field(default_factory=dict)

    async def policies_for(self, conn: Connection, fleet: Fleet) -> Policies:
        """The policies that decisions on this fleet may need.

        Unknown ones are read: another worker with a newer policy may have registered them.
        """
        pinned = {
            each.cancellation.policy_version
            for each in fleet.organizations.values()
            if each.cancellation is not None and each.state.in_cancellation
        }
        missing = pinned - self._known.keys() - {self.current.version}
        if missing:
            self._known |= await read(conn, missing)
        return Policies(self.current, {v: self._known[v] for v in pinned & self._known.keys()})
