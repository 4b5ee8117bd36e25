"""The headers of every response, and which requests are refused before any page sees them."""

from collections.abc import Mapping
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
        "object-src 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

BODY_BYTES_MAX = 256 * 1024
"""The largest request; a policy file has a few kilobytes."""


_FAILED = PlainTextResponse("This page has failed: the log says why.\n", status_code=500)

log = structlog.get_logger(__name__)


class Guarded:
    """Adds the headers, and refuses other hosts, foreign forms and large bodies.

    A host other than the console's own would let a page of an attacker, whose name is made to
    resolve to this machine, read the console.

    Args:
        app: what answers the other requests.
        address: the console's address in the browser.
    """

    def __init__(self, app: ASGIApp, address: str) -> None:
        self._app = app
        self._origin = address
        parts = urlsplit(address)
        self._hosts = {parts.netloc}
        if parts.hostname in {"127.0.0.1", "::1", "localhost"}:
            port = f":{parts.port}" if parts.port else ""
            self._hosts |= {f"{name}{port}" for name in ("127.0.0.1", "[::1]", "localhost")}
        self._origins = {f"{parts.scheme}://{host}" for host in self._hosts}
        self._secure = parts.scheme == "https"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        started = False

        async def send_guarded(message: Message) -> None:
            nonlocal started
            started = True
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
                if self._secure:
                    headers["Strict-Transport-Security"] = "max-age=31536000"
            await send(message)

        if refusal := self._refusal(scope):
            await refusal(scope, receive, send_guarded)
            return
        try:
            await self._app(scope, _Bounded(receive), send_guarded)
        except Exception:  # a bug of one page must not end as a server's line, or without headers
            log.exception("console_page_failed", path=scope["path"])
            if not started:
                await _FAILED(scope, receive, send_guarded)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        if headers.get("host", "") not in self._hosts:
            return PlainTextResponse("This host is not the console's.\n", status_code=421)
        if scope["method"] not in {"GET", "HEAD", "POST"}:
            return PlainTextResponse("Only GET, HEAD and POST.\n", status_code=405)
        origin = headers.get("origin")
        if scope["method"] == "POST" and origin is not None and origin not in self._origins:
            return PlainTextResponse("The form is not the console's.\n", status_code=403)
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > BODY_BYTES_MAX:
            return PlainTextResponse(f"At most {BODY_BYTES_MAX} bytes.\n", status_code=413)
        return None


class _Bounded:
    """Receives a body of at most `BODY_BYTES_MAX`, whatever the request says its length is."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._left = BODY_BYTES_MAX

    async def __call__(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        return message if self._left >= 0 else {"type": "http.disconnect"}
