"""Every row of the AWS tables of marketplaces.md section 1, one case per meaning."""

from datetime import UTC, datetime, timedelta

import pytest
from marketplace_samples import (
    HAPPENED_AT,
    SENT_AT,
    Json,
    Row,
    aws_event,
    aws_message,
    key,
    notified,
    refusal,
    row,
    sns,
    wrapped,
)

from marketplace_worker.lifecycle.notes import (
    Activated,
    Attention,
    Ended,
    Ending,
    Pended,
    Resumed,
    Superseded,
    Unchanged,
    VendorCancellationApproved,
)
from marketplace_worker.lifecycle.vocabulary import Initiator, PlanEndReason, PlanType

PAYG, COMMIT = PlanType.PAYG, PlanType.COMMIT
LAST_USAGE = Ending(HAPPENED_AT + timedelta(hours=1), closes_usage=True)
NEXT_YEAR = "2027-05-30T21:36:03Z"
ENDS_AT = datetime(2027, 5, 30, 21, 36, 3, tzinfo=UTC)

BY_CUSTOMER = Ended(PlanEndReason.CUSTOMER, Initiator.CUSTOMER, terminal=True)
UNPAID = Ended(PlanEndReason.NON_PAYMENT, Initiator.MARKETPLACE, terminal=True)
EXPIRED = Ended(PlanEndReason.COMMIT_EXPIRED, Initiator.SYSTEM, terminal=True)

EVENTS: list[tuple[str, Json, Row]] = [
    ("Purchase Agreement Created", {}, (1, Pended(), None)),
    (
        "Purchase Agreement Created",
        {"previousAgreementId": "agmt-0"},
        (1, Pended(successor_of=key("agmt-0")), None),
    ),
    ("Purchase Agreement Created", {"previousAgreementId": "agmt-1"}, (1, Pended(), None)),
    (
        "Purchase Agreement Amended",
        {"autoRenewalEnabled": False, "endTime": NEXT_YEAR},
        (2, Ending(ENDS_AT, reason=PlanEndReason.COMMIT_EXPIRED), None),
    ),
    (
        "Purchase Agreement Amended",
        {"autoRenewalEnabled": False, "endTime": "9999-01-01T00:00:00Z"},
        (2, Ending(None, reason=PlanEndReason.COMMIT_EXPIRED), None),
    ),
    (
        "Purchase Agreement Amended",
        {"autoRenewalEnabled": True, "endTime": NEXT_YEAR},
        (2, Resumed(where="ending"), None),
    ),
    ("Purchase Agreement Amended", {"endTime": NEXT_YEAR}, (2, Unchanged(), None)),
    ("License Updated", {}, (3, Activated(), None)),
    ("License Deprovisioned", {}, (4, LAST_USAGE, None)),
    ("Purchase Agreement Ended", {"status": "CANCELLED"}, (5, BY_CUSTOMER, None)),
    ("Purchase Agreement Ended", {"status": "TERMINATED"}, (5, UNPAID, None)),
    ("Purchase Agreement Ended", {"status": "EXPIRED"}, (5, EXPIRED, None)),
    ("Purchase Agreement Ended", {"status": "RENEWED"}, (6, Superseded(), None)),
    ("Purchase Agreement Ended", {"status": "REPLACED"}, (6, Superseded(), None)),
    ("Purchase Agreement Ended", {"status": "SUPERSEDED"}, (6, Superseded(), None)),
    (
        "Purchase Agreement Ended",
        {"status": "ROLLED_BACK"},
        (6, Unchanged(), Attention.UNKNOWN_KIND),
    ),
    ("Purchase Agreement Ended", {}, (6, Unchanged(), Attention.UNKNOWN_KIND)),
    ("Agreement Cancellation Request Approved", {}, (7, VendorCancellationApproved(), None)),
    ("Purchase Agreement Advisory Issued", {}, (8, Unchanged(), Attention.ADVISORY)),
    ("Purchase Agreement Advisory Resolved", {}, (8, Unchanged(), Attention.ADVISORY)),
    ("Purchase Agreement Ending", {}, (9, Unchanged(), None)),
    ("Purchase Agreement Renewal Terms Finalized", {}, (9, Unchanged(), None)),
    ("Purchase Agreement Renewal Upcoming", {}, (9, Unchanged(), None)),
    ("Purchase Agreement Billing Adjustment Failed", {}, (9, Unchanged(), None)),
    ("Agreement Cancellation Request Cancelled", {}, (9, Unchanged(), None)),
    ("Purchase Agreement Something New", {}, (9, Unchanged(), Attention.UNKNOWN_KIND)),
]


