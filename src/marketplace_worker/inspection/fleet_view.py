"""Loads some organizations at one moment, with everything needed to explain them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.policy import Policies
from marketplace_worker.lifecycle.vocabulary import OrganizationId
from marketplace_worker.store import working_set
from marketplace_worker.store.database import Connection, Pool
from marketplace_worker.store.policies import PolicyBook

PAGE = 1_000
"""How many organizations are held in memory, with everything that belongs to them."""


@dataclass(frozen=True, slots=True)
class Inspector:
    """The dependencies of this package's functions.  `policies` has the policy in force."""

    pool: Pool
    policies: PolicyBook
    now: datetime


@dataclass(frozen=True, slots=True)
class FleetView:
    """The loaded `organizations`, in the requested order, and everything related to them."""

    organizations: Sequence[Organization]
    fleet: Fleet
    policies: Policies
    now: datetime


async def load_view(
    conn: Connection,
    inspector: Inspector,
    ids: Sequence[OrganizationId],
    owners_of: Collection[OrganizationId] = (),
) -> FleetView:
    """Read some organizations, and all others with the same owner as one of `owners_of`.

    An unknown organization is returned as one without facts.
    """
    policy, now = inspector.policies.current, inspector.now
    fleet = await working_set.read(conn, ids, policy, now=now, owners_of=owners_of)
    policies = await inspector.policies.policies_for(conn, fleet)
    return FleetView([fleet.organization(each) for each in ids], fleet, policies, now)


Page = Callable[[OrganizationId | None], Awaitable[Sequence[OrganizationId]]]
"""Returns the next ids after the given one, at most `PAGE`."""


async def load_views(
    conn: Connection, inspector: Inspector, page: Page
) -> AsyncIterator[FleetView]:
    """Read organizations page by page."""
    last: OrganizationId | None = None
    while ids := await page(last):
        yield await load_view(conn, inspector, ids)
        last = ids[-1]
