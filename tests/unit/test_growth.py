"""Twice the neighbourhood, at most twice the work (lifecycle.md section 10, invariant 12).

Work is counted in the interpreter's instructions, so the machine does not matter.  What processor
time that takes: `python -m benchmarks growing`.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from types import FrameType
from typing import Any

import pytest
from growth_scenarios import ACCOUNT, GROWING, NOW, VALUES, Grown
from stories import FEEDS, HASH
from world import moment, note, notified

from marketplace_worker.lifecycle.decide import apply
from marketplace_worker.lifecycle.holders import HOLDERS_MAX
from marketplace_worker.lifecycle.linking import notable_links
from marketplace_worker.lifecycle.notes import Activated
from marketplace_worker.lifecycle.subscription import KEPT_MAX, Link, Subscription
from marketplace_worker.lifecycle.vocabulary import Marketplace, OrganizationId, SubscriptionKey
from marketplace_worker.record import Record
from marketplace_worker.translate import translate

FEW = 50
PARTS = 40


Tracer = Callable[..., Any]


def counted(work: Callable[[], object], *, after: Callable[[], object]) -> int:
    """How many instructions of Python work executes.

    `after` does the like before it, and is not counted: Python 3.13 counts what a function does
    from its second call on.
    """
    _counted(after)
    return _counted(work)


def _counted(work: Callable[[], object]) -> int:
    count = 0

    def on_call(frame: FrameType, _event: str, _argument: object) -> Tracer:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return on_instruction

    def on_instruction(_frame: FrameType, event: str, _argument: object) -> Tracer:
        nonlocal count
        count += event == "opcode"
        return on_instruction

    before = sys.gettrace()
    sys.settrace(on_call)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("name", GROWING)
def test_a_decision_costs_at_most_twice_as_much_in_a_neighbourhood_twice_as_large(
    name: str,
) -> None:
    """Of an account with more organizations than `FEW * 2` nothing is looked at at all."""
    first, few, many = (GROWING[name](count) for count in (FEW, FEW, 2 * FEW))
    most = 2 * counted(few.decide, after=first.decide)
    assert counted(many.decide, after=first.decide) <= most


def test_the_registers_bounds_leave_room_for_twice_as_many() -> None:
    """Else the larger neighbourhood would be cut, and any growth would pass."""
    assert 2 * FEW <= HOLDERS_MAX
    assert 2 * FEW < KEPT_MAX


def test_twice_the_links_cost_twice_the_work() -> None:
    """Each of them may contradict what was known of the account by then."""

    def work_on_links(count: int) -> int:
        links = tuple(
            Link(moment(n), f"l-{n}", OrganizationId(f"o-{n}"), billing_account=f"{n % 3}")
            for n in range(count)
        )
        register = Subscription(SubscriptionKey(Marketplace.AWS, "s"), links=links)

        def find_links() -> object:
            return list(notable_links(register, links))

        return counted(find_links, after=find_links)

    assert work_on_links(2 * FEW) <= 2 * work_on_links(FEW)


# --- a large account ------------------------------------------------------------------------------


def moved_by(organizations: int) -> Grown:
    """So many organizations have a plan of one account each; the first one's is received again."""
    grown = GROWING["organizations_of_an_owner"](0)
    for n in range(organizations):
        key = SubscriptionKey(Marketplace.AWS, f"s-{n}")
        links = (Link(moment(2), f"l-{n}", OrganizationId(f"o-{n}"), billing_account=ACCOUNT),)
        grown.fleet.put(Subscription(key, (note(1, Activated()),), links))
    fact = notified(
        SubscriptionKey(Marketplace.AWS, "s-0"),
        replace(note(40, Activated()), billing_account=ACCOUNT),
    )
    apply(
        replace(fact, identity=replace(fact.identity, id="first")),
        grown.fleet,
        grown.policies,
        now=NOW,
    )
    return replace(grown, fact=fact)


def test_how_large_an_account_is_that_proves_nothing_does_not_matter() -> None:
    """Nothing in it has to be decided on together (lifecycle.md section 11)."""
    first, few, many = (moved_by(n * HOLDERS_MAX) for n in (2, 2, 20))
    same = counted(few.decide, after=first.decide)
    assert counted(many.decide, after=first.decide) == same


def test_what_one_fact_changes_is_all_that_is_derived_anew() -> None:
    """Else a batch of facts about strangers would cost as if they knew one another."""
    first, few, many = (GROWING["plans_of_an_organization"](count) for count in (FEW, FEW, 2 * FEW))
    stranger = notified(SubscriptionKey(Marketplace.GCP, "stranger"), note(50, Activated()))

    def both(grown: Grown) -> None:
        apply(stranger, grown.fleet, grown.policies, now=NOW)
        grown.decide()

    for grown in (few, many):
        grown.decide()
        after_a_stranger = counted(lambda grown=grown: both(grown), after=lambda: both(first))  # type: ignore[misc]
        assert after_a_stranger < 1.2 * counted(grown.decide, after=first.decide)


# --- the parts of a value -------------------------------------------------------------------------


@pytest.mark.parametrize("name", VALUES)
def test_a_value_of_twice_as_many_parts_is_read_with_twice_the_work(name: str) -> None:
    """Also one in which nothing is found."""
    few, many = (
        Record("marketplace.aws.notifications", 0, 0, moment(1), None,
               json.dumps(VALUES[name](count)).encode())
        for count in (PARTS, 2 * PARTS)
    )  # fmt: skip

    def read(record: Record) -> object:
        return translate(record, FEEDS[record.topic], HASH)

    most = 2 * counted(lambda: read(few), after=lambda: read(few))
    assert counted(lambda: read(many), after=lambda: read(few)) <= most
