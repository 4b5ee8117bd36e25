"""A subscription's register, row by row of marketplaces.md section 1 (*Fold* and below)."""

import random
from itertools import permutations

import pytest
from world import ACME, AGREEMENT, DAY, DAY_0, ENTITLEMENT, HOUR, RENEWED, SAAS, moment, note

from marketplace_worker.lifecycle.notes import (
    Activated,
    Change,
    Ended,
    Ending,
    Note,
    Pended,
    Resumed,
    Superseded,
    Suspended,
    Unchanged,
    Unsubscribed,
    VendorCancellationApproved,
)
from marketplace_worker.lifecycle.projection import Projection, Span, SubscriptionStatus, fold
from marketplace_worker.lifecycle.subscription import KEPT_MAX, Link, Subscription
from marketplace_worker.lifecycle.vocabulary import (
    Initiator,
    PlanEndReason,
    PlanType,
    SubscriptionKey,
)

CUSTOMER = Ended(PlanEndReason.CUSTOMER, Initiator.CUSTOMER, terminal=True)
NON_PAYMENT = Ended(PlanEndReason.NON_PAYMENT, Initiator.MARKETPLACE, terminal=True)
UNKNOWN = Ended(PlanEndReason.UNKNOWN, Initiator.MARKETPLACE, terminal=True)
FOR_NOW = Ended(PlanEndReason.UNKNOWN, Initiator.MARKETPLACE, terminal=False)
APPROVED = VendorCancellationApproved()
RENEWAL_OFF = Ending(DAY_0 + 20 * DAY, reason=PlanEndReason.COMMIT_EXPIRED)
LAST_HOUR = Ending(DAY_0 + 10 * DAY + HOUR, closes_usage=True)


def projection(*changes: tuple[float, Change], key: SubscriptionKey = AGREEMENT) -> Projection:
    """What these notifications, by day, come to; it is the same in every order of arrival."""
    notes = [note(day, change, rank=number) for number, (day, change) in enumerate(changes)]
    projections = {read(order, key) for order in permutations(notes)}
    assert len(projections) == 1, "the order of arrival matters"
    return projections.pop()


def read(notes: tuple[Note, ...], key: SubscriptionKey) -> Projection:
    """What they come to when they arrive in this order, each of them twice."""
    register = Subscription(key)
    for each in (*notes, *notes):
        register = register.with_note(each)
    return fold(register, links=())


def shown(found: Projection) -> str:
    """A projection in one line: the status, and each interval with how it ended."""
    return " ".join([found.status or "nothing", *(_shown(span) for span in found.spans)])


