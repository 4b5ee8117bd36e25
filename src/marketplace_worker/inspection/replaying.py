"""Replays the journal, to verify the stored state or to show an earlier one.

Writes nothing and publishes nothing.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime

from marketplace_worker.errors import Misconfigured
from marketplace_worker.explain.situation import case_of
from marketplace_worker.inspection.fleet_view import FleetView, Inspector, load_view
from marketplace_worker.journal.replay import RecordedDecision, ReplayResult, StoredEntry, unsealed
from marketplace_worker.lifecycle.families import ReplayGroup
from marketplace_worker.lifecycle.loaded import NotLoaded
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.policy import Policies
from marketplace_worker.lifecycle.settle import case_result
from marketplace_worker.lifecycle.subscription import Subscription
from marketplace_worker.lifecycle.vocabulary import Identity, OrganizationId, SubscriptionKey
from marketplace_worker.store import organizations, policies, replay, subscriptions
from marketplace_worker.store.database import Connection, one_moment

PAGE = 200
"""How many organizations are held in memory, with everything that belongs to them."""

UNCOMPARED = frozenset({"revision"})
"""Fields that replay cannot reproduce: how often a snapshot was taken depends on the batches."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference between the journal and the stored state.

    `subject`: an organization, a subscription, or the id of a journal row.  `what`: the field or
    the finding.  `stored` and `folded` (replayed): the two values; empty if the finding has none.
    """

    subject: str
    what: str
    stored: str = ""
    folded: str = ""


@dataclass(slots=True)
class Verification:
    """How much was compared, and the differences that were found."""

    organizations: int = 0
    subscriptions: int = 0
    rows: int = 0
    covered: int = 0
    differences: list[Difference] = field(default_factory=list)


async def verify(
    inspector: Inspector, only: OrganizationId | None = None
) -> AsyncIterator[Verification]:
    """Compare everything, or one organization with all that belongs to it; yields page by page.

    Each page is read in one snapshot, so workers may run meanwhile.  In memory are one page, with
    all that belongs to it, and `ahead`: the organizations of later pages that were compared with an
    earlier one.
    """
    if only is not None:
        yield (await _verify_page(inspector, {only}, set())).verification
        return
    async for page in _verify_organizations(inspector):
        yield page
    async for page in _verify_subscriptions(inspector):
        yield page
    row = 0
    while entries := await _page_alone(inspector, row):
        row = entries[-1].id
        found = [Difference(_row(each), what) for each in entries for what in unsealed(each)]
        yield Verification(rows=len(entries), differences=found)


async def rows_about(inspector: Inspector) -> int | None:
    """Postgres's estimate of the number of journal rows; None: there is no estimate yet."""
    async with one_moment(inspector.pool) as conn:
        return await replay.rows_about(conn)


async def _verify_organizations(inspector: Inspector) -> AsyncIterator[Verification]:
    ahead: set[OrganizationId] = set()
    after: OrganizationId | None = None
    while ids := await _page_of_organizations(inspector, after):
        after = ids[-1]
        if fresh := set(ids) - ahead:
            page = await _verify_page(inspector, fresh, set())
            ahead |= page.group.organizations
            yield page.verification
        ahead -= set(ids)


async def _verify_subscriptions(inspector: Inspector) -> AsyncIterator[Verification]:
    """Compare the subscriptions of no organization; the others are compared with theirs."""
    ahead: set[SubscriptionKey] = set()
    last: SubscriptionKey | None = None
    while keys := await _page_of_subscriptions(inspector, last):
        last = keys[-1]
        if fresh := await _of_nobody(inspector, set(keys) - ahead):
            page = await _verify_page(inspector, set(), fresh)
            ahead |= page.group.subscriptions
            yield page.verification
        ahead -= set(keys)


async def _of_nobody(inspector: Inspector, keys: set[SubscriptionKey]) -> set[SubscriptionKey]:
    """The keys among `keys` whose replay group has no organization.

    A replay group is the same whichever of its members the search starts from.
    """
    async with one_moment(inspector.pool) as conn:
        found = await replay.group_of(conn, [], keys)
        if not found.organizations:
            return keys
        return keys - (await replay.group_of(conn, found.organizations)).subscriptions


async def _page_of_organizations(
    inspector: Inspector, after: OrganizationId | None
) -> list[OrganizationId]:
    async with one_moment(inspector.pool) as conn:
        return list(await organizations.every_known(conn, after=after, limit=PAGE))


async def _page_of_subscriptions(
    inspector: Inspector, after: SubscriptionKey | None
) -> list[SubscriptionKey]:
    async with one_moment(inspector.pool) as conn:
        return list(await subscriptions.page(conn, after=after, limit=PAGE))


async def _page_alone(inspector: Inspector, after: int) -> list[StoredEntry]:
    async with one_moment(inspector.pool) as conn:
        return await replay.read_alone(conn, after=after, limit=PAGE)


@dataclass(frozen=True, slots=True)
class _Page:
    """One page: what is compared together, and the differences that were found."""

    group: ReplayGroup
    verification: Verification


