"""How far an Azure operation is, and what its reports come to (marketplaces.md section 1)."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stories import check_story
from world import DAY, DAY_0, SAAS, moment, note

from examples import examples
from marketplace_worker.lifecycle.notes import (
    Activated,
    Change,
    Note,
    Progress,
    Resumed,
    Suspended,
    Unchanged,
    Unsubscribed,
)
from marketplace_worker.lifecycle.projection import Projection, SubscriptionStatus, fold
from marketplace_worker.lifecycle.subscription import KEPT_MAX, Subscription
from marketplace_worker.lifecycle.vocabulary import PlanType

RUNNING, FAILED, SUCCEEDED = Progress.RUNNING, Progress.FAILED, Progress.SUCCEEDED
UNSUBSCRIBE, SUSPEND, REINSTATE = Unsubscribed(by_partner=False), Suspended(), Resumed("suspended")
DESTRUCTIVE: list[Change] = [SUSPEND, UNSUBSCRIBE]
BEGAN = note(0, Activated())


def report(day: float, change: Change, progress: Progress, name: str = "op") -> Note:
    """One report of an operation."""
    plain = note(day, change, id_=f"{name}/{change.kind}/{progress}/{day}")
    return replace(plain, operation=f"{name}:{change.kind}", progress=progress)


def read(notes: Sequence[Note]) -> Projection:
    """What they come to when they arrive in this order, each of them twice."""
    register = Subscription(SAAS)
    for each in (*notes, *notes):
        register = register.with_note(each)
    return fold(register, links=())


def projection(*notes: Note) -> Projection:
    """What they come to, after a Subscribe; it is the same in every order of arrival."""
    projections = {read(order) for order in permutations((BEGAN, *notes))}
    assert len(projections) == 1, "the order of arrival matters"
    return projections.pop()


# --- what takes something away --------------------------------------------------------------------


@pytest.mark.parametrize("change", DESTRUCTIVE)
def test_a_destructive_operation_changes_nothing_before_it_has_succeeded(change: Change) -> None:
    """A Suspend or Unsubscribe that is not final may still fail: no default leads to harm."""
    assert projection(report(9, change, RUNNING)) == projection()
    assert projection(report(9, change, RUNNING), report(10, change, FAILED)) == projection()
    assert projection(report(9, change, FAILED)) == projection()


@pytest.mark.parametrize("change", DESTRUCTIVE)
def test_a_destructive_operation_has_the_time_of_its_success(change: Change) -> None:
    """Not that of the report that it had begun."""
    found = projection(report(9, change, RUNNING), report(10, change, SUCCEEDED))
    assert found == projection(report(10, change, SUCCEEDED))
    assert [span.ends_at for span in found.spans] == [moment(10)]


@pytest.mark.parametrize("change", DESTRUCTIVE)
def test_of_several_final_reports_the_newest_counts(change: Change) -> None:
    """Failed and then tried again with success; or the other way round."""
    assert projection(report(9, change, FAILED), report(10, change, SUCCEEDED)) == projection(
        report(10, change, SUCCEEDED)
    )
    assert projection(report(9, change, SUCCEEDED), report(10, change, FAILED)) == projection()


@pytest.mark.parametrize("change", DESTRUCTIVE)
def test_at_one_time_the_failure_of_a_destructive_operation_counts(change: Change) -> None:
    """The kinder of the two."""
    assert projection(report(9, change, FAILED), report(9, change, SUCCEEDED)) == projection()


def test_another_operation_of_the_same_kind_is_judged_by_itself() -> None:
    """An Unsubscribe that failed says nothing of the next one."""
    found = projection(report(9, UNSUBSCRIBE, FAILED), report(12, UNSUBSCRIBE, SUCCEEDED, "op-2"))
    assert (found.status, found.spans[0].ends_at) == (SubscriptionStatus.ENDED, moment(12))


def test_another_action_under_the_same_id_is_another_operation() -> None:
    """Some senders give one id to all that they send."""
    found = projection(report(9, SUSPEND, SUCCEEDED), report(12, UNSUBSCRIBE, FAILED))
    assert found.status is SubscriptionStatus.SUSPENDED


# --- what goes towards service --------------------------------------------------------------------


def test_what_goes_towards_service_counts_while_it_runs() -> None:
    """From its first report on, until it is known to have failed."""
    suspended = report(5, SUSPEND, SUCCEEDED, "op-0")
    found = projection(suspended, report(9, REINSTATE, RUNNING))
    assert found.status is SubscriptionStatus.ACTIVE
    assert found == projection(
        suspended, report(9, REINSTATE, RUNNING), report(10, REINSTATE, RUNNING)
    )
    assert found == projection(suspended, report(9, REINSTATE, SUCCEEDED))


def test_a_reinstatement_that_failed_never_was() -> None:
    """Also its floor stands again: Azure wants the data kept for 30 days from the Suspend."""
    suspended = report(5, SUSPEND, SUCCEEDED, "op-0")
    found = projection(suspended, report(9, REINSTATE, RUNNING), report(10, REINSTATE, FAILED))
    assert found == projection(suspended)
    assert found.floor == DAY_0 + 35 * DAY


def test_at_one_time_what_goes_towards_service_succeeded() -> None:
    """The kinder of the two."""
    suspended = report(5, SUSPEND, SUCCEEDED, "op-0")
    both = (report(9, REINSTATE, FAILED), report(9, REINSTATE, SUCCEEDED))
    assert projection(suspended, *both).status is SubscriptionStatus.ACTIVE


def test_a_failed_operation_has_no_plan_type_and_no_term() -> None:
    """It counts as never reported, in all that it reported."""
    begun, failed, done = (
        replace(
            report(day, Activated(), progress),
            plan_type=PlanType.PAYG,
            term_ends_at=moment(8),
            auto_renews=False,
        )
        for day, progress in ((3, RUNNING), (4, FAILED), (4, SUCCEEDED))
    )
    end = report(9, UNSUBSCRIBE, SUCCEEDED)
    assert projection(begun, failed, end) == projection(end)
    assert projection(begun, done, end) != projection(end)


def test_a_failed_change_of_plan_changes_nothing_either() -> None:
    """It changes no status, but would tell the plan type."""
    plan_change = replace(report(4, Unchanged(), RUNNING), plan_type=PlanType.COMMIT)
    assert projection(plan_change).plan_type is PlanType.COMMIT
    assert projection(plan_change, report(5, Unchanged(), FAILED)).plan_type is None


def test_without_an_operation_each_report_is_one_of_its_own() -> None:
    """A failure then says nothing of another report."""
    alone = [
        replace(report(9, UNSUBSCRIBE, progress), operation=None)
        for progress in (SUCCEEDED, FAILED)
    ]
    assert projection(*alone) == projection(report(9, UNSUBSCRIBE, SUCCEEDED))


# --- the register ---------------------------------------------------------------------------------


def test_a_register_keeps_of_an_operation_only_what_decides() -> None:
    """Reported as running without end, it pushes nothing else out."""
    register = Subscription(SAAS).with_note(BEGAN)
    for day in range(KEPT_MAX + 50):
        register = register.with_note(report(day, UNSUBSCRIBE, RUNNING))
    assert register.notes == (BEGAN,)
    for day in range(KEPT_MAX + 50):
        register = register.with_note(report(day, UNSUBSCRIBE, FAILED))
    assert register.notes == (BEGAN, report(KEPT_MAX + 49, UNSUBSCRIBE, FAILED))


DAYS = st.integers(0, 4)
CHANGES: st.SearchStrategy[Change] = st.sampled_from(
    [Activated(), *DESTRUCTIVE, REINSTATE, Unchanged()]
)
PLAN_TYPES = st.sampled_from([None, *PlanType])


@st.composite
def reports(draw: st.DrawFn) -> list[Note]:
    """Any reports of a few operations, close together in time; some have no operation."""
    found = []
    for number in range(draw(st.integers(0, 7))):
        one_report = report(
            draw(DAYS),
            draw(CHANGES),
            draw(st.sampled_from(Progress)),
            draw(st.sampled_from(["op-1", "op-2"])),
        )
        rank = [Activated, Unchanged, Suspended, Resumed, Unsubscribed].index(
            type(one_report.change)
        )
        one_report = replace(
            one_report, rank=rank, id=f"{one_report.id}/{number}", plan_type=draw(PLAN_TYPES)
        )
        found.append(one_report if draw(st.booleans()) else replace(one_report, operation=None))
    return found


@settings(max_examples=examples(300), deadline=None)
@given(reports(), st.data())
def test_any_order_of_any_reports_comes_to_the_same(
    reports: list[Note], data: st.DataObject
) -> None:
    """In the register as well as in the projection, also where some arrive twice."""
    again = data.draw(st.permutations([*reports, *reports]))
    first, second = Subscription(SAAS), Subscription(SAAS)
    for each in reports:
        first = first.with_note(each)
    for each in again:
        second = second.with_note(each)
    assert first == second
    assert fold(first, ()) == fold(second, ())


@settings(max_examples=examples(300), deadline=None)
@given(reports())
def test_reports_come_to_what_only_those_that_count_come_to(reports: list[Note]) -> None:
    """The rule once more, in other words: who counts is found by looking at all of them at once."""
    plain = [
        replace(each, operation=None, progress=SUCCEEDED)
        for each in reports
        if _counts(each, reports)
    ]
    assert read(reports) == read(plain)


def _counts(report: Note, reports: Sequence[Note]) -> bool:
    is_destructive = isinstance(report.change, Suspended | Unsubscribed)
    same = [each for each in reports if each.operation == report.operation]
    if report.operation is None:
        same = [report]
    final = [each for each in same if each.progress is not RUNNING]
    if not final:
        return not is_destructive
    last_at = max(each.occurred_at for each in final)
    at_last = [each for each in final if each.occurred_at == last_at]
    succeeded = [each for each in at_last if each.progress is SUCCEEDED]
    if is_destructive and len(succeeded) < len(at_last):
        return False
    return bool(succeeded) and report == max(succeeded, key=lambda each: each.order)


# --- what becomes of the organization -------------------------------------------------------------


def test_a_reinstatement_that_failed_stopped_no_clock() -> None:
    """Section 11: the deadlines go on as if nothing had been said, whatever had waited for it."""
    check_story("""
        day  | input                          | events
        0    | acme created plus              |
        0    | acme links azure:s payg        |
        9    | azure:s Suspend                | canceled non_payment by marketplace, payg
        10   |                                | control_plane_lost
        11   | azure:s Reinstate id=r status=InProgress | reinstatement_pending: azure:s by support
        12   | azure:s Reinstate id=r status=Failed | reinstatement_lapsed: azure:s by support
        13   |                                | notice_given: suspended 16
        16   |                                | suspended
        39   |                                | notice_given: deactivated 46
        46   |                                | deactivated
    """)


def test_a_reinstatement_that_failed_before_it_was_reported_as_running_changes_nothing() -> None:
    """The same in the other order."""
    check_story("""
        day  | input                          | events
        0    | acme created plus              |
        0    | acme links azure:s payg        |
        9    | azure:s Suspend                | canceled non_payment by marketplace, payg
        10   |                                | control_plane_lost
        11   | azure:s Reinstate id=r status=Failed @11+1h |
        12   | azure:s Reinstate id=r status=InProgress @11 |
        13   |                                | notice_given: suspended 16
        16   |                                | suspended
        39   |                                | notice_given: deactivated 46
        46   |                                | deactivated
    """)


def test_who_was_reinstated_by_what_failed_is_canceled_again() -> None:
    """Support believed it; once the failure is received, the plan ended at the Suspend."""
    check_story("""
        day  | input                          | events
        0    | acme created plus              |
        0    | acme links azure:s payg        |
        9    | azure:s Suspend                | canceled non_payment by marketplace, payg
        9+1h | azure:s Reinstate id=r status=InProgress | reinstatement_pending: azure:s by support
        9+2h | support: acme reinstate        | reinstated
        9+2h |                                | support_request.completed
        9+3h | azure:s Reinstate id=r status=Failed | canceled @9 non_payment by marketplace, payg
        10   |                                | control_plane_lost
        13   |                                | notice_given: suspended 16
        16   |                                | suspended
        39   |                                | notice_given: deactivated 46
        46   |                                | deactivated
    """)


def test_an_end_that_turns_out_to_have_failed_brings_the_organization_back() -> None:
    """The newest final report counts: the plan never ended, so nothing was ever to be proved."""
    check_story("""
        day  | input                          | events
        0    | acme created plus              |
        0    | acme links azure:s payg        |
        9    | azure:s Unsubscribe id=u       | canceled customer by customer, payg
        9    |                                | final_report_due azure:s 10
        9+1h | azure:s Unsubscribe id=u status=Failed | reinstated
    """)