def _shown(span: Span) -> str:
    starts = (span.starts_at - DAY_0) / DAY
    if span.ends_at is None:
        return f"[{starts:g}, ...)"
    ends = (span.ends_at - DAY_0) / DAY
    return f"[{starts:g}, {ends:.2g}) {span.reason}/{span.initiator}"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # received, but not in force
        ([(0, Unchanged())], "nothing"),
        ([(0, Pended())], "pending"),
        ([(0, APPROVED)], "nothing"),
        # `pending` never replaces another status
        ([(0, Activated()), (1, Pended())], "active [0, ...)"),
        ([(0, FOR_NOW), (1, Pended())], "ended [0, 0) unknown/marketplace"),
        # in force
        ([(0, Pended()), (3, Activated())], "active [3, ...)"),
        ([(0, Activated()), (3, Activated())], "active [0, ...)"),
        # `ending` counts until its `ends_at`, without one until reported
        ([(0, Activated()), (9, Ending(None))], "ending [0, ...)"),
        ([(0, Ending(None))], "ending [0, ...)"),
        ([(0, Activated()), (9, RENEWAL_OFF)], "ending [0, 20) commit_expired/system"),
        (
            [(0, Activated()), (9, Ending(DAY_0 + 20 * DAY))],
            "ending [0, 20) unknown/system",
        ),
        # an earlier word for the end wins over what was announced
        (
            [(0, Activated()), (9, RENEWAL_OFF), (12, CUSTOMER)],
            "ended [0, 12) customer/customer",
        ),
        # auto-renewal on again, or the customer came back
        ([(0, Activated()), (9, RENEWAL_OFF), (12, Resumed("ending"))], "active [0, ...)"),
        ([(0, Pended()), (12, Resumed("ending"))], "pending"),
        # Azure's Suspend and Reinstate
        (
            [(0, Activated()), (9, Suspended())],
            "suspended [0, 9) non_payment/marketplace",
        ),
        ([(9, Suspended())], "suspended [9, 9) non_payment/marketplace"),
        (
            [(0, Activated()), (9, Suspended()), (12, Resumed("suspended"))],
            "active [0, 9) non_payment/marketplace [12, ...)",
        ),
        ([(0, Activated()), (12, Resumed("suspended"))], "active [0, ...)"),
        # an end, and what a later one may still tell
        ([(0, Activated()), (9, CUSTOMER)], "ended [0, 9) customer/customer"),
        ([(9, CUSTOMER)], "ended [9, 9) customer/customer"),
        (
            [(0, Activated()), (9, UNKNOWN), (12, NON_PAYMENT)],
            "ended [0, 9) non_payment/marketplace",
        ),
        (
            [(0, Activated()), (9, CUSTOMER), (12, NON_PAYMENT)],
            "ended [0, 9) customer/customer",
        ),
        # terminal stays
        ([(0, Activated()), (9, CUSTOMER), (12, Activated())], "ended [0, 9) customer/customer"),
        ([(0, Activated()), (9, CUSTOMER), (9, LAST_HOUR)], "ended [0, 9) customer/customer"),
        ([(0, Superseded()), (9, Activated())], "superseded [0, 0) unknown/system"),
        # an SNS end is not terminal
        (
            [(0, Activated()), (9, FOR_NOW), (12, Activated())],
            "active [0, 9) unknown/marketplace [12, ...)",
        ),
        # superseded wins over ended, whichever comes first; the earliest end gives the time
        ([(0, Activated()), (9, CUSTOMER), (12, Superseded())], "superseded [0, 9) unknown/system"),
        ([(0, Activated()), (9, Superseded()), (12, CUSTOMER)], "superseded [0, 9) unknown/system"),
        # the vendor's own cancellation: approved at or before the end
        (
            [(0, Activated()), (8, APPROVED), (9, CUSTOMER)],
            "ended [0, 9) vendor/vendor",
        ),
        ([(0, Activated()), (9, CUSTOMER), (9, APPROVED)], "ended [0, 9) vendor/vendor"),
        ([(0, Activated()), (9, CUSTOMER), (10, APPROVED)], "ended [0, 9) customer/customer"),
        (
            [(0, Activated()), (8, APPROVED), (9, NON_PAYMENT)],
            "ended [0, 9) non_payment/marketplace",
        ),
    ],
)
def test_what_notifications_come_to(changes: list[tuple[float, Change]], expected: str) -> None:
    """Each row of the tables of marketplaces.md section 1, in every order of arrival."""
    assert shown(projection(*changes)) == expected


def test_who_comes_back_after_the_last_hour_has_run_out_begins_anew() -> None:
    """The hour ended untold; the gap after it is a gap."""
    found = projection((0, Activated()), (10, LAST_HOUR), (12, Activated()))
    assert [(s.starts_at, s.ends_at) for s in found.spans] == [
        (DAY_0, DAY_0 + 10 * DAY + HOUR),
        (DAY_0 + 12 * DAY, None),
    ]


def test_who_comes_back_within_the_last_hour_was_never_away() -> None:
    """An `unsubscribe-pending` is no end yet."""
    found = projection((0, Activated()), (10, LAST_HOUR), (10.02, Activated()))
    assert shown(found) == "active [0, ...)"


