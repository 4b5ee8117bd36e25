"""Every row of the Azure table of marketplaces.md section 1, one case per meaning."""

from datetime import UTC, datetime

import pytest
from marketplace_samples import (
    Row,
    azure_body,
    notified,
    refusal,
    wrapped,
)

from marketplace_worker.lifecycle.notes import (
    Activated,
    Attention,
    Progress,
    Resumed,
    Suspended,
    Unchanged,
    Unsubscribed,
)
from marketplace_worker.lifecycle.vocabulary import PlanType

PAYG, COMMIT = PlanType.PAYG, PlanType.COMMIT
NEXT_YEAR = "2027-05-30T21:36:03Z"
ENDS_AT = datetime(2027, 5, 30, 21, 36, 3, tzinfo=UTC)


ROWS = [
    ("Subscribe", (1, Activated(), None)),
    ("Renew", (1, Activated(), None)),
    ("ChangePlan", (2, Unchanged(), None)),
    ("ChangeQuantity", (2, Unchanged(), None)),
    ("Transfer", (2, Unchanged(), Attention.UNKNOWN_KIND)),
    ("Suspend", (3, Suspended(), None)),
    ("Reinstate", (4, Resumed(where="suspended"), None)),
    ("Unsubscribe", (5, Unsubscribed(by_partner=False), None)),
]


@pytest.mark.parametrize(("action", "expected"), ROWS)
@pytest.mark.parametrize(
    ("status", "progress"),
    [
        *[(word, Progress.SUCCEEDED) for word in ("Succeeded", "Success", "SUCCESS ", "", None)],
        *[(word, Progress.FAILED) for word in ("Failed", "Conflict", "failed", "CONFLICT ")],
        *[(word, Progress.RUNNING) for word in ("InProgress", "In Progress", "NotStarted", "New")],
    ],
)
def test_an_azure_action_is_translated_as_its_row_defines(
    action: str, expected: Row, status: str | None, progress: Progress
) -> None:
    """The status is the progress of its operation, in the terms of each generation of the docs."""
    body = azure_body(action, status=status)
    fact = notified("azure", body)
    assert (fact.note.rank, fact.note.change) == expected[:2]
    assert fact.note.progress is progress
    assert fact.note.operation == f"operation-1:{action}"
    if expected[2] is None:
        assert notified("azure", azure_body(action.upper(), status=status)) == fact
    assert fact.notification == action
    assert fact.note.billing_account is None


@pytest.mark.parametrize(("action", "expected"), ROWS)
@pytest.mark.parametrize("status", ["InProgress", "NotStarted", "New"])
def test_a_loss_of_access_that_is_not_final_needs_attention(
    action: str, expected: Row, status: str
) -> None:
    """A Suspend or Unsubscribe that is not final changes nothing, and is logged."""
    removes_access = action in {"Suspend", "Unsubscribe"}
    attention = Attention.OPERATION_NOT_FINAL if removes_access else expected[2]
    assert notified("azure", azure_body(action, status=status)).attention is attention
    assert notified("azure", azure_body(action, status="Failed")).attention is expected[2]


@pytest.mark.parametrize("id_", [None, "", "00000000-0000-0000-0000-000000000000"])
def test_a_webhook_without_an_id_reports_an_operation_of_its_own(id_: str | None) -> None:
    """Some senders write the zero UUID."""
    assert notified("azure", azure_body("Unsubscribe", id=id_)).note.operation is None


def test_a_time_in_the_year_1_counts_as_absent() -> None:
    """.NET writes it for an absent time; the record's time is used."""
    fact = notified("azure", azure_body("Suspend", timeStamp="0001-01-01T00:00:00"))
    assert (
        fact.note.occurred_at
        == notified("azure", azure_body("Suspend", timeStamp=None)).note.occurred_at
    )


def test_reports_of_one_operation_have_distinct_identities() -> None:
    """Azure reports an operation several times under one id, and some senders reuse ids."""
    bodies = [
        azure_body("Unsubscribe"),
        azure_body("Unsubscribe", status="InProgress"),
        azure_body("Unsubscribe", timeStamp="2026-05-31T00:00:00Z"),
        azure_body("Unsubscribe", subscriptionId="subscription-2"),
        azure_body("Suspend"),
    ]
    assert len({notified("azure", body).identity.id for body in bodies}) == len(bodies)
    operations = {notified("azure", body).note.operation for body in bodies}
    assert operations == {"operation-1:Unsubscribe", "operation-1:Suspend"}


