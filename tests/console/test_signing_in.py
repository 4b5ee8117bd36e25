"""Who may look, and what the log says about it."""

import hmac
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from joserfc.jwk import RSAKey
from pydantic import SecretStr
from starlette.applications import Starlette
from structlog.testing import capture_logs

from marketplace_worker.console.application import PAGES, application
from marketplace_worker.settings import Console, SecretFile

from .conftest import ADDRESS, browsing
from .issuer import CLIENT_ID, CLIENT_SECRET, Issuer, issuing
from .test_pages import PATHS, csrf_of

TOKEN = "sixteen characters"

ANN = {"sub": "user-1", "email": "ann@example.com", "email_verified": True, "name": "Ann"}


@pytest.fixture(scope="module")
async def issuer() -> AsyncIterator[Issuer]:
    """One for all tests of this module; each says who signs in."""
    async with issuing() as issuer:
        yield issuer


@pytest.fixture
def settings(request: pytest.FixtureRequest) -> Console:
    """A sign-in by the token, or with the issuer if the test asks for it."""
    if "issuer" not in request.fixturenames:
        return Console(token=SecretStr(TOKEN))
    issuer: Issuer = request.getfixturevalue("issuer")
    issuer.claims, issuer.changes, issuer.published = dict(ANN), {}, None
    return Console(
        openid_issuer=issuer.url,
        openid_client_id=CLIENT_ID,
        openid_client_secret=SecretStr(CLIENT_SECRET),
        openid_allowed="@example.com,bob@elsewhere.example,role:operators",
    )


async def sign_in(
    browser: httpx2.AsyncClient, token: str = TOKEN, name: str = "Jo Doe"
) -> httpx2.Response:
    """Send the form."""
    csrf = await csrf_of(browser, "/sign-in")
    return await browser.post("/sign-in", data={"csrf": csrf, "token": token, "name": name})


async def test_no_page_is_shown_without_a_sign_in(browser: httpx2.AsyncClient) -> None:
    """A browser is sent to the sign-in; htmx loads the whole page; nothing is compared."""
    for route in PAGES:
        path = str(getattr(route, "path", ""))
        answer = await browser.get(PATHS.get(path, path))
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
        assert answer.text == ""
    part = await browser.get("/now", headers={"hx-request": "true"})
    assert (part.status_code, part.headers["hx-refresh"]) == (401, "true")
    assert (await browser.post("/policy")).status_code == 401
    assert (await browser.get("/static/console.css")).status_code == 200


async def test_the_token_signs_in_and_leads_to_the_wanted_page(browser: httpx2.AsyncClient) -> None:
    """The log says who, and never the token."""
    await browser.get("/dead-letters")
    with capture_logs() as logged:
        answer = await sign_in(browser)
    assert (answer.status_code, answer.headers["location"]) == (303, "/dead-letters")
    assert "Jo Doe" in (await browser.get("/dead-letters")).text
    assert [line["viewer"] for line in logged if line["event"] == "console_signed_in"] == ["Jo Doe"]
    assert TOKEN not in str(logged)


@pytest.mark.parametrize(
    ("token", "name"),
    [("sixteen characterz", "Jo"), ("", "Jo"), (TOKEN, " "), (TOKEN, "x" * 81), (TOKEN, "\u202e")],
)
async def test_a_wrong_token_or_name_is_refused(
    browser: httpx2.AsyncClient, token: str, name: str
) -> None:
    """And logged."""
    with capture_logs() as logged:
        answer = await sign_in(browser, token, name)
    assert answer.status_code == 403
    assert (await browser.get("/")).status_code == 303
    assert [line["event"] for line in logged] == ["console_sign_in_refused"]


async def test_the_token_is_read_again_from_its_file(app: Starlette, tmp_path: Path) -> None:
    """A new token needs no restart; who has signed in stays."""
    file = tmp_path / "token"
    file.write_text(TOKEN)
    app.state.authentication._token = SecretFile(file)
    async with browsing(app) as first, browsing(app) as second:
        assert (await sign_in(first)).status_code == 303
        file.write_text("another of sixteen")
        assert (await sign_in(second)).status_code == 403
        assert (await sign_in(second, "another of sixteen")).status_code == 303
        assert (await first.get("/")).status_code == 200


