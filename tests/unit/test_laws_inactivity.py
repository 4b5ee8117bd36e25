"""Inactivity of free organizations, compared with the definition in lifecycle.md section 5."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from due_organizations import active_feeds
from hypothesis import given, settings
from hypothesis import strategies as st
from world import (
    ACME,
    DAY,
    DAY_0,
    ENTITLEMENT,
    HOUR,
    World,
    created,
    link,
    moment,
    note,
    notified,
    requested,
    signed_in,
)

from examples import examples
from marketplace_worker.lifecycle.deadlines import inactivity_terms, latest
from marketplace_worker.lifecycle.events import EventKind
from marketplace_worker.lifecycle.facts import Created, Fact
from marketplace_worker.lifecycle.inactivity import Feeds, LastSeen
from marketplace_worker.lifecycle.notes import Activated
from marketplace_worker.lifecycle.policy import Inactivity, NoticeLead, Policies, Policy
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import ActivityFeed, DeactivationCause, Identity, Tier

RULES = Inactivity()
MONTH = 30 * DAY
HALF_DAYS = st.integers(-80, 120).map(lambda halves: moment(halves / 2))


def by(at: datetime, halves: list[int]) -> list[datetime]:
    """Of these moments, in half days, those that have passed."""
    return [moment(half / 2) for half in halves if moment(half / 2) <= at]


def inactive(
    at: datetime,
    anchor: datetime,
    logins: Iterable[datetime],
    requests: Iterable[datetime],
) -> bool:
    """The definition's two conditions, literally; creation counts as a login."""
    cycle = (at - anchor) // MONTH
    signed_in_lately = any(login <= at < login + MONTH for login in logins)
    used_lately = any((each - anchor) // MONTH in {cycle, cycle - 1} for each in requests)
    return not signed_in_lately and not used_lately


@settings(max_examples=examples(300), deadline=None)
@given(HALF_DAYS, HALF_DAYS, st.none() | HALF_DAYS, st.none() | HALF_DAYS)
def test_the_first_inactive_instant_is_the_first_by_the_definition(
    began_at: datetime, anchor: datetime, login: datetime | None, request: datetime | None
) -> None:
    """The formula of section 5 against its definition: at that moment, and not a moment before."""
    first = latest(inactivity_terms(LastSeen(login, request), began_at, anchor, RULES))
    logins = [began_at, *([login] if login else [])]
    requests = [request] if request else []
    newest = max([*logins, *requests])
    assert inactive(first, anchor, logins, requests)
    assert first == newest or not inactive(first - DAY_0.resolution, anchor, logins, requests)
    assert first > max(logins)


@settings(max_examples=examples(30), deadline=None)
@given(st.permutations([1, 2, 3, 3]))
def test_the_newest_activity_counts_whenever_it_arrives(days: list[int]) -> None:
    """A maximum, of logins and of requests (docs/architecture.md)."""
    world = World()
    for day in days:
        world.apply(signed_in(day), moment(9))
        world.apply(requested(day / 2), moment(9))
    seen = world.fleet.last_seen(ACME)
    assert (seen.login_at, seen.request_at) == (moment(3), moment(1.5))


# --- feeds ----------------------------------------------------------------------------------------


def longest_gap(moments_of_use: Sequence[datetime], since: datetime, until: datetime) -> timedelta:
    """Both ends count as gaps."""
    moments = sorted(at for at in moments_of_use if since <= at <= until)
    edges = [since, *moments, until]
    return max(after - before for before, after in pairwise(edges))


@settings(max_examples=examples(200), deadline=None)
@given(
    st.lists(st.integers(-140, 20), max_size=40),
    st.lists(st.integers(-140, 20), max_size=40),
    st.integers(-100, 0),
)
def test_a_feed_is_silent_where_a_gap_is_too_long(
    logins: list[int], requests: list[int], anchor: int
) -> None:
    """Over the last 30 days for logins; for usage over the previous and the current cycle."""
    feeds, now = Feeds(), moment(0)
    activity = {ActivityFeed.LOGINS: logins, ActivityFeed.API_REQUESTS: requests}
    for feed, halves in activity.items():
        for half in halves:
            feeds.record(feed, moment(half / 2))
    began_at = moment(anchor)
    cycle = began_at + (now - began_at) // MONTH * MONTH
    since = {ActivityFeed.LOGINS: now - MONTH, ActivityFeed.API_REQUESTS: cycle - MONTH}
    expected = tuple(
        feed
        for feed, halves in activity.items()
        if longest_gap([moment(half / 2) for half in halves], since[feed], now) > 3 * DAY
    )
    assert feeds.silent_feeds(began_at, RULES, now=now) == expected


# --- lives ----------------------------------------------------------------------------------------


@settings(max_examples=examples(100), deadline=None)
@given(
    st.integers(-60, 0),
    st.lists(st.integers(0, 240), max_size=6),
    st.lists(st.integers(0, 240), max_size=6),
)
def test_a_free_organization_is_deactivated_just_when_it_is_inactive(
    anchor: int, logins: list[int], requests: list[int]
) -> None:
    """With a notice a week before; activity between the two withdraws it."""
    world = active_feeds(World())
    began = Created(Identity("t", "c"), DAY_0, ACME, Tier.FREE, created().owner, moment(anchor / 2))
    world.apply(began, DAY_0)
    used: list[tuple[int, Fact]] = [(half, signed_in(half / 2)) for half in logins]
    used += [(half, requested(half / 2)) for half in requests]
    for half, fact in sorted(used, key=lambda each: each[0]):
        world.wait(moment(half / 2))
        if world.acme().state is State.ACTIVE:
            world.apply(fact, moment(half / 2))
    world.wait(moment(400))
    (closed,) = [e for e in world.events if e.kind is EventKind.DEACTIVATED]
    at = DAY_0
    while not inactive(at, moment(anchor / 2), [DAY_0, *by(at, logins)], by(at, requests)):
        at += HOUR * 12
    assert closed.decided_at == closed.effective_at == at
    assert world.acme().deactivation_cause is DeactivationCause.INACTIVITY
    given_at = [e.decided_at for e in world.events if e.kind is EventKind.NOTICE_GIVEN]
    assert given_at[-1] == at - 7 * DAY


@settings(max_examples=examples(100), deadline=None)
@given(
    st.sampled_from([7, 30, 45, 90]),
    st.lists(st.tuples(st.integers(0, 240), st.sampled_from([signed_in, requested])), max_size=6),
)
def test_nobody_who_used_it_after_a_notice_is_deactivated_by_that_notice(
    lead: int, used: list[tuple[int, Callable[[float], Fact]]]
) -> None:
    """Section 5, and invariant 3: from the last use on there is all of a notice's lead."""
    policy = Policy(
        notice=NoticeLead(inactivity=lead * DAY), inactivity=Inactivity(billing_cycle=7 * DAY)
    )
    world = active_feeds(World(Policies(policy)))
    world.apply(created(), DAY_0)
    for half, use in sorted(used, key=lambda each: each[0]):
        world.wait(moment(half / 2))
        if world.acme().state is State.ACTIVE:
            world.apply(use(half / 2), moment(half / 2))
    world.wait(moment(600))
    (closed,) = [e for e in world.events if e.kind is EventKind.DEACTIVATED]
    given_at = [e.decided_at for e in world.events if e.kind is EventKind.NOTICE_GIVEN]
    assert closed.decided_at >= given_at[-1] + lead * DAY
    assert all(
        moment(half / 2) <= given_at[-1] for half, _ in used if moment(half / 2) < closed.decided_at
    )


@pytest.mark.parametrize("tier", [Tier.PLUS, Tier.ENTERPRISE])
def test_who_pays_for_a_tier_is_never_inactive(tier: Tier) -> None:
    """Invariant 9."""
    world = active_feeds(World())
    world.apply(created(tier=tier), DAY_0)
    world.wait(moment(400))
    assert world.events == []


def test_who_has_an_active_plan_is_never_inactive() -> None:
    """Section 5: only without one; the free tier alone says nothing."""
    world = active_feeds(World())
    world.apply_all(
        created(), link(ENTITLEMENT), notified(ENTITLEMENT, note(0, Activated())), day=0
    )
    world.wait(moment(400))
    assert world.events == []