@pytest.mark.parametrize("name", ["operationRequestSource", "operationRequestedSource"])
def test_the_vendors_own_unsubscribe_is_distinguished_from_the_customers(name: str) -> None:
    """Microsoft's emulator writes the second spelling."""
    body = {**azure_body("Unsubscribe", operationRequestSource=None), name: "Partner"}
    assert notified("azure", body).note.change == Unsubscribed(by_partner=True)


@pytest.mark.parametrize(
    ("term_unit", "plan_type"),
    [
        *[("P1M", PAYG), ("P1Y", COMMIT), ("P2Y", COMMIT), ("P5Y", COMMIT), ("P12M", COMMIT)],
        *[
            ("P1Y6M", COMMIT),
            ("P365D", COMMIT),
            ("P52W1D", COMMIT),
            ("P11M", None),
            ("P3M", None),
            ("P1W", None),
            ("P", None),
        ],
        *[("", None), ("1Y", None), ("P\uff11Y", None), (None, None)],
    ],
)
def test_the_term_determines_the_plan_type(
    term_unit: str | None, plan_type: PlanType | None
) -> None:
    """A month is pay as you go, a year or more a commitment, anything between neither."""
    body = azure_body(subscription={"term": {"termUnit": term_unit}})
    assert notified("azure", body).note.plan_type == plan_type


def test_an_unsubscribe_contains_the_term_that_decides_its_reason() -> None:
    """The fold decides whether the end was reached, because it knows the previous autoRenew."""
    term = {"endDate": NEXT_YEAR, "termUnit": "P1Y"}
    body = azure_body("Unsubscribe", subscription={"term": term, "autoRenew": False})
    note = notified("azure", body).note
    assert (note.term_ends_at, note.auto_renews, note.plan_type) == (ENDS_AT, False, COMMIT)


@pytest.mark.parametrize(
    ("value", "auto_renews"),
    [(True, True), (False, False), ("True", True), ("false", False), ("", None), (None, None)],
)
def test_auto_renewal_may_be_text(value: object, auto_renews: bool | None) -> None:
    """The text `false` must not count as true."""
    body = azure_body(subscription={"autoRenew": value})
    assert notified("azure", body).note.auto_renews is auto_renews


@pytest.mark.parametrize("value", ["no", 0, 1, [], {}])
def test_auto_renewal_of_the_wrong_type_is_refused(value: object) -> None:
    """It decides the reason of an end, so it is not guessed."""
    refused = refusal("azure", azure_body(subscription={"autoRenew": value}))
    assert refused.field == "subscription.autoRenew"


def test_the_subscription_that_a_router_read_outranks_the_snapshot() -> None:
    """The snapshot in the body predates the change; it provides only what the resource lacks."""
    body = azure_body("Renew", subscription={"autoRenew": True, "term": {"termUnit": "P1M"}})
    resource = {"AutoRenew": False, "term": {"endDate": NEXT_YEAR}}
    note = notified("azure", wrapped(body, resource)).note
    assert (note.term_ends_at, note.auto_renews, note.plan_type) == (ENDS_AT, False, PAYG)


@pytest.mark.parametrize(
    ("term", "started"),
    [
        ({"termUnit": "P1M", "startDate": None, "endDate": None}, False),
        ({"termUnit": "P1M", "startDate": "0001-01-01T00:00:00", "endDate": ""}, False),
        ({"termUnit": "P1M", "startDate": "2026-05-30T00:00:00Z"}, True),
        ({"termUnit": "P1M", "endDate": NEXT_YEAR}, True),
        ({"endDate": NEXT_YEAR}, True),
        ({}, None),
        (None, None),
    ],
)
def test_a_term_without_dates_has_not_started(term: object, started: bool | None) -> None:
    """Microsoft sets the dates when the subscription is activated."""
    body = azure_body("Unsubscribe", subscription={"term": term})
    assert notified("azure", body).note.term_started is started


def test_only_an_unsubscribe_requests_the_final_usage() -> None:
    """Azure refuses usage while a subscription is suspended."""
    closes = {
        action: notified("azure", azure_body(action)).note.closes_usage
        for action in ("Subscribe", "Suspend", "Reinstate", "Unsubscribe")
    }
    assert [action for action, each in closes.items() if each] == ["Unsubscribe"]
