"""The events that the worker would publish for messages, without servers."""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from marketplace_worker.contract.emails import email_hasher
from marketplace_worker.contract.outbound import encode
from marketplace_worker.contract.topics import feeds
from marketplace_worker.errors import Malformed
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.record import Record
from marketplace_worker.settings import UNKEYED_EMAIL_KEY, Topics
from marketplace_worker.simulate import Simulation
from marketplace_worker.testing.messages import Message


def simulated(
    messages: Iterable[Message], *, until: datetime | None = None, policy: Policy | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the lifecycle events that the worker would publish, as subscribers read them.

    Args:
        messages: each is received when it happened; in this order.
        until: the end; ten years after the last message by default.
        policy: the built-in one by default.

    Raises:
        Malformed: the worker would not understand a message.
        ValueError: a message happened before the one ahead of it.
    """
    key = email_hasher(UNKEYED_EMAIL_KEY.encode())
    simulation = Simulation(policy or Policy(), feeds(Topics()), key, _refuse)
    for event in simulation.run(_in_order(messages), until=until):
        yield json.loads(encode(event, simulation.traces.get(event.id)))


def _in_order(messages: Iterable[Message]) -> Iterator[Record]:
    now: datetime | None = None
    for each in messages:
        if now is not None and each.at < now:
            raise ValueError(f"{each.what}: happened before the message ahead of it")
        now = each.at
        yield each.record()


def _refuse(_record: Record, refusal: Malformed) -> None:
    raise refusal
