"""The order of arrival does not matter where plans, billing accounts and logins are related.

Besides the order, these laws use other rewrites of a story that must have the same result.  A
failure prints the shortest failing story, in the language of `story_language.py`, and hypothesis
prints how to reproduce it.  `make laws` runs for as long as you like.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from random import Random

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from linked_stories import HOUR, ORGANIZATIONS, SECOND, Line, Story, bundles, draw_story, swapped
from short_stories import (
    accounts,
    announced_ends,
    azure_again,
    bought_anew,
    instants,
    moves,
    pendings,
)
from story_language import DAY_0, day
from story_outcomes import (
    check_same_end,
    different_ends,
    differing_lines,
    final_state,
    outcome_of,
    same_standing,
)

law = settings(
    max_examples=settings().max_examples // 4,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
"""A quarter of the examples of the profile; `check_same_end` shortens failures."""

drawn = given(st.randoms(use_true_random=True))


# --- order ----------------------------------------------------------------------------------------


@law
@drawn
def test_messages_that_arrive_together_may_have_any_order(random: Random) -> None:
    """Invariant 7: between two deadlines, no order of arrival matters.

    If the states after the arrivals are equal, all later events are, not only the final states.
    """
    story = random.choice([draw_story, accounts, azure_again])(random)
    if times := bundles(story):
        at = random.choice(times)
        rank = {line: random.random() for line in story if line.arrives_at == at}
        check_same_end(story, lambda told: _ranked(told, rank), in_either_order)


def _ranked(story: Story, rank: Mapping[Line, float]) -> Story:
    """The lines of a bundle in another order."""
    return sorted(story, key=lambda line: (line.arrives_at, rank.get(line, 0)))


@law
@drawn
def test_adjacent_lines_may_be_swapped(random: Random) -> None:
    """Invariant 7, also where they arrive at different times, with no deadline between them."""
    story = draw_story(random)
    if pairs := [(a, b) for a, b in pairwise(story) if swapped(story, a, b)]:
        a, b = random.choice(pairs)
        check_same_end(story, lambda told: swapped(told, a, b), in_either_order)


def in_either_order(story: Story, other: Story) -> Sequence[str]:
    """The differences, where no deadline lies between the swapped lines."""
    changed = [a.arrives_at for a, b in zip(story, other, strict=True) if not a.same_content_as(b)]
    if not changed:
        return []
    here, there = outcome_of(story, changed[-1]), outcome_of(other, changed[-1])
    if any(
        changed[0] <= moment_ < changed[-1] for moment_ in (*here.deadlines_at, *there.deadlines_at)
    ):
        return []
    if same_standing(here, there):
        return differing_lines(here.event_lines(changed[-1]), there.event_lines(changed[-1]))
    return different_ends(_until(changed[-1], story), _until(changed[-1], other))


def _until(at: datetime, story: Story) -> Story:
    """The part that had arrived by then: later messages may find organizations in other states."""
    return [line for line in story if line.arrives_at <= at]


# --- messages without effect ----------------------------------------------------------------------


@law
@drawn
def test_a_message_that_changes_nothing_changes_no_transition(random: Random) -> None:
    """Section 11: at one instant all messages come before all deadlines, also within one batch.

    A redelivered message has no effect, whenever it triggers a check.
    """
    story = random.choice([draw_story, instants])(random)
    place = random.randrange(2, len(story))
    beside = random.choice([story[place], story[place - 1]])
    nothing = random.choice(
        [
            Line(beside.arrives_at, DAY_0 - HOUR, f"{each} tier free", "nothing")
            for each in ORGANIZATIONS
        ]
        + [replace(random.choice(story[:place]), arrives_at=beside.arrives_at)]
    )
    before = story[place - 1]

    def retold(story_: Story) -> Story | None:
        if not any(each is before for each in story_):
            return None
        at = next(number for number, each in enumerate(story_) if each is before) + 1
        return [*story_[:at], nothing, *story_[at:]]

    check_same_end(story, retold, same_events)


def same_events(story: Story, other: Story) -> Sequence[str]:
    """The differing transitions."""
    return differing_lines(outcome_of(story).event_lines(), outcome_of(other).event_lines())


# --- equivalent stories ---------------------------------------------------------------------------


@law
@drawn
def test_a_sign_in_proves_the_same_as_a_support_request(random: Random) -> None:
    """Section 11: a sign-in proves every plan that matches at its time, Support's request every
    plan that is pending then.
    """
    story, login = pendings(random)
    request = replace(login, text="support: acme reinstate")
    check_same_end(story, lambda story_: _requested(story_, login, request), same_events_later)


def same_events_later(story: Story, other: Story) -> Sequence[str]:
    """Where acme's transitions differ once it was reinstated; Support gets an answer beside."""
    lines, otherwise = (
        [line for line in outcome_of(story_).event_lines() if "support_request" not in line]
        for story_ in (story, other)
    )
    return differing_lines(lines, otherwise)


def _requested(story: Story, login: Line, request: Line) -> Story | None:
    """Support requests it instead of the login, if a reinstatement has been pending for a while,
    and no end is announced for that moment or later, because it might be reported as earlier.
    """
    if login not in story or any(f"={day(login.happened_at)}" in each.text for each in story):
        return None
    if any(" end" in each.text and each.happened_at > login.happened_at for each in story):
        return None
    before = outcome_of(story, login.arrives_at - SECOND).present["acme"]
    began = {each.happened_at for each in story if each != login}
    if before.pending is None or login.happened_at in began:
        return None
    return [request if each == login else each for each in story]


@law
@drawn
def test_a_plan_that_moves_counts_for_its_new_owner_as_one_bought_then(random: Random) -> None:
    """Section 11: from the link on, as if it had begun then; and at no time before."""
    story, key = moves(random)
    check_same_end(story, lambda story_: bought_anew(story_, key), same_events_of_beta)


def same_events_of_beta(story: Story, other: Story) -> Sequence[str]:
    """Where beta's transitions differ; a plan of its own has another name."""
    lines, otherwise = (
        [
            line.replace("-10", "-1").replace("/10", "/1")
            for line in outcome_of(story_).event_lines()
            if "beta" in line
        ]
        for story_ in (story, other)
    )
    return differing_lines(lines, otherwise)


@law
@drawn
def test_an_announced_end_adds_no_reason_where_the_end_itself_arrives(random: Random) -> None:
    """Section 11: a reported reason replaces an inferred one, whenever it arrives."""
    story, announced, ended = announced_ends(random)

    def unannounced(story_: Story) -> Story | None:
        if announced not in story_ or ended not in story_:
            return None
        return [line for line in story_ if line is not announced]

    check_same_end(story, unannounced, for_the_same_reason)


def for_the_same_reason(story: Story, other: Story) -> Sequence[str]:
    """The differences in the reason of acme's state."""
    reasons = [[str(final_state(outcome_of(story_).end["acme"])[3:4])] for story_ in (story, other)]
    return differing_lines(*reasons)
