"""Who may look: everybody on loopback, who has the token, or whom OpenID Connect knows.

Who has signed in is in a signed cookie, which no page can read and which ends after `SESSION_S`.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from secrets import compare_digest, token_urlsafe
from typing import Any, Self
from urllib.parse import urlsplit

import structlog
from pydantic import SecretStr
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from marketplace_worker.console.openid import OpenIdConnect
from marketplace_worker.console.page import SignInRefused, Viewer, render
from marketplace_worker.settings import Console

SESSION_S = 8 * 60 * 60
"""A working day; then one signs in again."""

NAME_LENGTH_MAX = 80
FIELDS_MAX = 10

LOOPBACK = Viewer("loopback", "this machine")

OPEN = ("/static/", "/sign-in")
"""The beginnings of paths that need no sign-in."""

log = structlog.get_logger(__name__)


class Authentication:
    """How one signs in; nothing where it is not `required`."""

    def __init__(self, token: SecretStr | None, openid: OpenIdConnect | None) -> None:
        self.openid = openid
        self._token = token

    @classmethod
    def of(cls, settings: Console) -> Self:
        """As the settings say."""
        return cls(settings.token, OpenIdConnect(settings) if settings.openid_issuer else None)

    @property
    def required(self) -> bool:
        """Whether one has to sign in."""
        return self._token is not None or self.openid is not None

    def knows(self, token: str) -> bool:
        """Whether it is the token; a wrong one takes as long, however much of it is right."""
        return self._token is not None and compare_digest(
            token.encode(), self._token.get_secret_value().encode()
        )


class SignInRequired:
    """Sends who has not signed in to the sign-in, and gives the pages the viewer."""

    def __init__(self, app: ASGIApp, authentication: Authentication) -> None:
        self._app = app
        self._authentication = authentication

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["viewer"] = viewer = self._viewer(scope["session"])
        if viewer is None and not scope["path"].startswith(OPEN):
            await _to_sign_in(scope)(scope, receive, send)
            return
        if not scope["path"].startswith("/static/"):
            scope["session"].setdefault("csrf", token_urlsafe(16))
        await self._app(scope, receive, send)

    def _viewer(self, session: Mapping[str, Any]) -> Viewer | None:
        if not self._authentication.required:
            return LOOPBACK
        known = session.get("viewer")
        return None if known is None else Viewer(**known)


def _to_sign_in(scope: Scope) -> Response:
    """A part of a page cannot become the sign-in: htmx is told to load the whole page."""
    if any(name == b"hx-request" for name, _ in scope["headers"]):
        return PlainTextResponse("", status_code=401, headers={"HX-Refresh": "true"})
    if scope["method"] not in {"GET", "HEAD"}:
        return PlainTextResponse("Sign in first.\n", status_code=401)
    scope["session"]["next"] = scope["path"]
    return RedirectResponse("/sign-in", status_code=303)


@asynccontextmanager
async def own_form(request: Request) -> AsyncIterator[FormData]:
    """The fields of a form; its files are closed at the end.

    Raises:
        SignInRefused: it is not one of this session's pages.
    """
    async with request.form(max_files=1, max_fields=FIELDS_MAX) as form:
        given, own = str(form.get("csrf", "")), str(request.session["csrf"])
        if not compare_digest(given.encode(), own.encode()):
            raise SignInRefused("This form is too old: load its page again.")
        yield form


async def _ask(request: Request) -> Response:
    """Show the form for the token, or go to the issuer."""
    authentication: Authentication = request.app.state.authentication
    if not authentication.required:
        return RedirectResponse("/", status_code=303)
    if authentication.openid is not None and "out" not in request.query_params:
        try:
            return await authentication.openid.redirect(request)
        except SignInRefused as error:
            return _refused(request, error)
    return render(
        request, "sign_in.html", {"refusal": "", "openid": authentication.openid is not None}
    )


async def _with_token(request: Request) -> Response:
    authentication: Authentication = request.app.state.authentication
    try:
        async with own_form(request) as form:
            return _signed_in(request, _person(form, authentication))
    except SignInRefused as error:
        return _refused(request, error)


def _person(form: FormData, authentication: Authentication) -> Viewer:
    """Whom the form names; raises `SignInRefused` without a name or with a wrong token."""
    name, token = str(form.get("name", "")).strip(), str(form.get("token", "")).strip()
    if not name or len(name) > NAME_LENGTH_MAX or not name.isprintable():
        raise SignInRefused(f"Give a name of at most {NAME_LENGTH_MAX} characters.")
    if "@" in name:
        raise SignInRefused("Give a name and no email address: it is written to the log.")
    if not authentication.knows(token):
        raise SignInRefused("This is not the token.")
    return Viewer(name, name)


async def _from_issuer(request: Request) -> Response:
    authentication: Authentication = request.app.state.authentication
    if authentication.openid is None:
        return RedirectResponse("/sign-in", status_code=303)
    try:
        return _signed_in(request, await authentication.openid.viewer(request))
    except SignInRefused as error:
        return _refused(request, error)


async def _sign_out(request: Request) -> Response:
    try:
        async with own_form(request):
            request.session.clear()
    except SignInRefused as error:
        return _refused(request, error)
    return RedirectResponse("/sign-in?out", status_code=303)


def _signed_in(request: Request, viewer: Viewer) -> Response:
    """Begin a new session, and go where one wanted to go."""
    path = urlsplit(str(request.session.get("next", "/"))).path
    request.session.clear()
    request.session["viewer"] = {"id": viewer.id, "name": viewer.name}
    request.session["csrf"] = token_urlsafe(16)
    log.info("console_signed_in", viewer=viewer.id)
    return RedirectResponse(path if path[1:2] not in {"/", "\\"} else "/", status_code=303)


def _refused(request: Request, error: SignInRefused) -> Response:
    log.warning("console_sign_in_refused", reason=str(error))
    authentication: Authentication = request.app.state.authentication
    values = {"refusal": str(error), "openid": authentication.openid is not None}
    return render(request, "sign_in.html", values, status=403)


ROUTES: Sequence[BaseRoute] = (
    Route("/sign-in", _ask, methods=["GET"]),
    Route("/sign-in", _with_token, methods=["POST"]),
    Route("/sign-in/back", _from_issuer, methods=["GET"]),
    Route("/sign-out", _sign_out, methods=["POST"]),
)
