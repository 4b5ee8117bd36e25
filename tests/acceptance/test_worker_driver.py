"""Stories that need more of the database than others, and a check that faults are detected.

`make test-stories` runs all other stories through the worker.
"""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from stories import OTHER_RUNNERS, Story, policy, run_story

from acceptance.comparison import differing_events
from acceptance.worker_driver import Ending, StoryRunner
from marketplace_worker.documents import organization_to_json
from marketplace_worker.lifecycle.events import (
    EventKind,
)
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.lifecycle.worker_details import (
    GuardTrippedDetails,
)
from marketplace_worker.settings import Settings
from marketplace_worker.store import organizations

HALF_OF_THE_FLEET = policy("""
    version = "half"
    [guard]
    minimum = 2
    fraction = 0.5
    control_plane_fraction = 1.0
""")
ONE_AN_HOUR = policy("""
    version = "one"
    [guard]
    minimum = 1
    fraction = 0.0
""")

HELD = """
    0  | acme created                   |
    0  | acme links gcp:e-1 payg        |
    0  | gcp:e-1 ENTITLEMENT_CANCELLED  |
    5  | support: acme hold legal       |
    20 | support: acme release legal    |
"""


@pytest.fixture
async def runner(settings: Settings) -> AsyncIterator[StoryRunner]:
    """A worker of this test's own."""
    async with StoryRunner.ready(settings) as runner:
        yield runner


def story(text: str, *policies: Policy, until: str | None = None) -> Story:
    """A story with its result in `simulate`."""
    a_story: list[Story] = []
    OTHER_RUNNERS.append(a_story.append)
    try:
        run_story(text, *policies, until=until)
    finally:
        OTHER_RUNNERS.remove(a_story.append)
    return a_story[0]


@pytest.mark.broker
async def test_the_guard_counts_organizations_that_are_not_due(runner: StoryRunner) -> None:
    """A worker loads only a batch; the limit is a fraction of the whole fleet, and covers all
    batches.
    """
    a_story = story(
        """
        0    | org-1..10 created                |
        0    | org-1..8 links gcp:e-1..8 payg   |
        0    | gcp:e-1..8 ENTITLEMENT_CANCELLED |
        8    | operator: releases 1 steps       |
        8+1h | operator: loads one              |
        8+2h | operator: releases               |
        """,
        HALF_OF_THE_FLEET,
        ONE_AN_HOUR,
        until="9",
    )
    trips = [e.details for e in a_story.events if isinstance(e.details, GuardTrippedDetails)]
    assert [(trip.counted, trip.limit) for trip in trips] == [(5, 5), (1, 1)]

    assert not Ending.in_simulation(a_story).differences(await runner.run(a_story))


@pytest.mark.broker
async def test_the_first_and_the_last_moment_of_a_feeds_day_count(runner: StoryRunner) -> None:
    """With several batches a day, no gap exceeds three days, provided that no moment is lost."""
    a_story = story("""
        0      | acme created            |
        0      | feeds: daily 0..5       |
        8      | feeds: daily 8..8       |
        8+12h  | others logs in          |
        8+12h  | others requests 1       |
        9      | others logs in @8+1h    |
        9      | others requests 1 @8+1h |
        11+12h | others logs in          |
        11+12h | others requests 1       |
        12     | feeds: daily 12..32     |
    """)
    assert EventKind.DEACTIVATED in {event.kind for event in a_story.events}
    assert EventKind.ACTIVITY_FEED_SILENT not in {event.kind for event in a_story.events}

    assert not Ending.in_simulation(a_story).differences(await runner.run(a_story))


@pytest.mark.broker
async def test_lost_state_is_detected(runner: StoryRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a planted fault holds are not stored. Without the fault the story has the right result."""
    a_story = story(HELD)
    assert not Ending.in_simulation(a_story).differences(await runner.run(a_story))

    def forgetful(organization: Organization) -> str:
        return organization_to_json(replace(organization, holds=()))

    monkeypatch.setattr(organizations, "organization_to_json", forgetful)
    lines = Ending.in_simulation(a_story).differences(await runner.run(a_story))

    assert '-8   message: "The legal hold is released; nothing fires at once."' in lines
    assert '+8   message: "No legal hold stands."' in lines


def test_differences_are_shown_by_field() -> None:
    """All events of the subject by name; of their fields, those that differ."""
    first = {"sequence": "001", "type": "a", "time": "t", "subject": "acme", "data": {"x": 1}}
    second = first | {"sequence": "002", "type": "b", "data": {"x": 1, "y": 1}}
    other = second | {"data": {"x": 2, "y": 1}}

    lines = differing_events({"acme": [first, second]}, {"acme": [first, other]})
    assert lines == ["acme:", " 1 a at t", " 2 b at t", "-2   x: 1", "+2   x: 2"]


def test_a_missing_or_extra_event_of_one_subject_is_a_difference() -> None:
    """Also if the other run has no event of the subject."""
    event = {"sequence": "001", "type": "a", "time": "t", "subject": "acme", "data": {}}

    assert "-1 a at t" in differing_events({"acme": [event]}, {})
    assert "+1 a at t" in differing_events({}, {"acme": [event]})
    assert differing_events({"acme": [event]}, {"acme": [event]}) == []
