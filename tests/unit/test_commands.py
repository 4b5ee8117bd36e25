"""Which commands can be copied for an organization, and that the command line reads each."""

import shlex
from dataclasses import replace

import pytest
from test_explain import CANCELED, CASES, FREE, GIVEN_BY_AZURE, Case, explained

from command_line import parse
from marketplace_worker.explain.commands import commands
from marketplace_worker.lifecycle.vocabulary import OrganizationId

ALWAYS = ["replay --verify acme", "tail --org acme"]

REINSTATE = "send support reinstate-organization --organization acme"

WHO_AND_WHY = """--by "$USER" --reason ''"""


def lines(story: str, until: str) -> list[str]:
    """The commands on a day of a story, without the program's name, who and why."""
    found = [each.line for each in commands(explained(story, until))]
    assert all(each.startswith("marketplace-worker ") for each in found)
    short = [each.removeprefix("marketplace-worker ") for each in found]
    return [each.removesuffix(f" {WHO_AND_WHY}") for each in short]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_command_line_reads_every_command(case: Case) -> None:
    """A shell splits it into the words that the program gets."""
    for each in commands(explained(case.story, case.until, case.now)):
        program, *words = shlex.split(each.line)
        assert program == "marketplace-worker"
        parse(words)


def test_what_stops_a_step_can_be_asked_for() -> None:
    """A grant, a hold, more time, and the guard."""
    assert lines(CANCELED, "7") == [
        f"{REINSTATE} --grant-until 2026-01-22T00:00:00+00:00",
        "send support place-hold --organization acme --hold commercial",
        "send support extend-grace --organization acme --days 7",
        "guard trip",
        *ALWAYS,
    ]


def test_no_more_time_is_proposed_than_is_left() -> None:
    """The rest of the longest extension."""
    nearly = f"{CANCELED.rstrip()}\n6 | support: acme extend 87"
    assert "send support extend-grace --organization acme --days 3" in lines(nearly, "7")


def test_a_hold_can_be_released() -> None:
    """Each by its kind; another one is not proposed."""
    held = f"{CANCELED.rstrip()}\n6 | support: acme hold legal"
    found = lines(held, "7")
    assert "send support release-hold --organization acme --hold legal" in found
    assert not any("place-hold" in each for each in found)


def test_a_waiting_reinstatement_can_be_completed() -> None:
    """Without a grant: a plan is there."""
    waiting = f"{GIVEN_BY_AZURE.rstrip()}\n8 | azure:s-1 Reinstate"
    assert REINSTATE in lines(waiting, "9")


def test_nothing_is_proposed_where_nothing_is_to_come() -> None:
    """Only how to see more."""
    assert lines("0 | acme created plus", "1") == ALWAYS


def test_for_inactivity_there_is_no_grace() -> None:
    """A hold, and the guard."""
    assert lines(FREE, "40") == [
        "send support place-hold --organization acme --hold commercial",
        "guard trip",
        *ALWAYS,
    ]


def test_an_id_is_quoted_for_the_shell() -> None:
    """It is others' text: nothing of it is run, and it is no option."""
    found, strange = explained(CANCELED, "7"), OrganizationId("-x'; rm -rf $HOME")
    standing = replace(found.standing, organization=strange)
    for each in commands(replace(found, standing=standing)):
        words = shlex.split(each.line)
        assert strange in words or words[1] == "guard"
        parse(words[1:])
