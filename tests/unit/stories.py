"""Stories as tables: inputs by day, and the events that they must cause.

A line of a story is `day | input | events`; a day is `40` or `40+1h`, counted from the story's
beginning.  Each line becomes real records (`story_language.py` has the language), and all of them
go through `Simulation`.  Effects are not written in the table: `event_rules.py` checks in every
story that each transition has its own, in order, and other invariants.

Events of many organizations of one name (`org-1`, `org-2`) at one moment are one line of the table,
`50 x org: suspended`; a feed that is silent day after day is one line, `silent logins ..67`.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from difflib import ndiff
from itertools import groupby
from textwrap import dedent

from event_rules import check_events, without_effects
from story_language import (
    DAY_0,
    FEEDS,
    UNREADABLE,
    PolicyLoaded,
    StoryInput,
    day,
    moment,
    parse_story,
)

from marketplace_worker.contract.emails import email_hasher
from marketplace_worker.contract.policy_file import load_policy
from marketplace_worker.contract.tracing import Trace
from marketplace_worker.errors import Malformed
from marketplace_worker.lifecycle.decide import apply
from marketplace_worker.lifecycle.events import (
    DeactivationDetails,
    Event,
    EventKind,
    LockViolationDetails,
    MeteringDetails,
    NoticeDetails,
    ReinstatementDetails,
    SupportDetails,
)
from marketplace_worker.lifecycle.facts import Fact, GuardReleased, GuardTripped
from marketplace_worker.lifecycle.organization_view import OrganizationView
from marketplace_worker.lifecycle.policy import Policies, Policy
from marketplace_worker.lifecycle.settle import BY_DEADLINE, CaseResult
from marketplace_worker.lifecycle.vocabulary import DeactivationCause
from marketplace_worker.lifecycle.worker_details import (
    GuardReleasedDetails,
    GuardTrippedDetails,
    SilentFeedDetails,
    UnreadableFeedDetails,
)
from marketplace_worker.record import Record
from marketplace_worker.simulate import HORIZON, OnRefused, Simulation

__all__ = ["DAY_0", "FEEDS", "HASH", "check_story", "moment", "policy", "run_story", "simulation"]

HASH = email_hasher(b"a key for tests")
WITHOUT_COLON = {EventKind.CANCELED, EventKind.METERING_FINAL_REPORT_DUE}


# --- running and checking a story -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a story."""

    day: str
    input: str
    event: str


def check_story(
    text: str,
    policy: Policy | None = None,
    *newer: Policy,
    start: datetime = DAY_0,
    until: str | None = None,
) -> list[Event]:
    """Run a story and compare its events with the table's third column; returns all events.

    `newer` are the policies that an operator of the story loads.
    """
    expected = list(_rows(text))
    events = run_story(text, policy, *newer, start=start, until=until)
    actual = _table(_went(_inputs(expected), events, start))
    wanted = _table(_folded(expected))
    if actual != wanted:
        lines = ndiff(wanted, actual)
        raise AssertionError("- expected, + came:\n" + "\n".join(lines))
    return events


def run_story(
    text: str,
    policy: Policy | None = None,
    *newer: Policy,
    start: datetime = DAY_0,
    until: str | None = None,
) -> list[Event]:
    """Run a story; returns all events.  The third column is ignored."""
    inputs = parse_story([(row.day, row.input) for row in _inputs(_rows(text))], start)
    refused = list[str]()

    def refuse(record: Record, refusal: Malformed) -> None:
        _fail_unless_meant(record, refusal)
        refused.append(f"{record.topic}: {refusal.field}: {refusal.reason}")

    current, events, waiting = simulation(policy, refuse), list[Event](), list[Record]()
    for item in inputs:
        match item.what:
            case Record():
                waiting.append(item.what)
                continue
            case PolicyLoaded(version=version):
                events += current.run(waiting, item.at)
                _load(current, next(each for each in newer if each.version == version))
            case fact:
                events += current.run(waiting, item.at)
                events += _operated(current, fact, item.at)
        waiting = []
    if until or waiting:
        events += current.run(waiting, moment(until, start) if until else None)
    else:
        events += current._deadlines(before=item.at + HORIZON, to_the_end=True)
    check_events(events)
    ended_at = moment(until, start) if until else max(current.now or item.at, item.at)
    inputs = [each for each in inputs if each.at <= ended_at]
    run_elsewhere(Story(inputs, (policy or Policy(), *newer), ended_at, events, current, refused))
    return events


