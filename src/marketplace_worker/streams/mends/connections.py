"""Connections of aiokafka that use the current credentials and fail with errors of Kafka.

Mends of aiokafka 0.14, each with the condition under which it goes:

- A client keeps the certificates and the password that it started with, so it cannot connect after
  a rotation.  Upstream: no issue found.  Remove when both may be callables.
- If a connection breaks just before a send, uvloop's transport raises `RuntimeError`, which
  asyncio's does not.  aiokafka does not expect it: the task that fetches, or the one that updates
  the metadata, ends, and its consumer never reads again.  Upstream: aiokafka issue 1038 (open).
  Remove when it is closed.
- A broker that refuses an OAuth token answers with a challenge (RFC 7628, 3.2.3).  aiokafka takes
  it for a login, and what follows for responses.  Upstream: no issue found.  Remove when
  `OAuthAuthenticator.step` raises on a non-empty challenge.
- Every metadata request allows the broker to create the topics that it names: a topic that was
  deleted under a worker would come back with the broker's default partitions.  Upstream: no issue
  found.  Remove when clients have `allow_auto_create_topics`.

Issues were searched on 2026-11-30.
"""

from functools import partial
from typing import Any

from aiokafka import client, conn
from aiokafka.conn import AIOKafkaConnection, CloseReason, OAuthAuthenticator
from aiokafka.errors import KafkaConnectionError, SaslAuthenticationFailed
from aiokafka.protocol.metadata import MetadataRequest

from marketplace_worker.errors import Misconfigured, Unavailable


def install() -> None:
    """Use these connections in all clients of this process.  Idempotent."""
    conn.AIOKafkaConnection = _Connection
    client.MetadataRequest = partial(MetadataRequest, allow_auto_topic_creation=False)


class _Connection(AIOKafkaConnection):  # type: ignore[misc]  # aiokafka has no types
    """One connection.  `ssl_context` and `sasl_plain_password` may be functions: they are called
    when it is opened.
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
