"""Stories: the whole course of a customer, from the sign-up on, for trials and for the demo.

Each message has the day on which it is sent under the default policy.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from marketplace_worker.lifecycle.vocabulary import (
    Marketplace,
    PlanType,
    SupportRequestKind,
    Tier,
)
from marketplace_worker.testing.aws import AwsKind, aws_account, aws_notification
from marketplace_worker.testing.azure import AzureKind, azure_notification
from marketplace_worker.testing.gcp import GcpKind, gcp_notification
from marketplace_worker.testing.messages import Message
from marketplace_worker.testing.own_events import (
    api_requested,
    created,
    logged_in,
    subscription_linked,
    support_requested,
)

Script = Callable[[str, datetime], Sequence[Message]]
"""The messages about an organization at a moment."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Messages that follow an event: sent by the demo when it is received, else on a day."""

    day: float
    messages: Script


@dataclass(frozen=True, slots=True)
class Story:
    """The course of one customer.

    Args:
        name: for `send story`.
        organization: by default.
        what: happens, for a reader.
        begins: the messages of the first day.
        expected: the names of the lifecycle events that follow, in order.
        replies: by the name of the event that they follow.  Days pass between each of these events
            and the next deadline, so that no reply is late.
    """

    name: str
    organization: str
    what: str
    begins: Script
    expected: tuple[str, ...]
    replies: Mapping[str, Reply] = field(default_factory=dict)

    @property
    def length(self) -> timedelta:
        """From the first message to the last."""
        return timedelta(days=max((each.day for each in self.replies.values()), default=0))

    def messages(self, organization: str, began: datetime) -> Sequence[Message]:
        """All messages, in order, of a story that begins at a moment."""
        replies = sorted(self.replies.values(), key=lambda reply: reply.day)
        return [
            *self.begins(organization, began),
            *(
                message
                for reply in replies
                for message in reply.messages(organization, began + timedelta(days=reply.day))
            ),
        ]


CONTROL_PLANE_LOSS = ("organization.control_plane_lost", "control_plane.access_revoked")

SUSPENSION = ("organization.suspended", "api_keys.revoked", "data_plane.access_revoked")

WAY_DOWN = (
    "organization.canceled",
    *CONTROL_PLANE_LOSS,
    "organization.notice_given",
    *SUSPENSION,
)

ALL_RESTORED = (
    "control_plane.access_restored",
    "api_keys.restored",
    "data_plane.access_restored",
)

BEFORE_USERS_LEAVE = (
    "organization.notice_given",
    "organization.deactivated",
    "billing.stopped",
    "subscriptions.removed",
    "control_plane.decommissioned",
)

USERS_LEAVE = (
    "team_memberships.removed",
    "roles.removed",
    "logins.blocked",
    "email.locked",
    "runtimes.detached",
)


def everyday(organization: str, at: datetime) -> Sequence[Message]:
    """A login and some API usage."""
    return (logged_in(organization, at=at), api_requested(organization, at=at, requests=3))


def _signs_up(
    organization: str,
    at: datetime,
    marketplace: Marketplace,
    subscription: str,
    plan_type: PlanType = PlanType.PAYG,
) -> Sequence[Message]:
    """A new organization with a subscription, a login and some API usage."""
    return (
        created(organization, at=at),
        *everyday(organization, at),
        subscription_linked(organization, marketplace, subscription, at=at, plan_type=plan_type),
    )


def _leaves(organization: str, at: datetime) -> Sequence[Message]:
    agreement = f"agmt-{organization}"
    return (
        *_signs_up(organization, at, Marketplace.AWS, agreement),
        aws_notification(AwsKind.LICENSE_UPDATED, agreement, at=at),
        aws_notification(AwsKind.AGREEMENT_ENDED, agreement, at=at),
    )


LEAVES = Story(
    "leaves",
    "acme",
    "AWS (EventBridge): the customer cancels and never comes back",
    _leaves,
    (
        WAY_DOWN[0],
        "metering.final_report_due",
        *WAY_DOWN[1:],
        *BEFORE_USERS_LEAVE,
        *USERS_LEAVE,
        "resources.deletion_requested",
    ),
)


def _product_of(organization: str) -> str:
    return f"prod-1/cust-{organization}"


def _unsubscribes(organization: str, at: datetime) -> Sequence[Message]:
    customer = _product_of(organization)
    return (
        *_signs_up(organization, at, Marketplace.AWS, customer),
        aws_notification(AwsKind.SUBSCRIBE_SUCCESS, customer, at=at),
        aws_notification(AwsKind.UNSUBSCRIBE_SUCCESS, customer, at=at),
    )


RESUBSCRIBES = Story(
    "resubscribes",
    "birch",
    "AWS (SNS): unsubscribes, and subscribes again when suspended",
    _unsubscribes,
    (
        "organization.canceled",
        "metering.final_report_due",
        *WAY_DOWN[1:],
        "organization.reinstated",
        *ALL_RESTORED,
    ),
    {
        "data_plane.access_revoked": Reply(
            8,
            lambda organization, at: (
                aws_notification(AwsKind.SUBSCRIBE_SUCCESS, _product_of(organization), at=at),
            ),
        )
    },
)


def _loses_its_billing(organization: str, at: datetime) -> Sequence[Message]:
    entitlement = f"ent-{organization}-1"
    return (
        *_signs_up(organization, at, Marketplace.GCP, entitlement, PlanType.COMMIT),
        gcp_notification(GcpKind.ACTIVE, entitlement, at=at),
        gcp_notification(GcpKind.CANCELLED, entitlement, at=at, reason="billing-disabled"),
    )


