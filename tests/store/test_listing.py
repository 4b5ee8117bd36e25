"""Lists of organizations: filters alone and together, and pages."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from marketplace_worker.errors import Misconfigured
from marketplace_worker.inspection import listing
from marketplace_worker.inspection.fleet_view import Inspector
from marketplace_worker.inspection.listing import Criteria, list_organizations, remarks
from marketplace_worker.lifecycle.cancellation import Cancellation, Pending
from marketplace_worker.lifecycle.organization import Creation, Hold, LatestWins, Organization
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import (
    CompletedBy,
    DeactivationCause,
    EmailHash,
    HoldKind,
    Marketplace,
    OrganizationId,
    SubscriptionKey,
)
from marketplace_worker.store import organizations, subscriptions
from marketplace_worker.store.database import Pool, transaction
from marketplace_worker.store.listing import WaitsFor
from marketplace_worker.store.policies import PolicyBook

NOW = datetime(2026, 2, 6, tzinfo=UTC)
FIRST = SubscriptionKey(Marketplace.GCP, "first")
SECOND = SubscriptionKey(Marketplace.GCP, "second")
AZURE = SubscriptionKey(Marketplace.AZURE, "0a6d0b0e-7c5b-4f3e-9c53-1d2e3f4a5b6c")


def active(name: str) -> Organization:
    """An organization with an owner of its own."""
    return Organization(
        OrganizationId(name),
        creation=Creation(NOW, name, NOW),
        owner=LatestWins(NOW, name, EmailHash(f"owner of {name}")),
    )


def leaving(name: str, state: State = State.CANCELED) -> Organization:
    """One on its way down."""
    begun = Cancellation(NOW, "c", "default")
    return replace(active(name), state=state, entered_at=NOW, cancellation=begun)


FLEET = (
    active("a-active"),
    leaving("b-canceled"),
    replace(leaving("c-held", State.SUSPENDED), holds=(Hold(HoldKind.LEGAL, NOW, None),)),
    replace(
        leaving("d-pending"), pending=Pending(FIRST, CompletedBy.SIGN_IN, NOW), withheld_at=NOW
    ),
    replace(leaving("e-pending"), pending=Pending(SECOND, CompletedBy.SUPPORT, NOW)),
    replace(leaving("f-withheld"), withheld_at=NOW),
    replace(active("g-postponed"), postponed_until=NOW),
    replace(active("h-judged"), published_closed=DeactivationCause.INACTIVITY, postponed_until=NOW),
    replace(
        active("i-closed"),
        state=State.DEACTIVATED,
        entered_at=NOW,
        deactivation_cause=DeactivationCause.SUPPORT_REQUEST,
        locked_email=EmailHash("locked"),
    ),
    Organization(OrganizationId("z-never-created")),
)

DUE = {
    OrganizationId("b-canceled"): NOW + timedelta(days=3),
    OrganizationId("c-held"): NOW + timedelta(days=1),
    OrganizationId("a-active"): NOW,
    OrganizationId("e-pending"): NOW + timedelta(days=1),
}

LINKS = {
    ("a-active", FIRST),
    ("b-canceled", AZURE),
    ("c-held", FIRST),
    ("c-held", SubscriptionKey(Marketplace.AWS, "first")),
    ("z-never-created", FIRST),
}


@pytest.fixture
async def inspector(pool: Pool) -> Inspector:
    """A database with `FLEET`."""
    async with transaction(pool) as conn:
        await organizations.lock(conn, [each.id for each in FLEET])
        due: Mapping[OrganizationId, datetime | None] = {
            each.id: DUE.get(each.id) for each in FLEET
        }
        await organizations.save(conn, FLEET, due)
        await subscriptions.link(conn, {(OrganizationId(name), key) for name, key in LINKS})
        await conn.execute(
            "INSERT INTO subscriptions (marketplace, subscription_id, predecessor_id, document)"
            " VALUES ('gcp', 'second', 'first', '{}'), ('gcp', 'first', 'second', '{}')"
        )
        await conn.execute(
            "INSERT INTO billing_accounts VALUES ('gcp', 'account', 'second'),"
            " ('aws', 'account', 'first'), ('aws', 'other', 'unknown')"
        )
    return Inspector(pool, PolicyBook(Policy()), NOW)


async def listed(
    inspector: Inspector, criteria: Criteria, after: str | None = None, limit: int = 50
) -> list[str]:
    """The initials on one page."""
    page = await list_organizations(inspector, criteria, after=after, limit=limit)
    return [each.organization.id[0] for each in page.organizations]


@pytest.mark.parametrize(
    ("criteria", "names"),
    [
        (Criteria(), "abcdefghi"),
        (Criteria(state=State.CANCELED), "bdef"),
        (Criteria(state=State.CONTROL_PLANE_LOSS), ""),
        (Criteria(marketplace=Marketplace.GCP), "ac"),
        (Criteria(marketplace=Marketplace.AWS), "c"),
        (Criteria(held=True), "c"),
        (Criteria(waits_for=WaitsFor.SIGN_IN), "d"),
        (Criteria(waits_for=WaitsFor.SUPPORT), "e"),
        (Criteria(waits_for=WaitsFor.GUARD), "f"),
        (Criteria(waits_for=WaitsFor.FEED), "g"),
        (Criteria(waits_for=WaitsFor.JUDGEMENT), "h"),
        (Criteria(due_within=timedelta(days=3)), "ceb"),
        (Criteria(due_within=timedelta(days=2)), "ce"),
        (Criteria(email=EmailHash("owner of b-canceled")), "b"),
        (Criteria(email=EmailHash("locked")), "i"),
        (Criteria(email=EmailHash("nobody")), ""),
        (Criteria(subscription="first"), "ac"),
        (Criteria(subscription="second"), "ac"),
        (Criteria(subscription=f"{{{AZURE.subscription_id.upper()}}}"), "b"),
        (Criteria(billing_account="account"), "ac"),
        (Criteria(billing_account="other"), ""),
        (Criteria(subscription="\0"), ""),
        (Criteria(billing_account="\udcff"), ""),
        (Criteria(subscription="first", marketplace=Marketplace.AWS), "c"),
        (Criteria(subscription="first", billing_account="other"), ""),
        (Criteria(subscription="first", state=State.ACTIVE), "a"),
        (Criteria(subscription="first", due_within=timedelta(days=9)), "c"),
        (Criteria(marketplace=Marketplace.GCP, state=State.ACTIVE), "a"),
        (Criteria(marketplace=Marketplace.GCP, state=State.SUSPENDED), "c"),
        (Criteria(marketplace=Marketplace.AZURE, held=True), ""),
        (Criteria(due_within=timedelta(days=9), marketplace=Marketplace.AZURE), "b"),
        (Criteria(due_within=timedelta(days=9), state=State.CANCELED), "eb"),
        (Criteria(waits_for=WaitsFor.GUARD, held=True), ""),
        (Criteria(waits_for=WaitsFor.SUPPORT, due_within=timedelta(days=9)), "e"),
    ],
)
async def test_organizations_that_meet_all_criteria_are_listed(
    inspector: Inspector, criteria: Criteria, names: str
) -> None:
    """Only created ones, each once."""
    assert "".join(await listed(inspector, criteria)) == names


@pytest.mark.parametrize(
    ("criteria", "names"),
    [
        (Criteria(), "abcdefghi"),
        (Criteria(state=State.CANCELED), "bdef"),
        (Criteria(marketplace=Marketplace.GCP), "ac"),
        (Criteria(subscription="first"), "ac"),
        (Criteria(due_within=timedelta(days=3)), "ceb"),
    ],
)
@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_pages_follow_one_another_without_a_gap(
    inspector: Inspector, criteria: Criteria, names: str, limit: int
) -> None:
    """Each is full but the last, also where several are due at one instant."""
    pages: list[str] = []
    after = None
    while after is not None or not pages:
        assert len(pages) < len(names), "it goes round in a circle"
        page = await list_organizations(inspector, criteria, after=after, limit=limit)
        pages.append("".join(each.organization.id[0] for each in page.organizations))
        after = page.after
    assert pages == [names[at : at + limit] for at in range(0, len(names), limit)]


async def test_a_page_of_rare_matches_ends_early_and_is_continued(
    inspector: Inspector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It examines only so many organizations."""
    monkeypatch.setattr(listing, "EXAMINED_MAX", 2)
    monkeypatch.setattr(listing, "CHUNK", 2)
    rare = Criteria(state=State.CANCELED, marketplace=Marketplace.AZURE)
    pages, after = [], None
    for _ in range(3):
        page = await list_organizations(inspector, rare, after=after, limit=1)
        after = page.after
        pages.append(([each.organization.id for each in page.organizations], after))
    assert pages == [(["b-canceled"], "d-pending"), ([], "f-withheld"), ([], None)]


async def test_a_page_that_no_list_had_is_refused_or_empty(inspector: Inspector) -> None:
    """Whatever is typed is no bug."""
    due = Criteria(due_within=timedelta(days=3))
    for after in ("c-held", "9999-99-99/c", "/", "0001-01-01T00:00:00+14:00/c"):
        with pytest.raises(Misconfigured, match="no page of this list ended there"):
            await listed(inspector, due, after=after)
    assert await listed(inspector, Criteria(), after="\0") == []
    assert await listed(inspector, Criteria(), after="zzz") == []


async def test_a_row_says_what_keeps_an_organization(inspector: Inspector) -> None:
    """Holds, and what it waits for."""
    page = await list_organizations(inspector, Criteria(), after=None, limit=50)
    found = {each.organization.id[0]: each for each in page.organizations}
    assert remarks(found["a"]) == []
    assert remarks(found["c"]) == ["legal hold"]
    assert remarks(found["d"]) == ["waits for a sign-in"]
    assert (found["c"].marketplaces, found["b"].marketplaces) == (["aws", "gcp"], ["azure"])
    assert (found["a"].since, found["a"].due_at) == (NOW, None)
    assert (found["b"].since, found["b"].due_at) == (NOW, NOW + timedelta(days=3))
