"""Every sample of tests/payloads, and the fact or refusal that it becomes.

The tables are written by hand: a sample whose meaning changes must be changed here too.
"""

from datetime import UTC, datetime, timedelta

import pytest
from marketplace_samples import FILES, PAYLOADS, notified, refusal, unrecognized

from marketplace_worker.lifecycle.notes import (
    Activated,
    Attention,
    Change,
    Ended,
    Ending,
    Pended,
    Resumed,
    Superseded,
    Suspended,
    Unchanged,
    Unsubscribed,
    VendorCancellationApproved,
)
from marketplace_worker.lifecycle.vocabulary import Initiator, PlanEndReason, PlanType

PAYG, COMMIT = PlanType.PAYG, PlanType.COMMIT
AGREEMENT = "agmt-4mwg1nevbokzw95eca5797ixs"
EXAMPLE = "agmt-abcdexampleid"
REAL = "agmt-2nehijlqfz9g7f2v6imgyjhmu"
BUYER = "845735284135"
DOIT = "c91aecd0-de62-43fc-88fd-ab0b77c57c7c"
SNS_DOC = "n0123EXAMPLEXXXXXXXXXXXX/X01EXAMPLEX"
DEVPORTAL = "[PRODUCT_CODE]/[CUSTOMER_ID]"
LAMBDA_2024 = "8p9kre7hksxi66ebncc9j2xdz/LBajo9HqLgp"
AZURE_2019 = "9f3b8f2e-8a5d-4a5e-9a6f-0b8c7d6e5f4a"

BY_CUSTOMER = Ended(PlanEndReason.CUSTOMER, Initiator.CUSTOMER, terminal=True)
UNKNOWN_END = Ended(PlanEndReason.UNKNOWN, Initiator.MARKETPLACE, terminal=True)
BY_AZURE = Unsubscribed(by_partner=False)


def _last_usage_until(time: str) -> Ending:
    return Ending(datetime.fromisoformat(time), closes_usage=True)