def _fail_unless_meant(record: Record, refusal: Malformed) -> None:
    """Fail for a refused record, unless it is meant to be unreadable."""
    assert record.value == UNREADABLE, str(refusal)


def simulation(policy: Policy | None = None, refuse: OnRefused = _fail_unless_meant) -> "Workers":
    """An empty fleet; `refuse` gets each message that cannot be read."""
    return Workers(policy or Policy(), FEEDS, HASH, refuse)


@dataclass(slots=True)
class Workers(Simulation):
    """A simulation whose policy may change: it knows the earlier ones by their versions.

    `now` is the time of its last decision.
    """

    pinned: dict[str, Policy] = field(default_factory=dict)
    now: datetime | None = None

    def _decide(self, fact: Fact, now: datetime, trace: Trace | None = None) -> Iterator[Event]:
        self.now = now
        if fact.identity in self._seen:
            return
        self._seen.add(fact.identity)
        decision = apply(fact, self.fleet, Policies(self.policy, self.pinned), now=now)
        for result in decision.results:
            self._schedule(result, now)
        if trace is not None:
            self.traces.update((event.id, trace) for event in decision.events)
        yield from decision.events


@dataclass(frozen=True, slots=True)
class Story:
    """A completed story: its inputs, the policies (the initial one first), how far the clock ran,
    the events, the simulation's final state, and the dead letters.
    """

    inputs: Sequence[StoryInput]
    policies: Sequence[Policy]
    ended_at: datetime
    events: Sequence[Event]
    simulation: Workers
    refused: Sequence[str] = ()


OTHER_RUNNERS: list[Callable[[Story], None]] = []
"""Functions that each run every story again in another way, and fail if the result differs
(`--through-the-worker`).
"""


def run_elsewhere(story: Story) -> None:
    """Run a story again with every other runner."""
    for way in OTHER_RUNNERS:
        way(story)


def policy(text: str) -> Policy:
    """The policy that a file of these lines describes; its version is `stories` if it has none."""
    text = dedent(text)
    return load_policy(text if "version" in text else f'version = "stories"\n{text}')


def _operated(
    current: Workers, fact: GuardTripped | GuardReleased, now: datetime
) -> Iterator[Event]:
    """The events of an operator's command; a release rechecks the withheld steps."""
    yield from current._decide(fact, now)
    if isinstance(fact, GuardReleased):
        for each in list(current.fleet.organizations.values()):
            if each.withheld_at is not None:
                outlook = OrganizationView(each, current.fleet, Policies(current.policy), now)
                current._schedule(CaseResult(each, each, (), now, idle=False, view=outlook), now)


def _load(current: "Workers", newer: Policy) -> None:
    """Load a newer policy; organizations stay pinned to the older ones."""
    current.pinned[current.policy.version] = current.policy
    current.policy = newer


def _rows(text: str) -> Iterable[Row]:
    for line in filter(str.strip, text.splitlines()):
        cells = [" ".join(cell.split()) for cell in line.split("|")]
        assert len(cells) == 3, f"a line of a story has three cells: {line}"
        if cells[0] != "day":
            yield Row(*cells)


def _inputs(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row.input]


def _folded(rows: Iterable[Row]) -> Iterable[Row]:
    """The rows as they are compared, each with its day."""
    current_day = ""
    for row in rows:
        current_day = row.day or current_day
        yield replace(row, day=current_day)


def _table(rows: Iterable[Row]) -> list[str]:
    return [f"{row.day:>6} | {row.input:<48} | {row.event}".rstrip() for row in rows]


# --- the actual story -----------------------------------------------------------------------------


def _went(input_rows: Sequence[Row], events: Sequence[Event], start: datetime) -> Iterator[Row]:
    """The actual story: after each input its events, and those of deadlines between inputs."""
    answers: dict[int, list[Row]] = defaultdict(list)
    deadlines: list[tuple[datetime, Row]] = []
    for event, text in sentences(events, start):
        row = Row(day(event.decided_at, start), "", text)
        if event.causation_id == BY_DEADLINE:
            deadlines.append((event.decided_at, row))
        else:
            answers[_line_of(event, input_rows)].append(row)
    for number, row in enumerate(input_rows):
        passed = [each for at, each in deadlines if at < moment(row.day, start)]
        deadlines = deadlines[len(passed) :]
        yield from _crowded(passed)
        first, *others = [*_crowded(answers[number])] or [row]
        yield Row(row.day, row.input, first.event if answers[number] else "")
        yield from others
    yield from _crowded([each for _, each in deadlines])