@pytest.mark.parametrize(("kind", "agreement", "expected"), EVENTS)
def test_an_aws_event_is_translated_as_its_row_defines(
    kind: str, agreement: Json, expected: Row
) -> None:
    """In both roles: sellers get the event of one role, seldom of both."""
    event = aws_event(kind, agreement)
    assert row("aws", event) == expected
    assert row("aws", {**event, "detail-type": f"{kind} - Proposer"}) == expected
    assert notified("aws", event).notification == kind


@pytest.mark.parametrize(
    ("end_time", "plan_type", "term_ends_at"),
    [
        (None, PAYG, None),
        ("", PAYG, None),
        ("9999-01-01T00:00:00Z", PAYG, None),
        ("9999-12-31T23:59:59-12:00", PAYG, None),
        (NEXT_YEAR, COMMIT, ENDS_AT),
        ("...", None, None),
    ],
)
def test_an_agreement_without_a_real_end_is_pay_as_you_go(
    end_time: str | None, plan_type: PlanType | None, term_ends_at: datetime | None
) -> None:
    """An unreadable end decides nothing: a typing error must not select the shorter timeline."""
    note = notified("aws", aws_event("Purchase Agreement Created", {"endTime": end_time})).note
    assert (note.plan_type, note.term_ends_at) == (plan_type, term_ends_at)


def test_an_amendment_contains_the_term_and_the_renewal() -> None:
    """A later end is judged by them."""
    amended = {"autoRenewalEnabled": False, "endTime": NEXT_YEAR}
    note = notified("aws", aws_event("Purchase Agreement Amended", amended)).note
    assert (note.term_ends_at, note.auto_renews, note.plan_type) == (ENDS_AT, False, None)


def test_a_cancellation_request_names_its_buyer_by_flat_ids() -> None:
    """These events have `agreement.acceptorId` instead of `acceptor`."""
    event = aws_event(
        "Agreement Cancellation Request Approved", {"acceptorId": "1"}, detail={"acceptor": None}
    )
    assert notified("aws", event).note.billing_account == "1"


# --- AWS, SNS -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "expected", "plan_type"),
    [
        (
            "subscribe-fail",
            (10, Ended(PlanEndReason.NON_PAYMENT, Initiator.MARKETPLACE, terminal=False), None),
            None,
        ),
        ("subscribe-success", (11, Activated(), None), PAYG),
        ("unsubscribe-pending", (12, LAST_USAGE, None), None),
        (
            "unsubscribe-success",
            (13, Ended(PlanEndReason.UNKNOWN, Initiator.MARKETPLACE, terminal=False), None),
            None,
        ),
        ("entitlement-updated", (14, Unchanged(), Attention.ENTITLEMENTS_NOT_READ), COMMIT),
        ("unsubscribe-complete", (15, Unchanged(), Attention.UNKNOWN_KIND), None),
    ],
)
def test_an_aws_message_is_translated_as_its_row_defines(
    action: str, expected: Row, plan_type: PlanType | None
) -> None:
    """Neither end is terminal: a customer who subscribes again has the same subject."""
    fact = notified("aws", sns(aws_message(action)))
    assert (fact.note.rank, fact.note.change, fact.attention) == expected
    assert fact.note.plan_type == plan_type
    assert fact.note.plan_type_settled == (plan_type is COMMIT)
    assert fact.note.billing_account is None
    assert (fact.subscription, fact.notification) == (key("product/customer"), action)


def test_the_spelling_of_2021_names_the_same_subject() -> None:
    """The documentation of that year has `CustomerIdentifier` and `ProductCode`."""
    message = {"action": "subscribe-success", "CustomerIdentifier": " c ", "ProductCode": "p"}
    assert notified("aws", message).subscription == key("p/c")


