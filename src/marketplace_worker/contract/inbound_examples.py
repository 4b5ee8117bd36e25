"""One example of everything that comes in: they stand in the schemas, and the tests read them.

Made up; ids and addresses are of nobody.
"""

from typing import Any

from marketplace_worker.contract.cloudevents import event_type

_REQUEST = {"requested_by": "ada", "reason": "Asked for by phone.", "ticket": "T-7"}

_INBOUND_DATA: dict[str, dict[str, Any]] = {
    "identity.user.logged_in": {"user_id": "user-5"},
    "usage.api_requests": {"requests": 120},
    "organization.created": {
        "tier": "free",
        "owner_email": "owner@customer.example",
        "billing_cycle_anchor": "2026-11-01T00:00:00Z",
    },
    "organization.tier_changed": {"tier": "plus"},
    "organization.owner_changed": {"owner_email": "new-owner@customer.example"},
    "organization.subscription_linked": {
        "marketplace": "aws",
        "subscription_id": "agmt-3bsxkpvrrr0fd0f8a9bqx1234",
        "billing_account": "123456789012",
        "plan_type": "payg",
    },
    "organization.commitment_linked": {
        "commitment_id": "commitment-9",
        "starts_at": "2026-11-01T00:00:00Z",
        "ends_at": "2027-11-01T00:00:00Z",
    },
    "support.deactivate_organization": _REQUEST,
    "support.reactivate_organization": _REQUEST,
    "support.reinstate_organization": {**_REQUEST, "grant_until": "2026-12-24T00:00:00Z"},
    "support.unlock_email": {**_REQUEST, "email": "owner@customer.example"},
    "support.place_hold": {**_REQUEST, "kind": "legal", "expires_at": "2027-01-31T00:00:00Z"},
    "support.release_hold": {**_REQUEST, "kind": "legal"},
    "support.extend_grace": {**_REQUEST, "days": 14},
}


def inbound_examples() -> dict[str, dict[str, Any]]:
    """A whole CloudEvent of every inbound type, by its name."""
    return {
        name: {
            "specversion": "1.0",
            "id": f"example-{number}",
            "source": f"/{name.partition('.')[0]}",
            "type": event_type(name),
            **({} if name == "support.unlock_email" else {"subject": "org-42"}),
            "time": "2026-11-22T18:15:15.376Z",
            "datacontenttype": "application/json",
            "data": data,
        }
        for number, (name, data) in enumerate(_INBOUND_DATA.items(), start=1)
    }


MARKETPLACE_EXAMPLES: dict[str, dict[str, Any]] = {
    "marketplace.aws.notifications": {
        "version": "0",
        "id": "dd4f6ae8-9e3f-4a5c-8b1e-3f6f8f0f9a01",
        "detail-type": "License Deprovisioned - Manufacturer",
        "source": "aws.agreement-marketplace",
        "account": "111122223333",
        "time": "2026-11-22T18:00:00Z",
        "region": "us-east-1",
        "resources": [],
        "detail": {
            "agreement": {"id": "agmt-3bsxkpvrrr0fd0f8a9bqx1234"},
            "acceptor": {"accountId": "123456789012"},
        },
    },
    "marketplace.gcp.notifications": {
        "eventId": "CREATE_ENTITLEMENT-example-1",
        "eventType": "ENTITLEMENT_ACTIVE",
        "providerId": "example-provider",
        "entitlement": {"id": "entitlement-7", "updateTime": "2026-11-22T18:00:00.123Z"},
    },
    "marketplace.azure.notifications": {
        "id": "74dfb4db-c193-4891-827d-eb05fbdc64b0",
        "activityId": "74dfb4db-c193-4891-827d-eb05fbdc64b0",
        "subscriptionId": "37f9dea2-4345-438f-b0bd-03d40d28c7e0",
        "offerId": "example-offer",
        "publisherId": "example-publisher",
        "planId": "gold",
        "quantity": 1,
        "timeStamp": "2026-11-22T18:00:00.1234567Z",
        "action": "Suspend",
        "status": "Succeeded",
    },
}
