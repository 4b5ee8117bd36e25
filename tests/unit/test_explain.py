"""Why an organization has its state, the next step with its rule, and what would prevent it."""

import re
from dataclasses import dataclass
from datetime import timedelta

import pytest
from hypothesis import given, settings
from stories import moment, simulation
from story_language import PolicyLoaded, parse_story
from strategies import ORGANIZATIONS, TODAY, worlds
from world import ACCOUNT, DAY, OWNER, SUBSCRIPTIONS, World

from examples import examples
from marketplace_worker.explain import Explanation, explain, for_customers, for_operators
from marketplace_worker.explain.forecast import BlockedBy, ForecastKind, forecast
from marketplace_worker.explain.situation import case_of, steps_to_come
from marketplace_worker.explain.values import (
    AwaitsCompletion,
    ComesBack,
    NoChangeReason,
    NothingComes,
    NoticeComes,
    OnHold,
    PlanEnds,
    PlanStarts,
    StepComes,
    StepPostponed,
    StepWithheld,
)
from marketplace_worker.explain.wording import Sentences, distance, length, listed
from marketplace_worker.lifecycle.decide import apply
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.policy import Policies, Policy
from marketplace_worker.lifecycle.vocabulary import OrganizationId
from marketplace_worker.record import Record

ACME = OrganizationId("acme")


def after(story: str, until: str) -> Fleet:
    """The fleet after a story (`day | input`), with its deadlines up to a day."""
    rows = [line.split("|") for line in story.strip().splitlines()]
    current, waiting = simulation(), list[Record]()
    for item in parse_story([(day.strip(), " ".join(text.split())) for day, text in rows]):
        match item.what:
            case Record():
                waiting.append(item.what)
            case PolicyLoaded():
                raise AssertionError("no policy is loaded in these stories")
            case fact:
                list(current.run(waiting, item.at))
                waiting = []
                apply(fact, current.fleet, Policies(current.policy), now=item.at)
    list(current.run(waiting, moment(until)))
    return current.fleet


def explained(story: str, until: str, now: str | None = None) -> Explanation:
    """How acme is explained on a day, after the workers took deadlines up to another."""
    fleet = after(story, until)
    at = moment(now or until)
    return explain(fleet.organization(ACME), fleet, Policies(Policy()), now=at)


# --- in words -------------------------------------------------------------------------------------

CANCELED = """
    0 | acme created plus
    0 | acme links aws:a-1 payg account=111
    5 | aws:a-1 Agreement Ended CANCELLED
"""
GIVEN_BY_AZURE = """
    0 | acme created plus
    0 | acme links azure:s-1 payg
    3 | azure:s-1 Suspend
"""
FREE = """
    0 | acme created free
    2 | acme requests 3
"""


@dataclass(frozen=True, slots=True)
class Case:
    """What is said on day `now` after `story`; deadlines were taken up to `until`.

    Each line of `operator` and `customer` is a part of what they read, in that order; no line of
    `absent` is in what the operator reads.
    """

    story: str
    until: str
    operator: str
    customer: str
    now: str | None = None
    absent: str = ""


