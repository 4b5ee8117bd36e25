"""Links that need attention: they move a subscription, or name another account."""

from world import ACME, AGREEMENT, BETA, SAAS, World, created, link, moment, note, notified

from marketplace_worker.explain import explain, for_customers, for_operators
from marketplace_worker.lifecycle.linking import notable_links
from marketplace_worker.lifecycle.notes import Activated
from marketplace_worker.lifecycle.ownership import links_of
from marketplace_worker.lifecycle.policy import Policies
from marketplace_worker.lifecycle.vocabulary import OrganizationId, SubscriptionKey

NOW = moment(9)


def linked(*links: tuple[float, OrganizationId, str | None]) -> World:
    """An agreement of account 1, linked as (day, organization, account) tell."""
    world = World()
    world.apply(notified(AGREEMENT, note(0, Activated(), billing_account="account-1")), NOW)
    for day, organization, account in links:
        world.apply(link(AGREEMENT, day, organization, account=account), NOW)
    return world


def notable(world: World, key: SubscriptionKey = AGREEMENT) -> list[tuple[object, ...]]:
    """What is notable of its links: (organization, taken from, account contradicts)."""
    subscription = world.fleet.subscription(key)
    found = notable_links(subscription, links_of(world.fleet, subscription))
    return [(each.organization, each.taken_from, each.account_contradicts) for each in found]


def test_a_link_by_the_known_account_or_by_none_is_not_notable() -> None:
    """Nor is one to the same organization once more."""
    assert notable(linked((1, ACME, "account-1"))) == []
    assert notable(linked((1, ACME, None), (2, ACME, "account-1"))) == []


def test_a_link_to_another_organization_moves_the_subscription() -> None:
    """Back again is another taking; received in any order, it is the same."""
    links = ((1, ACME, None), (2, BETA, None), (3, ACME, None))
    expected = [(BETA, ACME, False), (ACME, BETA, False)]
    assert notable(linked(*links)) == expected
    assert notable(linked(*reversed(links))) == expected


def test_a_link_by_another_account_contradicts_what_was_known() -> None:
    """Also the first link, and also where an earlier link was the one that reported it."""
    assert notable(linked((1, ACME, "account-2"))) == [(ACME, None, True)]
    assert notable(linked((1, ACME, None), (2, BETA, "account-2"))) == [(BETA, ACME, True)]
    world = World()
    for day, organization, account in ((1, ACME, "account-1"), (2, BETA, "account-2")):
        world.apply(link(AGREEMENT, day, organization, account=account), NOW)
    assert notable(world) == [(BETA, ACME, True)]


def test_azure_has_no_account_to_contradict() -> None:
    """Its links are notable where they move a subscription."""
    world = World()
    world.apply(link(SAAS, 1, ACME, account="x"), NOW)
    world.apply(link(SAAS, 2, BETA, account="y"), NOW)
    assert notable(world, SAAS) == [(BETA, ACME, False)]


def test_a_move_is_named_in_the_explanation_of_both_organizations() -> None:
    """To operators with whom and when; the customer reads nothing of another one."""
    world = linked((1, ACME, None), (2, BETA, "account-2"))
    for name in (ACME, BETA):
        world.apply(created(f"c-{name}", name), NOW)
    for name, noted in (
        (ACME, f"{AGREEMENT} was linked to beta on 2026-01-03 00:00 UTC, and taken from it; "),
        (BETA, f"{AGREEMENT} was linked to it on 2026-01-03 00:00 UTC, and taken from acme; "),
    ):
        found = explain(world.fleet.organization(name), world.fleet, Policies(), now=NOW)
        assert [(each.organization, each.taken_from) for each in found.links] == [(BETA, ACME)]
        (line,) = (each for each in for_operators(found).why if "linked to" in each)
        assert line.startswith(noted)
        assert line.endswith("billing account is not the expected one: check whose it is.")
        others = {ACME, BETA} - {name}
        assert not any(other in str(for_customers(found)) for other in others)
