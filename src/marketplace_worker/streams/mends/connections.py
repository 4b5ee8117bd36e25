"""Connections to Kafka that log in with what is on disk now, and whose end is an error of Kafka's.

aiokafka keeps the certificates and the password that a client began with, so a client that lives
for months would go on with those that were renewed long ago.

Where a connection breaks just before something is sent, uvloop's transport raises a `RuntimeError`
that asyncio's does not, and that aiokafka 0.14 does not expect (its issue 1038): the task that
fetches, or the one that knows the brokers, ends, and its consumer is silent for ever.

A broker that does not accept a token says so where others send a challenge (RFC 7628, 3.2.3);
aiokafka takes that for a login, and what follows for answers.

And it lets no client make a topic by asking for it, which aiokafka 0.14 asks for: a topic that was
deleted under a worker would come back with as many partitions as the broker thinks fit.
"""

from functools import partial
from typing import Any

from aiokafka import client, conn
from aiokafka.conn import AIOKafkaConnection, CloseReason, OAuthAuthenticator
from aiokafka.errors import KafkaConnectionError, SaslAuthenticationFailed
from aiokafka.protocol.metadata import MetadataRequest

from marketplace_worker.errors import Misconfigured, Unavailable

METADATA_AGE_MS = 30_000
"""After how long a client asks again which topics, partitions and brokers there are."""


def install() -> None:
    """Make all clients of this process connect so.  Twice is harmless."""
    conn.AIOKafkaConnection = _Connection
    client.MetadataRequest = partial(MetadataRequest, allow_auto_topic_creation=False)


class _Connection(AIOKafkaConnection):  # type: ignore[misc]  # aiokafka has no types
    """One connection.  `ssl_context` and `sasl_plain_password` may be functions: they are asked
    when it is made.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        ssl_context: Any = None,  # noqa: ANN401 - aiokafka's signature
        sasl_plain_password: Any = None,  # noqa: ANN401 - likewise
        **others: Any,  # noqa: ANN401 - likewise
    ) -> None:
        try:
            context, password = _now(ssl_context), _now(sasl_plain_password)
        except (Misconfigured, Unavailable) as error:
            raise KafkaConnectionError(str(error)) from error
        super().__init__(host, port, ssl_context=context, sasl_plain_password=password, **others)

    def send(self, request: Any, expect_response: bool = True) -> Any:  # noqa: ANN401, FBT001, FBT002 - aiokafka's signature
        try:
            return super().send(request, expect_response)
        except RuntimeError as error:
            raise self._gone(error) from error

    def _send_sasl_token(self, payload: Any, expect_response: bool = True) -> Any:  # noqa: ANN401, FBT001, FBT002 - likewise
        try:
            return super()._send_sasl_token(payload, expect_response)
        except RuntimeError as error:
            raise self._gone(error) from error

    def authenticator_oauth(self) -> OAuthAuthenticator:
        return _TokenLogin(sasl_oauth_token_provider=self._sasl_oauth_token_provider)

    def _gone(self, error: RuntimeError) -> KafkaConnectionError:
        self.close(reason=CloseReason.CONNECTION_BROKEN)
        return KafkaConnectionError(f"Connection at {self.host}:{self.port} is gone: {error}")


class _TokenLogin(OAuthAuthenticator):  # type: ignore[misc]  # likewise
    async def step(self, payload: bytes | None) -> Any:  # noqa: ANN401 - aiokafka's signature
        if payload:
            raise SaslAuthenticationFailed(payload[:200].decode("ascii", "backslashreplace"))
        return await super().step(payload)


def _now(value: Any) -> Any:  # noqa: ANN401 - whatever the setting's type is
    """The value, or what the function in its place answers now."""
    return value() if callable(value) else value