# file: (subject, change, plan type, billing account, what an operator should look at)
NOTIFIED: dict[str, tuple[str, Change, PlanType | None, str | None, Attention | None]] = {
    "aws/doc_eb_advisory_issued_manufacturer": (
        *(AGREEMENT, Unchanged(), None, BUYER, Attention.ADVISORY),
    ),
    "aws/doc_eb_advisory_resolved_manufacturer": (
        *(AGREEMENT, Unchanged(), None, BUYER, Attention.ADVISORY),
    ),
    "aws/doc_eb_amended_manufacturer": (AGREEMENT, Unchanged(), None, BUYER, None),
    "aws/doc_eb_amended_proposer": (AGREEMENT, Resumed(where="ending"), None, BUYER, None),
    "aws/doc_eb_billing_adjustment_completed_proposer": (EXAMPLE, Unchanged(), None, None, None),
    "aws/doc_eb_cancel_request_approved_proposer": (
        *(EXAMPLE, VendorCancellationApproved(), None, "123465789012", None),
    ),
    # The request was withdrawn, and the agreement continues.
    "aws/doc_eb_cancel_request_cancelled_proposer": (
        *(EXAMPLE, Unchanged(), None, "123465789012", None),
    ),
    "aws/doc_eb_cancel_request_pending_proposer": (
        *(EXAMPLE, Unchanged(), None, "123465789012", None),
    ),
    "aws/doc_eb_cancel_request_rejected_proposer": (
        *(EXAMPLE, Unchanged(), None, "123465789012", None),
    ),
    "aws/doc_eb_cancel_request_validation_failed_proposer": (
        *(EXAMPLE, Unchanged(), None, "123465789012", None),
    ),
    "aws/doc_eb_created_manufacturer_new": (AGREEMENT, Pended(), COMMIT, BUYER, None),
    "aws/doc_eb_created_proposer_new": (AGREEMENT, Pended(), COMMIT, BUYER, None),
    "aws/doc_eb_ended_proposer_cancelled": (AGREEMENT, BY_CUSTOMER, None, BUYER, None),
    "aws/doc_eb_ending_proposer_180d": (AGREEMENT, Unchanged(), None, BUYER, None),
    "aws/doc_eb_license_deprovisioned_manufacturer": (
        *(AGREEMENT, _last_usage_until("2024-08-30T22:36:03Z"), None, BUYER, None),
    ),
    "aws/doc_eb_license_updated_manufacturer": (AGREEMENT, Activated(), None, BUYER, None),
    "aws/doc_eb_renewal_terms_finalized_proposer": (AGREEMENT, Unchanged(), None, BUYER, None),
    "aws/doc_eb_renewal_upcoming_proposer": (AGREEMENT, Unchanged(), None, BUYER, None),
    # The action of these samples is a placeholder.
    "aws/doc_sns_body_entitlement": (SNS_DOC, Unchanged(), None, None, Attention.UNKNOWN_KIND),
    "aws/doc_sns_body_subscription": (SNS_DOC, Unchanged(), None, None, Attention.UNKNOWN_KIND),
    "aws/test_devportal_lambda_subscribe_success": (DEVPORTAL, Activated(), PAYG, None, None),
    # AWS sends no such action.
    "aws/test_devportal_lambda_unsubscribe_complete_wrong_action": (
        *(DEVPORTAL, Unchanged(), None, None, Attention.UNKNOWN_KIND),
    ),
    "aws/test_laravel_eb_created_renew_minimal": ("agmt-2", Pended(), PAYG, "acct-1", None),
    "aws/test_laravel_eb_ended_renewed_superseded": ("agmt-1", Superseded(), None, "acct-1", None),
    "aws/test_laravel_eb_ended_replaced_superseded": (
        *("ghost-2", Superseded(), None, "acct-1", None),
    ),
    "aws/test_laravel_eb_unknown_detail_type": (
        *("agmt-x", Unchanged(), None, None, Attention.UNKNOWN_KIND),
    ),
    "aws/real_2026_eb_created_proposer": (REAL, Pended(), PAYG, "782858285006", None),
    "aws/real_2026_eb_license_updated_manufacturer": (
        *(REAL, Activated(), None, "782858285006", None),
    ),
    "aws/derived_2026_eb_ended_proposer_cancelled": (
        *(REAL, BY_CUSTOMER, None, "782858285006", None),
    ),
    "aws/derived_2026_eb_license_deprovisioned_manufacturer": (
        *(REAL, _last_usage_until("2026-08-20T15:25:28Z"), None, "782858285006", None),
    ),
    "aws/real_2024_lambda_entitlement_updated": (
        *(LAMBDA_2024, Unchanged(), COMMIT, None, Attention.ENTITLEMENTS_NOT_READ),
    ),
    "azure/doc_2018_subscribe_minimal": (
        *("cd9c6a3a-7576-49f2-b27e-1e5136e57f45", Activated(), None, None, None),
    ),
    "azure/doc_2019_change_quantity_string": ("guid", Unchanged(), None, None, None),
    "azure/doc_2022_changeplan_minimal": ("<guid>", Unchanged(), None, None, None),
    "azure/doc_2022_changequantity_partner": ("<guid>", Unchanged(), PAYG, None, None),
    "azure/doc_2022_reinstate_no_subscription": (
        *("<guid>", Resumed(where="suspended"), None, None, None),
    ),
    "azure/doc_2022_renew": ("<guid>", Activated(), PAYG, None, None),
    "azure/doc_2022_unsubscribe": ("<guid>", BY_AZURE, PAYG, None, None),
    "azure/doc_2023_changeplan": ("<guid>", Unchanged(), PAYG, None, None),
    "azure/doc_2023_changequantity": ("<guid>", Unchanged(), PAYG, None, None),
    "azure/doc_2023_reinstate": ("<guid>", Resumed(where="suspended"), PAYG, None, None),
    "azure/doc_2023_renew": ("<guid>", Activated(), PAYG, None, None),
    "azure/doc_2023_suspend": ("<guid>", Suspended(), PAYG, None, None),
    "azure/doc_2023_unsubscribe": ("<guid>", BY_AZURE, PAYG, None, None),
    "azure/test_subscribe_full_with_status": ("sub-customer", Activated(), None, None, None),
    "azure/derived_2019_unsubscribe_empty_fields": (AZURE_2019, BY_AZURE, None, None, None),
    "azure/derived_2020_unsubscribe_null_subscription": (AZURE_2019, BY_AZURE, None, None, None),
    "azure/derived_accelerator_forwarded_suspend": (AZURE_2019, Suspended(), None, None, None),
    "gcp/doc_creation_requested_private_offer": ("ENTITLEMENT_ID", Pended(), COMMIT, None, None),
    "gcp/doc_creation_requested_public": ("ENTITLEMENT_ID", Pended(), COMMIT, None, None),
    "gcp/test_doit_active": (DOIT, Activated(), None, None, None),
    "gcp/test_doit_cancellation_reverted": (DOIT, Activated(), None, None, None),
    "gcp/test_doit_cancelled": (DOIT, UNKNOWN_END, None, None, None),
    "gcp/test_doit_creation_requested": (DOIT, Pended(), None, None, None),
    "gcp/test_doit_deleted": (DOIT, UNKNOWN_END, None, None, None),
    "gcp/test_doit_pending_cancellation": (DOIT, Ending(None), None, None, None),
    "gcp/test_doit_plan_change_cancelled": (DOIT, Activated(), None, None, None),
    "gcp/test_doit_plan_change_requested": (DOIT, Unchanged(), None, None, None),
    "gcp/test_doit_plan_changed": (DOIT, Activated(), None, None, None),
    "gcp/test_doit_push_envelope_minimal_pending_cancellation": (
        *(DOIT, Ending(None), None, None, None),
    ),
    "gcp/test_redhat_entitlement_event": ("entitlement-456", Activated(), None, None, None),
    "gcp/real_2020_entitlement_cancelled": (
        *("d3c52313-c65f-43b7-987a-f089130cabad", UNKNOWN_END, None, None, None),
    ),
    "gcp/real_2026_offer_accepted": (
        *("18f7b898-4024-4a2f-b9e8-520d661a8801", Pended(), COMMIT, None, None),
    ),
}

