"""Writes docs/states.md: what the core decides on every fact in every state.

`make docs` runs it; a test compares the page with its output.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from states_facts import FLEET_WIDE, GROUPS, FactForm, Group
from states_world import ACME, SITUATIONS, World

from marketplace_worker.lifecycle.decide import Decision, Outcome, apply
from marketplace_worker.lifecycle.events import WORKER, Event, EventKind, SupportDetails
from marketplace_worker.lifecycle.facts import DeadlineCame, Fact, LoggedIn, SupportRequested
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.policy import Policies
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import Marketplace

STATE_EVENTS = {
    EventKind.CANCELED,
    EventKind.CONTROL_PLANE_LOST,
    EventKind.SUSPENDED,
    EventKind.DEACTIVATED,
    EventKind.REINSTATED,
    EventKind.REACTIVATED,
}
"""Each begins a transition; its effects follow."""

NO_EFFECTS = {
    EventKind.NOTICE_GIVEN,
    EventKind.NOTICE_WITHDRAWN,
    EventKind.REINSTATEMENT_PENDING,
    EventKind.REINSTATEMENT_LAPSED,
    EventKind.METERING_FINAL_REPORT_DUE,
    EventKind.EMAIL_LOCK_VIOLATED,
    EventKind.SUPPORT_REQUEST_COMPLETED,
    EventKind.SUPPORT_REQUEST_REJECTED,
}
"""Events that may follow a transition without being its effects."""

FOR_GOOD = "deactivated_for_good"
"""The end of a cancellation, which nothing leaves."""

NODES = (*State, FOR_GOOD)

HEAD = """\
# Every state and every fact

What each fact does to an organization in each state, with the default policy. `make docs` \
generates this page from the core, so a changed cell is a changed rule. The rules: \
[domain.md](domain.md).

The diagram has every transition with its cause: *news* of a marketplace or the product, a \
*sign-in*, a *deadline*, or a request of *Support*.
"""

LEGEND = """
## How to read the tables

