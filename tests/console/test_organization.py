"""The page of one organization: what it shows, how its history is paged, and who has looked."""

import re
from dataclasses import replace
from html import unescape

import asyncpg
import httpx2
import pytest
from starlette.applications import Starlette
from structlog.testing import capture_logs

from acceptance.operator_scenario import TODAY
from acceptance.scenario import at
from acceptance.stage import MovableClock
from marketplace_worker.console import organization
from marketplace_worker.console.organization import UNKNOWN
from marketplace_worker.inspection import organizations
from marketplace_worker.inspection.history import LineKind, history
from marketplace_worker.inspection.organizations import FullReport, full_report
from marketplace_worker.inspection.timeline import Phase, Track
from marketplace_worker.lifecycle.facts import Erased
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import Identity, OrganizationId
from marketplace_worker.steps.erasing import erase
from marketplace_worker.store.dead_letters import BIGINT_MAX
from steps.conftest import working_on
from steps.story_beginnings import ingest_lines, linked, support, wait

from .test_pages import text_of


async def shown(browser: httpx2.AsyncClient, path: str) -> str:
    """The words of a page that is there."""
    answer = await browser.get(path)
    assert answer.status_code == 200, path
    return text_of(answer)


async def reported(app: Starlette, id_: str) -> FullReport:
    """What the page is made of."""
    inspector = await app.state.context.inspector()
    return await full_report(inspector, OrganizationId(id_), before=BIGINT_MAX, facts=50)


# --- what it says ---------------------------------------------------------------------------------


async def test_the_page_explains_in_the_words_of_org_explain(browser: httpx2.AsyncClient) -> None:
    """For the operator and for the customer."""
    words = await shown(browser, "/organizations/acme")
    assert "suspended since 2026-01-12 00:00 UTC 25 days ago" in words
    assert "Its last plan, aws:agmt-7k2 (payg), ended on 2026-01-02 00:00 UTC" in words
    assert (
        "What comes next deactivated on 2026-02-11 00:00 UTC (in 5 days), the latest of:" in words
    )
    assert "Support: support.extend_grace, by up to 87 days more." in words
    assert "For the customer Your last plan ended on 2 January 2026" in words


async def test_what_can_be_done_can_be_copied(browser: httpx2.AsyncClient) -> None:
    """The request of Support, and the commands of an operator."""
    words = await shown(browser, "/organizations/acme")
    command = "marketplace-worker send support extend-grace --organization acme --days 7"
    assert f"""{command} --by "$USER" --reason ''""" in words
    assert "marketplace-worker guard trip --by" in words
    held = await shown(browser, "/organizations/umbrella")
    assert "send support release-hold --organization umbrella --hold legal" in held


async def test_an_unknown_organization_is_not_found(browser: httpx2.AsyncClient) -> None:
    """The page says so; nothing is logged as looked at, and no spelling is a bug."""
    with capture_logs() as logged:
        for path in ("nobody", "", "a/b", "a%00b", "%ff", "%ed%a0%80", "x" * 3_000):
            answer = await browser.get(f"/organizations/{path}")
            assert answer.status_code == 404, path
            assert UNKNOWN in unescape(answer.text)
    assert logged == []


async def test_an_organization_is_found_by_its_id(browser: httpx2.AsyncClient) -> None:
    """By the form in the head of each page; the id is any text."""
    found = await browser.get("/organizations/", params={"id": " acme "})
    assert (found.status_code, found.headers["location"]) == (303, "/organizations/acme")
    found = await browser.get("/organizations/", params={"id": "//evil.example/a b?"})
    assert found.headers["location"] == "/organizations/%2F%2Fevil.example%2Fa%20b%3F"


async def test_an_organization_that_was_never_created_has_a_page(
    browser: httpx2.AsyncClient, postgres_dsn: str
) -> None:
    """Messages about it are kept; its id is any text."""
    clock = MovableClock(at(TODAY))
    async with working_on(postgres_dsn, clock) as worker:
        await ingest_lines(worker, clock, linked(TODAY, "a/b <i>?", "agmt-1", "123456789012"))
    words = await shown(browser, "/organizations/a%2Fb%20%3Ci%3E%3F")
    assert "a/b <i>? never created" in words
    assert "It was never created: no organization.created has arrived." in words
    assert "organization.subscription_linked subscription aws:agmt-1" in words
    assert "What would" not in words, "nothing comes that could be stopped"


