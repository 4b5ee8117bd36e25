"""What the pages show, and that none of them writes."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from html import unescape
from uuid import UUID

import asyncpg
import httpx2
import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.routing import Route
from structlog.testing import capture_logs

from marketplace_worker.clock import system_clock
from marketplace_worker.console import policy
from marketplace_worker.console.headers import BODY_BYTES_MAX, HEADERS
from marketplace_worker.console.page import NAVIGATION
from marketplace_worker.console.signing_in import LOOPBACK
from marketplace_worker.contract.policy_file import policy_to_toml
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.settings import Postgres
from marketplace_worker.store import workers
from marketplace_worker.store.database import Pool, connecting, transaction
from marketplace_worker.store.workers import WorkerIdentity

PATHS = {
    "/dead-letters/{id:int}": "/dead-letters/1",
    "/organizations/{id:path}": "/organizations/acme",
}
"""A path for each route with a parameter."""


def text_of(response: httpx2.Response) -> str:
    """The words of a page, each separated by one space."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", response.text)).split())


async def csrf_of(browser: httpx2.AsyncClient, path: str) -> str:
    """The token of the page's forms."""
    (token,) = set(re.findall(r'name="csrf" value="([^"]*)"', (await browser.get(path)).text))
    return str(token)


def routes(app: Starlette) -> list[Route]:
    """All routes but the files."""
    return [each for each in app.routes if isinstance(each, Route)]


async def test_every_page_answers_and_none_writes(
    app: Starlette, browser: httpx2.AsyncClient, pool: Pool
) -> None:
    """Postgres itself refuses writes on the console's connections."""
    for route in routes(app):
        for method in sorted(route.methods or ()):
            response = await browser.request(method, PATHS.get(route.path, route.path))
            assert response.status_code in {200, 303, 403, 422}, (route.path, method)
    assert await pool.fetchval("SELECT current_setting('transaction_read_only')") == "on"


def test_only_the_comparison_and_the_sign_in_are_sent(app: Starlette) -> None:
    """Everything else is read."""
    sent = {each.path for each in routes(app) if each.methods and "POST" in each.methods}
    assert sent == {"/policy", "/sign-in", "/sign-out"}
    assert all((each.methods or set()) <= {"GET", "HEAD", "POST"} for each in routes(app))


async def test_every_answer_has_the_headers(browser: httpx2.AsyncClient) -> None:
    """Also a refusal and a file."""
    for path in ("/", "/nothing", "/static/console.css"):
        headers = (await browser.get(path)).headers
        assert {name: headers.get(name) for name in HEADERS} == dict(HEADERS)
    assert "unsafe" not in HEADERS["Content-Security-Policy"]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "", "localhost:1"])
async def test_another_host_is_refused(browser: httpx2.AsyncClient, host: str) -> None:
    """A page of an attacker, whose name resolves to this machine, must not read the console."""
    assert (await browser.get("/", headers={"host": host})).status_code == 421
    assert (await browser.get("/", headers={"host": "localhost:8600"})).status_code == 200


async def test_a_foreign_form_is_refused(browser: httpx2.AsyncClient) -> None:
    """By its origin, and by the token that only a page of the console has."""
    foreign = {"origin": "https://evil.example"}
    assert (await browser.post("/policy", headers=foreign)).status_code == 403
    answer = await browser.post("/policy", data={"csrf": "guessed"})
    assert answer.status_code == 422
    assert "This form is too old" in answer.text