@pytest.mark.parametrize(
    ("before", "unsubscribed", "expected"),
    [
        ([], {}, "customer/customer"),
        ([], {"by_partner": True}, "vendor/vendor"),
        ([(5, Suspended())], {"by_partner": True}, "non_payment/marketplace"),
        ([], {"ends": 9, "renewed": False}, "commit_expired/system"),
        ([], {"ends": 9, "renewed": True}, "customer/customer"),
        ([], {"ends": 9, "renewed": None}, "customer/customer"),
        ([], {"ends": 10, "renewed": False}, "customer/customer"),
    ],
)
def test_why_azure_unsubscribed(
    before: list[tuple[float, Change]], unsubscribed: dict[str, float | None], expected: str
) -> None:
    """In the order of the table: not paid, by the partner, the term's end, else the customer."""
    renews = unsubscribed.get("renewed")
    ends = unsubscribed.get("ends")
    end = note(
        9,
        Unsubscribed(by_partner=bool(unsubscribed.get("by_partner"))),
        term_ends_at=None if ends is None else DAY_0 + ends * DAY,
        auto_renews=True,
    )
    first = note(0, Activated(), auto_renews=None if renews is None else bool(renews))
    found = read((first, *(note(day, change) for day, change in before), end), SAAS)
    assert shown(found).endswith(expected)


def test_at_equal_times_the_later_row_of_the_table_comes_later() -> None:
    """AWS writes both in one second: who subscribed and unsubscribed then is gone."""
    subscribed = note(9, Activated(), rank=11, id_="z")
    unsubscribed = note(9, FOR_NOW, rank=13, id_="a")
    found = read((unsubscribed, subscribed), AGREEMENT)
    assert shown(found) == "ended [9, 9) unknown/marketplace"


def test_at_equal_times_in_one_row_the_greater_id_comes_later() -> None:
    """So that two notifications that nothing else distinguishes are folded alike everywhere."""
    ends = [note(9, end, id_=name) for name, end in (("b", CUSTOMER), ("a", NON_PAYMENT))]
    assert shown(read(tuple(ends), AGREEMENT)) == "ended [9, 9) non_payment/marketplace"


# --- plan type ------------------------------------------------------------------------------------


def test_the_plan_type_is_that_of_the_newest_notification_that_has_one() -> None:
    """By its own time, not by its arrival."""
    changes = (
        note(5, Activated(), plan_type=PlanType.COMMIT),
        note(0, Activated(), plan_type=PlanType.PAYG),
        note(9, Activated()),
    )
    assert read(changes, ENTITLEMENT).plan_type is PlanType.COMMIT


def test_a_contract_that_was_seen_once_stays_a_contract() -> None:
    """SNS: `subscribe-success` is `payg` unless an `entitlement-updated` was ever seen."""
    contract = note(5, Unchanged(), plan_type=PlanType.COMMIT, plan_type_settled=True)
    changes = (note(0, Activated(), plan_type=PlanType.PAYG), contract)
    later = note(9, Activated(), plan_type=PlanType.PAYG)
    assert read((*changes, later), AGREEMENT).plan_type is PlanType.COMMIT


def test_without_a_plan_type_in_any_notification_it_is_unknown() -> None:
    """Unknown is None, which takes the longest timeline."""
    assert projection((0, Activated())).plan_type is None


# --- floors and the last usage --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "floor"),
    [
        ([(0, Activated())], None),
        ([(5, Suspended())], 35),
        ([(5, Suspended()), (8, Resumed("suspended"))], None),
        ([(5, Suspended()), (8, Activated())], 35),
        ([(5, Unsubscribed(by_partner=False))], 12),
        ([(5, Suspended()), (8, Unsubscribed(by_partner=False))], 35),
        ([(5, Suspended()), (34, Unsubscribed(by_partner=False))], 41),
    ],
)
def test_until_when_azure_wants_the_data_kept(
    changes: list[tuple[float, Change]], floor: float | None
) -> None:
    """30 days after a Suspend until a Reinstate, and 7 days after an Unsubscribe."""
    expected = None if floor is None else DAY_0 + floor * DAY
    assert projection(*changes, key=SAAS).floor == expected


