"""How our own values are kept as JSON: aggregates, registers and facts.

Not the wire's contract: only the store reads these, and a change of them is a migration.
"""

from pydantic import TypeAdapter

from marketplace_worker.lifecycle.facts import Fact
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.plans import Subscription

_ORGANIZATION = TypeAdapter(Organization)
_SUBSCRIPTION = TypeAdapter(Subscription)
_FACT: TypeAdapter[Fact] = TypeAdapter(Fact)


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