async def test_a_large_body_is_not_read(browser: httpx2.AsyncClient) -> None:
    """Whether or not it says how large it is."""
    large = b"x" * (BODY_BYTES_MAX + 1)
    assert (await browser.post("/policy", content=large)).status_code == 413

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield large[: BODY_BYTES_MAX // 4]

    kind = {"content-type": "application/x-www-form-urlencoded"}
    answer = await browser.post("/policy", content=chunks(), headers=kind)
    assert answer.status_code == 413


async def test_the_fleet_shows_the_guard_and_the_feeds(browser: httpx2.AsyncClient) -> None:
    """The page says who looks."""
    shown = text_of(await browser.get("/"))
    assert "Not tripped." in shown
    assert "logins 2026-02-06 00:00 UTC" in shown
    assert "dead letters 3" in shown
    assert LOOPBACK.name in shown


async def test_the_fleet_shows_the_workers_that_run_and_how_far_behind_they_are(
    browser: httpx2.AsyncClient, postgres_dsn: str
) -> None:
    """From their rows; one that was silent for a minute is shown as such."""
    assert "None has written its row in the last day." in text_of(await browser.get("/now"))
    ready = WorkerIdentity(UUID(int=1), "host-1", "0.2.0", ["ingest", "relay"], "2026-03")
    doubtful = replace(ready, id=UUID(int=2), host="host-2")
    silent = replace(ready, id=UUID(int=3), host="host-3")
    now = system_clock()
    async with connecting(Postgres(dsn=SecretStr(postgres_dsn))) as own:
        async with transaction(own) as conn:
            lag = {"facts": {"orders": 12_000, "offers": 345}, "activity": {"logins": 0}}
            await workers.record(conn, ready, not_ready=(), lag=lag, own_clock=now)
            await workers.record(conn, silent, not_ready=(), lag={}, own_clock=now)
            await workers.record(
                conn,
                doubtful,
                not_ready=["consumer facts-1: is <away>"],
                lag={},
                own_clock=now - timedelta(hours=2),
            )
        await own.execute(
            "UPDATE workers SET seen_at = seen_at - interval '9 minutes' WHERE id = $1", silent.id
        )
    for path in ("/", "/now"):
        shown = text_of(await browser.get(path))
        assert "00000000 on host-1 ready ingest, relay 0.2.0 2026-03" in shown
        assert "activity 0, facts 12 345 agrees" in shown
        assert "on host-2 not ready: consumer facts-1: is <away> ingest" in shown
        assert "2 hours behind" in shown
        assert "records of offers 345 records of orders 12 000 dead letters" in shown
        assert "on host-3 silent ingest" in shown
        assert "9 minutes ago" in shown


async def test_what_is_wrong_stands_first_with_what_to_do(browser: httpx2.AsyncClient) -> None:
    """As `status` says it; htmx loads it again."""
    for path in ("/", "/findings"):
        shown = text_of(await browser.get(path))
        assert "Dead letters : 3 are waiting, the first since 2026-02-06 00:00 UTC" in shown
        assert "To do: marketplace-worker dead-letters groups" in shown


async def test_the_fleet_shows_how_many_organizations_are_in_each_state(
    browser: httpx2.AsyncClient,
) -> None:
    """And were on each day."""
    shown = text_of(await browser.get("/"))
    assert "active 2 \N{MINUS SIGN}2 in 30 days" in shown
    assert "suspended 1 +1 in 30 days" in shown
    assert "2026-01-02 " in shown


async def test_large_numbers_are_grouped(browser: httpx2.AsyncClient, postgres_dsn: str) -> None:
    """By narrow spaces, not by their codes."""
    owner = await asyncpg.connect(postgres_dsn)
    await owner.execute("INSERT INTO state_changes VALUES (DEFAULT, '2026-01-02', 'active', 12000)")
    await owner.close()
    assert "12\N{NARROW NO-BREAK SPACE}002" in (await browser.get("/")).text


async def test_the_calendar_counts_who_is_due_by_marketplace(browser: httpx2.AsyncClient) -> None:
    """The choice is in the address; a wrong one is no bug."""
    everywhere = text_of(await browser.get("/"))
    assert "4 organizations are on their way down" in everywhere
    assert "2026-02-11 1 0 0 0" in everywhere
    assert "1 organizations are on" in text_of(await browser.get("/?marketplace=azure"))
    assert "0 organizations are on" in text_of(await browser.get("/?marketplace=gcp"))
    assert (await browser.get("/?marketplace=ebay")).status_code == 404


async def test_the_numbers_of_the_fleet_lead_to_the_organizations(
    browser: httpx2.AsyncClient,
) -> None:
    """Each state, and what is due within a week, of the chosen marketplace."""
    fleet = (await browser.get("/?marketplace=azure")).text
    assert "hooli" in text_of(await browser.get("/organizations?state=control_plane_loss"))
    for address in (
        "/organizations?state=suspended",
        "/organizations?due-within=P7D&amp;marketplace=azure",
    ):
        assert f'href="{address}"' in fleet
        assert (await browser.get(unescape(address))).status_code == 200
    assert (
        'href="/organizations?due-within=P7D"' in (await browser.get("/?marketplace=others")).text
    )


async def test_every_page_of_the_head_is_there(browser: httpx2.AsyncClient) -> None:
    """And is marked as the current one."""
    for path, name in NAVIGATION:
        answer = await browser.get(path)
        assert answer.status_code == 200
        assert re.findall(r'aria-current="page">([^<]*)<', answer.text) == [name]


async def test_dead_letters_are_found_from_their_group(browser: httpx2.AsyncClient) -> None:
    """From the groups to one letter, by links."""
    groups = await browser.get("/dead-letters")
    assert "3 records wait" in text_of(groups)
    (first, *_) = re.findall(r'href="(/dead-letters/list\?group=[^"]+)"', groups.text)
    listed = await browser.get(first)
    (letter, *_) = re.findall(r'href="(/dead-letters/\d+)"', listed.text)
    shown = text_of(await browser.get(letter))
    assert "detail.agreement.id is missing" in shown
    assert "Purchase Agreement Ended" in shown
    assert "dead-letters redrive" in shown


async def test_pages_of_dead_letters_that_do_not_exist_say_so(browser: httpx2.AsyncClient) -> None:
    """No wrong address is a bug."""
    for path in (
        "/dead-letters/99",
        f"/dead-letters/{2**63}",
        "/dead-letters/list?status=lost",
        "/dead-letters/list?before=x",
        f"/dead-letters/list?before={2**70}",
    ):
        answer = await browser.get(path)
        assert answer.status_code == 404, path
        assert "There is no such" in answer.text


async def test_bytes_of_others_are_escaped(browser: httpx2.AsyncClient, postgres_dsn: str) -> None:
    """As HTML, and where they would reverse or hide text; what is no text is dumped."""
    owner = await asyncpg.connect(postgres_dsn)
    await owner.execute(
        "UPDATE dead_letters SET value = $1, key = $2 WHERE id = 1",
        "<script>alert(1)</script>\u202e".encode(),
        b"\xff\x00<b>",
    )
    await owner.close()
    shown = (await browser.get("/dead-letters/1")).text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\u202e" in shown
    assert "ff 00 3c 62 3e" in shown
    assert "..&lt;b&gt;" in shown


async def test_a_policy_file_is_compared(browser: httpx2.AsyncClient) -> None:
    """As `policy diff` compares it; nothing is stored."""
    csrf = await csrf_of(browser, "/policy")
    slower = 'version = "2026-03"\n[timeline.payg]\ndeactivated = "P50D"\n'
    answer = await browser.post("/policy", data={"csrf": csrf}, files={"file": slower.encode()})
    shown = text_of(answer)
    assert answer.status_code == 200
    assert "2026-03 instead of default" in shown
    assert "timeline.payg.deactivated P37D P50D" in shown
    assert "acme" in shown
    assert "later" in shown


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        (b"", "choose a policy file"),
        (b"\xff", "is not UTF-8"),
        (b'version = "x"\nnonsense = 1\n', "line 2"),
        (b"[[[", "is not TOML"),
        (policy_to_toml(Policy()).replace("P37D", "P38D").encode(), "version"),
    ],
    ids=["none", "no text", "unknown field", "no TOML", "version in use"],
)
async def test_a_wrong_policy_file_is_explained(
    browser: httpx2.AsyncClient, file: bytes, problem: str
) -> None:
    """By line and field, like `policy check`."""
    csrf = await csrf_of(browser, "/policy")
    answer = await browser.post("/policy", data={"csrf": csrf}, files={"file": file})
    assert answer.status_code == 422
    assert problem in text_of(answer)