def _is_linked_anew(organization: str, at: datetime) -> Sequence[Message]:
    entitlement, plan_type = f"ent-{organization}-2", PlanType.COMMIT
    return (
        gcp_notification(GcpKind.ACTIVE, entitlement, at=at),
        subscription_linked(organization, Marketplace.GCP, entitlement, at=at, plan_type=plan_type),
    )


BILLING_DISABLED = Story(
    "billing-disabled",
    "cedar",
    "Google Cloud: billing is switched off; a new entitlement is linked",
    _loses_its_billing,
    (
        "organization.canceled",
        "metering.final_report_due",
        *CONTROL_PLANE_LOSS,
        "organization.reinstated",
        "control_plane.access_restored",
    ),
    {"control_plane.access_revoked": Reply(4, _is_linked_anew)},
)


def _fails_to_pay(organization: str, at: datetime) -> Sequence[Message]:
    subscription = f"sub-{organization}"
    return (
        *_signs_up(organization, at, Marketplace.AZURE, subscription),
        azure_notification(AzureKind.SUBSCRIBE, subscription, at=at),
        azure_notification(AzureKind.SUSPEND, subscription, at=at),
    )


PAYS_LATE = Story(
    "pays-late",
    "dune",
    "Azure: payment fails and is made after the suspension; Support reinstates",
    _fails_to_pay,
    (
        *WAY_DOWN,
        "organization.reinstatement_pending",
        "organization.reinstated",
        *ALL_RESTORED,
        "support_request.completed",
    ),
    {
        "data_plane.access_revoked": Reply(
            8,
            lambda organization, at: (
                azure_notification(AzureKind.REINSTATE, f"sub-{organization}", at=at),
            ),
        ),
        "organization.reinstatement_pending": Reply(
            9,
            lambda organization, at: (
                support_requested(
                    SupportRequestKind.REINSTATE_ORGANIZATION,
                    organization,
                    at=at,
                    reason="the invoice is paid",
                ),
            ),
        ),
    },
)


def _renews(organization: str, at: datetime) -> Sequence[Message]:
    first, second = f"agmt-{organization}-1", f"agmt-{organization}-2"
    account, ends_at = aws_account(organization), at + timedelta(days=365)
    return (
        *_signs_up(organization, at, Marketplace.AWS, first, PlanType.COMMIT),
        aws_notification(AwsKind.LICENSE_UPDATED, first, at=at, account=account),
        aws_notification(
            AwsKind.AGREEMENT_CREATED,
            second,
            at=at,
            previous=first,
            ends_at=ends_at,
            account=account,
        ),
        aws_notification(AwsKind.AGREEMENT_ENDED, first, at=at, status="RENEWED", account=account),
    )


RENEWS = Story(
    "renews",
    "elm",
    "AWS (EventBridge): a renewal, which cancels nothing",
    _renews,
    ("metering.final_report_due",),
)


def _buyer(organization: str, kind: AwsKind, number: int, at: datetime) -> Message:
    """A notification about one of several agreements of one AWS account."""
    account = aws_account(organization)
    return aws_notification(kind, f"agmt-{organization}-{number}", at=at, account=account)


def _cancels(organization: str, at: datetime) -> Sequence[Message]:
    first = f"agmt-{organization}-1"
    return (
        *_signs_up(organization, at, Marketplace.AWS, first, PlanType.COMMIT),
        _buyer(organization, AwsKind.LICENSE_UPDATED, 1, at),
        _buyer(organization, AwsKind.AGREEMENT_ENDED, 1, at),
    )


BUYS_AGAIN = Story(
    "buys-again",
    "fern",
    "AWS (EventBridge): buys again from the same account, and signs in",
    _cancels,
    (
        "organization.canceled",
        "metering.final_report_due",
        *CONTROL_PLANE_LOSS,
        "organization.reinstatement_pending",
        "organization.reinstated",
        "control_plane.access_restored",
    ),
    {
        "control_plane.access_revoked": Reply(
            4,
            lambda organization, at: (_buyer(organization, AwsKind.LICENSE_UPDATED, 2, at),),
        ),
        "organization.reinstatement_pending": Reply(
            5, lambda organization, at: (logged_in(organization, at=at),)
        ),
    },
)

FORGETS = Story(
    "forgets",
    "grove",
    "free: nobody ever signs in again",
    lambda organization, at: (created(organization, at=at, tier=Tier.FREE),),
    (
        *BEFORE_USERS_LEAVE,
        "api_keys.revoked",
        "data_plane.access_revoked",
        *USERS_LEAVE,
    ),
)

COMES_BACK = Story(
    "comes-back",
    "hazel",
    "free: a user signs in again after the notice",
    lambda organization, at: (created(organization, at=at, tier=Tier.FREE),),
    ("organization.notice_given", "organization.notice_withdrawn"),
    {
        "organization.notice_given": Reply(
            25, lambda organization, at: (logged_in(organization, at=at),)
        )
    },
)

STORIES = (
    LEAVES,
    RESUBSCRIBES,
    BILLING_DISABLED,
    PAYS_LATE,
    RENEWS,
    BUYS_AGAIN,
    FORGETS,
    COMES_BACK,
)
"""All stories."""
