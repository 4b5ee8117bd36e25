"""When the next step or notice of an organization comes, and by which rules (lifecycle.md sections
3 and 5).

A deadline has one term for each rule that delays its step; the latest term decides.  Deadlines
are derived from what is stored, and never stored themselves.
"""

from datetime import datetime, timedelta
from enum import StrEnum

from marketplace_worker.lifecycle.cancellation import Notice, Pause
from marketplace_worker.lifecycle.events import ScheduledStep
from marketplace_worker.lifecycle.inactivity import LastSeen, counts_until
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.policy import DESTRUCTIVE_STEPS, STEPS, Inactivity, Policy
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.values import dataclass
from marketplace_worker.lifecycle.vocabulary import ActivityFeed, PlanType


class DeadlineRule(StrEnum):
    """A rule that delays a step."""

    OFFSET = "offset"
    DWELL = "dwell"
    NOTICE = "notice"
    FLOOR = "floor"
    COMMITMENT = "commitment"
    NAMED_DATE = "named_date"
    NO_LOGIN = "no_login"
    NO_API_REQUEST = "no_api_request"


@dataclass(frozen=True, slots=True)
class DeadlineTerm:
    """One rule allows the step from `at` on: `since` + `length` + `extension` + `paused`.

    `since` is None if a date is given directly.  `extension`: what Support added.  `paused`: how
    long the clock was paused for a pending reinstatement.
    """

    rule: DeadlineRule
    at: datetime
    since: datetime | None = None
    length: timedelta | None = None
    extension: timedelta = timedelta(0)

    @property
    def paused(self) -> timedelta:
        """The part that is neither the rule's length nor an extension."""
        if self.since is None or self.length is None or self.rule is DeadlineRule.NO_API_REQUEST:
            return timedelta(0)
        return self.at - self.since - self.length - self.extension


@dataclass(frozen=True, slots=True)
class Deadline:
    """When a step is due, with the rules that delay it; there is at least one."""

    step: State
    terms: tuple[DeadlineTerm, ...]

    @property
    def at(self) -> datetime:
        """When the last of the rules allows the step."""
        return latest(self.terms)

    @property
    def deciding(self) -> DeadlineTerm:
        """The rule that decides; of several at one moment, the first."""
        return next(term for term in self.terms if term.at == self.at)


def latest(terms: tuple[DeadlineTerm, ...]) -> datetime:
    """The deadline from which all these rules allow the step."""
    return max([term.at for term in terms])


@dataclass(frozen=True, slots=True)
class StepDue:
    """The step of `deadline` is next."""

    deadline: Deadline

    @property
    def step(self) -> State:
        """The state that is entered."""
        return self.deadline.step

    @property
    def at(self) -> datetime:
        """When it is entered."""
        return self.deadline.at


@dataclass(frozen=True, slots=True)
class NoticeDue:
    """The notice of a step is next, to be written at `at`.

    `deadline` is that of the step if the notice is written then, or now if that is later; the
    notice announces it.
    """

    at: datetime
    deadline: Deadline

    @property
    def step(self) -> State:
        """The state that is announced."""
        return self.deadline.step

    @property
    def announced_for_at(self) -> datetime:
        """The date that the notice announces."""
        return self.deadline.at


NextDue = StepDue | NoticeDue


# --- in a cancellation ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CancellationClock:
    """The values from which the deadlines of one cancellation are derived.

    `extension`: what Support added to every offset.  `floor`: until when the marketplaces require
    the data to be kept.  `commitment_at`: when a purchased commitment starts.  `pauses`: when the
    clock was paused, in order, all ended (section 4).
    """

    canceled_at: datetime
    plan_type: PlanType | None
    policy: Policy
    extension: timedelta = timedelta(0)
    floor: datetime | None = None
    commitment_at: datetime | None = None
    pauses: tuple[Pause, ...] = ()

    def after(self, moment: datetime, duration: timedelta) -> datetime:
        """The moment at which this much time has passed since a moment, without the pauses.

        Each pause that begins before the end of the time moves that end, so that a later pause may
        begin before the moved end; the pauses are in order, so one pass finds them all.
        """
        due_at = moment + duration
        for paused_at, resumed_at in self.pauses:
            stopped_at = max(paused_at, moment)
            if stopped_at <= due_at:
                due_at += max(resumed_at - stopped_at, timedelta(0))
        return due_at

    def terms(self, step: State, dwelling_since: datetime) -> tuple[DeadlineTerm, ...]:
        """The rules for a step, its notice aside: numbers 1, 2, 4 and 6 of section 3.

        `dwelling_since` is from when the dwell of the state before it counts.
        """
        before = State.CANCELED if step is STEPS[0] else STEPS[STEPS.index(step) - 1]
        offset = self.policy.offset(self.plan_type, step)
        dwell = self.policy.minimum_dwell.of(before)
        terms = [
            DeadlineTerm(
                DeadlineRule.OFFSET,
                self.after(self.canceled_at, offset + self.extension),
                self.canceled_at,
                offset,
                self.extension,
            ),
            DeadlineTerm(
                DeadlineRule.DWELL, self.after(dwelling_since, dwell), dwelling_since, dwell
            ),
        ]
        if step is State.DEACTIVATED and self.floor is not None:
            terms.append(DeadlineTerm(DeadlineRule.FLOOR, self.floor))
        if step in DESTRUCTIVE_STEPS and self.commitment_at is not None:
            terms.append(DeadlineTerm(DeadlineRule.COMMITMENT, self.commitment_at))
        return tuple(terms)