def _line_of(event: Event, input_rows: Sequence[Row]) -> int:
    """The number of the input that caused an event."""
    if found := re.search(r"line-(\d+)", event.causation_id):
        return int(found[1])
    return next(n for n, row in enumerate(input_rows) if _is_named(row.input, event.causation_id))


def _is_named(line: str, identity: str) -> bool:
    """Whether a line has this `id`; Azure's reports of one operation differ in their `status`."""
    operation, *report = identity.split(":")
    options = dict(word.split("=", 1) for word in line.split() if "=" in word)
    has_status = not report or options.get("status", "Success") == report[2]
    return options.get("id") == operation and has_status


def sentences(events: Sequence[Event], start: datetime) -> list[tuple[Event, str]]:
    """The events as text, in order; consecutive silent days of a feed are one line."""
    collected: list[tuple[Event, str]] = []
    silences: dict[str, tuple[int, date]] = {}
    for event in without_effects(events):
        text, details = sentence(event, start), event.details
        if isinstance(details, SilentFeedDetails | UnreadableFeedDetails):
            number, last = silences.get(text, (0, date.min))
            goes_on = details.day - last == timedelta(days=1)
            silences[text] = (number if goes_on else len(collected), details.day)
            if goes_on:
                collected[number] = (
                    collected[number][0],
                    f"{text} ..{day(event.decided_at, start)}",
                )
                continue
        collected.append((event, text))
    return collected


def _crowded(rows: Sequence[Row]) -> Iterator[Row]:
    """Merge equal rows of numbered organizations at one moment into one row."""
    for day_, together in groupby(rows, key=lambda row: row.day):
        crowds: dict[tuple[str, int], list[str]] = defaultdict(list)
        for number, row in enumerate(together):
            text = re.sub(r"^([a-z]+)-\d+: (\S+ \w+:[a-z]+(?=-))?(-\d+)?", r"\1: \2", row.event)
            crowds[text, 0 if text != row.event else number].append(row.event)
        for (text, _), texts in crowds.items():
            yield Row(day_, "", f"{len(texts)} x {text}" if len(texts) > 1 else texts[0])


def sentence(event: Event, start: datetime = DAY_0) -> str:
    """An event as text."""
    text = event.kind.removeprefix("organization.").removeprefix("metering.")
    if event.effective_at != event.decided_at:
        text = f"{text} @{day(event.effective_at, start)}"
    if details_text := _details(event, start):
        text = (
            f"{text} {details_text}" if event.kind in WITHOUT_COLON else f"{text}: {details_text}"
        )
    return text if event.subject == "acme" else f"{event.subject}: {text}"


def _details(event: Event, start: datetime) -> str:
    """The details in the text of an event."""
    match event.details:
        case NoticeDetails(upcoming_state=step, at=at):
            return f"{step} {day(at, start)}"
        case MeteringDetails(subscription=key, deadline=deadline):
            return f"{key} {day(deadline, start)}"
        case DeactivationDetails(cause=cause):
            ended = cause is DeactivationCause.MARKETPLACE_CANCELLATION
            return "" if ended else str(cause)
        case ReinstatementDetails(subscription=key, completed_by=by):
            return f"{key} by {by}"
        case LockViolationDetails(used_by=used_by):
            return f"by {used_by}"
        case SupportDetails(code=code):
            return code or ""
        case _ if event.standing is None:
            return _details_of_the_worker(event)
        case _ if event.kind is EventKind.CANCELED and event.standing is not None:
            standing = event.standing
            return f"{standing.reason} by {standing.initiator}, {standing.plan_type}"
        case _:
            return ""


def _details_of_the_worker(event: Event) -> str:
    match event.details:
        case SupportDetails(code=code):
            return code or ""
        case GuardTrippedDetails() as trip:
            counted = f"by {trip.by}" if trip.by else f"{trip.counted} of {trip.limit}"
            if trip.which:
                return f"{counted} {trip.which}"
            return f"{trip.guard} {counted}{', once more' if trip.added_to else ''}"
        case GuardReleasedDetails() as release:
            numbers = (f", {release.steps} steps" if release.steps else "") + (
                f", {release.requests} requests" if release.requests else ""
            )
            return f"{release.guard} by {release.by}{numbers}"
        case SilentFeedDetails(feed=feed):
            return str(feed)
        case UnreadableFeedDetails(feed=feed, organization=organization):
            return f"{feed} of {organization}" if organization else str(feed)
        case _:
            return ""
