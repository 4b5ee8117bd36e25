"""`marketplace_worker.testing`: what it builds is what the worker reads."""

import ast
import inspect
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from marketplace_worker.contract.emails import email_hasher
from marketplace_worker.contract.topics import feeds
from marketplace_worker.errors import Malformed
from marketplace_worker.lifecycle.facts import Fact, Notified, SupportRequested, Unrecognized
from marketplace_worker.lifecycle.notes import Attention
from marketplace_worker.lifecycle.vocabulary import (
    HoldKind,
    Marketplace,
    PlanType,
    SupportRequestKind,
    Tier,
)
from marketplace_worker.marketplaces import aws, azure, gcp
from marketplace_worker.settings import Topics
from marketplace_worker.testing import (
    ENVELOPES,
    AwsKind,
    AzureKind,
    GcpKind,
    Message,
    api_requested,
    aws_account,
    aws_notification,
    azure_notification,
    commitment_linked,
    created,
    gcp_notification,
    logged_in,
    owner_changed,
    simulated,
    subscription_linked,
    support_requested,
    tier_changed,
)
from marketplace_worker.translate import translate

SCHEMAS = Path(__file__).parents[2] / "schemas" / "inbound"
AT = datetime(2026, 11, 22, 18, 0, 0, 123456, tzinfo=UTC)
RECEIVED_AT = AT + timedelta(seconds=3)
HASH = email_hasher(b"sixteen or more!")

Kind = AwsKind | GcpKind | AzureKind
KINDS: tuple[Kind, ...] = (*AwsKind, *GcpKind, *AzureKind)
WITHOUT_EFFECT = {
    AwsKind.SUBSCRIPTION_CONFIRMATION,
    AwsKind.UNSUBSCRIBE_CONFIRMATION,
    GcpKind.ACCOUNT_CREATION_REQUESTED,
    GcpKind.ACCOUNT_ACTIVE,
    GcpKind.ACCOUNT_DELETED,
    AzureKind.LANDING_PAGE,
}
"""Kinds that concern no subscription."""


def notification(kind: Kind, envelope: str) -> Message:
    """One of each kind about the subscription `sub/1`."""
    match kind:
        case AwsKind():
            return aws_notification(kind, "sub/1", at=AT, envelope=envelope)
        case GcpKind():
            return gcp_notification(kind, "sub/1", at=AT, envelope=envelope)
        case AzureKind():
            return azure_notification(kind, "sub/1", at=AT, envelope=envelope)


def fact(message: Message) -> Fact:
    """The only fact that the worker reads from a message."""
    record = message.record(RECEIVED_AT)
    (found,) = translate(record, feeds(Topics())[record.topic], HASH)
    assert not isinstance(found, Malformed), f"{message.what}: {found}"
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_notification_is_read_as_its_kind_in_every_envelope(kind: Kind) -> None:
    """With its own id and its own time; an envelope adds nothing."""
    plain = fact(notification(kind, "none"))
    if kind in WITHOUT_EFFECT:
        assert isinstance(plain, Unrecognized)
    else:
        assert isinstance(plain, Notified)
        assert plain.notification == kind
        assert plain.subscription.subscription_id == "sub/1"
        assert plain.attention is not Attention.UNKNOWN_KIND
        assert AT - timedelta(seconds=1) < plain.note.occurred_at <= AT
    if kind is not AzureKind.LANDING_PAGE:  # it is an envelope itself, and empty
        for name in ENVELOPES:
            assert fact(notification(kind, name)) == plain, name


def test_equal_arguments_are_a_redelivery_and_another_moment_is_another_message() -> None:
    """As the journal recognizes them: by the id."""
    for kind in set(KINDS) - {AzureKind.LANDING_PAGE}:
        message = notification(kind, "none")
        assert notification(kind, "none") == message
        later = fact(with_time(kind, AT + timedelta(minutes=1)))
        assert later.identity != fact(message).identity


