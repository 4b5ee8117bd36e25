"""Makes a connection that is gone an error of Kafka's, also under uvloop.

Where a connection breaks just before something is sent, uvloop's transport raises a `RuntimeError`
that asyncio's does not, and that aiokafka 0.14 does not expect (its issue 1038): the task that
fetches, or the one that knows the brokers, ends, and its consumer is silent for ever.
"""

from typing import Any

from aiokafka import conn
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError


def install() -> None:
    """Make all clients of this process connect so.  Twice is harmless."""
    conn.AIOKafkaConnection = _Connection


class _Connection(AIOKafkaConnection):  # type: ignore[misc]  # aiokafka has no types
    """A connection whose end is told as Kafka's client expects it."""

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

    def _gone(self, error: RuntimeError) -> KafkaConnectionError:
        self.close(reason=CloseReason.CONNECTION_BROKEN)
        return KafkaConnectionError(f"Connection at {self.host}:{self.port} is gone: {error}")