HOUR_BEFORE, HOUR_AFTER = "2026-11-01T09:30:00Z", "2026-11-01T11:30:00Z"
NO_LONGER_ENTITLED = Ended(PlanEndReason.COMMIT_EXPIRED, Initiator.SYSTEM, terminal=False)


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ({"Entitlements": [{"ExpirationDate": HOUR_AFTER}]}, (14, Activated(), None)),
        ({"Entitlements": [{"ExpirationDate": 1793532600}]}, (14, Activated(), None)),
        ({"Entitlements": [{"ExpirationDate": 1793532600.25}]}, (14, Activated(), None)),
        ({"Entitlements": [{"Dimension": "users"}]}, (14, Activated(), None)),
        (
            {"Entitlements": [{"ExpirationDate": HOUR_BEFORE}, {"ExpirationDate": HOUR_AFTER}]},
            (14, Activated(), None),
        ),
        ({"Entitlements": [{"ExpirationDate": SENT_AT}]}, (14, NO_LONGER_ENTITLED, None)),
        ({"Entitlements": [{"ExpirationDate": HOUR_BEFORE}]}, (14, NO_LONGER_ENTITLED, None)),
        ({"Entitlements": [{"ExpirationDate": 1793525400}]}, (14, NO_LONGER_ENTITLED, None)),
        ({"Entitlements": []}, (14, NO_LONGER_ENTITLED, None)),
        *[
            (
                {"Entitlements": entitlements, "NextToken": "more"},
                (14, Unchanged(), Attention.ENTITLEMENTS_NOT_READ),
            )
            for entitlements in (
                [],
                [{"ExpirationDate": HOUR_BEFORE}],
                [{"ExpirationDate": HOUR_AFTER}],
            )
        ],
        (
            {"__type": "ThrottlingException"},
            (14, Unchanged(), Attention.ENTITLEMENTS_NOT_READ),
        ),
        (None, (14, Unchanged(), Attention.ENTITLEMENTS_NOT_READ)),
    ],
)
def test_the_entitlements_decide_an_entitlement_updated(
    resource: Json | None, expected: Row
) -> None:
    """Compared with the notification's time. An entitlement that was not read, or only in part,
    proves nothing.
    """
    value = wrapped(sns(aws_message("entitlement-updated")), resource)
    assert row("aws", value) == expected
    assert notified("aws", value).note.plan_type == COMMIT


@pytest.mark.parametrize(
    ("expiration_date", "reason"),
    [
        ("soon", "is not a time"),
        (10**30, "is a number that no time has"),
        (True, "must be text"),
        ([], "must be text"),
    ],
)
def test_an_expiry_that_cannot_be_read_is_not_guessed(expiration_date: object, reason: str) -> None:
    """Either guess could do harm: an end that is wrong, or a plan that is not paid for."""
    resource = {"Entitlements": [{"ExpirationDate": expiration_date}]}
    refused = refusal("aws", wrapped(sns(aws_message("entitlement-updated")), resource))
    assert (refused.field, refused.reason) == ("resource.Entitlements.0.ExpirationDate", reason)


def test_entitlements_contain_the_account_and_make_a_commitment() -> None:
    """Also beside a subscribe-success, which alone would mean pay as you go."""
    entitled = {"Entitlements": [{"CustomerAWSAccountId": "123456789012"}]}
    note = notified("aws", wrapped(sns(aws_message()), entitled)).note
    assert (note.plan_type, note.plan_type_settled) == (COMMIT, True)
    assert note.billing_account == "123456789012"


def test_entitlements_of_two_accounts_name_neither() -> None:
    """Organizations are matched by billing account: a wrong one would revive another customer's."""
    accounts = [{"CustomerAWSAccountId": "1"}, {"CustomerAWSAccountId": "2"}]
    value = wrapped(sns(aws_message()), {"Entitlements": accounts})
    assert notified("aws", value).note.billing_account is None


# --- licences -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("licence_data", "licence"),
    [
        ({"arn": "arn:aws:license-manager::294406891311:license:l-0a1b"}, "l-0a1b"),
        ({"arn": "arn:aws:license-manager::1:license/l-0a1b"}, "l-0a1b"),
        ({"id": "l-0a1b"}, "l-0a1b"),
        ({"arn": "arn:aws:license-manager::1:license:l-arn", "id": "l-id"}, "l-arn"),
        ({"arn": "", "id": "l-0a1b"}, "l-0a1b"),
        ({"id": "strange"}, "strange"),
        ({"id": ""}, None),
        ({}, None),
        (None, None),
    ],
)
@pytest.mark.parametrize("kind", ["License Updated", "License Deprovisioned"])
def test_a_licence_is_identified_by_its_last_token(
    kind: str, licence_data: Json | None, licence: str | None
) -> None:
    """The Manufacturer's event has its ARN, the Proposer's its id."""
    assert (
        notified("aws", aws_event(kind, detail={"license": licence_data})).note.licence == licence
    )
