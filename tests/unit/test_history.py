"""What `org history` shows of a fact."""

from dataclasses import fields
from datetime import UTC, datetime

from marketplace_worker.inspection.history import details_of_request
from marketplace_worker.lifecycle.facts import SupportRequested
from marketplace_worker.lifecycle.vocabulary import (
    EmailHash,
    HoldKind,
    Identity,
    OrganizationId,
    SupportRequestKind,
)

IN_THE_LINE = {"identity", "occurred_at", "organization", "request", "requested_by", "kind"}
PERSONAL = {"email"}

AT = datetime(2026, 12, 1, tzinfo=UTC)

COMPLETE = SupportRequested(
    Identity("/support", "request-1"),
    AT,
    OrganizationId("acme"),
    SupportRequestKind.PLACE_HOLD,
    requested_by="ann",
    reason="because",
    ticket="T-1",
    grant_until=AT,
    email=EmailHash("0f"),
    hold=HoldKind.LEGAL,
    expires_at=AT,
    days=3,
    problem="days is wrong.",
)


def test_every_field_of_a_support_request_is_shown_once() -> None:
    """A new field would be missing from `org history` without a word."""
    of_a_request = {field.name for field in fields(SupportRequested)}
    assert all(getattr(COMPLETE, name) is not None for name in of_a_request), "set it above"
    assert set(details_of_request(COMPLETE)) == of_a_request - IN_THE_LINE - PERSONAL
