"""docs/states.md is what the core decides, and leaves nothing out."""

import re
from typing import get_args

import pytest
from pages import ROOT
from states_page import Page, page

from marketplace_worker.lifecycle.events import EventKind, Refusal
from marketplace_worker.lifecycle.facts import (
    ClockCorrected,
    ClockMoved,
    EpochBegan,
    EpochCompleted,
    Fact,
    GuardReleased,
    GuardTripped,
    SupportRequested,
    Unrecognized,
)
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import SupportRequestKind

WRITTEN = (ROOT / "docs/states.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def collected() -> Page:
    """Every fact was applied in every situation."""
    return Page.collected()


def test_the_page_is_what_the_core_answers() -> None:
    """Where this fails, a rule has changed: `make docs` writes the page anew; read its diff."""
    assert page() == WRITTEN


@pytest.mark.parametrize("kind", EventKind)
def test_every_event_stands_in_the_page(kind: EventKind) -> None:
    """What is published is the answer to something."""
    short = re.sub(r"^(organization|metering|support_request)\.", "", kind)
    assert f"`{kind}`" in WRITTEN or f"`{short}`" in WRITTEN


@pytest.mark.parametrize("code", Refusal)
def test_every_refusal_stands_in_the_page(code: Refusal) -> None:
    """Every code that Support may receive has a cell."""
    assert f"*{code}*" in WRITTEN


def test_every_kind_of_fact_was_applied_in_every_state(collected: Page) -> None:
    """But for what concerns no organization, which has a table of its own."""
    of_nobody = {Unrecognized, GuardTripped, GuardReleased, ClockMoved, ClockCorrected}
    kinds = set(get_args(Fact)) - of_nobody - {EpochBegan, EpochCompleted}
    for state in State:
        applied = {type(a.fact) for a in collected.answers.values() if a.before.state is state}
        assert applied == kinds, state


def test_every_request_of_support_was_answered_in_every_state(collected: Page) -> None:
    """Each has an answer everywhere."""
    for state in State:
        facts = [a.fact for a in collected.answers.values() if a.before.state is state]
        asked_for = {fact.request for fact in facts if isinstance(fact, SupportRequested)}
        assert asked_for == set(SupportRequestKind), state