async def test_the_session_is_signed_and_hidden_from_scripts(browser: httpx2.AsyncClient) -> None:
    """Nobody can write who he is into the cookie."""
    answer = await sign_in(browser)
    (cookie,) = answer.headers.get_list("set-cookie")
    assert {"httponly", "samesite=lax", "Max-Age=28800"} <= set(cookie.split("; "))
    assert "secure" not in cookie
    name, _, value = cookie.partition(";")[0].partition("=")
    data, _, signature = value.partition(".")
    forged = b64encode(b64decode(data).replace(b"Jo Doe", b"Ann Ro")).decode()
    browser.cookies.clear()
    browser.cookies.set(name, f"{forged}.{signature}")
    assert (await browser.get("/")).status_code == 303


async def test_a_session_elsewhere_than_on_loopback_needs_tls(app: Starlette) -> None:
    """The proxy before it has TLS; the cookie never leaves without."""
    settings = Console(
        address="0.0.0.0",
        token=SecretStr(TOKEN),
        url="https://console.example",
    )
    elsewhere = application(app.state.context, settings)
    async with browsing(elsewhere, "https://console.example") as browser:
        answer = await sign_in(browser)
        assert "secure" in answer.headers["set-cookie"]
        assert "max-age" in answer.headers["strict-transport-security"]
        assert (await browser.get("/", headers={"host": "127.0.0.1:8600"})).status_code == 421


async def test_the_sign_in_leads_nowhere_else(browser: httpx2.AsyncClient) -> None:
    """A link to `//evil.example` is a path here, and another host for a browser."""
    for path in ("//evil.example/", "/\\evil.example"):
        await browser.get(f"{ADDRESS}{path}")
        assert (await sign_in(browser)).headers["location"] in {"/", "/evil.example"}
        browser.cookies.clear()


async def test_a_sign_out_ends_the_session(browser: httpx2.AsyncClient) -> None:
    """By a form of the page, and by no other."""
    await sign_in(browser)
    assert (await browser.post("/sign-out", data={"csrf": "guessed"})).status_code == 403
    assert (await browser.get("/")).status_code == 200
    csrf = await csrf_of(browser, "/policy")
    assert (await browser.post("/sign-out", data={"csrf": csrf})).status_code == 303
    assert (await browser.get("/")).status_code == 303


async def test_each_look_at_bytes_is_logged_with_who_looked(browser: httpx2.AsyncClient) -> None:
    """They may contain personal data."""
    await sign_in(browser)
    with capture_logs() as logged:
        await browser.get("/dead-letters/1")
    assert logged == [
        {"event": "dead_letter_viewed", "dead_letter": 1, "viewer": "Jo Doe", "log_level": "info"}
    ]


async def test_an_address_is_no_name(browser: httpx2.AsyncClient) -> None:
    """The name is logged, and the log carries no email address."""
    with capture_logs() as logged:
        answer = await sign_in(browser, name="jo@vendor.example")
    assert answer.status_code == 403
    assert "Give a name and no email address" in answer.text
    assert "jo@" not in str(logged)
    assert (await browser.get("/")).status_code == 303


# --- OpenID Connect -------------------------------------------------------------------------------


async def come_back(browser: httpx2.AsyncClient, issuer: Issuer, **changes: str) -> httpx2.Response:
    """Sign in with the issuer, and come back with its answer."""
    sent = await browser.get("/sign-in")
    assert sent.status_code == 302
    brought = issuer.sign_in(sent.headers["location"]) | changes
    return await browser.get("/sign-in/back", params=brought)


async def test_a_user_of_the_issuer_signs_in(browser: httpx2.AsyncClient, issuer: Issuer) -> None:
    """With PKCE, state and nonce; the log has the subject, and no email."""
    await browser.get("/dead-letters/1")
    with capture_logs() as logged:
        answer = await come_back(browser, issuer)
    assert (answer.status_code, answer.headers["location"]) == (303, "/dead-letters/1")
    assert {"state", "nonce", "code_challenge"} <= issuer.asked.keys()
    assert issuer.asked["redirect_uri"] == f"{ADDRESS}/sign-in/back"
    assert "Ann" in (await browser.get("/")).text
    assert [line["viewer"] for line in logged] == ["user-1"]