@pytest.mark.parametrize(
    ("changes", "closed"),
    [
        ([(0, Activated())], []),
        ([(0, Activated()), (10, LAST_HOUR)], [10]),
        ([(0, Activated()), (10, LAST_HOUR), (11, CUSTOMER)], [10]),
        ([(0, Activated()), (9, CUSTOMER), (10, LAST_HOUR)], [9]),
        ([(0, Activated()), (9, Superseded())], [9]),
        ([(0, Activated()), (9, RENEWAL_OFF)], []),
        ([(0, Activated()), (9, FOR_NOW), (10, Activated()), (12, FOR_NOW)], [9, 12]),
        ([(9, CUSTOMER)], []),
        ([(0, Pended()), (9, CUSTOMER)], []),
        ([(9, LAST_HOUR), (10, CUSTOMER)], [9]),
    ],
)
def test_when_aws_begins_to_close_the_metering(
    changes: list[tuple[float, Change]], closed: list[float]
) -> None:
    """The first of the last hour, an end or a succession; once per end of a subscription that had
    counted as active.
    """
    assert projection(*changes).usage_closed_at == tuple(DAY_0 + day * DAY for day in closed)


@pytest.mark.parametrize(
    ("changes", "closed"),
    [
        ([(0, Activated()), (9, CUSTOMER)], [9]),
        ([(0, Activated()), (9, Superseded())], [9]),
        ([(9, CUSTOMER)], []),
        ([(0, Activated()), (8, Ending(None)), (9, CUSTOMER)], [9]),
        ([(0, Activated()), (9, CUSTOMER), (10, UNKNOWN)], [9]),
    ],
)
def test_google_accepts_the_last_usage_after_a_cancellation(
    changes: list[tuple[float, Change]], closed: list[float]
) -> None:
    """At ENTITLEMENT_CANCELLED, also where it says `migrated`; not at an announced end."""
    ends = Ended | Superseded
    notes = [note(day, end, closes_usage=isinstance(end, ends)) for day, end in changes]
    assert read(tuple(notes), ENTITLEMENT).usage_closed_at == tuple(moment(day) for day in closed)


UNSUBSCRIBED = Unsubscribed(by_partner=False)


@pytest.mark.parametrize(
    ("changes", "closed"),
    [
        ([(0, Activated()), (9, UNSUBSCRIBED)], [9]),
        ([(9, UNSUBSCRIBED)], []),
        ([(0, Activated()), (5, Suspended()), (9, UNSUBSCRIBED)], []),
        ([(0, Activated()), (5, Suspended()), (7, Resumed("suspended")), (9, UNSUBSCRIBED)], [9]),
        ([(0, Activated()), (9, UNSUBSCRIBED), (10, UNSUBSCRIBED)], [9]),
    ],
)
def test_azure_accepts_the_last_usage_after_an_unsubscription(
    changes: list[tuple[float, Change]], closed: list[float]
) -> None:
    """But not where it was suspended: then usage was refused already."""
    ends = Unsubscribed
    notes = [note(day, end, closes_usage=isinstance(end, ends)) for day, end in changes]
    assert read(tuple(notes), SAAS).usage_closed_at == tuple(moment(day) for day in closed)


@pytest.mark.parametrize("key", [ENTITLEMENT, SAAS])
def test_an_end_that_was_stored_before_calls_for_no_report(key: SubscriptionKey) -> None:
    """Google's and Azure's have none before 0.2.0; an update must not call for all at once."""
    end = UNSUBSCRIBED if key == SAAS else CUSTOMER
    assert projection((0, Activated()), (9, end), key=key).usage_closed_at == ()


# --- reasons that were inferred -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([(20, NON_PAYMENT)], "ended [0, 20) non_payment/marketplace"),
        ([(21, NON_PAYMENT)], "ended [0, 20) non_payment/marketplace"),
        ([(19, NON_PAYMENT)], "ended [0, 19) non_payment/marketplace"),
        ([(21, UNKNOWN)], "ended [0, 20) commit_expired/system"),
        ([(21, UNKNOWN), (22, NON_PAYMENT)], "ended [0, 20) non_payment/marketplace"),
        ([(21, NON_PAYMENT), (22, CUSTOMER)], "ended [0, 20) non_payment/marketplace"),
        ([(21, APPROVED), (22, CUSTOMER)], "ended [0, 20) vendor/vendor"),
    ],
)
def test_an_explicit_reason_replaces_an_inferred_one(
    changes: list[tuple[float, Change]], expected: str
) -> None:
    """The announced end ran out on day 20, and nobody had said why (lifecycle.md section 11)."""
    assert shown(projection((0, Activated()), (9, RENEWAL_OFF), *changes)) == expected


