"""docs/domain.md lists all of the policy, of the events and of the refusals, as the code has it."""

import re
from dataclasses import replace

import pytest
from pages import ROOT

from marketplace_worker.contract.policy_file import load_policy
from marketplace_worker.lifecycle.events import EventKind, Refusal
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.lifecycle.states import State

PAGE = (ROOT / "docs/domain.md").read_text(encoding="utf-8")


def test_the_policy_file_of_the_page_is_the_default_policy() -> None:
    """What an operator copies from there changes nothing but the version."""
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert replace(load_policy(block), version=Policy().version) == Policy()


@pytest.mark.parametrize("name", [*State, *EventKind, *Refusal])
def test_every_state_event_and_refusal_is_explained(name: str) -> None:
    """Who meets one on a topic finds it there."""
    assert f"`{name}`" in PAGE
