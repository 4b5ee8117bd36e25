"""A test double of the marketplaces and of your own services: the messages that the worker reads.

For the tests of services beside the worker, and for trials (`marketplace-worker send`);
docs/testing.md has an example.  Nothing here talks to a server.
"""

from marketplace_worker.lifecycle.vocabulary import (
    HoldKind,
    Marketplace,
    PlanType,
    SupportRequestKind,
    Tier,
)
from marketplace_worker.testing.aws import AwsDetails, AwsKind, aws_account, aws_notification
from marketplace_worker.testing.azure import AzureDetails, AzureKind, azure_notification
from marketplace_worker.testing.envelopes import ENVELOPES
from marketplace_worker.testing.gcp import GcpDetails, GcpKind, gcp_notification
from marketplace_worker.testing.messages import Message
from marketplace_worker.testing.own_events import (
    api_requested,
    commitment_linked,
    created,
    logged_in,
    own_event,
    owner_changed,
    subscription_linked,
    support_requested,
    tier_changed,
)
from marketplace_worker.testing.simulated import simulated
from marketplace_worker.testing.stories import STORIES, Story

__all__ = [
    "ENVELOPES",
    "STORIES",
    "AwsDetails",
    "AwsKind",
    "AzureDetails",
    "AzureKind",
    "GcpDetails",
    "GcpKind",
    "HoldKind",
    "Marketplace",
    "Message",
    "PlanType",
    "Story",
    "SupportRequestKind",
    "Tier",
    "api_requested",
    "aws_account",
    "aws_notification",
    "azure_notification",
    "commitment_linked",
    "created",
    "gcp_notification",
    "logged_in",
    "own_event",
    "owner_changed",
    "simulated",
    "subscription_linked",
    "support_requested",
    "tier_changed",
]