def test_an_id_of_ones_own_is_the_notifications_own() -> None:
    """So that two calls about one operation, or a redelivery at another time, can be built."""
    for message in (
        aws_notification(AwsKind.LICENSE_UPDATED, "sub/1", at=AT, id_="mine", envelope="sns"),
        aws_notification(AwsKind.SUBSCRIBE_SUCCESS, "sub/1", at=AT, id_="mine", envelope="sqs"),
        gcp_notification(GcpKind.ACTIVE, "sub/1", at=AT, id_="mine"),
        azure_notification(AzureKind.RENEW, "sub/1", at=AT, id_="mine", envelope="event-grid"),
    ):
        assert "mine" in fact(message).identity.id


def test_customers_of_aws_share_no_account_unless_they_are_told_to() -> None:
    """An account that two organizations share may reinstate one of them."""
    kind, accounts = AwsKind.LICENSE_UPDATED, set()
    for message in (
        aws_notification(kind, "a", at=AT),
        aws_notification(kind, "b", at=AT),
        aws_notification(AwsKind.AGREEMENT_ENDED, "b", at=AT),
        aws_notification(kind, "b", at=AT, account="1"),
    ):
        found = fact(message)
        assert isinstance(found, Notified)
        accounts.add(found.note.billing_account)
    assert accounts == {aws_account("a"), aws_account("b"), "1"}
    assert len(accounts) == 3


def with_time(kind: Kind, at: datetime) -> Message:
    """A notification at another moment."""
    match kind:
        case AwsKind():
            return aws_notification(kind, "sub/1", at=at)
        case GcpKind():
            return gcp_notification(kind, "sub/1", at=at)
        case AzureKind():
            return azure_notification(kind, "sub/1", at=at)


def literals(*functions: object) -> Iterator[str]:
    """The strings that are compared in a `match`, or listed, in the source of functions."""
    for function in functions:
        tree = ast.parse(inspect.getsource(function))  # type: ignore[arg-type]
        for node in ast.walk(tree):
            if isinstance(node, ast.MatchValue) and isinstance(node.value, ast.Constant):
                yield str(node.value.value)


def test_every_kind_that_the_worker_knows_can_be_built() -> None:
    """What is added to a translator is added here too."""
    known = {
        *literals(aws._event_change, aws._message_change),
        *aws._KNOWN_WITHOUT_EFFECT,
        *aws._CONFIRMATIONS,
    }
    assert known == set(AwsKind)
    entitlements = {*literals(gcp._ranked_change), *gcp._IN_FORCE}
    assert entitlements == {kind for kind in GcpKind if kind not in WITHOUT_EFFECT}
    assert {*azure._ACTIONS.values(), azure._LANDING_PAGE} == set(AzureKind)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - WITHOUT_EFFECT))
def test_a_notification_without_envelope_is_valid_by_its_schema(kind: Kind) -> None:
    """SNS's messages are in SNS's envelope, which the schema describes too."""
    assert_valid(notification(kind, "none"))


def own_messages() -> list[Message]:
    """One of each message of the vendor's own services."""
    day = timedelta(days=1)
    details: dict[SupportRequestKind, dict[str, Any]] = {
        SupportRequestKind.REINSTATE_ORGANIZATION: {"grant_until": AT + day},
        SupportRequestKind.UNLOCK_EMAIL: {"email": "owner@acme.example"},
        SupportRequestKind.PLACE_HOLD: {"hold": HoldKind.LEGAL, "expires_at": AT + day},
        SupportRequestKind.RELEASE_HOLD: {"hold": HoldKind.LEGAL},
        SupportRequestKind.EXTEND_GRACE: {"days": 14},
    }
    return [
        logged_in("acme", at=AT),
        api_requested("acme", at=AT, requests=3),
        created("acme", at=AT, tier=Tier.FREE, billing_cycle_anchor=AT),
        tier_changed("acme", Tier.PLUS, at=AT),
        owner_changed("acme", "new@acme.example", at=AT),
        subscription_linked(
            "acme", Marketplace.AWS, "agmt-1", at=AT, plan_type=PlanType.PAYG, billing_account="1"
        ),
        commitment_linked("acme", "c-1", starts_at=AT, ends_at=AT + day, at=AT),
        *(
            support_requested(kind, "acme", at=AT, ticket="T-1", **details.get(kind, {}))
            for kind in SupportRequestKind
        ),
    ]


