"""Every row of the Google table of marketplaces.md section 1, one case per meaning."""

from datetime import UTC, datetime

import pytest
from marketplace_samples import (
    PAYLOADS,
    Json,
    Row,
    gcp_message,
    notified,
    row,
    wrapped,
)

from marketplace_worker.lifecycle.notes import (
    Activated,
    Attention,
    Change,
    Ended,
    Ending,
    Pended,
    Superseded,
    Unchanged,
)
from marketplace_worker.lifecycle.vocabulary import Initiator, PlanEndReason, PlanType

PAYG, COMMIT = PlanType.PAYG, PlanType.COMMIT
NEXT_YEAR = "2027-05-30T21:36:03Z"
ENDS_AT = datetime(2027, 5, 30, 21, 36, 3, tzinfo=UTC)

BY_CUSTOMER = Ended(PlanEndReason.CUSTOMER, Initiator.CUSTOMER, terminal=True)
UNPAID = Ended(PlanEndReason.NON_PAYMENT, Initiator.MARKETPLACE, terminal=True)
EXPIRED = Ended(PlanEndReason.COMMIT_EXPIRED, Initiator.SYSTEM, terminal=True)
UNKNOWN = Ended(PlanEndReason.UNKNOWN, Initiator.MARKETPLACE, terminal=True)

HOUR_BEFORE = "2026-11-01T09:30:00Z"


@pytest.mark.parametrize(
    ("event_type", "expected"),
    [
        ("ENTITLEMENT_CREATION_REQUESTED", (1, Pended(), None)),
        ("ENTITLEMENT_OFFER_ACCEPTED", (1, Pended(), None)),
        ("ENTITLEMENT_ACTIVE", (2, Activated(), None)),
        ("ENTITLEMENT_RENEWED", (2, Activated(), None)),
        ("ENTITLEMENT_PLAN_CHANGED", (2, Activated(), None)),
        ("ENTITLEMENT_PLAN_CHANGE_CANCELLED", (2, Activated(), None)),
        ("ENTITLEMENT_CANCELLATION_REVERTED", (2, Activated(), None)),
        ("ENTITLEMENT_PENDING_CANCELLATION", (3, Ending(None), None)),
        ("ENTITLEMENT_CANCELLING", (3, Ending(None), None)),
        ("ENTITLEMENT_CANCELLED", (4, UNKNOWN, None)),
        ("ENTITLEMENT_DELETED", (5, UNKNOWN, None)),
        ("ENTITLEMENT_OFFER_ENDED", (6, Unchanged(), None)),
        ("ENTITLEMENT_PLAN_CHANGE_REQUESTED", (6, Unchanged(), None)),
        ("ENTITLEMENT_SUSPENDED", (6, Unchanged(), Attention.UNKNOWN_KIND)),
        ("CANCELLED", (6, Unchanged(), Attention.UNKNOWN_KIND)),
    ],
)
def test_a_google_message_is_translated_as_its_row_defines(event_type: str, expected: Row) -> None:
    """Without the resource the message alone decides, and never contains a reason."""
    assert row("gcp", gcp_message(event_type)) == expected
    assert notified("gcp", gcp_message(event_type)).notification == event_type


@pytest.mark.parametrize(
    ("reason_text", "change"),
    [
        ("user-cancelled", BY_CUSTOMER),
        ("user-aborted", BY_CUSTOMER),
        ("billing-disabled", UNPAID),
        ("account-closed", UNPAID),
        ("expired", EXPIRED),
        ("migrated", Superseded()),
        ("unknown", UNKNOWN),
        ("a reason of tomorrow", UNKNOWN),
        (None, UNKNOWN),
    ],
)
def test_the_resource_contains_why_an_entitlement_was_cancelled(
    reason_text: str | None, change: Change
) -> None:
    """Google calls the reasons "subject to change": a new one is unknown, not an error."""
    value = wrapped(gcp_message("ENTITLEMENT_CANCELLED"), {"cancellationReason": reason_text})
    assert row("gcp", value) == (4, change, None)


