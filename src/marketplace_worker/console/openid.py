"""Sign-in with OpenID Connect: authorization code with PKCE, state and nonce."""

from collections.abc import Iterator, Mapping
from hashlib import sha256
from hmac import new as keyed_hash
from typing import Any

import httpx2
from authlib.integrations.base_client import OAuthError
from authlib.integrations.starlette_client import OAuth
from joserfc.errors import JoseError
from starlette.requests import Request
from starlette.responses import Response

from marketplace_worker.console.page import SignInRefused, Viewer
from marketplace_worker.settings import Console

DISCOVERY = "/.well-known/openid-configuration"

TIMEOUT_S = 10.0

HASH_DIGITS = 16
"""Of the keyed hash that stands for an email address in the log."""


class OpenIdConnect:
    """One issuer, and who of its users may sign in."""

    def __init__(self, settings: Console) -> None:
        assert settings.openid_issuer is not None
        assert settings.openid_client_secret is not None
        assert settings.openid_allowed is not None
        self._allowed = frozenset(settings.openid_allowed.lower().split(","))
        self._back = f"{settings.address_in_browser}/sign-in/back"
        self._issuer = settings.openid_issuer
        self._secret = settings.openid_client_secret.get_secret_value().encode()
        self._client = OAuth().register(
            "issuer",
            client_id=settings.openid_client_id,
            client_secret=self._secret.decode(),
            server_metadata_url=settings.openid_issuer.removesuffix("/") + DISCOVERY,
            client_kwargs={
                "scope": "openid email profile",
                "code_challenge_method": "S256",
                "timeout": TIMEOUT_S,
            },
        )

    async def redirect(self, request: Request) -> Response:
        """Send the browser to the issuer; state, nonce and verifier stay in the session.

        Raises:
            SignInRefused: the issuer does not answer.
        """
        try:
            response: Response = await self._client.authorize_redirect(request, self._back)
        except (httpx2.HTTPError, OAuthError, RuntimeError, ValueError) as error:
            raise SignInRefused(f"The issuer does not answer: {type(error).__name__}.") from error
        return response

    async def viewer(self, request: Request) -> Viewer:
        """The user with whom the browser came back from the issuer.

        Raises:
            SignInRefused: the answer is not the one to this browser's question, is not signed by
                the issuer, or is about somebody who may not sign in.
        """
        options = {"iss": {"essential": True, "value": self._issuer}}
        try:
            token = await self._client.authorize_access_token(request, claims_options=options)
            claims = token["userinfo"]
        except (
            httpx2.HTTPError,
            OAuthError,
            JoseError,
            RuntimeError,
            ValueError,
            KeyError,
        ) as error:
            raise SignInRefused(
                f"The issuer's answer is refused: {type(error).__name__}."
            ) from error
        if self._allowed.isdisjoint(_names(claims)):
            raise SignInRefused("You may not sign in: you are not in console.openid_allowed.")
        subject = str(claims["sub"])
        name = str(claims.get("name") or claims.get("email") or subject)
        return Viewer(_without_email(subject, self._secret), name)


def _without_email(subject: str, secret: bytes) -> str:
    """The subject for the log; if it contains an email address, its keyed hash.

    Some issuers make the subject of the email.  Who has the client secret can find a known one.
    """
    if "@" not in subject:
        return subject
    return f"hash:{keyed_hash(secret, subject.encode(), sha256).hexdigest()[:HASH_DIGITS]}"


def _names(claims: Mapping[str, Any]) -> Iterator[str]:
    """What of a user `openid_allowed` can name, in lower case.

    Only an address that the issuer has verified counts: others can be chosen by their users.
    """
    email = claims.get("email")
    if isinstance(email, str) and "@" in email and claims.get("email_verified") is True:
        yield email.lower()
        yield f"@{email.lower().rpartition('@')[2]}"
    for claim in ("roles", "groups"):
        names = claims.get(claim)
        if isinstance(names, list):
            yield from (f"role:{name}".lower() for name in names if isinstance(name, str))