@pytest.mark.parametrize("message", own_messages(), ids=lambda message: message.what)
def test_a_message_of_ours_is_read_and_valid_by_its_schema(message: Message) -> None:
    """Every inbound type has a builder."""
    found = fact(message)
    assert not isinstance(found, Unrecognized)
    assert not (isinstance(found, SupportRequested) and found.problem)
    assert found.occurred_at == AT
    assert_valid(message)


def test_every_inbound_type_has_a_builder() -> None:
    """By the names of their schemas."""
    names = {json.loads(each.value)["type"] for each in own_messages()}
    files = {each.name.removesuffix(".json") for each in SCHEMAS.glob("*.json")}
    notifications = {each for each in files if each.startswith("marketplace.")}
    assert {each.removeprefix("io.marketplace-worker.") for each in names} == files - notifications


def assert_valid(message: Message) -> None:
    """The value conforms to the schema of its topic, or of its type."""
    value = json.loads(message.value)
    name = value.get("type", f"{message.topic}.v1").removeprefix("io.marketplace-worker.")
    schema = json.loads((SCHEMAS / f"{name}.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(value)


@pytest.mark.parametrize(
    ("build", "problem"),
    [
        (lambda: aws_notification(AwsKind.SUBSCRIBE_SUCCESS, "x", at=AT), "PRODUCT_CODE/"),
        (lambda: owner_changed("acme", " ", at=AT), "owner_email: "),
        (
            lambda: support_requested(SupportRequestKind.EXTEND_GRACE, "acme", at=AT, days=0),
            "days: ",
        ),
    ],
)
def test_what_the_worker_would_refuse_is_not_built(build: Any, problem: str) -> None:  # noqa: ANN401
    """The error names what to change."""
    with pytest.raises(ValueError, match=problem):
        build()


def test_what_a_router_reads_beside_a_notification_reaches_the_worker() -> None:
    """Google's reason, AWS's entitlement, and the end of Azure's term."""
    ends_at = AT + timedelta(days=30)
    end = gcp_notification(GcpKind.CANCELLED, "e-1", at=AT, reason="billing-disabled", account="a")
    read = fact(end)
    assert isinstance(read, Notified)
    assert (read.note.billing_account, read.note.change.reason) == ("a", "non_payment")  # type: ignore[union-attr]
    entitled = fact(aws_notification(AwsKind.ENTITLEMENT_UPDATED, "p/c", at=AT, ends_at=ends_at))
    assert isinstance(entitled, Notified)
    assert entitled.attention is None
    renewed = fact(azure_notification(AzureKind.RENEW, "sub-1", at=AT, ends_at=ends_at))
    assert isinstance(renewed, Notified)
    assert renewed.note.term_ends_at == ends_at


def test_the_example_of_the_page_passes() -> None:
    """docs/testing.md, as a vendor's test would run."""
    page = (Path(__file__).parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(example, names)
    tests = [held for name, held in names.items() if name.startswith("test_")]
    assert len(tests) == 1
    for each in tests:
        each()


def test_messages_out_of_order_or_unreadable_are_not_simulated() -> None:
    """A test that passes by mistake is worth nothing."""
    later = created("acme", at=AT + timedelta(days=1))
    with pytest.raises(ValueError, match="organization\\.created acme"):
        list(simulated([later, created("acme", at=AT)]))
    broken = Message(later.topic, "acme", b"{", AT, "broken")
    with pytest.raises(Malformed):
        list(simulated([broken]))
