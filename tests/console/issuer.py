"""An issuer of OpenID Connect on a port of its own: discovery, keys, and tokens for a code."""

import asyncio
import socket
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from granian.constants import Interfaces
from granian.server.embed import Server
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from acceptance.stage import until

CLIENT_ID = "console"
CLIENT_SECRET = "a secret of the issuer's client"


@dataclass
class Issuer:
    """What it will say about the user who signs in next.

    `claims`: of the user.  `changes`: of what the standard asks for, to be wrong.  `key`: its own;
    `published`: another one, which it shows instead.
    """

    url: str
    claims: dict[str, Any] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "1"}))
    published: RSAKey | None = None
    asked: dict[str, str] = field(default_factory=dict)

    def sign_in(self, location: str) -> dict[str, str]:
        """The user signs in where the console sent the browser; returns what it brings back."""
        self.asked = dict(parse_qsl(urlsplit(location).query))
        assert location.startswith(f"{self.url}/authorize?")
        return {"code": "code", "state": self.asked["state"]}

    async def discovery(self, _: Request) -> JSONResponse:
        """The addresses."""
        return JSONResponse(
            {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/keys",
                "id_token_signing_alg_values_supported": ["RS256"],
            }
        )

    async def keys(self, _: Request) -> JSONResponse:
        """The public key."""
        key = self.published or self.key
        return JSONResponse({"keys": [key.as_dict(private=False)]})

    async def token(self, request: Request) -> JSONResponse:
        """A token for the code, to who has the verifier of the challenge."""
        async with request.form() as form:
            given = dict(form)
        digest = sha256(str(given.get("code_verifier", "")).encode()).digest()
        challenge = urlsafe_b64encode(digest).rstrip(b"=").decode()
        proper = self.asked["code_challenge_method"] == "S256"
        if not proper or challenge != self.asked["code_challenge"] or given["code"] != "code":
            return JSONResponse({"error": "invalid_grant"}, status_code=400)
        signed = jwt.encode({"alg": "RS256", "kid": "1"}, self._said(), self.key)
        return JSONResponse({"access_token": "a", "token_type": "Bearer", "id_token": signed})

    def _said(self) -> dict[str, Any]:
        return {
            "iss": self.url,
            "aud": CLIENT_ID,
            "exp": 4_000_000_000,
            "iat": 1_700_000_000,
            "nonce": self.asked["nonce"],
            **self.claims,
            **self.changes,
        }


@asynccontextmanager
async def issuing() -> AsyncIterator[Issuer]:
    """Run an issuer."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    issuer = Issuer(f"http://127.0.0.1:{port}")
    app = Starlette(
        routes=[
            Route("/.well-known/openid-configuration", issuer.discovery),
            Route("/keys", issuer.keys),
            Route("/token", issuer.token, methods=["POST"]),
        ]
    )
    server = Server(app, port=port, interface=Interfaces.ASGINL, log_enabled=False)
    serving = asyncio.create_task(server.serve())
    await until(lambda: _answers(port))
    yield issuer
    server.stop()  # type: ignore[no-untyped-call]  # granian's
    await serving


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