@pytest.mark.parametrize(
    ("resource", "ends_at"),
    [
        ({"subscriptionEndTime": NEXT_YEAR}, ENDS_AT),
        ({"offerEndTime": NEXT_YEAR}, ENDS_AT),
        ({"subscriptionEndTime": "2027-01-01T00:00:00Z", "offerEndTime": NEXT_YEAR}, ENDS_AT),
        ({"subscriptionEndTime": NEXT_YEAR, "offerEndTime": "2027-01-01T00:00:00Z"}, ENDS_AT),
        ({"subscriptionEndTime": "9999-12-31T00:00:00Z", "offerEndTime": NEXT_YEAR}, None),
        ({"offerEndTime": HOUR_BEFORE}, None),
        ({"offerEndTime": ""}, None),
        ({}, None),
    ],
)
def test_an_entitlement_that_will_end_does_so_at_the_later_of_its_ends(
    resource: Json, ends_at: datetime | None
) -> None:
    """`offerEndTime` may be long past for an entitlement that continues at list price; then it is
    not the announced end.
    """
    value = wrapped(gcp_message("ENTITLEMENT_PENDING_CANCELLATION"), resource)
    assert notified("gcp", value).note.change == Ending(ends_at)


@pytest.mark.parametrize(
    ("entitlement", "resource", "plan_type"),
    [
        ({}, None, None),
        ({"newPlan": "pro"}, None, None),
        ({"newPlan": "pro-P1Y"}, None, COMMIT),
        ({"newPlan": "P1Y-pro"}, None, None),
        ({"newOfferDuration": "P1Y6M"}, None, COMMIT),
        ({"newOfferDuration": ""}, None, None),
        ({"newOfferDuration": "..."}, None, None),
        ({"newOfferDuration": "P"}, None, None),
        ({}, {"plan": "pro"}, PAYG),
        ({}, {"plan": "pro-P2Y", "usageReportingId": "x"}, COMMIT),
        ({}, {"plan": "pro", "offerDuration": "P1M"}, COMMIT),
        ({"newPlan": "pro-P1Y"}, {"plan": "pro"}, COMMIT),
        ({}, {"account": "providers/p/accounts/a"}, PAYG),
        ({}, {}, None),
        ({}, {"error": {"code": 403, "status": "PERMISSION_DENIED"}}, None),
    ],
)
def test_a_duration_makes_an_entitlement_a_commitment(
    entitlement: Json, resource: Json | None, plan_type: PlanType | None
) -> None:
    """Only a resource without a duration means pay as you go; the message alone, or with a failed
    call for the resource, leaves the plan type open.
    """
    message = {**gcp_message(), "entitlement": {"id": "entitlement-1", **entitlement}}
    value = wrapped(message, resource)
    assert notified("gcp", value).note.plan_type == plan_type


def test_the_resource_of_a_real_entitlement_names_the_account() -> None:
    """The procurement account's id is the last part of its resource name."""
    name = "gcp/test_doit_get_entitlement_pending_plan_change_approval.json"
    note = notified(
        "gcp",
        b'{"notification": %s, "resource": %s}'
        % (
            (PAYLOADS / "gcp/test_doit_plan_change_requested.json").read_bytes(),
            (PAYLOADS / name).read_bytes(),
        ),
    ).note
    assert note.billing_account == "eda2a6ce-2e2d-44ff-985f-37e6c51af7d1"
    assert note.plan_type == PAYG


@pytest.mark.parametrize("reason_text", [7, True, [], {"code": "expired"}])
def test_a_reason_that_is_not_text_is_unknown(reason_text: object) -> None:
    """Google calls it "subject to change"; the cancellation itself must be accepted."""
    value = wrapped(gcp_message("ENTITLEMENT_CANCELLED"), {"cancellationReason": reason_text})
    assert row("gcp", value) == row("gcp", gcp_message("ENTITLEMENT_CANCELLED"))


def test_only_a_cancellation_requests_the_final_usage() -> None:
    """marketplaces.md section 1, *Final usage*. An end by `migrated` is no exception."""
    kinds = ("ENTITLEMENT_CANCELLED", "ENTITLEMENT_DELETED", "ENTITLEMENT_PENDING_CANCELLATION")
    closes = [notified("gcp", gcp_message(kind)).note.closes_usage for kind in kinds]
    assert closes == [True, False, False]
    migrated = wrapped(gcp_message(kinds[0]), {"cancellationReason": "migrated"})
    assert notified("gcp", migrated).note.closes_usage
