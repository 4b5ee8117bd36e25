"""The list of organizations: its filters are in the address."""

import re
from html import unescape

import httpx2
import pytest

from marketplace_worker.console import organizations
from marketplace_worker.inspection import listing

from .test_pages import text_of


def names_of(page: httpx2.Response) -> list[str]:
    """The organizations on a page."""
    return re.findall(r'href="/organizations/([^"]+)"', page.text)


async def test_a_row_says_what_org_list_says(browser: httpx2.AsyncClient) -> None:
    """It leads to the organization's own page."""
    page = await browser.get("/organizations?due-within=P7D")
    assert names_of(page) == ["globex", "hooli", "initech", "acme"]
    shown = text_of(page)
    assert (
        "globex control plane loss 2026-01-24 00:00 UTC 13 days ago"
        " 2026-02-07 00:00 UTC in 1 day azure waits for Support" in shown
    )
    assert (await browser.get("/organizations/globex")).status_code == 200


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["acme", "globex", "hooli", "initech", "pied-piper", "umbrella"]),
        ("state=suspended", ["acme"]),
        ("state=deactivated", []),
        ("state=&marketplace=aws&subscription=&waiting=", ["acme", "hooli", "umbrella"]),
        ("marketplace=aws&state=control_plane_loss", ["hooli", "umbrella"]),
        ("subscription=agmt-7k2", ["acme"]),
        ("billing-account=112233445566", ["umbrella"]),
        ("waiting=support", ["globex"]),
        ("held=yes", ["umbrella"]),
        ("due-within=PT30H", ["globex", "hooli"]),
    ],
)
async def test_the_address_has_the_filters(
    browser: httpx2.AsyncClient, query: str, names: list[str]
) -> None:
    """So that a view can be shared."""
    page = await browser.get(f"/organizations?{query}")
    assert (page.status_code, names_of(page)) == (200, names)
    assert ("None." in text_of(page)) is (not names)


async def test_the_form_shows_the_filters_of_the_address(browser: httpx2.AsyncClient) -> None:
    """Also a duration that it does not offer itself; the states keep the other filters."""
    page = (await browser.get("/organizations?held=yes&due-within=PT30H&state=canceled")).text
    for shown in (
        'value="yes" checked',
        '<option value="PT30H" selected>PT30H',
        '<input type="hidden" name="state" value="canceled">',
        'href="/organizations?due-within=PT30H&amp;held=yes&amp;state=suspended"',
        'href="/organizations?due-within=PT30H&amp;held=yes"',
    ):
        assert shown in page


async def test_numbers_are_shown_where_they_are_those_of_the_list(
    browser: httpx2.AsyncClient,
) -> None:
    """They are kept by state alone, and nothing is counted for a page."""
    assert "all 6 active 2" in text_of(await browser.get("/organizations?state=suspended"))
    assert "all active canceled" in text_of(await browser.get("/organizations?held=yes"))


async def test_pages_follow_one_another(
    browser: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By links, with the filters."""
    monkeypatch.setattr(organizations, "PAGE", 2)
    for query, names in {
        "marketplace=aws": ["acme", "hooli", "umbrella"],
        "due-within=P7D": ["globex", "hooli", "initech", "acme"],
    }.items():
        path, found, pages = f"/organizations?{query}", list[str](), 0
        while path and pages < len(names):
            page = await browser.get(path)
            found, pages = [*found, *names_of(page)], pages + 1
            following = re.search(r'rel="next" href="([^"]+)"', page.text)
            path = unescape(following[1]) if following else ""
        assert (found, pages) == (names, 2)


async def test_a_page_of_rare_matches_says_why_it_is_short(
    browser: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has a next one, whether or not there is more."""
    monkeypatch.setattr(organizations, "PAGE", 1)
    monkeypatch.setattr(listing, "EXAMINED_MAX", 2)
    monkeypatch.setattr(listing, "CHUNK", 2)
    page = await browser.get("/organizations?due-within=P7D&marketplace=gcp")
    assert names_of(page) == []
    assert "Few organizations meet all filters" in text_of(page)
    assert 'rel="next"' in page.text


@pytest.mark.parametrize(
    "query",
    [
        "state=closed",
        "marketplace=ebay",
        "waiting=godot",
        "due-within=soon",
        f"due-within=P{10**30}W",
        "due-within=P7D&after=acme",
    ],
)
async def test_a_wrong_filter_is_no_bug(browser: httpx2.AsyncClient, query: str) -> None:
    """And says so."""
    answer = await browser.get(f"/organizations?{query}")
    assert answer.status_code == 404
    assert "There is no such" in answer.text


@pytest.mark.parametrize("name", ["subscription", "billing-account", "after"])
@pytest.mark.parametrize("value", ["%00", "%ff", "%ed%a0%80", "x" * 3_000, "%27%22%3E%3Cb%3E"])
async def test_any_text_may_be_searched_for(
    browser: httpx2.AsyncClient, name: str, value: str
) -> None:
    """Nothing is found, and nothing of it is HTML."""
    answer = await browser.get(f"/organizations?{name}={value}")
    assert answer.status_code == 200
    assert "<b>" not in answer.text


async def test_an_email_is_no_filter_of_the_address(browser: httpx2.AsyncClient) -> None:
    """It would stay in the browser's history and in a proxy's log."""
    page = await browser.get("/organizations?email=owner@acme.example")
    assert "owner@" not in page.text
    assert len(names_of(page)) == 6
