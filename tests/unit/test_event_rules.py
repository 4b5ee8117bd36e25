"""The checks that every story goes through can fail (tests/unit/event_rules.py)."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from event_rules import check_events
from stories import run_story

from marketplace_worker.lifecycle.events import Event, EventKind
from marketplace_worker.lifecycle.states import State

EVENTS = run_story(
    """
    0  | feeds: daily 0..30           |
    0  | acme created                 |
    5  | support: acme deactivate     |
    6  | support: acme reactivate     |
    7  | acme links aws:p/c payg      |
    8  | aws:p/c unsubscribe-success  |
    13 | aws:p/c subscribe-success    |
    20 | aws:p/c unsubscribe-success  |
    """
)
"""Every kind of transition but inactivity, and a notice withdrawn."""
EFFECTS = [
    number
    for number, event in enumerate(EVENTS)
    if event.details is None and not event.kind.startswith("organization.")
]


def renumbered(events: Sequence[Event]) -> list[Event]:
    """Without a gap, so that only the fault in question shows."""
    return [replace(event, sequence=number) for number, event in enumerate(events, start=1)]


def test_the_stream_itself_is_sound() -> None:
    """Otherwise the tests below would prove nothing."""
    check_events(EVENTS)
    assert len(EFFECTS) > 20


@pytest.mark.parametrize("number", EFFECTS)
def test_an_effect_must_not_be_missing(number: int) -> None:
    """Each transition has exactly its own."""
    with pytest.raises(AssertionError):
        check_events(renumbered([*EVENTS[:number], *EVENTS[number + 1 :]]))


@pytest.mark.parametrize("number", EFFECTS)
def test_an_effect_must_not_stand_twice_or_before_another(number: int) -> None:
    """Section 9 gives an order."""
    twice = [*EVENTS[: number + 1], *EVENTS[number:]]
    before = [*EVENTS[: number - 1], EVENTS[number], EVENTS[number - 1], *EVENTS[number + 1 :]]
    for wrong in (twice, before):
        with pytest.raises(AssertionError):
            check_events(renumbered(wrong))


def test_a_sequence_must_have_no_gap() -> None:
    """Invariant 6."""
    with pytest.raises(AssertionError, match="a gap"):
        check_events(
            [replace(event, sequence=event.sequence + (event.sequence > 7)) for event in EVENTS]
        )


FAULTS: dict[str, tuple[EventKind, Callable[[Event], Event]]] = {
    "skips a state": (
        EventKind.SUSPENDED,
        lambda event: stands(event, previous_state=State.CANCELED),
    ),
    "tells a state that nothing led to": (
        EventKind.NOTICE_GIVEN,
        lambda event: stands(event, state=State.DEACTIVATED),
    ),
    "is recoverable after the end": (
        EventKind.DEACTIVATED,
        lambda event: (
            stands(event, recoverable=not event.standing.recoverable) if event.standing else event
        ),
    ),
    "is effective at another time": (
        EventKind.API_KEYS_REVOKED,
        lambda event: replace(event, effective_at=event.effective_at - timedelta(days=1)),
    ),
    "answers another request": (
        EventKind.SUPPORT_REQUEST_COMPLETED,
        lambda event: replace(event, causation_id="another"),
    ),
}


def stands(event: Event, **changed: object) -> Event:
    """The event with another state of the organization."""
    assert event.standing is not None
    return replace(event, standing=replace(event.standing, **changed))  # type: ignore[arg-type]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_event_is_found(fault: str) -> None:
    """One at a time."""
    kind, spoil = FAULTS[fault]
    with pytest.raises(AssertionError):
        check_events([spoil(event) if event.kind is kind else event for event in EVENTS])


def test_an_answer_comes_last() -> None:
    """Section 11: after the events that the request caused."""
    *before, unlocked, completed = run_story("""
        0 | acme created plus          |
        5 | support: acme deactivate   |
        6 | support: unlock acme@x.org |
    """)
    with pytest.raises(AssertionError, match="after the answer"):
        check_events(renumbered([*before, completed, unlocked]))


def test_a_withdrawal_comes_after_the_transition() -> None:
    """Section 11: that called the step off."""
    number = next(n for n, e in enumerate(EVENTS) if e.kind is EventKind.NOTICE_WITHDRAWN)
    own = next(n for n, e in enumerate(EVENTS) if e.kind is EventKind.REINSTATED)
    moved = [*EVENTS[:own], EVENTS[number], *EVENTS[own:number], *EVENTS[number + 1 :]]
    with pytest.raises(AssertionError):
        check_events(renumbered(moved))