async def _verify_page(
    inspector: Inspector, ids: set[OrganizationId], keys: set[SubscriptionKey]
) -> _Page:
    async with one_moment(inspector.pool) as conn:
        group = await replay.group_of(conn, sorted(ids), sorted(keys))
        replayed = await replay.replay(conn, group)
        found = [Difference(_row(each.entry), each.what) for each in replayed.damages]
        found += await _compare_organizations(conn, group, replayed)
        found += await _forgotten(conn, inspector, group)
        found += await _compare_subscriptions(conn, group, replayed)
        found += _compare_history(await replay.decided(conn, group.organizations), replayed)
    return _Page(
        group,
        Verification(
            len(group.organizations),
            len(group.subscriptions),
            replayed.rows,
            len(replayed.covered),
            found,
        ),
    )


async def _compare_organizations(
    conn: Connection, group: ReplayGroup, replayed: ReplayResult
) -> list[Difference]:
    found: list[Difference] = []
    stored = {each.id: each for each in await organizations.read(conn, group.organizations)}
    for id_ in sorted(group.organizations):
        here = stored.get(id_, Organization(id_))
        found += _fields(id_, here, replayed.fleet.organization(id_))
    beside = await organizations.columns(conn, group.organizations)
    for id_, columns in sorted(beside.items()):
        derived = organizations.columns_of(stored[id_])
        found += [
            Difference(id_, f"column {name}", str(columns[name]), str(value))
            for name, value in derived.items()
            if columns[name] != value
        ]
    return found


async def _forgotten(
    conn: Connection, inspector: Inspector, group: ReplayGroup
) -> list[Difference]:
    """Find organizations with a future deadline whose row has no due time, and organizations that
    cannot be decided on any more, because the index of links lacks what belongs to them.
    """
    view = await load_view(conn, inspector, sorted(group.organizations))
    beside = await organizations.columns(conn, group.organizations)
    found = []
    for each in view.organizations:
        try:
            due_at = case_result(case_of(each, view.fleet, view.policies, now=view.now)).due_at
        except NotLoaded as missing:
            found.append(Difference(each.id, "what is decided with it", str(missing), ""))
            continue
        if due_at is not None and beside[each.id]["next_due_at"] is None:
            found.append(Difference(each.id, "column next_due_at", "None", str(due_at)))
    return found


async def _compare_subscriptions(
    conn: Connection, group: ReplayGroup, replayed: ReplayResult
) -> list[Difference]:
    found: list[Difference] = []
    stored = {each.key: each for each in await subscriptions.read(conn, group.subscriptions)}
    links = await subscriptions.links_of(conn, group.subscriptions)
    for key in sorted(group.subscriptions):
        here = stored.get(key, Subscription(key))
        found += _fields(str(key), here, replayed.fleet.subscription(key))
        for link in here.links:
            if (link.organization, key) not in links:
                found.append(Difference(str(key), "column link", "", link.organization))
    return found


def _fields(
    subject: str, stored: Organization | Subscription, folded: Organization | Subscription
) -> Iterator[Difference]:
    for each in fields(stored):
        here, there = getattr(stored, each.name), getattr(folded, each.name)
        if here != there and each.compare and each.name not in UNCOMPARED:
            yield Difference(subject, each.name, str(here), str(there))


def _compare_history(
    stored: Mapping[tuple[Identity, OrganizationId], RecordedDecision], replayed: ReplayResult
) -> Iterator[Difference]:
    """Compare the decisions of each fact; one without events need not be stored."""
    for (identity, id_), written in stored.items():
        if identity in replayed.covered:
            continue
        folded = replayed.decided.get((identity, id_))
        if folded != written:
            yield Difference(id_, f"history of {identity.id}", str(written), str(folded))
    for (identity, id_), folded in replayed.decided.items():
        if folded[-1] and (identity, id_) not in stored:
            yield Difference(id_, f"history of {identity.id}", "", str(folded))


def _row(entry: StoredEntry) -> str:
    return f"row {entry.id}"


async def as_of(inspector: Inspector, organization: OrganizationId, at: datetime) -> FleetView:
    """An organization and everything related to it, as known at a moment.

    Raises:
        Misconfigured: the journal rows of that time are already folded into checkpoints.
    """
    async with one_moment(inspector.pool) as conn:
        group = await replay.group_of(conn, [organization])
        began = [each.decided_at for each in await replay.checkpoints(conn, group)]
        if began and max(began) > at:
            raise Misconfigured(
                f"--as-of: the state of {organization} is known only from "
                f"{max(began):%Y-%m-%d %H:%M:%S} UTC on: retention or an erasure removed the "
                "earlier rows of the journal"
            )
        replayed = await replay.replay(conn, group, until=at)
        known = await policies.read_all(conn)
    version = replayed.entries[-1].row.policy_version if replayed.entries else None
    current = known[version] if version else inspector.policies.current
    found = replayed.fleet.organization(organization)
    return FleetView([found], replayed.fleet, Policies(current, known), at)
