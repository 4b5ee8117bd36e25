"""A partly loaded fleet raises for a lookup outside what was loaded."""

from collections.abc import Callable

import pytest
from world import ACME, AGREEMENT, BETA, ENTITLEMENT, OWNER

from marketplace_worker.lifecycle.events import WORKER
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.loaded import LoadedKeys, NotLoaded
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.subscription import Subscription
from marketplace_worker.lifecycle.vocabulary import Marketplace

ACCOUNT = (Marketplace.GCP, "an account")

LOOKUPS: dict[str, Callable[[Fleet], object]] = {
    "an organization": lambda fleet: fleet.organization(BETA),
    "a register": lambda fleet: fleet.subscription(ENTITLEMENT),
    "successors": lambda fleet: fleet.successors(ENTITLEMENT),
    "proofs": lambda fleet: fleet.proved_by(ENTITLEMENT),
    "plans": lambda fleet: fleet.linked_to(BETA),
    "an account's subscriptions": lambda fleet: fleet.having(ACCOUNT),
    "an account's holders": lambda fleet: fleet.holding(ACCOUNT),
    "a locked email": lambda fleet: fleet.locking(OWNER),
    "an owner's email": lambda fleet: fleet.using(OWNER),
    "activity": lambda fleet: fleet.last_seen(BETA),
}


def loaded() -> Fleet:
    """A fleet that was loaded with acme and one subscription."""
    fleet = Fleet(loaded=LoadedKeys())
    assert fleet.loaded is not None
    fleet.loaded.organizations.add(ACME)
    fleet.loaded.subscriptions.add(AGREEMENT)
    fleet.put(Organization(ACME))
    return fleet


@pytest.mark.parametrize("lookup", LOOKUPS.values(), ids=LOOKUPS)
def test_what_was_not_loaded_cannot_be_looked_up(lookup: Callable[[Fleet], object]) -> None:
    """An empty answer would read as "nothing was ever reported of it"."""
    with pytest.raises(NotLoaded):
        lookup(loaded())


@pytest.mark.parametrize("lookup", LOOKUPS.values(), ids=LOOKUPS)
def test_a_view_refuses_the_same(lookup: Callable[[Fleet], object]) -> None:
    """Decisions look things up in views."""
    with pytest.raises(NotLoaded):
        lookup(loaded().view())


@pytest.mark.parametrize("lookup", LOOKUPS.values(), ids=LOOKUPS)
def test_the_whole_fleet_answers_every_lookup(lookup: Callable[[Fleet], object]) -> None:
    """As in `simulate`: what it does not have does not exist."""
    lookup(Fleet())


def test_what_was_loaded_and_is_not_stored_is_empty() -> None:
    """A subscription of which nothing was received; nothing is stored of the worker itself."""
    fleet = loaded()
    assert fleet.subscription(AGREEMENT) == Subscription(AGREEMENT)
    assert fleet.organization(WORKER) == Organization(WORKER)
