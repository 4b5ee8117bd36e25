"""The outcome of drawn stories, differences between two of them, and shrinking.

Stories come from `linked_stories.py` and run through `Simulation`, from outside: their events and
the final states of the organizations are compared.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from event_rules import without_effects
from linked_stories import ORGANIZATIONS, Line, Story, printed, records
from stories import FEEDS, HASH, sentence
from story_language import DAY, DAY_0, day

from marketplace_worker.contract.tracing import Trace
from marketplace_worker.errors import Malformed
from marketplace_worker.lifecycle.events import WORKER, Event, EventKind, ReinstatementDetails
from marketplace_worker.lifecycle.facts import DeadlineCame, Fact
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import OrganizationId
from marketplace_worker.record import Record
from marketplace_worker.simulate import HORIZON, Simulation


@dataclass(slots=True)
class ObservedSimulation(Simulation):
    """A simulation that records when deadlines fired."""

    deadlines_at: list[datetime] = field(default_factory=list)

    def _decide(self, fact: Fact, now: datetime, trace: Trace | None = None) -> Iterator[Event]:
        if isinstance(fact, DeadlineCame):
            self.deadlines_at.append(now)
        return Simulation._decide(self, fact, now, trace)


@dataclass(frozen=True, slots=True)
class StoryOutcome:
    """The outcome of a story.

    `present`: each organization after the last line that arrived by `at`, before the deadlines of
    that moment.  `deadlines_at`: when deadlines fired.  `end`: how each stands when
    all deadlines have passed.
    """

    events: Sequence[Event]
    present: dict[str, Organization]
    deadlines_at: Sequence[datetime]
    end: dict[str, Organization]

    def decided(self, name: str, kind: EventKind, not_by: Collection[str] = ()) -> list[datetime]:
        """When an organization entered a state, each time, except by some lines."""
        return [
            event.effective_at
            for event in self.events
            if event.subject == name
            and event.kind is kind
            and event.causation_id.split(":")[0] not in not_by
        ]

    def rivals(self) -> bool:
        """Whether two organizations waited for one plan: which of them remains its only candidate
        depends on when the other is deactivated.
        """
        waited = [
            (event.subject, event.details.subscription)
            for event in self.events
            if isinstance(event.details, ReinstatementDetails)
        ]
        return len(set(waited)) > len({plan for _, plan in waited})

    def event_lines(self, since: datetime = DAY_0 - DAY) -> list[str]:
        """The events later than a moment, without effects of transitions and without final reports,
        which may name any known time of an end.
        """
        return [
            f"{day(event.decided_at):>12} | {sentence(event)}{_why(event)}"
            for event in without_effects(self.events)
            if event.decided_at > since
            and event.subject != WORKER
            and event.kind is not EventKind.METERING_FINAL_REPORT_DUE
        ]


def _why(event: Event) -> str:
    return f" ({event.standing.reason})" if event.standing and event.standing.reason else ""


def _refuse(record: Record, refusal: Malformed) -> None:
    raise AssertionError(f"{record}: {refusal}")


def outcome_of(story: Story, at: datetime = DAY_0, policy: Policy | None = None) -> StoryOutcome:
    """Run a story until all deadlines have passed."""
    simulation = ObservedSimulation(policy or Policy(), FEEDS, HASH, _refuse)
    events: list[Event] = []
    present: dict[str, Organization] | None = None
    inputs = records(story)
    for record in inputs:
        if record.recorded_at > at and present is None:
            present = _organizations(simulation)
        events += simulation._deadlines(before=record.recorded_at)
        events += simulation._process(record)
    present = present or _organizations(simulation)
    last = inputs[-1].recorded_at
    events += simulation._deadlines(before=last + 2 * DAY)  # what is pending is looked at daily
    events += simulation._deadlines(before=last + HORIZON, to_the_end=True)
    return StoryOutcome(events, present, simulation.deadlines_at, _organizations(simulation))


def _organizations(simulation: Simulation) -> dict[str, Organization]:
    return {name: simulation.fleet.organization(OrganizationId(name)) for name in ORGANIZATIONS}


def standing(here: Organization) -> object:
    """All values of an organization on which its deadlines depend."""
    return (
        here.state,
        here.dwelling_since,
        here.plan_type if here.cancellation else None,
        here.cancellation,
        here.pending,
        here.notice,
        here.tier,
    )


def final_state(here: Organization, *, since_when: bool = True) -> list[str]:
    """The values that must be equal in the end; `since_when`: with time and reason of the
    cancellation.

    An organization with a pending reinstatement stays in its current state of the cancellation.
    """
    if here.pending is not None:
        parts = [f"pending: {here.pending.subscription}"]
    else:
        parts = [str(here.state), str(here.deactivation_cause or "")]
    if since_when and here.cancellation is not None:
        canceled_at = day(here.cancellation.canceled_at)
        parts += [canceled_at, f"{here.reason} by {here.initiator}", f"{here.plan_type}"]
    return parts


# --- differences ----------------------------------------------------------------------------------


def same_standing(here: StoryOutcome, there: StoryOutcome) -> bool:
    """Whether everything on which deadlines depend is equal in both."""
    return all(
        standing(here.present[name]) == standing(there.present[name]) for name in here.present
    )


def differing_lines(these: Sequence[str], otherwise: Sequence[str]) -> list[str]:
    """The lines that only one of two has."""
    only = [f"- {each}" for each in these if each not in otherwise]
    return only + [f"+ {each}" for each in otherwise if each not in these]


def different_ends(story: Story, other: Story) -> list[str]:
    """The differences between two final states (invariant 7)."""
    here, there = outcome_of(story), outcome_of(other)
    lines: list[str] = []
    for name in ORGANIZATIONS:
        one, another = here.end[name], there.end[name]
        if here.rivals() or there.rivals():
            continue
        excepted = _excepted(name, (story, here), (other, there))
        if excepted and all(map(_may_have_a_plan_again, (one, another))):
            continue
        ends = [final_state(each, since_when=not excepted) for each in (one, another)]
        lines += differing_lines(*([f"{name}: {', '.join(end)}"] for end in ends))
    return lines


def _excepted(
    name: str, one: tuple[Story, StoryOutcome], other: tuple[Story, StoryOutcome]
) -> bool:
    """Whether the outcomes may differ: whether an Azure plan is active again or waits for Support
    may depend on the decided cancellations.  It may not if these were the same, and other plans
    ended them alike.
    """
    azure = {line.id for line in one[0] if "azure:" in line.text}
    if not azure:
        return False
    links = {line.text for line in one[0] if "links azure:" in line.text}
    if len(links) > len({text.split()[2] for text in links}):
        return True  # it moved: its link may have been reported after it reinstated an organization
    canceled, again = EventKind.CANCELED, EventKind.REINSTATED
    if _began_before_it_was_canceled(name, *one) or _began_before_it_was_canceled(name, *other):
        return True
    if one[1].decided(name, canceled) != other[1].decided(name, canceled):
        return True
    if one[1].decided(name, again, azure) != other[1].decided(name, again, azure):
        return True  # in one order, a late report of another plan made an Azure plan count
    # An Azure plan that began in time may have done so, before it ended.
    several = {text for line in one[0] for text in line.text.split() if "azure:" in text}
    return len(several) > 1 and one[1].decided(name, again) != other[1].decided(name, again)


def _began_before_it_was_canceled(name: str, story: Story, here: StoryOutcome) -> bool:
    """Whether a plan that waits for Support counted already when the organization was canceled:
    then it may have reinstated it at once, before an interruption of it was reported.
    """
    pending, canceled_at = here.end[name].pending, here.decided(name, EventKind.CANCELED)
    key = str(pending.subscription) if pending else "nothing"
    return any(key in line.text and line.happened_at <= max(canceled_at) for line in story)


def _may_have_a_plan_again(here: Organization) -> bool:
    return here.state is State.ACTIVE or here.pending is not None


# --- shortening -----------------------------------------------------------------------------------


def shortened(story: Story, fails: Callable[[Story], bool]) -> list[Line]:
    """Remove lines that a failure does not need: many at once first, then fewer."""
    left, size = list(story), max(1, len(story) // 2)
    while size:
        place = 0
        while place < len(left):
            shorter = left[:place] + left[place + size :]
            if shorter and fails(shorter):
                left = shorter
            else:
                place += size
        size //= 2
    return left


Rewrite = Callable[[Story], Story | None]
"""The same story in another form that must have the same result; None if that is impossible."""
Comparison = Callable[[Story, Story], Sequence[str]]
"""The differences between the results of two forms of a story."""


def check_same_end(story: Story, retold: Rewrite, compared: Comparison) -> None:
    """Fail with the shortest story whose rewritten form has another result."""

    def differences(story: Story) -> Sequence[str]:
        other = retold(story)
        return compared(story, other) if other is not None else []

    if differences(story):
        short = shortened(story, lambda shorter: bool(differences(shorter)))
        other = retold(short)
        assert other is not None
        raise AssertionError(
            f"\nThis story\n{printed(short)}\nand this one\n{printed(other)}\n"
            "come to different ends:\n" + "\n".join(differences(short))
        )