| cell | meaning |
|---|---|
| → `suspended` (7) | the state changes, with the events in row 7 of [Transitions](#transitions) |
| `notice_given` | this event is published. The prefixes `organization.`, `metering.` and \
`support_request.` are omitted |
| `rejected`: *irreversible* | the Support request is refused with this code |
| *recorded* | a register or a deadline changes; nothing is published |
| *withheld* | the step is due; the guard withholds it |
| *postponed* | by a day, because a feed is silent or unreadable |
| *kept* | and applied when the organization is created |
| *nothing* | nothing changes |
| worker: `guard.tripped` | published with the subject `worker`, for the whole fleet |
| (empty) | cannot occur |

Situations with the same answers share a row.
"""


@dataclass(frozen=True, slots=True)
class Transition:
    """From one node of the diagram to another, with its events in order."""

    before: str
    after: str
    events: tuple[EventKind, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """The decision on one fact about the organization `before`."""

    fact: Fact
    before: Organization
    decision: Decision

    @property
    def after(self) -> Organization:
        """The organization after the decision."""
        settled = (each.organization for each in self.decision.results)
        return next((each for each in settled if each.id == ACME), self.before)

    @property
    def silent_change(self) -> str | None:
        """A change without an event; None if nothing has changed."""
        before, after = self.before, self.after
        if after.withheld_at != before.withheld_at and after.withheld_at is not None:
            return "*withheld*"
        if after.postponed_until != before.postponed_until and after.postponed_until is not None:
            return "*postponed*"
        if self.decision.outcome is Outcome.KEPT:
            return "*kept*"
        recorded = (
            self.decision.outcome is Outcome.APPLIED and self.decision.subscription is not None
        )
        return "*recorded*" if recorded or after != before else None

    def emitted(self) -> Iterator[Transition | Event]:
        """The organization's events: each transition with its effects, and the others alone."""
        node = node_of(self.before.state, recoverable=self.before.recoverable)
        events = [event for event in self.decision.events if event.subject == ACME]
        while events:
            event = events.pop(0)
            if event.kind not in STATE_EVENTS:
                yield event
                continue
            together = [event.kind]
            while events and events[0].kind not in STATE_EVENTS | NO_EFFECTS:
                together.append(events.pop(0).kind)
            assert event.standing is not None
            assert event.standing.state is not None
            after = node_of(event.standing.state, recoverable=event.standing.recoverable)
            yield Transition(node, after, tuple(together))
            node = after


def node_of(state: State, *, recoverable: bool) -> str:
    """A state; the end of a cancellation is a node of its own."""
    return str(state) if recoverable else FOR_GOOD


def answer_to(world: World, form: FactForm) -> Answer | None:
    """The decision on a fact in a copy of the world; None where the fact cannot occur."""
    world = world.copied()
    fact = form.build(world)
    if fact is None:
        return None
    return Answer(fact, world.acme, apply(fact, world.fleet, Policies(), now=world.now))


@dataclass(slots=True)
class Page:
    """All answers, and every transition among them with its causes."""

    answers: dict[tuple[str, str], Answer] = field(default_factory=dict)
    causes: dict[Transition, list[str]] = field(default_factory=dict)

    @classmethod
    def collected(cls) -> "Page":
        """Applies every fact in every situation."""
        page = cls()
        worlds = {market: _worlds(market) for market in (Marketplace.AWS, Marketplace.AZURE, None)}
        for group in GROUPS:
            for form in group.forms:
                for name, world in worlds[form.marketplace].items():
                    page._collect(group, form, name, world)
        return page

    def _collect(self, group: Group, form: FactForm, situation: str, world: World) -> None:
        answer = answer_to(world, form)
        if answer is None:
            return
        self.answers[situation, f"{group.name}/{form.name}"] = answer
        for emitted in answer.emitted():
            if isinstance(emitted, Transition):
                causes = self.causes.setdefault(emitted, [])
                if _cause(answer.fact) not in causes:
                    causes.append(_cause(answer.fact))

    def transitions(self) -> list[Transition]:
        """Each once, in the order of the states."""
        return sorted(
            self.causes,
            key=lambda t: (NODES.index(t.before), NODES.index(t.after), len(t.events)),
        )

    # --- as text ---

    def lines(self) -> Iterator[str]:
        """The page."""
        yield HEAD
        yield from self._diagram()
        yield LEGEND
        yield from self._transitions()
        for group in GROUPS:
            yield from self._group(group)
        yield from _fleet_wide()

    def _diagram(self) -> Iterator[str]:
        yield from ("```mermaid", "stateDiagram-v2")
        yield f"    {FOR_GOOD}: deactivated for good"
        yield f"    [*] --> {State.ACTIVE}: created"
        for before in NODES:
            for after in NODES:
                edges = (t for t in self.transitions() if (t.before, t.after) == (before, after))
                causes = dict.fromkeys(cause for edge in edges for cause in self.causes[edge])
                if causes:
                    yield f"    {before} --> {after}: {', '.join(sorted(causes))}"
        yield f"    {FOR_GOOD} --> [*]"
        yield "```"

    def _transitions(self) -> Iterator[str]:
        yield from (
            "## Transitions",
            "",
            "The state event and its effects, in the order of publication.",
            "",
        )
        rows = [
            (
                str(number),
                _node(each.before),
                _node(each.after),
                ", ".join(f"`{kind}`" for kind in each.events),
            )
            for number, each in enumerate(self.transitions(), start=1)
        ]
        yield from _table(("row", "from", "to", "events, in order"), rows)

    def _group(self, group: Group) -> Iterator[str]:
        yield from ("", f"## {group.name}", "")
        if group.about:
            yield from (group.about, "")
        rows: dict[tuple[str, ...], list[str]] = {}
        for situation in SITUATIONS:
            asked = [(situation.name, f"{group.name}/{form.name}") for form in group.forms]
            if any(each in self.answers for each in asked):
                cells = tuple(self._cell(*each) for each in asked)
                rows.setdefault(cells, []).append(situation.name)
        yield from _table(
            ("organization", *(form.name for form in group.forms)),
            [("<br>".join(names), *cells) for cells, names in rows.items()],
        )

    def _cell(self, situation: str, form: str) -> str:
        answer = self.answers.get((situation, form))
        if answer is None:
            return ""
        emitted = [self._words(each) for each in answer.emitted()]
        if not emitted and answer.silent_change is not None:
            emitted = [answer.silent_change]
        return ", ".join([*emitted, *_by_the_worker(answer.decision)]) or "*nothing*"

    def _words(self, emitted: Transition | Event) -> str:
        if isinstance(emitted, Transition):
            return f"→ {_node(emitted.after)} ({self.transitions().index(emitted) + 1})"
        return _event(emitted)


def _worlds(marketplace: Marketplace | None) -> dict[str, World]:
    found = ((situation.name, situation.world(marketplace)) for situation in SITUATIONS)
    return {name: world for name, world in found if world is not None}


def _cause(fact: Fact) -> str:
    match fact:
        case DeadlineCame():
            return "deadline"
        case SupportRequested():
            return "Support"
        case LoggedIn():
            return "sign-in"
        case _:
            return "news"


def _node(node: str) -> str:
    return "`deactivated` for good" if node == FOR_GOOD else f"`{node}`"


def _event(event: Event) -> str:
    name = str(event.kind)
    for prefix in ("organization.", "metering.", "support_request."):
        name = name.removeprefix(prefix)
    if isinstance(event.details, SupportDetails) and event.details.code is not None:
        return f"`{name}`: *{event.details.code}*"
    return f"`{name}`"


def _by_the_worker(decision: Decision) -> list[str]:
    return [f"worker: {_event(event)}" for event in decision.events if event.subject == WORKER]


def _fleet_wide() -> Iterator[str]:
    """What concerns no organization: the guard's own states are its trip and its release."""
    yield from ("", "## The whole fleet", "")
    end_interruption = SITUATIONS[0].world(None)
    assert end_interruption is not None
    tripped = end_interruption.copied()
    trip = FLEET_WIDE[0].build(tripped)
    assert trip is not None
    tripped.apply(trip)
    rows = []
    for form in FLEET_WIDE:
        answers = (answer_to(end_interruption, form), answer_to(tripped, form))
        rows.append((form.name, *(_alone(answer) for answer in answers)))
    yield from _table(("fact", "the guard is not tripped", "the guard is tripped"), rows)


def _alone(answer: Answer | None) -> str:
    assert answer is not None
    emitted = _by_the_worker(answer.decision)
    refused = answer.decision.outcome is Outcome.REFUSED
    return ", ".join(emitted) or ("*nothing*: it is refused" if refused else "*nothing*")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield f"| {' | '.join(row)} |"


def page() -> str:
    """The text of docs/states.md."""
    return "\n".join(Page.collected().lines()) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
