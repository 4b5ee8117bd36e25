"""The console as an ASGI application: its pages, and what every request passes."""

from collections.abc import Sequence
from secrets import token_urlsafe

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from marketplace_worker.console import (
    dead_letters,
    fleet,
    organization,
    organizations,
    policy,
    signing_in,
)
from marketplace_worker.console.headers import Guarded
from marketplace_worker.console.page import STATIC, PageContext, render
from marketplace_worker.console.signing_in import SESSION_S, Authentication, SignInRequired
from marketplace_worker.errors import Unavailable
from marketplace_worker.settings import Console

PAGES: Sequence[BaseRoute] = (
    *fleet.ROUTES,
    *organizations.ROUTES,
    *organization.ROUTES,
    *dead_letters.ROUTES,
    *policy.ROUTES,
)
"""Pages that only who has signed in sees."""


class _Static(StaticFiles):
    """Files whose addresses contain their hash: a browser may keep them."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Answer with a file."""
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


def application(context: PageContext, settings: Console) -> Starlette:
    """Build the application.  Sessions end with it, because only it knows their key."""
    authentication = Authentication.of(settings)
    with_tls = settings.address_in_browser.startswith("https://")
    app = Starlette(
        routes=[
            Mount("/static", _Static(directory=str(STATIC)), name="static"),
            *signing_in.ROUTES,
            *PAGES,
        ],
        middleware=[
            Middleware(Guarded, address=settings.address_in_browser),
            Middleware(
                SessionMiddleware,
                secret_key=token_urlsafe(32),
                session_cookie=f"{'__Host-' if with_tls else ''}marketplace-worker-console",
                max_age=SESSION_S,
                same_site="lax",
                https_only=with_tls,
            ),
            Middleware(SignInRequired, authentication=authentication),
        ],
        exception_handlers={
            ClientDisconnect: _too_large,
            HTTPException: _refused,
            Unavailable: _unavailable,
        },
    )
    app.state.context = context
    app.state.authentication = authentication
    app.state.signs_in = authentication.required
    return app


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _error(request, error.status_code, error.detail)


async def _too_large(request: Request, _: Exception) -> Response:
    """A body that `Guarded` has cut off; who has gone does not see the answer."""
    return _error(request, 413, "The request is too large")


async def _unavailable(request: Request, error: Exception) -> Response:
    return _error(request, 503, "The database does not answer", str(error))


def _error(request: Request, status: int, title: str, explanation: str = "") -> Response:
    """A page, or the part that htmx puts in the place of another."""
    template = "error_part.html" if "hx-request" in request.headers else "error.html"
    values = {"title": title, "explanation": explanation}
    return render(request, template, values, status=status)