async def test_a_subject_that_is_an_address_is_logged_as_its_keyed_hash(
    browser: httpx2.AsyncClient, issuer: Issuer
) -> None:
    """Some issuers make it of the email; the key is the client secret."""
    issuer.claims |= {"sub": "samlp|vendor|ann@example.com"}
    with capture_logs() as logged:
        await come_back(browser, issuer)
        await browser.get("/organizations/acme")
    subject = issuer.claims["sub"].encode()
    digest = hmac.new(CLIENT_SECRET.encode(), subject, "sha256").hexdigest()
    assert [line["viewer"] for line in logged] == [f"hash:{digest[:16]}"] * 2
    assert "ann@" not in str(logged)


@pytest.mark.parametrize(
    ("claims", "may"),
    [
        ({"email": "ann@Example.com"}, True),
        ({"email": "bob@elsewhere.example"}, True),
        ({"email": "eve@elsewhere.example"}, False),
        ({"email": "eve@evil.example@example.com.evil"}, False),
        ({"email_verified": False}, False),
        ({"email_verified": "true"}, False),
        ({"email_verified": False, "roles": ["operators"]}, True),
        ({"email": None, "groups": ["operators", "others"]}, True),
        ({"email": "role:operators", "email_verified": True}, False),
        ({"email": None, "roles": "operators"}, False),
    ],
    ids=str,
)
async def test_only_who_is_allowed_signs_in(
    browser: httpx2.AsyncClient, issuer: Issuer, claims: dict[str, Any], may: bool
) -> None:
    """By a verified address, its domain, or a role: an issuer has other users as well."""
    issuer.claims |= claims
    assert (await come_back(browser, issuer)).status_code == (303 if may else 403)
    assert (await browser.get("/")).status_code == (200 if may else 303)


@pytest.mark.parametrize(
    "changes",
    [
        {"nonce": "of another sign-in"},
        {"iss": "https://evil.example"},
        {"aud": "another client"},
        {"exp": 1_700_000_000},
    ],
    ids=str,
)
async def test_an_answer_to_another_question_is_refused(
    browser: httpx2.AsyncClient, issuer: Issuer, changes: dict[str, Any]
) -> None:
    """Or of another issuer, for another client, or too old."""
    issuer.changes = changes
    assert (await come_back(browser, issuer)).status_code == 403
    assert (await browser.get("/")).status_code == 303


async def test_an_answer_with_another_signature_is_refused(
    browser: httpx2.AsyncClient, issuer: Issuer
) -> None:
    """Whoever can write the token endpoint's answer cannot sign in."""
    issuer.published = RSAKey.generate_key(2048, {"kid": "1"})
    assert (await come_back(browser, issuer)).status_code == 403


async def test_an_answer_in_another_browser_is_refused(app: Starlette, issuer: Issuer) -> None:
    """A link with somebody's code must not sign in who follows it."""
    async with browsing(app) as first, browsing(app) as second:
        sent = await first.get("/sign-in")
        brought = issuer.sign_in(sent.headers["location"])
        answer = await second.get("/sign-in/back", params=brought)
        assert answer.status_code == 403
        assert (await first.get("/sign-in/back", params=brought)).status_code == 303
        assert (await second.get("/sign-in/back", params={"state": "x"})).status_code == 403
        assert (await second.get("/sign-in/back", params={"error": "denied"})).status_code == 403


async def test_an_issuer_that_does_not_answer_is_named(app: Starlette) -> None:
    """The page says so; nobody is let in."""
    away = application(
        app.state.context,
        Console(
            openid_issuer="http://127.0.0.1:1",
            openid_client_id=CLIENT_ID,
            openid_client_secret=SecretStr(CLIENT_SECRET),
            openid_allowed="@example.com",
        ),
    )
    async with browsing(away) as browser:
        answer = await browser.get("/sign-in")
        assert answer.status_code == 403
        assert "does not answer" in answer.text
        assert urlsplit(str(answer.url)).path == "/sign-in"