# file: (event type, identity)
UNRECOGNIZED = {
    "aws/doc_eb_ignore_disbursement_paused": (
        *("Disbursement Paused", "01234567-0123-0123-0123-0123456789ab"),
    ),
    "aws/doc_eb_ignore_offer_released": ("Offer Released", "01234567-0123-0123-0123-0123456789ab"),
    "aws/doc_sns_envelope_subscription_confirmation": (
        *("SubscriptionConfirmation", "165545c9-2a5c-472c-8df2-7ff2be2b3b1b"),
    ),
    "aws/doc_sns_envelope_unsubscribe_confirmation": (
        *("UnsubscribeConfirmation", "47138184-6831-46b8-8f7c-afc488602d7d"),
    ),
    "gcp/test_redhat_account_event_no_updatetime": (
        *("ACCOUNT_ACTIVE", "ACCOUNT_ACTIVE:event-789:account-456"),
    ),
    "gcp/test_sinch_approve_account": (
        "ACCOUNT_ACTIVE",
        "ACCOUNT_ACTIVE:APPROVE_ACCOUNT-test-skip:7179646d-32af-4c0b-9678-eacbc71063ce",
    ),
    "gcp/real_2019_account_active": (
        "ACCOUNT_ACTIVE",
        "ACCOUNT_ACTIVE:CREATE_ACCOUNT-3453c108-1ee5-474c-8905-683c1d4ce002:E-AA4E-2AF3-EFDD-96D6",
    ),
}

NO_SHAPE = "value: no known shape of what this topic carries"

