"""Messages of your own services: sign-ups, logins, usage and Support requests, as CloudEvents."""

import json
import re
from collections.abc import Mapping
from datetime import datetime

from pydantic import ValidationError

from marketplace_worker.contract.cloudevents import event_type
from marketplace_worker.contract.feeds import NAME_PREFIXES, Feed
from marketplace_worker.contract.fields import first_problem
from marketplace_worker.contract.inbound_data import INBOUND_DATA
from marketplace_worker.contract.topics import feeds
from marketplace_worker.lifecycle.vocabulary import (
    HoldKind,
    Marketplace,
    PlanType,
    SupportRequestKind,
    Tier,
)
from marketplace_worker.settings import Topics
from marketplace_worker.testing.messages import (
    Message,
    message,
    time_text,
    uuid_for,
    without_none,
)

_TOPICS = {feed: topic for topic, feed in feeds(Topics()).items()}


def own_event(
    name: str,
    organization: str | None,
    data: Mapping[str, object],
    *,
    at: datetime,
    id_: str | None = None,
) -> Message:
    """A CloudEvent of any inbound type, by its name, such as `organization.created`.

    Its id is by default the same for equal arguments.

    Raises:
        ValueError: `name` is no inbound type, or `data` is not valid for it.
    """
    if name not in INBOUND_DATA:
        raise ValueError(f"{name}: must be one of {', '.join(INBOUND_DATA)}")
    given = without_none(data)
    try:
        INBOUND_DATA[name].model_validate_json(json.dumps(given))
    except ValidationError as error:
        raise ValueError(": ".join(first_problem(error))) from None
    (feed,) = (feed for feed, prefix in NAME_PREFIXES.items() if name.startswith(prefix))
    event = {
        "specversion": "1.0",
        "id": id_ or uuid_for("event", name, organization, at, json.dumps(given, sort_keys=True)),
        "source": _SOURCES[feed],
        "type": event_type(name),
        "subject": organization,
        "time": time_text(at),
        "datacontenttype": "application/json",
        "data": given,
    }
    what = name if organization is None else f"{name} {organization}"
    return message(_TOPICS[feed], organization or "", without_none(event), at, what)


_SOURCES = {
    Feed.LOGINS: "/identity",
    Feed.API_REQUESTS: "/gateway",
    Feed.ORGANIZATION_CHANGES: "/signup",
    Feed.SUPPORT_REQUESTS: "/support",
}


def logged_in(organization: str, *, at: datetime, user: str = "user-1") -> Message:
    """A user signed in."""
    return own_event("identity.user.logged_in", organization, {"user_id": user}, at=at)


def api_requested(organization: str, *, at: datetime, requests: int = 1) -> Message:
    """The organization's API keys made requests."""
    return own_event("usage.api_requests", organization, {"requests": requests}, at=at)


def created(
    organization: str,
    *,
    at: datetime,
    tier: Tier = Tier.PLUS,
    owner_email: str | None = None,
    billing_cycle_anchor: datetime | None = None,
) -> Message:
    """An organization signed up; its owner is by default `owner@ORGANIZATION.example`."""
    data = {
        "tier": tier.value,
        "owner_email": owner_email or _owner_of(organization),
        "billing_cycle_anchor": _text_of(billing_cycle_anchor),
    }
    return own_event("organization.created", organization, data, at=at)


def tier_changed(organization: str, tier: Tier, *, at: datetime) -> Message:
    """The organization is of another tier."""
    return own_event("organization.tier_changed", organization, {"tier": tier.value}, at=at)


def owner_changed(organization: str, owner_email: str, *, at: datetime) -> Message:
    """The organization has another owner."""
    data = {"owner_email": owner_email}
    return own_event("organization.owner_changed", organization, data, at=at)


def subscription_linked(
    organization: str,
    marketplace: Marketplace,
    subscription: str,
    *,
    at: datetime,
    plan_type: PlanType | None = None,
    billing_account: str | None = None,
) -> Message:
    """The sign-up accepted a marketplace's subscription for the organization."""
    data = {
        "marketplace": marketplace.value,
        "subscription_id": subscription,
        "plan_type": None if plan_type is None else plan_type.value,
        "billing_account": billing_account,
    }
    return own_event("organization.subscription_linked", organization, data, at=at)


def commitment_linked(
    organization: str, commitment: str, *, starts_at: datetime, ends_at: datetime, at: datetime
) -> Message:
    """A commitment was signed outside the marketplaces."""
    data = {
        "commitment_id": commitment,
        "starts_at": time_text(starts_at),
        "ends_at": time_text(ends_at),
    }
    return own_event("organization.commitment_linked", organization, data, at=at)


def support_requested(
    request: SupportRequestKind,
    organization: str | None,
    *,
    at: datetime,
    requested_by: str = "robin@support.example",
    reason: str = "the customer asked",
    ticket: str | None = None,
    grant_until: datetime | None = None,
    hold: HoldKind | None = None,
    expires_at: datetime | None = None,
    days: int | None = None,
    email: str | None = None,
) -> Message:
    """A Support request.

    Args:
        request: what Support asks for.
        organization: whom it concerns; only `unlock_email` may have none.
        at: when it was made.
        requested_by: who asks.
        reason: why.
        ticket: where it is recorded.
        grant_until: of `reinstate_organization`.
        hold: of `place_hold` and `release_hold`.
        expires_at: of `place_hold`.
        days: of `extend_grace`.
        email: of `unlock_email`.
    """
    data = {
        "requested_by": requested_by,
        "reason": reason,
        "ticket": ticket,
        "grant_until": _text_of(grant_until),
        "kind": None if hold is None else hold.value,
        "expires_at": _text_of(expires_at),
        "days": days,
        "email": email,
    }
    return own_event(f"support.{request}", organization, data, at=at)


def _owner_of(organization: str) -> str:
    host = re.sub(r"[^a-z0-9]+", "-", organization.lower()).strip("-")[:50] or "customer"
    return f"owner@{host}.example"


def _text_of(moment: datetime | None) -> str | None:
    return None if moment is None else time_text(moment)