async def test_a_comparison_that_takes_too_long_shows_a_part(
    browser: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says which command compares all."""
    monkeypatch.setattr(policy, "TIME_MAX", timedelta(0))
    csrf = await csrf_of(browser, "/policy")
    file = b'version = "2026-03"\n'
    answer = await browser.post("/policy", data={"csrf": csrf}, files={"file": file})
    assert "The time was over: only the first" in text_of(answer)


async def test_one_comparison_runs_at_a_time(browser: httpx2.AsyncClient) -> None:
    """It needs a processor; another caller is asked to come back."""
    csrf = await csrf_of(browser, "/policy")
    file = b'version = "2026-03"\n'
    async with policy.ONE_AT_A_TIME:
        answer = await browser.post("/policy", data={"csrf": csrf}, files={"file": file})
    assert answer.status_code == 429
    assert "Another comparison is running" in text_of(answer)


async def test_a_database_that_is_away_is_named(browser: httpx2.AsyncClient, pool: Pool) -> None:
    """On a page, and in the part of one that htmx loads again."""
    assert (await browser.get("/")).status_code == 200
    await pool.close()
    for path, headers in (("/dead-letters", {}), ("/now", {"hx-request": "true"})):
        answer = await browser.get(path, headers=headers)
        assert answer.status_code == 503
        assert "The database does not answer" in answer.text
        assert ("<html" in answer.text) is (path != "/now")


async def test_a_bug_of_a_page_is_logged_and_keeps_the_headers(
    browser: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer says nothing about it."""

    def fail(*_: object) -> None:
        raise KeyError("secret")

    monkeypatch.setattr(policy, "_fields", fail)
    with capture_logs() as logged:
        answer = await browser.get("/policy")
    assert (answer.status_code, "secret" in answer.text) == (500, False)
    assert answer.headers["content-security-policy"] == HEADERS["Content-Security-Policy"]
    assert [line["event"] for line in logged] == ["console_page_failed"]