# file: the text of the refusal
REFUSED = {
    # A message of another topic: its text is not JSON.
    "aws/doc_sns_envelope_notification_with_subject": "Message: is not JSON",
    # `operationType` instead of `action`, and no id: no webhook is known to send it, and the
    # reference says to reject it.
    "azure/doc_2022_reinstate_second_form": "action: is missing",
    # The Cloud Channel API (resellers) names entitlements differently.
    "gcp/derived_channel_api_not_marketplace": NO_SHAPE,
    "gcp/doc_oidc_push_claims": NO_SHAPE,
    # A resource without an event.
    "gcp/test_doit_get_entitlement_pending_plan_change_approval": NO_SHAPE,
}


def _sample(name: str) -> tuple[str, bytes]:
    marketplace, _, _ = name.partition("/")
    return marketplace, (PAYLOADS / f"{name}.json").read_bytes()


def test_every_sample_is_in_a_table_and_has_a_source() -> None:
    """A sample without an expectation proves nothing."""
    names = {f"{path.parent.name}/{path.stem}" for path in FILES}
    assert names == NOTIFIED.keys() | UNRECOGNIZED.keys() | REFUSED.keys()
    assert [path for path in FILES if not path.with_suffix(".source.txt").exists()] == []


@pytest.mark.parametrize("name", NOTIFIED)
def test_a_sample_is_translated_as_the_table_defines(name: str) -> None:
    """Subject, change, plan type, billing account, and what an operator should look at."""
    fact = notified(*_sample(name))
    assert fact.subscription.marketplace == name.partition("/")[0]
    assert (
        fact.subscription.subscription_id,
        fact.note.change,
        fact.note.plan_type,
        fact.note.billing_account,
        fact.attention,
    ) == NOTIFIED[name]


@pytest.mark.parametrize("name", UNRECOGNIZED)
def test_a_sample_about_no_subscription_is_kept_as_unrecognized(name: str) -> None:
    """About an account, a topic, or another product of AWS."""
    fact = unrecognized(*_sample(name))
    assert (fact.event_type, fact.identity.id) == UNRECOGNIZED[name]


@pytest.mark.parametrize("name", REFUSED)
def test_a_sample_without_a_notification_is_refused(name: str) -> None:
    """The table has the reason in full, as operators see it."""
    assert str(refusal(*_sample(name))) == REFUSED[name]


def test_the_captured_agreement_is_in_order_of_event_time() -> None:
    """Created, License Updated, Ended, License Deprovisioned: 2026-08-20, 126 seconds in all."""
    names = (
        "real_2026_eb_created_proposer",
        "real_2026_eb_license_updated_manufacturer",
        "derived_2026_eb_ended_proposer_cancelled",
        "derived_2026_eb_license_deprovisioned_manufacturer",
    )
    facts = [notified(*_sample(f"aws/{name}")) for name in names]
    assert sorted(facts, key=lambda fact: fact.note.order) == facts
    assert facts[-1].occurred_at - facts[0].occurred_at == timedelta(seconds=126)
    assert {fact.note.term_ends_at for fact in facts} == {None}


@pytest.mark.parametrize(
    ("name", "expected_time"),
    [
        ("gcp/test_doit_active", datetime(2022, 7, 18, 9, 42, 51, 275760, tzinfo=UTC)),
        ("gcp/real_2026_offer_accepted", datetime(2026, 1, 21, 0, 6, 19, 754732, tzinfo=UTC)),
        ("azure/doc_2018_subscribe_minimal", datetime(2018, 12, 1, tzinfo=UTC)),
        ("azure/doc_2023_suspend", datetime(2023, 2, 10, 8, 49, 1, 861320, tzinfo=UTC)),
        (
            "azure/derived_accelerator_forwarded_suspend",
            datetime(2023, 2, 10, 8, 49, 1, 861320, tzinfo=UTC),
        ),
        ("aws/real_2026_eb_created_proposer", datetime(2026, 8, 20, 14, 23, 22, tzinfo=UTC)),
    ],
)
def test_times_of_real_notifications_are_read(name: str, expected_time: datetime) -> None:
    """All were observed: blanks within, no zone, seven fraction digits, `+00:00`."""
    assert notified(*_sample(name)).occurred_at == expected_time
