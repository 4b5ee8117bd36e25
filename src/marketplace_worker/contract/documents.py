"""How our own values are kept as JSON: aggregates, registers, facts, policies, and the history.

Not the wire's contract: only the store reads these.  A field that a document does not have yet is
read as its default; any other change of these values is a migration.
"""

import json
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import Field, TypeAdapter
from pydantic_core import to_json

from marketplace_worker.contract.outbound import details_data
from marketplace_worker.lifecycle.events import Event
from marketplace_worker.lifecycle.facts import Fact
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.lifecycle.replay import Readings
from marketplace_worker.lifecycle.safeguards import Safeguards
from marketplace_worker.lifecycle.subscription import Subscription

_ORGANIZATION = TypeAdapter(Organization)
_SUBSCRIPTION = TypeAdapter(Subscription)
_FACT: TypeAdapter[Fact] = TypeAdapter(Annotated[Fact, Field(discriminator="kind")])
_POLICY = TypeAdapter(Policy)
_SAFEGUARDS = TypeAdapter(Safeguards)
_READINGS = TypeAdapter(Readings)


def organization_to_json(organization: Organization) -> str:
    """Write an aggregate down."""
    return _ORGANIZATION.dump_json(organization).decode()


def organization_from_json(text: str) -> Organization:
    """Read an aggregate as it was written."""
    return _ORGANIZATION.validate_json(text)


def subscription_to_json(subscription: Subscription) -> str:
    """Write a register down."""
    return _SUBSCRIPTION.dump_json(subscription).decode()


def subscription_from_json(text: str) -> Subscription:
    """Read a register as it was written."""
    return _SUBSCRIPTION.validate_json(text)


def fact_to_json(fact: Fact) -> str:
    """Write a fact down, for the journal."""
    return _FACT.dump_json(fact).decode()


def fact_from_json(text: str) -> Fact:
    """Read a fact as it was written."""
    return _FACT.validate_json(text)


def is_contradicted(text: str, fact: Fact, *, with_moments: bool) -> bool:
    """Whether a fact says something else than one that was written down before.

    A field that the document does not have is none that was told; ids are compared in any case, for
    older releases kept them as they came.  Without `with_moments` times are not compared.
    """
    ignored = frozenset[str]() if with_moments else _MOMENTS
    return not _agrees(json.loads(text), json.loads(fact_to_json(fact)), ignored)


_MOMENTS = frozenset({"occurred_at", "ends_at"})
"""When it happened, and what is counted from there."""


def _agrees(before: object, now: object, ignored: frozenset[str]) -> bool:
    match before, now:
        case dict(), dict():
            told = before.keys() - ignored
            return all(_agrees(before[name], now.get(name), ignored) for name in told)
        case list(), list():
            return len(before) == len(now) and all(
                _agrees(*both, ignored) for both in zip(before, now, strict=True)
            )
        case str(), str():
            return before.casefold() == now.casefold()
        case _:
            return before == now


def readings_to_json(readings: Readings) -> str:
    """Write down what a decision was told, as far as it was told anything."""
    return _READINGS.dump_json(readings, exclude_defaults=True).decode()


def readings_from_json(text: str) -> Readings:
    """Read what a decision was told."""
    return _READINGS.validate_json(text)


def policy_to_json(policy: Policy) -> str:
    """Write a policy down, for the organizations that are pinned to it."""
    return _POLICY.dump_json(policy).decode()


def policy_from_json(text: str) -> Policy:
    """Read a policy as it was written; it was checked then."""
    return _POLICY.validate_json(text)


def safeguards_to_json(safeguards: Safeguards) -> str:
    """Write the fleet's safeguards down."""
    return _SAFEGUARDS.dump_json(safeguards).decode()


def safeguards_from_json(text: str) -> Safeguards:
    """Read the fleet's safeguards as they were written."""
    return _SAFEGUARDS.validate_json(text)


def events_to_json(events: Iterable[Event]) -> str:
    """Write down what was said, in that order, for the history: a list, one object an event.

    Each has `subject`, `sequence`, `kind`, `id`, `effective_at`, `decided_at`, `causation_id`,
    `correlation_id`, `policy_version` (null where the worker itself spoke) and `details`: what its
    kind needs, as it was published.
    """
    return to_json([_event(event) for event in events]).decode()


def _event(event: Event) -> dict[str, Any]:
    return {
        "subject": event.subject,
        "sequence": event.sequence,
        "kind": event.kind,
        "id": event.id,
        "effective_at": event.effective_at,
        "decided_at": event.decided_at,
        "causation_id": event.causation_id,
        "correlation_id": event.correlation_id,
        "policy_version": None if event.standing is None else event.standing.policy_version,
        "details": details_data(event.details),
    }