def due_in_cancellation(
    organization: Organization, clock: CancellationClock, now: datetime
) -> NextDue:
    """What is next in a cancellation, and when: the notice of the next step, or the step."""
    step, since = organization.state.next_step, organization.dwelling_since
    assert step is not None
    assert since is not None
    return _due(step, since, organization.notice, clock, now)


def schedule(due: NextDue, clock: CancellationClock, now: datetime) -> tuple[ScheduledStep, ...]:
    """The remaining steps of a cancellation and their times, as currently scheduled; `due` is or
    announces the first.

    Each step is assumed to be taken on time, or now if it is late; the dwell of the next state
    counts from there, and its notice is not written yet.
    """
    steps = [ScheduledStep(due.step, due.deadline.at)]
    while (step := steps[-1].state.next_step) is not None:
        at = _due(step, max(steps[-1].at, now), None, clock, now).deadline.at
        steps.append(ScheduledStep(step, at))
    return tuple(steps)


def _due(
    step: State, since: datetime, notice: Notice | None, clock: CancellationClock, now: datetime
) -> NextDue:
    terms, lead = clock.terms(step, since), clock.policy.notice.of(step)
    if lead is None:
        return StepDue(Deadline(step, terms))
    if notice is None:
        return _notice_due(step, terms, max(latest(terms) - lead, since), lead, now)
    return _announced(step, terms, notice, clock.after(notice.given_at, lead), lead)


# --- for inactivity -------------------------------------------------------------------------------


def inactivity_terms(
    seen: LastSeen, began_at: datetime, anchor: datetime, rules: Inactivity
) -> tuple[DeadlineTerm, ...]:
    """The two rules of section 5, if the organization is not used again.

    `began_at`: its creation or reactivation, which counts as a login.  `anchor`: the start of its
    billing cycles.
    """
    login_at, length = max(seen.login_at or began_at, began_at), rules.no_login_for
    no_login_at = counts_until(ActivityFeed.LOGINS, login_at, anchor, rules)
    no_login = DeadlineTerm(DeadlineRule.NO_LOGIN, no_login_at, login_at, length)
    if seen.request_at is None:
        return (no_login,)
    at = counts_until(ActivityFeed.API_REQUESTS, seen.request_at, anchor, rules)
    cycles = 2 * rules.billing_cycle
    return (no_login, DeadlineTerm(DeadlineRule.NO_API_REQUEST, at, seen.request_at, cycles))


def due_for_inactivity(
    organization: Organization, terms: tuple[DeadlineTerm, ...], lead: timedelta, now: datetime
) -> NextDue:
    """The notice of a deactivation for inactivity, or the deactivation (section 5)."""
    step, notice = State.DEACTIVATED, organization.notice
    if notice is None:
        return _notice_due(step, terms, latest(terms) - lead, lead, now)
    return _announced(step, terms, notice, notice.given_at + lead, lead)


# --- notices --------------------------------------------------------------------------------------


def _notice_due(
    step: State, terms: tuple[DeadlineTerm, ...], at: datetime, lead: timedelta, now: datetime
) -> NoticeDue:
    """A notice that is due at `at`: number 3 of section 3, counted from when it is written."""
    written_at = max(at, now)
    term = DeadlineTerm(DeadlineRule.NOTICE, written_at + lead, written_at, lead)
    return NoticeDue(at, Deadline(step, (*terms, term)))


def _announced(
    step: State, terms: tuple[DeadlineTerm, ...], notice: Notice, at: datetime, lead: timedelta
) -> StepDue:
    """A step whose notice is written: numbers 3 and 5 of section 3.

    It is due no sooner than the lead after the notice was written (`at`), nor before the date that
    the notice announced.
    """
    return StepDue(
        Deadline(
            step,
            (
                *terms,
                DeadlineTerm(DeadlineRule.NOTICE, at, notice.given_at, lead),
                DeadlineTerm(DeadlineRule.NAMED_DATE, notice.announced_for_at),
            ),
        )
    )
