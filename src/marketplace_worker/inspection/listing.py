"""Lists organizations by filters, page by page.

The index of the narrowest filter gives the ids in order; their rows are checked against the others.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from marketplace_worker.errors import Misconfigured
from marketplace_worker.explain.operators import moment
from marketplace_worker.inspection.fleet_view import Inspector
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import (
    EmailHash,
    Marketplace,
    OrganizationId,
    marketplace_id,
)
from marketplace_worker.store import listing, state_counts
from marketplace_worker.store.database import Connection, one_moment
from marketplace_worker.store.listing import (
    START,
    Filters,
    ListedOrganization,
    Position,
    WaitsFor,
)
from marketplace_worker.terminal import visible

WAITING = {
    WaitsFor.SIGN_IN: "waits for a sign-in",
    WaitsFor.SUPPORT: "waits for Support",
    WaitsFor.GUARD: "withheld by the guard",
    WaitsFor.FEED: "postponed because of a feed",
    WaitsFor.JUDGEMENT: "waits for an operator's judgement",
}
"""What a list says of an organization that waits."""

CHUNK = 1_000

EXAMINED_MAX = 5_000
"""How many organizations one page examines; one with rare matches ends there, before it is full."""


@dataclass(frozen=True, slots=True)
class Criteria:
    """Which organizations are asked for; those that meet all of it.

    `due_within`: of those on their way down, or with a notice of inactivity.
    """

    state: State | None = None
    marketplace: Marketplace | None = None
    subscription: str | None = None
    billing_account: str | None = None
    email: EmailHash | None = None
    due_within: timedelta | None = None
    held: bool = False
    waits_for: WaitsFor | None = None


@dataclass(frozen=True, slots=True)
class OrganizationPage:
    """Organizations in the order of their ids; if only `due_within` selects them, of due times.

    `after`: where the next page begins; None: this is the last one.
    """

    now: datetime
    organizations: Sequence[ListedOrganization]
    after: str | None


async def count_by_state(inspector: Inspector) -> Mapping[State, int]:
    """How many organizations are in each state, from the kept sums."""
    async with one_moment(inspector.pool) as conn:
        numbers = await state_counts.numbers(conn)
    return {state: numbers.get(state, 0) for state in State}


def remarks(listed: ListedOrganization) -> Sequence[str]:
    """What keeps an organization from its next step."""
    holds = (
        f"{hold.kind} hold until {moment(hold.expires_at)}"
        if hold.expires_at
        else f"{hold.kind} hold"
        for hold in listed.organization.holds
    )
    return [*holds, *([WAITING[listed.waits_for]] if listed.waits_for else ())]


_Source = Callable[[Position, int], Awaitable[Sequence[Position]]]
"""The next candidates after a position, in order, at most so many."""


async def list_organizations(
    inspector: Inspector, criteria: Criteria, *, after: str | None, limit: int
) -> OrganizationPage:
    """Read a page of at most `limit` organizations.

    Raises:
        Misconfigured: `after` does not come from a page with the same criteria.
    """
    texts = (criteria.subscription, criteria.billing_account, after)
    if not all(_storable(each) for each in texts if each):
        return OrganizationPage(inspector.now, (), None)
    filters = _filters(criteria, inspector.now)
    async with one_moment(inspector.pool) as conn:
        named = await _named(conn, criteria)
        source, dated = _source(conn, filters, named)
        begin = _position(after, dated=dated) if after else START
        found, end = await _collect(conn, source, filters, begin, limit)
        rows = await listing.rows(conn, [each.organization for each in found])
    listed = [rows[each.organization] for each in found]
    return OrganizationPage(inspector.now, listed, _token(end) if end else None)


def _filters(criteria: Criteria, now: datetime) -> Filters:
    within = criteria.due_within
    return Filters(
        criteria.state,
        criteria.marketplace,
        criteria.held,
        criteria.waits_for,
        None if within is None else now + within,
    )


async def _named(conn: Connection, criteria: Criteria) -> set[OrganizationId] | None:
    """The organizations that the criteria identify; None: no criterion does."""
    bought_at = (criteria.marketplace,) if criteria.marketplace else tuple(Marketplace)
    named = []
    if criteria.subscription is not None:
        subscription = marketplace_id(criteria.subscription)
        named.append(await listing.of_subscription(conn, bought_at, subscription))
    if criteria.billing_account is not None:
        account = marketplace_id(criteria.billing_account)
        named.append(await listing.of_account(conn, bought_at, account))
    if criteria.email is not None:
        named.append(await listing.of_email(conn, criteria.email))
    return set.intersection(*named) if named else None


def _source(
    conn: Connection, filters: Filters, named: set[OrganizationId] | None
) -> tuple[_Source, bool]:
    """The candidates of the narrowest filter, and whether they are in the order of due times."""
    if named is not None:
        return partial(listing.in_order, conn, named), False
    if filters.held:
        return partial(listing.held, conn), False
    if filters.waits_for is not None:
        return partial(listing.waiting, conn, filters.waits_for), False
    if filters.due_until is not None:
        return partial(listing.due, conn, filters.due_until), True
    if filters.marketplace is not None and filters.state in {None, State.ACTIVE}:
        return partial(listing.of_marketplace, conn, filters.marketplace), False
    if filters.state is not None:
        return partial(listing.in_state, conn, filters.state), False
    return partial(listing.created, conn), False


async def _collect(
    conn: Connection, source: _Source, filters: Filters, begin: Position, limit: int
) -> tuple[Sequence[Position], Position | None]:
    """Organizations that pass the filters, and the last one that was examined; None: there are no
    more.
    """
    found: list[Position] = []
    examined, chunk = 0, limit + 1
    while True:
        candidates = await source(begin, chunk)
        passed = await listing.passing(conn, [each.organization for each in candidates], filters)
        found += (each for each in candidates if each.organization in passed)
        examined += len(candidates)
        if len(found) > limit:
            return found[:limit], found[limit - 1]
        if len(candidates) < chunk:
            return found, None
        if examined >= EXAMINED_MAX:
            return found, candidates[-1]
        begin, chunk = candidates[-1], CHUNK


def _token(position: Position) -> str:
    if position.due_at is None:
        return position.organization
    return f"{position.due_at.isoformat()}/{position.organization}"


def _position(token: str, *, dated: bool) -> Position:
    if not dated:
        return Position(OrganizationId(token))
    due_at, _, organization = token.partition("/")
    try:
        return Position(
            OrganizationId(organization), datetime.fromisoformat(due_at).astimezone(UTC)
        )
    except (ValueError, OverflowError):
        raise Misconfigured(f"{visible(token)}: no page of this list ended there") from None


def _storable(text: str) -> bool:
    """Whether Postgres can hold it; nothing that is stored equals another text."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False
