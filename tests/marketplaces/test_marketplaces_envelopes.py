"""Envelopes around a notification change nothing; each record of a value is handled by itself."""

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from marketplace_samples import (
    HAPPENED_AT,
    RECORDED_AT,
    SENT_AT,
    Json,
    aws_event,
    aws_message,
    azure_body,
    gcp_message,
    items,
    notified,
    pubsub,
    push,
    record,
    refusal,
    sns,
    sns_to_lambda,
    sqs,
    unrecognized,
    wrapped,
)

from marketplace_worker.errors import Malformed
from marketplace_worker.lifecycle.facts import Notified
from marketplace_worker.lifecycle.notes import Activated

EVENT, MESSAGE = aws_event(), aws_message("unsubscribe-pending")
EVENT_IN_SNS = sns(EVENT, MessageId="another", Timestamp="2026-11-05T00:00:00Z")
PUBLISHED = {"publishTime": "2026-11-02T00:00:00Z", "publish_time": "2026-11-02T00:00:00Z"}
ENVELOPES: list[tuple[str, str, Json, Json]] = [
    ("aws", "SNS to SQS", sns(MESSAGE), sqs(sns(MESSAGE))),
    ("aws", "the body of SQS alone", sns(MESSAGE), {"body": json.dumps(sns(MESSAGE))}),
    ("aws", "as ReceiveMessage spells it", sns(MESSAGE), {"Body": json.dumps(sns(MESSAGE))}),
    ("aws", "SNS to Lambda", sns(MESSAGE), sns_to_lambda(sns(MESSAGE))),
    ("aws", "SNS in SNS", sns(MESSAGE), sns(sns(MESSAGE), MessageId="another")),
    ("aws", "the message as an object", sns(MESSAGE), sns({}, Message=MESSAGE)),
    ("aws", "raw SNS to SQS", MESSAGE, sqs(MESSAGE)),
    ("aws", "SNS to Lambda to a router", sns(MESSAGE), wrapped(sns_to_lambda(sns(MESSAGE)))),
    ("aws", "a router before SNS", sns(MESSAGE), sns(wrapped(MESSAGE))),
    ("aws", "EventBridge to SNS", EVENT, EVENT_IN_SNS),
    ("aws", "EventBridge to SQS", EVENT, sqs(EVENT)),
    ("aws", "EventBridge to SNS to SQS", EVENT, sqs(EVENT_IN_SNS)),
    ("aws", "EventBridge to SNS to Lambda", EVENT, sns_to_lambda(EVENT_IN_SNS)),
    ("gcp", "push", gcp_message(), push(gcp_message())),
    ("gcp", "push, both spellings", gcp_message(), push(gcp_message(), **PUBLISHED)),
    ("gcp", "raw", gcp_message(), pubsub(gcp_message(), messageId="1")),
    ("gcp", "a router before a push", gcp_message(), wrapped(push(gcp_message()))),
    ("gcp", "a router before Pub/Sub", gcp_message(), push(wrapped(gcp_message()))),
    ("azure", "forwarded", azure_body(), {"EventType": "Webhook", "Payload": azure_body()}),
    ("azure", "forwarded as text", azure_body(), {"x": "{no", "Payload": json.dumps(azure_body())}),
    ("azure", "forwarded and wrapped", azure_body(), wrapped({"Payload": azure_body()})),
    ("azure", "wrapped and forwarded", azure_body(), {"Payload": wrapped(azure_body())}),
    ("azure", "beside another action", azure_body(), {"a": {"action": "x"}, "b": azure_body()}),
]


@pytest.mark.parametrize(
    ("marketplace", "plain", "enveloped"),
    [(marketplace, plain, enveloped) for marketplace, _, plain, enveloped in ENVELOPES],
    ids=[name for _, name, _, _ in ENVELOPES],
)
def test_an_envelope_changes_nothing(marketplace: str, plain: Json, enveloped: Json) -> None:
    """The same notification is the same fact on every path."""
    assert notified(marketplace, enveloped) == notified(marketplace, plain)


def test_azure_fields_are_read_in_any_letter_case() -> None:
    """Routers change the case of all nested keys."""

    def spelled(value: object, spell: Callable[[str], str]) -> object:
        if isinstance(value, dict):
            return {spell(name): spelled(found, spell) for name, found in value.items()}
        return value

    term = {"endDate": "2027-01-01T00:00:00Z", "termUnit": "P1Y"}
    body = azure_body("Unsubscribe", subscription={"term": term, "autoRenew": False})
    for spell in (str.upper, str.lower, str.title):
        assert notified("azure", spelled(body, spell)) == notified("azure", body)
        assert notified("azure", spelled(wrapped(body, {}), spell)) == notified("azure", body)


def test_the_exact_spelling_wins_over_another() -> None:
    """A router's own field beside Azure's must not replace it."""
    body = {"SUBSCRIPTIONID": "other", **azure_body(), "SubscriptionId": "other"}
    assert notified("azure", body) == notified("azure", azure_body())


def test_a_null_spelling_does_not_hide_another() -> None:
    """Some routers write every field that they know, and null for an absent one."""
    body = {**azure_body(), "subscriptionId": None, "SubscriptionId": "", "SUBSCRIPTIONID": "s"}
    assert notified("azure", body).subscription.subscription_id == "s"


