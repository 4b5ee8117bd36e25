"""The commands of `send` for the messages of the vendor's own services."""

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
    slug,
    time_of,
)
from marketplace_worker.cli.grammar import Config
from marketplace_worker.errors import Misconfigured
from marketplace_worker.testing import (
    HoldKind,
    Marketplace,
    PlanType,
    SupportRequestKind,
    Tier,
    api_requested,
    commitment_linked,
    created,
    logged_in,
    owner_changed,
    subscription_linked,
    support_requested,
    tier_changed,
)

Organization = Annotated[str, typer.Option(metavar="ORG", help="The organization's id.")]
Moment = Annotated[str, typer.Option(metavar="TIME", help="A time (RFC 3339).")]


def send_created(
    *,
    organization: Organization,
    tier: Annotated[Tier, typer.Option(help="Its tier.")] = Tier.PLUS,
    owner_email: Annotated[
        str | None, typer.Option(help="Of its owner; owner@ORG.example by default.")
    ] = None,
    at: At = None,
    config: Config = None,
    dry_run: DryRun = False,
    yes_to: YesTo = None,
) -> None:
    """Send that an organization signed up."""
    moment = moment_of("--at", at)
    Delivery(config, dry_run, yes_to or ()).deliver(
        lambda: [created(organization, at=moment, tier=tier, owner_email=owner_email)]
    )


def send_linked(
    *,
    organization: Organization,
    marketplace: Annotated[Marketplace, typer.Option(help="Where it was bought.")],
    subscription: Annotated[str, typer.Option(metavar="ID", help="The subscription's id there.")],
    plan_type: Annotated[PlanType | None, typer.Option(help="Of the subscription.")] = None,
    billing_account: Annotated[str | None, typer.Option(help="Of the customer, there.")] = None,
    at: At = None,
    config: Config = None,
    dry_run: DryRun = False,
    yes_to: YesTo = None,
) -> None:
    """Send that the sign-up accepted a subscription for an organization."""
    moment = moment_of("--at", at)
    Delivery(config, dry_run, yes_to or ()).deliver(
        lambda: [
            subscription_linked(
                organization,
                marketplace,
                subscription,
                at=moment,
                plan_type=plan_type,
                billing_account=billing_account,
            )
        ]
    )


def send_committed(
    *,
    organization: Organization,
    commitment: Annotated[str, typer.Option(metavar="ID", help="The commitment's id.")],
    starts_at: Moment,
    ends_at: Moment,
    at: At = None,
    config: Config = None,
    dry_run: DryRun = False,
    yes_to: YesTo = None,
) -> None:
    """Send that a commitment was signed outside the marketplaces."""
    moment = moment_of("--at", at)
    starts, ends = time_of("--starts-at", starts_at), time_of("--ends-at", ends_at)
    assert starts is not None
    assert ends is not None
    Delivery(config, dry_run, yes_to or ()).deliver(
        lambda: [
            commitment_linked(organization, commitment, starts_at=starts, ends_at=ends, at=moment)
        ]
    )


def send_login(
    *,
    organization: Organization,
    user: Annotated[str, typer.Option(help="The user's id.")] = "user-1",
    at: At = None,
    config: Config = None,
    dry_run: DryRun = False,
    yes_to: YesTo = None,
) -> None:
    """Send that a user signed in."""
    moment = moment_of("--at", at)
    Delivery(config, dry_run, yes_to or ()).deliver(
        lambda: [logged_in(organization, at=moment, user=user)]
    )


def send_usage(
    *,
    organization: Organization,
    requests: Annotated[int, typer.Option(help="How many.")] = 1,
    at: At = None,
    config: Config = None,
    dry_run: DryRun = False,
    yes_to: YesTo = None,
) -> None:
    """Send that an organization's API keys made requests."""
    moment = moment_of("--at", at)
    Delivery(config, dry_run, yes_to or ()).deliver(
        lambda: [api_requested(organization, at=moment, requests=requests)]
    )


def send_tier_changed(
    *,
    organization: Organization,
    tier: Annotated[Tier, typer.Option(help="The new one.")],
    at: At = None,
    config: Config = None,
    dry_run: DryRun = False,
    yes_to: YesTo = None,
) -> None:
    """Send that an organization is of another tier."""
    moment = moment_of("--at", at)
    Delivery(config, dry_run, yes_to or ()).deliver(
        lambda: [tier_changed(organization, tier, at=moment)]
    )


def send_owner_changed(
    *,
    organization: Organization,
    owner_email: Annotated[str, typer.Option(help="Of the new owner.")],
    at: At = None,
    config: Config = None,
    dry_run: DryRun = False,
    yes_to: YesTo = None,
) -> None:
    """Send that an organization has another owner."""
    moment = moment_of("--at", at)
    Delivery(config, dry_run, yes_to or ()).deliver(
        lambda: [owner_changed(organization, owner_email, at=moment)]
    )


def send_support(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="What is asked for; see below.")],
    *,
    organization: Annotated[
        str | None, typer.Option(metavar="ORG", help="Only unlock-email needs none.")
    ] = None,
    days: Annotated[int | None, typer.Option(help="Of extend-grace.")] = None,
    hold: Annotated[HoldKind | None, typer.Option(help="Of place-hold, release-hold.")] = None,
    expires_at: Annotated[
        str | None, typer.Option(metavar="TIME", help="Of place-hold (RFC 3339).")
    ] = None,
    grant_until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Of reinstate-organization (RFC 3339).")
    ] = None,
    email: Annotated[str | None, typer.Option(help="Of unlock-email.")] = None,
    by: Annotated[str, typer.Option(help="Who asks.")] = "robin@support.example",
    reason: Annotated[str, typer.Option(help="Why.")] = "the customer asked",
    ticket: Annotated[str | None, typer.Option(help="Where it is recorded.")] = None,
    at: At = None,
    config: Config = None,
    dry_run: DryRun = False,
    yes_to: YesTo = None,
) -> None:
    """Send a request of Support.  The worker answers by an event, also where it refuses."""
    moment, request = moment_of("--at", at), kind_of(SupportRequestKind, kind)
    if organization is None and request is not SupportRequestKind.UNLOCK_EMAIL:
        raise Misconfigured(f"--organization: is required for {slug(request)}")
    build = partial(
        support_requested, request, organization, at=moment,
        requested_by=by, reason=reason, ticket=ticket, days=days, hold=hold, email=email,
        grant_until=time_of("--grant-until", grant_until),
        expires_at=time_of("--expires-at", expires_at),
    )  # fmt: skip
    Delivery(config, dry_run, yes_to or ()).deliver(lambda: [build()])
