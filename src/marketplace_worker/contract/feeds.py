"""The feeds: what each inbound topic carries, independent of its name (events.md section 1)."""

from collections.abc import Mapping
from enum import StrEnum

from marketplace_worker.lifecycle.vocabulary import ActivityFeed, Identity


class Feed(StrEnum):
    """The content of one topic."""

    AWS = "aws"
    GCP = "gcp"
    AZURE = "azure"
    LOGINS = "logins"
    API_REQUESTS = "api_requests"
    ORGANIZATION_CHANGES = "organization_changes"
    SUPPORT_REQUESTS = "support_requests"


NAME_PREFIXES = {
    Feed.LOGINS: "identity.",
    Feed.API_REQUESTS: "usage.",
    Feed.ORGANIZATION_CHANGES: "organization.",
    Feed.SUPPORT_REQUESTS: "support.",
}
"""The prefix of the event names that each feed of CloudEvents carries."""

_SPACES = tuple(NAME_PREFIXES.values())


def identity_of(source: str, id_: str, *, carries: str) -> Identity:
    """The identity of a CloudEvent on a topic that carries the names that begin with `carries`.

    Each topic has its own namespace: otherwise a producer of logins could use the identity of a
    Support request, which would then count as a duplicate.  Support requests keep the bare source,
    unless it looks like one of another topic.
    """
    is_bare = carries == NAME_PREFIXES[Feed.SUPPORT_REQUESTS] and not source.startswith(_SPACES)
    return Identity(source if is_bare else f"{carries}{source}", id_)


def source_of(identity: Identity) -> str:
    """The source that the message had."""
    spaces = (space for space in _SPACES if identity.source.startswith(space))
    return identity.source.removeprefix(next(spaces, ""))


def activity_feed(topic: str, feeds: Mapping[str, Feed]) -> ActivityFeed | None:
    """The activity feed of a topic; None if it carries something else."""
    match feeds.get(topic):
        case Feed.LOGINS:
            return ActivityFeed.LOGINS
        case Feed.API_REQUESTS:
            return ActivityFeed.API_REQUESTS
        case _:
            return None