def test_the_sender_of_an_unknown_reason_is_the_initiator() -> None:
    """The marketplace reported the end, and so is its initiator; inferred, it is the system's."""
    runs_out = (9, Ending(DAY_0 + 20 * DAY))
    assert shown(projection((0, Activated()), runs_out)) == "ending [0, 20) unknown/system"
    changes = projection((0, Activated()), runs_out, (21, UNKNOWN))
    assert shown(changes) == "ended [0, 20) unknown/marketplace"


# --- licences of one agreement --------------------------------------------------------------------


def licensed(*changes: tuple[float, Change, str | None]) -> str:
    """What an agreement comes to whose notifications name licences; alike in every order."""
    notes = [
        note(day, change, rank=number, licence=licence)
        for number, (day, change, licence) in enumerate(changes)
    ]
    projections = {read(order, AGREEMENT) for order in permutations(notes)}
    assert len(projections) == 1, "the order of arrival matters"
    return shown(projections.pop())


LAST_HOUR_OF_12 = Ending(DAY_0 + 12 * DAY + HOUR, closes_usage=True)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # one of two; the second one then is the last
        (
            [(0, Activated(), "l-a"), (1, Activated(), "l-b"), (10, LAST_HOUR, "l-b")],
            "active [0, ...)",
        ),
        (
            [
                (0, Activated(), "l-a"),
                (1, Activated(), "l-b"),
                (10, LAST_HOUR, "l-a"),
                (12, LAST_HOUR_OF_12, "l-b"),
            ],
            "ending [0, 12) unknown/system",
        ),
        # reported again after it was deprovisioned: it lives
        (
            [
                (0, Activated(), "l-a"),
                (1, Activated(), "l-b"),
                (2, LAST_HOUR, "l-a"),
                (3, Activated(), "l-a"),
                (12, LAST_HOUR_OF_12, "l-b"),
            ],
            "active [0, ...)",
        ),
        # any other notification reports a licence
        (
            [(0, Activated(), "l-a"), (1, Unchanged(), "l-b"), (10, LAST_HOUR, "l-a")],
            "active [0, ...)",
        ),
        # reported only later: it did not live then
        (
            [(0, Activated(), "l-a"), (10, LAST_HOUR, "l-a"), (12, Activated(), "l-b")],
            "active [0, 10) unknown/system [12, ...)",
        ),
        # without an id, or where none was ever reported, it counts for all
        (
            [(0, Activated(), "l-a"), (1, Activated(), "l-b"), (10, LAST_HOUR, None)],
            "ending [0, 10) unknown/system",
        ),
        ([(0, Activated(), None), (10, LAST_HOUR, "l-a")], "ending [0, 10) unknown/system"),
        # an end of the agreement is one, whatever lives
        (
            [(0, Activated(), "l-a"), (1, Activated(), "l-b"), (10, CUSTOMER, None)],
            "ended [0, 10) customer/customer",
        ),
    ],
)
def test_a_licence_ends_the_agreement_only_as_its_last(
    changes: list[tuple[float, Change, str | None]], expected: str
) -> None:
    """marketplaces.md section 1, License Deprovisioned."""
    assert licensed(*changes) == expected


def test_the_last_usage_is_called_for_by_the_deprovisioning_that_counts() -> None:
    """The one before it left another licence, which still is metered."""
    changes = [
        note(0, Activated(), licence="l-a"),
        note(1, Activated(), licence="l-b"),
        note(10, LAST_HOUR, licence="l-a"),
        note(12, LAST_HOUR_OF_12, licence="l-b"),
    ]
    assert read(tuple(changes), AGREEMENT).usage_closed_at == (moment(12),)


