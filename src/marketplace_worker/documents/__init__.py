"""The JSON documents that the database keeps: their shapes, apart from the core's own classes.

Written with a version and read back as the core's values; times come back in `datetime.UTC`.  A
name, type or default here is data: `tests/unit/documents/*.jsonl` holds an exact example of each
document, and a change of the stored shape shows there.  Values of enums are the core's own, and
stored as they are.
"""

from marketplace_worker.documents.comparing import is_contradicted
from marketplace_worker.documents.facts import fact_from_json, fact_to_json
from marketplace_worker.documents.history import events_to_json
from marketplace_worker.documents.organizations import (
    organization_from_json,
    organization_to_json,
)
from marketplace_worker.documents.policies import policy_from_json, policy_to_json
from marketplace_worker.documents.published import published_from_json, published_to_json
from marketplace_worker.documents.readings import readings_from_json, readings_to_json
from marketplace_worker.documents.safeguards import safeguards_from_json, safeguards_to_json
from marketplace_worker.documents.subscriptions import (
    subscription_from_json,
    subscription_to_json,
)

__all__ = [
    "events_to_json",
    "fact_from_json",
    "fact_to_json",
    "is_contradicted",
    "organization_from_json",
    "organization_to_json",
    "policy_from_json",
    "policy_to_json",
    "published_from_json",
    "published_to_json",
    "readings_from_json",
    "readings_to_json",
    "safeguards_from_json",
    "safeguards_to_json",
    "subscription_from_json",
    "subscription_to_json",
]