async def test_an_erased_organization_shows_what_is_left(
    app: Starlette, browser: httpx2.AsyncClient, postgres_dsn: str
) -> None:
    """Its states with their times; of its facts that they were."""
    clock = MovableClock(at(TODAY))
    async with working_on(postgres_dsn, clock) as worker:
        await ingest_lines(worker, clock, support(TODAY, "deactivate_organization", "initech"))
        await wait(worker, clock, TODAY)
        fact = Erased(
            Identity("/operator", "1"), at(TODAY), OrganizationId("initech"), "ann", "asked", True
        )
        await erase(fact, worker)
    words = await shown(browser, "/organizations/initech")
    assert "deactivated since 2026-02-06 00:00 UTC now . Its personal data was erased" in words
    assert "erased applied" in words
    assert "initech@" not in words
    phases = (await reported(app, "initech")).timeline.phases
    assert [each.name for each in phases if each.track is Track.STATE] == ["active", "deactivated"]


async def test_text_of_others_is_escaped(browser: httpx2.AsyncClient, postgres_dsn: str) -> None:
    """As HTML, and where it would reverse or hide text."""
    clock = MovableClock(at(TODAY))
    async with working_on(postgres_dsn, clock) as worker:
        reason = "<script>alert(1)</script>\u202e"
        await ingest_lines(
            worker, clock, support(TODAY, "extend_grace", "acme", days=1, reason=reason)
        )
    page = (await browser.get("/organizations/acme")).text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\u202e" in page
    assert "<script>alert" not in page


# --- timeline -------------------------------------------------------------------------------------


def of(found: FullReport, track: Track) -> list[Phase]:
    """The phases of one track."""
    return [each for each in found.timeline.phases if each.track is track]


async def test_the_timeline_has_the_states_that_were_and_that_come(app: Starlette) -> None:
    """Without a gap; those that come are planned."""
    found = await reported(app, "hooli")
    states = of(found, Track.STATE)
    assert [(State(each.name), each.starts_at, each.planned) for each in states] == [
        (State.ACTIVE, at(0), False),
        (State.CANCELED, at(30), False),
        (State.CONTROL_PLANE_LOSS, at(31), False),
        (State.CONTROL_PLANE_LOSS, at(TODAY), True),
        (State.SUSPENDED, at(37), True),
        (State.DEACTIVATED, at(67), True),
    ]
    assert [each.ends_at for each in states[:-1]] == [each.starts_at for each in states[1:]]
    assert states[-1].ends_at is None
    assert states[-2].ends_at == found.report.explanation.schedule[-1].at


async def test_the_timeline_has_plans_notices_holds_and_pauses(app: Starlette) -> None:
    """Also what is over; a hold without an end, and one notice to come."""
    umbrella, globex = await reported(app, "umbrella"), await reported(app, "globex")
    (hold,) = of(umbrella, Track.HOLD)
    assert (hold.name, hold.starts_at, hold.ends_at) == ("legal", at(6), None)
    (plan,) = of(umbrella, Track.PLAN)
    assert (plan.name, plan.starts_at, plan.ends_at) == ("aws:agmt-3f9", at(0.5), at(3))
    (pause,) = of(globex, Track.PAUSE)
    assert (pause.starts_at, pause.ends_at) == (at(30), None)
    assert pause.about == "azure:sub-91 waits for support"
    hooli = of(await reported(app, "hooli"), Track.NOTICE)
    assert [(each.name, each.planned) for each in hooli] == [
        ("suspended", False),
        ("deactivated", True),
    ]
    assert hooli[0].ends_at == at(37)


async def test_plans_that_a_deactivation_took_are_on_the_timeline(
    app: Starlette, postgres_dsn: str
) -> None:
    """Up to then; a hold that was released ends there, and a notice that was withdrawn."""
    clock = MovableClock(at(TODAY))
    async with working_on(postgres_dsn, clock) as worker:
        await ingest_lines(
            worker,
            clock,
            linked(TODAY, "hooli", "agmt-0c2", "998877665544"),
            support(TODAY, "release_hold", "umbrella", kind="legal"),
            support(TODAY, "deactivate_organization", "pied-piper"),
        )
    plans = of(await reported(app, "hooli"), Track.PLAN)
    assert [(each.name, each.ends_at) for each in plans] == [
        ("aws:agmt-0c1", at(30)),
        ("aws:agmt-0c2", None),
    ]
    (notice,) = of(await reported(app, "hooli"), Track.NOTICE)
    assert notice.ends_at == at(TODAY)
    (hold,) = of(await reported(app, "umbrella"), Track.HOLD)
    assert hold.ends_at == at(TODAY)


