"""What the inbound topics carry, whatever their names (events.md section 1)."""

from enum import StrEnum


class Feed(StrEnum):
    """What one topic carries."""

    AWS = "aws"
    GCP = "gcp"
    AZURE = "azure"
    LOGINS = "logins"
    API_REQUESTS = "api_requests"
    ORGANIZATION_CHANGES = "organization_changes"
    SUPPORT_REQUESTS = "support_requests"


NAMES = {
    Feed.LOGINS: "identity.",
    Feed.API_REQUESTS: "usage.",
    Feed.ORGANIZATION_CHANGES: "organization.",
    Feed.SUPPORT_REQUESTS: "support.",
}
"""How the names begin that each feed of CloudEvents carries."""