# --- what never was active ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("linked", "told_before", "started", "expected"),
    [
        (False, False, None, "unknown/marketplace"),
        (True, False, None, "customer/customer"),
        (True, False, False, "unknown/marketplace"),
        (False, False, True, "customer/customer"),
        (False, True, False, "customer/customer"),
    ],
)
def test_no_customer_cancels_what_never_was_active(
    linked: bool, told_before: bool, started: bool | None, expected: str
) -> None:
    """A term without dates was never activated: its activation failed or was given up."""
    changes = [note(0, Activated())] if told_before else []
    register = Subscription(SAAS)
    for each in (*changes, note(9, UNSUBSCRIBED, term_started=started)):
        register = register.with_note(each)
    links = (Link(moment(1), "l", ACME),) if linked else ()
    assert shown(fold(register, links)).endswith(expected)


# --- the register ---------------------------------------------------------------------------------


def test_a_register_keeps_no_empty_notes() -> None:
    """A subject may be talked about for years; what the fold does not need is in the journal."""
    assert Subscription(AGREEMENT).with_note(note(0, Unchanged())).notes == ()


def test_a_register_keeps_a_note_with_a_plan_type_though_no_status() -> None:
    """A ChangePlan changes no status, but may tell the term."""
    changes = note(0, Unchanged(), plan_type=PlanType.COMMIT)
    assert Subscription(AGREEMENT).with_note(changes).notes == (changes,)


def test_the_status_of_an_announced_end_stays_ending() -> None:
    """Nobody has reported the end; when it comes is in `ends_at`."""
    found = projection((0, Activated()), (9, RENEWAL_OFF))
    assert (found.status, found.ends_at) == (SubscriptionStatus.ENDING, DAY_0 + 20 * DAY)


def test_a_register_keeps_the_newest_whatever_the_order_of_arrival() -> None:
    """A publisher that repeats itself without end makes no later look slower."""
    notes = [note(day, Activated() if day % 2 else Suspended()) for day in range(KEPT_MAX + 50)]
    links = [Link(moment(day), f"l-{day}", ACME) for day in range(KEPT_MAX + 50)]
    random.Random(7).shuffle(notes)
    random.Random(7).shuffle(links)
    register = Subscription(AGREEMENT)

    for changes, link in zip(notes, links, strict=True):
        register = register.with_note(changes).with_link(link)

    days = list(range(50, KEPT_MAX + 50))
    assert [each.occurred_at for each in register.notes] == [moment(day) for day in days]
    assert [each.occurred_at for each in register.links] == [moment(day) for day in days]
    assert register.with_note(note(1, Activated())) == register


def test_what_changes_nothing_goes_before_what_does_where_a_register_is_full() -> None:
    """A renewal that forgot what it continues, or an agreement its licences, would end a plan."""
    bought = note(0, Pended(successor_of=RENEWED))
    register = Subscription(AGREEMENT).with_note(bought)
    for day in range(1, KEPT_MAX + 50):
        register = register.with_note(note(day, Unchanged(), billing_account="111"))
    assert len(register.notes) == KEPT_MAX
    assert register.notes[0] == bought
    assert register.predecessor == RENEWED


def test_after_a_terminal_end_no_other_plan_type_is_adopted() -> None:
    """Marketplaces section 1, *Terminal stays*: only one that was not known."""
    over = Ended(PlanEndReason.CUSTOMER, Initiator.CUSTOMER, terminal=True)
    ended = Subscription(SAAS).with_note(note(0, Activated(), plan_type=PlanType.COMMIT))
    ended = ended.with_note(note(10, over)).with_note(
        note(11, Unchanged(), plan_type=PlanType.PAYG)
    )
    assert fold(ended, ()).plan_type is PlanType.COMMIT
    unknown = Subscription(SAAS).with_note(note(0, Activated())).with_note(note(10, over))
    assert fold(unknown, ()).plan_type is None
    known = unknown.with_note(note(11, Unchanged(), plan_type=PlanType.PAYG))
    assert fold(known, ()).plan_type is PlanType.PAYG