async def test_a_timeline_of_the_newest_decisions_says_so(
    app: Starlette, browser: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its states begin with them; the plans, and what is in force now, are all there."""
    whole = await reported(app, "acme")
    assert whole.timeline.complete
    monkeypatch.setattr(organizations, "DECISIONS_MAX", 1)
    for name in ("acme", "umbrella", "globex"):
        assert "What was decided earlier is not shown." in await shown(
            browser, f"/organizations/{name}"
        )
    newest = await reported(app, "acme")
    assert of(newest, Track.STATE) == [
        replace(each, starts_at=max(each.starts_at, at(34)))
        for each in of(whole, Track.STATE)
        if each.ends_at is None or each.ends_at > at(34)
    ]
    assert of(newest, Track.PLAN) == of(whole, Track.PLAN)
    assert of(newest, Track.NOTICE) == of(whole, Track.NOTICE)[-1:]
    globex = await reported(app, "globex")
    assert [each.starts_at for each in of(globex, Track.PAUSE)] == [at(30)]


async def test_a_timeline_whose_beginning_was_deleted_says_so(
    app: Starlette, postgres_dsn: str
) -> None:
    """By retention: what stands since before is known without it."""
    whole = await reported(app, "umbrella")
    owner = await asyncpg.connect(postgres_dsn)
    await owner.execute("DELETE FROM decisions WHERE organization_id IN ('umbrella', 'globex')")
    await owner.close()
    found, globex = await reported(app, "umbrella"), await reported(app, "globex")
    assert (whole.timeline.complete, found.timeline.complete) == (True, False)
    (before, *_) = of(found, Track.STATE)
    assert before.starts_at == whole.report.organization.entered_at
    (hold,) = of(found, Track.HOLD)
    assert hold.starts_at == at(6)
    (pause,) = of(globex, Track.PAUSE)
    assert (pause.starts_at, pause.about) == (at(30), "azure:sub-91 waits for support")


async def test_the_drawing_has_a_table_beside_it(browser: httpx2.AsyncClient) -> None:
    """Everything that is drawn, in words."""
    words = await shown(browser, "/organizations/umbrella")
    assert "hold legal 2026-01-07 00:00 UTC no known end" in words
    assert "plan aws:agmt-3f9 2026-01-01 12:00 UTC 2026-01-04 00:00 UTC payg" in words
    assert 'aria-labelledby="timeline-title"' in (await browser.get("/organizations/acme")).text


async def test_an_unknown_choice_of_the_past_is_not_found(browser: httpx2.AsyncClient) -> None:
    """No wrong address is a bug."""
    assert (await browser.get("/organizations/acme?past=all")).status_code == 200
    assert (await browser.get("/organizations/acme?past=x")).status_code == 404
    assert (await browser.get("/organizations/acme?before=x")).status_code == 404


# --- history --------------------------------------------------------------------------------------


async def test_the_history_says_what_by_whom_and_why(browser: httpx2.AsyncClient) -> None:
    """The newest first, each fact with what came of it."""
    words = await shown(browser, "/organizations/acme")
    assert "support.extend_grace reason because ticket T-1 days 3" in words
    assert "Purchase Agreement Ended subscription aws:agmt-7k2 active -> canceled 1" in words
    newest, oldest = (
        words.index("control_plane_loss -> suspended"),
        words.index("active -> canceled"),
    )
    assert newest < oldest


async def test_the_pages_of_a_history_are_all_of_it(
    app: Starlette, browser: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the opposite order of `org history`, by links."""
    monkeypatch.setattr(organization, "FACTS", 3)
    inspector = await app.state.context.inspector()
    lines = await history(inspector, OrganizationId("acme"))
    facts = [each.what for each in lines if each.line is LineKind.FACT]
    path, found, pages = "/organizations/acme", list[str](), 0
    while path:
        page = (await browser.get(path)).text
        found += re.findall(r'class="what">([^<]*)<', page)
        older = re.search(r'href="(\?past=\w+&amp;before=\d+)#history">Older', page)
        path = f"/organizations/acme{unescape(older[1])}" if older else ""
        pages += 1
    assert found == list(reversed(facts))
    assert pages == len(facts) // 3 + 1


# --- who has looked -------------------------------------------------------------------------------


async def test_each_look_is_logged_with_who_looked(browser: httpx2.AsyncClient) -> None:
    """Once a page."""
    with capture_logs() as logged:
        await browser.get("/organizations/acme")
    assert logged == [
        {
            "event": "organization_viewed",
            "organization": "acme",
            "viewer": "loopback",
            "log_level": "info",
        }
    ]