CASES = {
    "never heard of": Case(
        "0 | other created",
        "1",
        """
        It was never created
        Nothing: it has no state until organization.created arrives.
        """,
        "We do not know this organization.",
    ),
    "told of before it is created": Case(
        "0 | acme links aws:a-1 payg",
        "1",
        """
        It was never created
        Other messages about it are stored
        """,
        "We do not know this organization.",
    ),
    "active with a plan": Case(
        CANCELED,
        "3",
        """
        It has an active plan: aws:a-1.
        Nothing: its plan has no known end.
        """,
        """
        Your organization is active.
        No change is planned.
        """,
    ),
    "active, and its last plan ends": Case(
        """
        0 | acme created plus
        0 | acme commits c-1 from=0 to=30
        0 | acme commits c-2 from=40 to=60
        """,
        "20",
        """
        It has an active plan: commitment:c-1 until 2026-01-31 00:00 UTC
        Canceled on 2026-03-02 00:00 UTC (in 40 days): commitment:c-2 ends then, reason commit
        An active plan: another subscription linked to it or a commitment that has begun.
        """,
        """
        Your plan ends on 2 March 2026, 00:00 UTC.
        renew your plan or buy a new one
        """,
    ),
    "its last plan has ended and no worker has looked": Case(
        "0 | acme created plus\n0 | acme commits c-1 from=0 to=30",
        "29",
        """
        Its last plan, commitment:c-1, has ended; no worker has processed this yet.
        Canceled at the next poll of a worker: commitment:c-1 ended on 2026-01-31 00:00 UTC (2 days
        """,
        "Your plan ended on 31 January 2026",
        now="32",
    ),
    "active without a plan, on a tier that is exempt": Case(
        "0 | acme created plus",
        "90",
        """
        It has never had a plan, so it is not canceled.
        Its tier is plus.
        Nothing: only the free tier is subject to inactivity.
        """,
        "No change is planned.",
    ),
    "free and inactive soon": Case(
        FREE,
        "20",
        """
        Notice of deactivated is given on 2026-02-23 00:00 UTC (in 33 days).
        deactivated on 2026-03-02 00:00 UTC (in 40 days), the latest of:
           2026-01-31 00:00 UTC  no login: since 2026-01-01 00:00 UTC + 30 days
        -> 2026-03-02 00:00 UTC  no API request: for two billing cycles, the last was on 2026-01
           2026-03-02 00:00 UTC  notice: given 2026-02-23 00:00 UTC + 7 days
        Any login or API request of the organization.
        A change of its tier to plus or enterprise.
        """,
        """
        On 2 March 2026, 00:00 UTC, your organization will be closed because it is not used.
        To prevent this, sign in, use the API, or choose a plan.
        """,
    ),
    "active, and its first plan begins": Case(
        "0 | acme created free\n1 | acme commits c-1 from=10 to=40",
        "2",
        """
        It has never had a plan, so it is not canceled.
        Nothing, except that commitment:c-1 begins on 2026-01-11 00:00 UTC (in 8 days).
        """,
        "Your plan begins on 11 January 2026, 00:00 UTC.",
    ),
    "free and inactive, but a feed was silent": Case(
        FREE,
        "65",
        """
        deactivated was due on 2026-03-02 00:00 UTC (5 days ago), the latest of:
        -> 2026-03-02 00:00 UTC  no API request
        Postponed: the feed logins was silent for too long (no message ever).
        Postponed: the feed api_requests was silent for too long (last message 2026-01-03 00:00 UTC
        It is checked again on 2026-03-08 00:00 UTC (in 1 day).
        """,
        "Any day now, your organization will be closed because it is not used.",
    ),
    "free and in use": Case(
        FREE + "40 | acme logs in",
        "41",
        """
        -> 2026-03-12 00:00 UTC  no login: since 2026-02-10 00:00 UTC + 30 days
           2026-03-02 00:00 UTC  no API request: for two billing cycles
        """,
        "On 12 March 2026, 00:00 UTC, your organization will be closed because it is not used.",
    ),
    "superseded, and its successor is not there": Case(
        """
        0 | acme created plus
        0 | acme links aws:a-1 payg
        5 | aws:a-1 Agreement Ended REPLACED
        """,
        "6",
        """
        aws:a-1 was superseded, but its successor does not count yet.
        Canceled on 2026-01-13 00:00 UTC (in 6 days): aws:a-1 ends then, reason unknown.
        """,
        "Your plan ends on 13 January 2026, 00:00 UTC.",
    ),
    "deactivated for inactivity": Case(
        "0 | acme created free\n0 | feeds: daily 0..40",
        "40",
        """
        Deactivated for inactivity. No data is deleted.
        Support can reactivate it.
        Support: support.reactivate_organization.
        """,
        """
        Your organization was closed on 31 January 2026, 00:00 UTC, because it was not used. No data
        To have it reopened, contact our Support team.
        """,
    ),
    "canceled": Case(
        CANCELED,
        "5+2h",
        """
        Its last plan, aws:a-1 (payg), ended on 2026-01-06 00:00 UTC (canceled_at).
        Reason customer, initiator customer.
        Policy default is pinned to it and in force.
        control_plane_loss on 2026-01-07 00:00 UTC (in 22 hours), the latest of:
        -> 2026-01-07 00:00 UTC  offset: canceled_at 2026-01-06 00:00 UTC + 1 day
           2026-01-06 01:00 UTC  dwell: in this state since 2026-01-06 00:00 UTC + 1 hour
        Then suspended on 2026-01-13 00:00 UTC (in 6 days 22 hours).
        A new aws subscription on billing account 111, then a sign-in of one of its users.
        Support: support.reinstate_organization with grant_until.
        Support: support.place_hold
        Support: support.extend_grace, by up to 90 days more.
        """,
        """
        Your last plan ended on 6 January 2026, 00:00 UTC because it was canceled.
        For now, everything works as before.
        On 7 January 2026, 00:00 UTC, you will no longer be able to add users
        On 12 February 2026, 00:00 UTC, your organization will be closed, and all its content and da
        buy a new one in the AWS Marketplace, then sign in
        """,
        absent="aws:a-1 becoming active again",
    ),
    "without its control plane, and the grace was extended": Case(
        CANCELED + "5+1h | support: acme extend 10",
        "18",
        """
        -> 2026-01-23 00:00 UTC  offset: canceled_at 2026-01-06 00:00 UTC + 7 days + 10 days extende
        by up to 80 days more.
        An operator, for all organizations: marketplace-worker guard trip.
        """,
        """
        Your applications keep working. You cannot add users
        On 23 January 2026, 00:00 UTC, your API keys and your applications will stop working
        To get everything back, renew your plan
        """,
    ),
    "the date that a notice named decides": Case(
        CANCELED + "36 | aws:a-1 Agreement Ended CANCELLED @2",
        "37",
        """
        deactivated on 2026-02-12 00:00 UTC (in 5 days), the latest of:
           2026-02-09 00:00 UTC  offset: canceled_at 2026-01-03 00:00 UTC + 37 days
        -> 2026-02-12 00:00 UTC  notice: given 2026-02-05 00:00 UTC + 7 days
           2026-02-12 00:00 UTC  named date: announced by the notice
        """,
        "your organization will be closed",
    ),
    "suspended, and Azure wants the data kept": Case(
        GIVEN_BY_AZURE,
        "12",
        """
        Its last plan, azure:s-1 (payg), ended
        Reason non_payment, initiator marketplace.
           2026-02-03 00:00 UTC  floor: the marketplace requires the data until then
        azure:s-1 becoming active again
        If Azure reports it active again: also Support's reinstate request.
        """,
        """
        because a payment failed.
        You can still sign in.
        in the Microsoft Marketplace
        also contact our Support team
        """,
    ),
    "overdue, for no worker was there": Case(
        CANCELED,
        "5+2h",
        """
        control_plane_loss at the next poll of a worker, due since 2026-01-07 00:00 UTC (24 days
        Then suspended on 2026-02-03 00:00 UTC
        """,
        "Very soon, you will no longer be able to add users",
        now="30",
    ),
    "its billing account is another's too": Case(
        CANCELED + "1 | other created plus\n1 | other links aws:b-1 payg account=111",
        "5+2h",
        "An active plan:",
        "Your last plan ended",
        absent="on billing account 111",
    ),
    "a subscription that may be active again": Case(
        """
        0 | acme created plus
        0 | acme links aws:p/c payg
        5 | aws:p/c unsubscribe-success
        """,
        "6",
        "An active plan: aws:p/c becoming active again, another subscription linked to it or",
        "Your last plan ended",
    ),
    "on hold until it is released": Case(
        CANCELED + "8 | support: acme hold legal",
        "9",
        """
        Nothing: under a legal hold since 2026-01-09 00:00 UTC, until it is released.
        After that suspended: dwell and notices start again.
        """,
        """
        Nothing will change for the time being.
        Our Support team can tell you more.
        """,
        absent="support.place_hold",
    ),
    "on a hold that expires": Case(
        CANCELED + "8 | support: acme hold commercial until=20",
        "9",
        """
        Nothing: under a commercial hold since 2026-01-09 00:00 UTC, until 2026-01-21 00:00 UTC.
        After that suspended, not before 2026-01-22 00:00 UTC (in 12 days)
        """,
        "Nothing will change for the time being.",
    ),
    "pending until a user signs in": Case(
        CANCELED + "8 | aws:a-9 License Updated account=111",
        "9",
        """
        aws:a-9 is active since 2026-01-09 00:00 UTC: reinstatement is pending.
        A sign-in of one of its users completes it.
        the deadline of suspended is paused
        A sign-in of one of its users after 2026-01-09 00:00 UTC.
        Support: support.reinstate_organization.
        """,
        """
        You have a new plan. Until it is confirmed, you will not lose any more access.
        To confirm it, sign in to your organization.
        """,
    ),
    "pending until Support asks": Case(
        GIVEN_BY_AZURE + "8 | azure:s-1 Reinstate",
        "12",
        """
        azure:s-1 is active since 2026-01-09 00:00 UTC: reinstatement is pending.
        Support's reinstate request completes it.
        """,
        "To confirm it, contact our Support team.",
    ),
    "the clock stood still while a plan was pending": Case(
        CANCELED
        + "6 | support: acme extend 3\n"
        + "8 | aws:a-9 License Updated account=111\n"
        + "10 | aws:a-9 Agreement Ended CANCELLED",
        "11",
        "+ 7 days + 3 days extended + 2 days pending",
        "Your applications keep working.",
    ),
    "a plan of its own begins in time": Case(
        CANCELED + "6 | acme commits c-1 from=9 to=40",
        "8",
        """
        Reinstated on 2026-01-10 00:00 UTC (in 1 day): commitment:c-1 begins then.
        """,
        "Your next plan begins on 10 January 2026, 00:00 UTC. From then on, everything will work",
    ),
    "its one commitment has not begun after all": Case(
        """
    0  | acme created plus
    0  | acme commits c-1 from=-365 to=0
    12 | acme commits c-1 from=100 to=200
""",
        "13",
        "Reinstated on 2026-04-11 00:00 UTC (in 87 days): commitment:c-1 begins then.",
        "Your next plan begins on 11 April 2026, 00:00 UTC. From then on, everything will work",
    ),
    "a plan of its own begins after the next step": Case(
        CANCELED + "6 | acme commits c-1 from=20 to=40",
        "8",
        """
        suspended on 2026-01-21 00:00 UTC
        -> 2026-01-21 00:00 UTC  commitment: already bought, starts then
        commitment:c-1, which begins on 2026-01-21 00:00 UTC.
        """,
        "your API keys and your applications will stop working",
    ),
    "reinstated": Case(
        CANCELED + "8 | acme links gcp:e-1 payg",
        "9",
        """
        It has an active plan: gcp:e-1.
        Reinstated on 2026-01-09 00:00 UTC, initiator customer.
        """,
        "Your organization is active.",
    ),
    "it will be withheld, for the guard is tripped": Case(
        CANCELED + "10 | operator: trips",
        "11",
        """
        suspended on 2026-01-13 00:00 UTC (in 1 day)
        It will be withheld. The guard for steps is tripped since 2026-01-11 00:00 UTC, by olga
        """,
        "On 13 January 2026",
        absent="marketplace-worker guard trip",
    ),
    "canceled while the guard is tripped, which stops a loss of the control plane, too": Case(
        CANCELED + "5 | operator: trips",
        "5+1h",
        """
        control_plane_loss on 2026-01-07
        It will be withheld.
        """,
        "Your last plan ended",
        absent="marketplace-worker guard trip",
    ),
    "the guard lets some steps through": Case(
        CANCELED + "10 | operator: trips\n10+1h | operator: releases 3 steps",
        "11",
        "suspended on 2026-01-13 00:00 UTC (in 1 day)",
        "On 13 January 2026",
        absent="withheld",
    ),
    "withheld by the guard": Case(
        CANCELED + "10 | operator: trips",
        "14",
        """
        suspended was due on 2026-01-13 00:00 UTC (2 days ago)
        The guard has withheld it since 2026-01-13 00:00 UTC.
        The guard for steps is tripped since 2026-01-11 00:00 UTC, by olga: a faulty import.
        It is taken once an operator releases it: marketplace-worker guard release.
        """,
        "Any day now, your API keys and your applications will stop working",
    ),
    "deactivated by its cancellation": Case(
        CANCELED + "44 | other created owner=acme@x.org",
        "50",
        """
        Deactivated at the end of its cancellation: its data is deleted, no reinstatement.
        Its last plan ended on 2026-01-06 00:00 UTC (canceled_at).
        Nothing: this state does not change by itself.
        """,
        """
        Your organization was closed on 12 February 2026, 00:00 UTC, because it had no plan for too
        Its content and data were deleted and cannot be restored.
        """,
        absent="email_in_use",
    ),
    "deactivated by Support, and its email is in use": Case(
        CANCELED.split("    5 |", maxsplit=1)[0]
        + "6 | support: acme deactivate\n7 | other created owner=acme@x.org",
        "9",
        """
        Deactivated at Support's request. No data is deleted.
        Support can reactivate it.
        Not now: another organization uses its owner's email (email_in_use).
        """,
        "Our Support team closed your organization on 7 January 2026",
    ),
    "reactivated": Case(
        "0 | acme created plus\n6 | support: acme deactivate\n8 | support: acme reactivate",
        "9",
        """
        Support reactivated it on 2026-01-09 00:00 UTC; it has had no plan since.
        Its tier is free.
        -> 2026-02-08 00:00 UTC  no login: since 2026-01-09 00:00 UTC + 30 days
        """,
        "your organization will be closed because it is not used",
    ),
}