def test_the_time_of_the_push_is_used_without_one_in_the_message() -> None:
    """`updateTime`, else `publishTime`, else the record's time (marketplaces.md section 1)."""
    message = gcp_message(updateTime="...")
    for name in ("publishTime", "publish_time"):
        fact = notified("gcp", push(message, **{name: "2026-11-02T00:00:00Z"}))
        assert fact.occurred_at == datetime(2026, 11, 2, tzinfo=UTC)
    assert notified("gcp", push(message)).occurred_at == RECORDED_AT


NO_SHAPE = "no known shape of what this topic carries"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        *[("%%e30=", "is not base64"), ("e30=x", "is not base64"), ("é", "is not base64")],
        *[(17, "must be a JSON object"), ("aGVsbG8=", "is not JSON (at character 0)")],
        *[("e30", NO_SHAPE), ({}, NO_SHAPE)],
    ],
)
def test_a_push_with_undecodable_data_is_refused(data: object, reason: str) -> None:
    """Its data is not base64, or not JSON."""
    assert str(refusal("gcp", {"message": {"data": data}})) == f"message.data: {reason}"


def test_several_notifications_in_one_azure_value_are_refused() -> None:
    """No known sender does so; taking the first would silently lose the other."""
    two = {"a": azure_body(), "b": azure_body("Suspend")}
    assert refusal("azure", two).reason == "several notifications in one value"


# --- values that hold several records -------------------------------------------------------------


def test_each_record_of_a_value_is_accepted_or_refused_by_itself() -> None:
    """An unreadable record must not affect the others (lifecycle.md section 11)."""
    value = sqs(MESSAGE, {"hello": "world"}, sns(MESSAGE), EVENT, {**MESSAGE, "product-code": 1})
    first, second, third, fourth, fifth = items("aws", value)
    assert isinstance(first, Notified)
    assert first.identity.id == f"{record(value).positional_id}/0"
    assert isinstance(second, Malformed)
    assert second.field == "Records.1.body"
    assert third == notified("aws", sns(MESSAGE))
    assert fourth == notified("aws", EVENT)
    assert isinstance(fifth, Malformed)
    assert str(fifth) == "Records.4.body.product-code: must be text"


def test_a_record_that_is_not_an_object_is_refused_by_itself() -> None:
    """The refusal names its index."""
    refused, accepted = items("aws", {"Records": [17, {"body": json.dumps(EVENT)}]})
    assert isinstance(refused, Malformed)
    assert refused.field == "Records.0"
    assert accepted == notified("aws", EVENT)


def test_the_number_of_refused_records_of_a_value_is_bounded() -> None:
    """Each refusal stores a copy of the value: ten thousand copies of a megabyte would exhaust
    memory. Readable records are accepted all the same.
    """
    found = items("aws", {"Records": [17] * 5_000 + [{"body": json.dumps(EVENT)}] + [17] * 4_000})
    *refused, accepted = found
    assert accepted == notified("aws", EVENT)
    assert [str(each) for each in refused] == [
        *(f"Records.{index}: must be a JSON object" for index in range(9)),
        "Records.9: must be a JSON object; records refused after this one are not told one by one",
    ]


def test_nested_records_count_towards_the_limit_of_a_value() -> None:
    """A megabyte can hold half a million of them."""
    within = {"Records": [17] * 6_000}
    assert str(refusal("aws", {"Records": [within, within]})) == TOO_MANY
    assert str(refusal("aws", {"Records": [{"Records": [within, within]}, 17]})) == TOO_MANY


TOO_MANY = "value: holds more than 10000 records"


def test_a_single_record_is_read_with_the_resource_beside_it() -> None:
    """The form in which a Lambda function as a router forwards it."""
    value = wrapped(sqs(aws_message("entitlement-updated")), {"Entitlements": [{}]})
    assert notified("aws", value).note.change == Activated()


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({"Records": "x"}, "Records"),
        ({"Records": []}, "Records"),
        ({"Records": [{}] * 10_001}, "value"),
        (wrapped(sqs(MESSAGE, MESSAGE), {"Entitlements": []}), "notification.Records"),
    ],
)
def test_records_that_cannot_be_told_apart_are_refused_together(value: Json, field: str) -> None:
    """None, too many, or several beside one resource, which may belong to any of them."""
    assert refusal("aws", value).field == field


def test_an_event_about_no_subscription_is_kept_as_unrecognized() -> None:
    """About accounts, other products on the bus, and SNS's own messages (events.md section 2)."""
    other = aws_event("Offer Released", source="aws.marketplacecatalog", detail={"agreement": None})
    assert unrecognized("aws", other).event_type == "Offer Released"
    account = {"eventType": "ACCOUNT_DELETED", "eventId": "E", "account": {"id": "a"}}
    assert unrecognized("gcp", push(account)).identity.id == "ACCOUNT_DELETED:E:a"
    assert unrecognized("gcp", push(account, publishTime=SENT_AT)).occurred_at == HAPPENED_AT
    dated = {**account, "account": {"id": "a", "updateTime": SENT_AT}}
    assert unrecognized("gcp", dated).occurred_at == HAPPENED_AT
    asked = {"Type": "SubscriptionConfirmation", "Message": "You have chosen", "MessageId": "m"}
    assert unrecognized("aws", sqs(asked)).event_type == "SubscriptionConfirmation"
    assert unrecognized("aws", asked).occurred_at == RECORDED_AT
    with_time = {**asked, "Timestamp": SENT_AT}
    assert unrecognized("aws", with_time).occurred_at == HAPPENED_AT
