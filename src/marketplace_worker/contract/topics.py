"""Which feed each inbound topic carries, by the topics' configured names."""

from marketplace_worker.contract.feeds import Feed
from marketplace_worker.settings import Topics


def feeds(topics: Topics) -> dict[str, Feed]:
    """The feed of each inbound topic."""
    return {
        topics.aws_notifications: Feed.AWS,
        topics.gcp_notifications: Feed.GCP,
        topics.azure_notifications: Feed.AZURE,
        topics.logins: Feed.LOGINS,
        topics.api_requests: Feed.API_REQUESTS,
        topics.organization_changes: Feed.ORGANIZATION_CHANGES,
        topics.support_requests: Feed.SUPPORT_REQUESTS,
    }
