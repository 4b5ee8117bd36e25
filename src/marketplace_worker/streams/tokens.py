"""Tokens with which clients log in to Kafka (OAUTHBEARER), obtained when a connection is opened.

Either from an OAuth server by client credentials (RFC 6749, 4.4), or built from the AWS credentials
of this machine, for Amazon MSK.
"""

import asyncio
import base64
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from urllib.parse import quote, urlencode

from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaConnectionError
from pydantic import BaseModel, Field, ValidationError

from marketplace_worker.errors import Misconfigured, Unavailable
from marketplace_worker.settings import Kafka

TOKEN_TIMEOUT_S = 5.0
ANSWER_BYTES_MAX = 1024 * 1024

USED_FOR = 0.8
"""The fraction of a token's lifetime during which it is used."""

DEFAULT_LIFE_S = 60.0
"""The lifetime of a token that does not state one."""


def token_provider(kafka: Kafka) -> AbstractTokenProvider | None:
    """The provider of tokens; None if clients log in by other means."""
    match kafka.sasl_mechanism:
        case "OAUTHBEARER":
            return _FromServer(kafka)
        case "AWS_MSK_IAM":
            return _FromAws(kafka)
        case _:
            return None


class _Provider(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka has no types
    """Obtains tokens in a thread, because the event loop would block."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka

    async def token(self) -> str:
        """A token for a new connection.

        Raises:
            KafkaConnectionError: there is none; its cause is the reason.
        """
        try:
            return await asyncio.to_thread(self._token)
        except (Misconfigured, Unavailable) as error:
            raise KafkaConnectionError(str(error)) from error

    def _token(self) -> str:
        raise NotImplementedError


class _Granted(BaseModel):
    """A server's answer with a token (RFC 6749, 5.1), the fields that we use."""

    access_token: str = Field(min_length=1)
    expires_in: float = Field(DEFAULT_LIFE_S, gt=0)


class _Refused(BaseModel):
    """A server's answer without a token (5.2)."""

    error: str = Field(pattern=r"^[\x20-\x7e]{1,200}$")


class _FromServer(_Provider):
    def __init__(self, kafka: Kafka) -> None:
        super().__init__(kafka)
        self._last = ""
        self._use_until = 0.0

    def extensions(self) -> Mapping[str, str]:
        """Extensions that are sent to Kafka with the token."""
        pairs = (self._kafka.oauth_extensions or "").split(",")
        return dict(pair.split("=", 1) for pair in pairs if pair)

    def _token(self) -> str:
        now = time.monotonic()
        if now >= self._use_until:
            granted = self._granted(*self._ask())
            self._last = granted.access_token
            self._use_until = now + USED_FOR * granted.expires_in
        return self._last

    def _granted(self, status: int, answer: bytes) -> _Granted:
        kafka = self._kafka
        try:
            return _Granted.model_validate_json(answer)
        except ValidationError:
            pass  # its message would show a token
        try:
            reason = _Refused.model_validate_json(answer).error
        except ValidationError:
            reason = f"HTTP status {status}, and no answer of an OAuth server"
        if status >= 500 or status == 429:
            raise Unavailable(f"{kafka.oauth_token_url}: {reason}")
        raise Misconfigured(
            f"{kafka.oauth_token_url} issues no token to {kafka.oauth_client_id} ({reason}): "
            "check kafka.oauth_client_id, kafka.oauth_client_secret and kafka.oauth_scope"
        )

    def _ask(self) -> tuple[int, bytes]:
        """The status and the body of what the server answers."""
        kafka = self._kafka
        assert kafka.oauth_token_url is not None
        assert kafka.oauth_client_id is not None
        assert kafka.oauth_client_secret is not None
        fields = {"grant_type": "client_credentials"}
        if kafka.oauth_scope is not None:
            fields["scope"] = kafka.oauth_scope
        name, secret = kafka.oauth_client_id, kafka.oauth_client_secret.get_secret_value()
        login = f"{quote(name, safe='')}:{quote(secret, safe='')}".encode()
        request = urllib.request.Request(  # noqa: S310 - the settings allow http and https alone
            kafka.oauth_token_url,
            data=urlencode(fields).encode(),
            headers={
                "Authorization": f"Basic {base64.b64encode(login).decode()}",
                "Accept": "application/json",
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=TOKEN_TIMEOUT_S) as answer:  # noqa: S310 - likewise
                return answer.status, answer.read(ANSWER_BYTES_MAX)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(ANSWER_BYTES_MAX)
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise Unavailable(f"{kafka.oauth_token_url}: {reason}") from error


class _FromAws(_Provider):
    def _token(self) -> str:
        try:
            from aws_msk_iam_sasl_signer import MSKAuthTokenProvider  # noqa: PLC0415 - an extra
        except ImportError:
            raise Misconfigured(
                "kafka.sasl_mechanism AWS_MSK_IAM needs Amazon's library: "
                "pip install 'marketplace-worker[aws-msk-iam]'"
            ) from None
        try:
            token, _ = MSKAuthTokenProvider.generate_auth_token(self._kafka.aws_region)
        except Exception as error:  # botocore's errors have no common base class
            raise Unavailable(f"AWS provides no credentials for Kafka: {error}") from error
        return str(token)
