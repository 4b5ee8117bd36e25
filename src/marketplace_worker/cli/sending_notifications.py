"""The commands of `send` for the marketplaces' notifications."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Annotated

import typer

from marketplace_worker.cli.delivering import (
    At,
    Delivery,
    DryRun,
    YesTo,
    kind_of,
    moment_of,
    time_of,
)
from marketplace_worker.cli.grammar import Config
from marketplace_worker.errors import Misconfigured
from marketplace_worker.testing import (
    ENVELOPES,
    AwsKind,
    AzureKind,
    GcpKind,
    Marketplace,
    Message,
    PlanType,
    aws_notification,
    azure_notification,
    gcp_notification,
    subscription_linked,
)

Kind = Annotated[str, typer.Argument(metavar="KIND", help="What it notifies of; see below.")]
Subscription = Annotated[
    str, typer.Option(help="The subscription's id at the marketplace.", metavar="ID")
]
LinkedTo = Annotated[
    str | None,
    typer.Option(
        "--organization", metavar="ORG", help="Link the subscription to this organization first."
    ),
]
PlanOfLink = Annotated[
    PlanType | None, typer.Option("--plan-type", help="Of the subscription that is linked.")
]
Id = Annotated[
    str | None,
    typer.Option("--id", help="The notification's own id; the same again is a redelivery."),
]
EnvelopeName = Annotated[
    str, typer.Option("--envelope", metavar="NAME", help="What is around it; see below.")
]
EndsAt = Annotated[str | None, typer.Option(metavar="TIME", help="The end of the term (RFC 3339).")]


def send_aws(
    kind: Kind,
    *,
    subscription: Subscription,
    organization: LinkedTo = None,
    plan_type: PlanOfLink = None,
    at: At = None,
    status: Annotated[str, typer.Option(help="Of an agreement that ended.")] = "CANCELLED",
    previous: Annotated[str | None, typer.Option(help="The agreement that it renews.")] = None,
    auto_renews: Annotated[
        bool | None, typer.Option("--auto-renews/--no-auto-renews", help="Of one amended.")
    ] = None,
    ends_at: EndsAt = None,
    account: Annotated[str | None, typer.Option(help="The customer's AWS account.")] = None,
    id_: Id = None,
    envelope: EnvelopeName = "none",
    config: Config = None,
    dry_run: DryRun = False,
    yes_to: YesTo = None,
) -> None:
    """Send a notification of AWS Marketplace: an EventBridge event, or a message of SNS.

    Of SNS's messages, the subscription is PRODUCT_CODE/CUSTOMER_IDENTIFIER.
    """
    moment = moment_of("--at", at)
    link = _link(organization, Marketplace.AWS, subscription, plan_type, moment)
    build = partial(
        aws_notification,
        kind_of(AwsKind, kind),
        subscription,
        at=moment,
        id_=id_,
        envelope=envelope_of(envelope),
        status=status,
        previous=previous,
        auto_renews=auto_renews,
        ends_at=time_of("--ends-at", ends_at),
        account=account,
    )
    Delivery(config, dry_run, yes_to or ()).deliver(lambda: [*link(), build()])


def send_gcp(
    kind: Kind,
    *,
    subscription: Subscription,
    organization: LinkedTo = None,
    plan_type: PlanOfLink = None,
    at: At = None,
    reason: Annotated[
        str | None,
        typer.Option(help="Why it was cancelled: user-cancelled, billing-disabled, expired, …"),
    ] = None,
    ends_at: EndsAt = None,
    account: Annotated[str | None, typer.Option(help="The procurement account.")] = None,
    id_: Id = None,
    envelope: EnvelopeName = "pubsub-push",
    config: Config = None,
    dry_run: DryRun = False,
    yes_to: YesTo = None,
) -> None:
    """Send a notification of Google Cloud Marketplace: a message of Pub/Sub.

    The subscription is an entitlement; with a reason, an end or an account, it stands beside the
    notification, as a router reads it.
    """
    moment = moment_of("--at", at)
    link = _link(organization, Marketplace.GCP, subscription, plan_type, moment)
    build = partial(
        gcp_notification,
        kind_of(GcpKind, kind),
        subscription,
        at=moment,
        id_=id_,
        envelope=envelope_of(envelope),
        reason=reason,
        ends_at=time_of("--ends-at", ends_at),
        account=account,
    )
    Delivery(config, dry_run, yes_to or ()).deliver(lambda: [*link(), build()])


def send_azure(
    kind: Kind,
    *,
    subscription: Subscription,
    organization: LinkedTo = None,
    plan_type: PlanOfLink = None,
    at: At = None,
    status: Annotated[
        str, typer.Option(help="Of the operation: Succeeded, Failed, InProgress, …")
    ] = "Succeeded",
    requested_by: Annotated[str, typer.Option(help="Azure or Partner.")] = "Azure",
    ends_at: EndsAt = None,
    id_: Id = None,
    envelope: EnvelopeName = "none",
    config: Config = None,
    dry_run: DryRun = False,
    yes_to: YesTo = None,
) -> None:
    """Send a call of Azure's SaaS webhook.  Its id is that of the operation."""
    moment = moment_of("--at", at)
    link = _link(organization, Marketplace.AZURE, subscription, plan_type, moment)
    build = partial(
        azure_notification,
        kind_of(AzureKind, kind),
        subscription,
        at=moment,
        id_=id_,
        envelope=envelope_of(envelope),
        status=status,
        requested_by=requested_by,
        ends_at=time_of("--ends-at", ends_at),
    )
    Delivery(config, dry_run, yes_to or ()).deliver(lambda: [*link(), build()])


def _link(
    organization: str | None,
    marketplace: Marketplace,
    subscription: str,
    plan_type: PlanType | None,
    at: datetime,
) -> Callable[[], list[Message]]:
    """Builds the link of the subscription that is asked for, if any."""
    if organization is None and plan_type is not None:
        raise Misconfigured("--plan-type needs --organization: a link says the plan type")

    def build() -> list[Message]:
        if organization is None:
            return []
        return [
            subscription_linked(organization, marketplace, subscription, at=at, plan_type=plan_type)
        ]

    return build


def envelope_of(text: str) -> str:
    """The name of an envelope, checked; raises `Misconfigured`."""
    if text not in ENVELOPES:
        raise Misconfigured(f"--envelope: must be one of {', '.join(ENVELOPES)}")
    return text
