"""One whole message of every inbound kind, for the schemas and the tests.

The examples, with their ids and addresses, are made up.
"""

from typing import Any

from marketplace_worker.contract.cloudevents import event_type
from marketplace_worker.contract.inbound_data import INBOUND_DATA


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
            "data": dict(data.EXAMPLE),
        }
        for number, (name, data) in enumerate(INBOUND_DATA.items(), start=1)
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
