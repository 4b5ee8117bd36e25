"""Replaces a consumer when its brokers or credentials have changed.

aiokafka learns the brokers' addresses and its credentials once.  Where all brokers moved behind
the same bootstrap servers, or a certificate was renewed, only a new client finds them.
"""

import math
import time
from typing import Protocol

import structlog

from marketplace_worker.errors import Misconfigured, Unavailable
from marketplace_worker.settings import Kafka
from marketplace_worker.settings.credentials import Credentials
from marketplace_worker.streams.surveying import Survey, survey

SURVEY_EVERY_S = 30.0
SURVEY_AGAIN_S = 5.0
"""How often Kafka is checked while all is well, and while something is wrong."""

log = structlog.get_logger(__name__)


class RenewableConsumer(Protocol):
    """A consumer that can be replaced."""

    name: str
    group: str
    topics: frozenset[str]
    survey: Survey

    @property
    def reaches_coordinator(self) -> bool:
        """Whether it knows its group's coordinator, and has not lost it."""

    def subscribe(self, topics: frozenset[str]) -> None:
        """Read these topics from now on."""

    async def renew(self, topics: frozenset[str]) -> None:
        """Leave the group, and join it again with a new client."""


class Renewal:
    """Checks one started consumer, and replaces its client if needed."""

    def __init__(self, consumer: RenewableConsumer, kafka: Kafka) -> None:
        self._consumer = consumer
        self._kafka = kafka
        self._credentials = Credentials(kafka)
        self._surveyed_at = self._reached_at = time.monotonic()

    async def check(self) -> int:
        """Find out what has changed, and act on it; call every few seconds.

        A new client is created only if Kafka accepts a new connection: a client that waits for an
        unavailable Kafka continues by itself when Kafka is back.

        Raises:
            Unavailable: Kafka does not answer a new connection, or refuses it.
        """
        consumer, now = self._consumer, time.monotonic()
        if consumer.reaches_coordinator:
            self._reached_at = now
        # The group has dropped it already: leaving causes no further rebalance.
        lost = now - self._reached_at > self._kafka.session_timeout_ms / 1000
        renewed = self._credentials.changed
        pause_s = SURVEY_AGAIN_S if consumer.survey.not_ready_reason else SURVEY_EVERY_S
        if not lost and not renewed and now - self._surveyed_at < pause_s:
            return 0
        try:
            consumer.survey = await survey(self._kafka, consumer.group, consumer.topics)
            self._surveyed_at = now
            readable = consumer.survey.readable
            if readable and (lost or renewed):
                log.warning(
                    "consumer_renewed",
                    consumer=consumer.name,
                    reason="the credentials have changed" if renewed else "lost its coordinator",
                )
                self._credentials.use()
                self._reached_at = -math.inf  # it counts as lost until it has joined again
                await consumer.renew(readable)
                self._reached_at = time.monotonic()
            elif readable:
                consumer.subscribe(readable)
        except Misconfigured as error:
            raise Unavailable(str(error)) from error
        return 0