def lines(text: str) -> list[str]:
    """Those that say something."""
    return [line.strip() for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_every_situation_has_its_words(case: Case) -> None:
    """For the operator the rules with their moments, for the customer what it means for them."""
    explanation = explained(case.story, case.until, case.now)
    for words, expected in (
        (for_operators(explanation), case.operator),
        (for_customers(explanation), case.customer),
    ):
        customer_text = "\n".join(sentences(words))
        place = 0
        for line in lines(expected):
            assert line in customer_text[place:], (
                f"{line!r} is not in, or not in its place in:\n{customer_text}"
            )
            place += customer_text[place:].index(line)
    operator_text = "\n".join(sentences(for_operators(explanation)))
    assert not [line for line in lines(case.absent) if line in operator_text]


def test_a_policy_that_is_not_pinned_counts_only_where_it_is_kinder() -> None:
    """And both are shown to the operator."""
    fleet = after(CANCELED, "6")
    newer = Policies(Policy(version="newer"), {"default": Policy()})
    words = for_operators(explain(fleet.organization(ACME), fleet, newer, now=moment("6")))
    assert (
        "Policy default is pinned to it; newer is in force and applies if more lenient."
        in words.why
    )


def test_moments_lengths_and_lists_in_words() -> None:
    """Two units are enough, and one is one."""
    assert length(moment("2+3h4m") - moment("0")) == "2 days 3 hours"
    assert length(moment("0+1m1s") - moment("0")) == "1 minute 1 second"
    assert length(moment("0") - moment("0")) == "no time"
    assert distance(moment("3"), moment("4")) == "1 day ago"
    assert distance(moment("4"), moment("4")) == "now"
    assert listed(["a", "b", "c"], "or") == "a, b or c"
    assert listed(["a"]) == "a"


# --- whatever its state ---------------------------------------------------------------------------

OURS = re.compile(
    r"guard|feed|dwell|offset|hold|legal|polic|control.plane|pinned|canceled_at|notice|deadline|"
    r"worker|operator|deactivat|suspen|tier|data.plane|initiator|reinstat|None|[a-z]_[a-z]",
    re.IGNORECASE,
)
"""Words that mean something to us only."""

PERSONAL = (ACCOUNT, OWNER, "acme", "beta", *(str(each) for each in SUBSCRIPTIONS), "u-1")


def sentences(words: Sentences) -> tuple[str, ...]:
    """All that is said."""
    return (*words.why, *words.next, *words.stops)


@settings(max_examples=examples(500), deadline=None)
@given(worlds(), ORGANIZATIONS)
def test_every_state_has_an_explanation(world: World, id_: OrganizationId) -> None:
    """Total, and pure: the fleet is as it was; no sentence is empty or has a hole."""
    organization = world.fleet.organization(id_)
    before = repr(world)
    explanation = explain(organization, world.fleet, world.policies, now=TODAY)
    operators, customers = for_operators(explanation), for_customers(explanation)
    assert repr(world) == before
    for words in (operators, customers):
        assert words.why
        assert words.next
        assert all(line.strip() and "None" not in line for line in sentences(words))
    if isinstance(explanation.next, NothingComes):
        assert not explanation.remedies or explanation.next.because is NoChangeReason.DEACTIVATED


@settings(max_examples=examples(500), deadline=None)
@given(worlds(), ORGANIZATIONS)
def test_the_customers_text_contains_nothing_internal_and_nothing_personal(
    world: World, id_: OrganizationId
) -> None:
    """What is passed on names no rule, no id, no account and no address."""
    organization = world.fleet.organization(id_)
    explanation = explain(organization, world.fleet, world.policies, now=TODAY)
    for line in sentences(for_customers(explanation)):
        assert not OURS.search(line), line
        assert not any(each in line for each in PERSONAL), line


STEPS = {ForecastKind.CONTROL_PLANE_LOSS, ForecastKind.SUSPENDED, ForecastKind.DEACTIVATED}
BY_THE_WAY = {
    ForecastKind.PLAN_ENDS,
    ForecastKind.NOTICE_WITHDRAWN,
    ForecastKind.REINSTATEMENT_LAPSED,
}
"""What happens beside what comes next."""
PLANS = {ForecastKind.REINSTATED, ForecastKind.REINSTATEMENT_PENDING}
NEVER = TODAY + 10_000 * DAY


@settings(max_examples=examples(1_000), deadline=None)
@given(worlds(), ORGANIZATIONS)
def test_the_forecast_is_what_the_rules_do_then(world: World, id_: OrganizationId) -> None:
    """The rules are only named in an explanation; what they do when they run ahead is the truth."""
    organization = world.fleet.organization(id_)
    comes = explain(organization, world.fleet, world.policies, now=TODAY).next
    coming = forecast(organization, world.fleet, world.policies, now=TODAY, until=TODAY + 200 * DAY)
    steps_ahead = [each for each in coming if each.what not in BY_THE_WAY]
    first = (
        (steps_ahead[0].what, steps_ahead[0].at, steps_ahead[0].stopped_by) if steps_ahead else None
    )
    match comes:
        case NothingComes():
            assert first is None
        case PlanStarts(at=at):
            assert first is None or first[1] >= at
        case PlanEnds(at=at):
            assert first == (ForecastKind.CANCELED, max(at, TODAY), None)
        case ComesBack(at=at):
            back = next(each for each in steps_ahead if each.what is ForecastKind.REINSTATED)
            assert back.at == max(at, TODAY)
            assert first is not None
            assert first[1] == back.at
        case NoticeComes(at=at, deadline=deadline):
            assert first == (ForecastKind.NOTICE, max(at, TODAY), None)
            assert (steps_ahead[0].step, steps_ahead[0].announced_for_at) == (
                deadline.step,
                deadline.at,
            )
        case StepComes(deadline=deadline):
            assert first is not None
            assert first[:2] == (ForecastKind(deadline.step), max(deadline.at, TODAY))
            assert first[2] is None or deadline.at > TODAY
        case StepWithheld(deadline=deadline):
            assert first == (ForecastKind(deadline.step), TODAY, BlockedBy.GUARD)
        case StepPostponed(deadline=deadline):
            assert first is None or first[0] == ForecastKind.DEACTIVATED
        case OnHold(not_before=not_before):
            assert first is None or first[1] >= (not_before or NEVER) or first[0] not in STEPS
            assert first is None or not_before is not None
        case AwaitsCompletion(until=until):
            begun = first is not None and first[0] in PLANS
            assert first is None or begun or first[1] >= (until or NEVER)


@settings(max_examples=examples(300), deadline=None)
@given(worlds(), ORGANIZATIONS)
def test_of_several_rules_the_last_decides(world: World, id_: OrganizationId) -> None:
    """Each term adds up, and the step comes with the last of them."""
    organization = world.fleet.organization(id_)
    comes = explain(organization, world.fleet, world.policies, now=TODAY).next
    deadline = getattr(comes, "deadline", None)
    if deadline is not None:
        assert deadline.deciding.at == deadline.at == max(term.at for term in deadline.terms)
        assert len({term.rule for term in deadline.terms}) == len(deadline.terms)
        assert all(term.paused >= timedelta(0) for term in deadline.terms)


@settings(max_examples=examples(300), deadline=None)
@given(worlds(), ORGANIZATIONS)
def test_the_steps_to_come_are_in_their_order(world: World, id_: OrganizationId) -> None:
    """None is skipped and none is in the past; the first is the one that is explained."""
    organization = world.fleet.organization(id_)
    case = case_of(organization, world.fleet, world.policies, now=TODAY)
    steps = steps_to_come(case)
    assert [each.at for each in steps] == sorted(each.at for each in steps)
    assert all(each.at >= TODAY for each in steps)
    assert steps == () or steps[0].state is organization.upcoming
