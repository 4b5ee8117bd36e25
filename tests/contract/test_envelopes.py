"""Any nesting of envelopes around any message of any topic yields the same fact."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

import pytest
from cloudevent_records import EXAMPLES, HASH, feed_of
from hypothesis import given, settings
from hypothesis import strategies as st

import hostile
from examples import examples
from fuzz import invariant
from marketplace_worker import envelopes
from marketplace_worker.contract.feeds import Feed, source_of
from marketplace_worker.errors import Malformed
from marketplace_worker.lifecycle.facts import ApiRequested, Fact, Notified, Unrecognized
from marketplace_worker.lifecycle.vocabulary import Identity
from marketplace_worker.record import Record
from marketplace_worker.testing import envelopes as around
from marketplace_worker.testing.envelopes import (
    Wrap,
    as_text,
    connect,
    in_base64,
    in_url_base64,
)
from marketplace_worker.translate import translate

RECORDED_AT = datetime(2026, 11, 22, 19, 0, tzinfo=UTC)
AWS: dict[str, object] = {
    "id": "event-1",
    "detail-type": "License Updated - Manufacturer",
    "source": "aws.agreement-marketplace",
    "time": "2026-11-01T10:30:00Z",
    "detail": {"agreement": {"id": "agmt-1"}, "acceptor": {"accountId": "123456789012"}},
}
GCP: dict[str, object] = {
    "eventId": "EVENT-1",
    "eventType": "ENTITLEMENT_ACTIVE",
    "entitlement": {"id": "entitlement-1", "updateTime": "2026-11-01T10:30:00Z"},
}
AZURE: dict[str, object] = {
    "id": "operation-1",
    "subscriptionId": "subscription-1",
    "timeStamp": "2026-11-01T10:30:00Z",
    "action": "Suspend",
    "status": "Succeeded",
}
CARRIED: dict[Feed, dict[str, object]] = {
    Feed.AWS: AWS,
    Feed.GCP: GCP,
    Feed.AZURE: AZURE,
    Feed.LOGINS: EXAMPLES["identity.user.logged_in"],
    Feed.API_REQUESTS: EXAMPLES["usage.api_requests"],
    Feed.ORGANIZATION_CHANGES: EXAMPLES["organization.subscription_linked"],
    Feed.SUPPORT_REQUESTS: EXAMPLES["support.extend_grace"],
}
"""A message of each topic that can be recognized by its content."""

OF_ANY_NAME = ("accelerator", "own-program")

sns = partial(around.sns, id_="of-the-envelope", at="2026-11-20T00:00:00.000Z")
pubsub = partial(around.pubsub, id_="of-the-envelope", at="2026-11-20T00:00:00Z")
cloudevent = partial(around.cloudevent, id_="of-the-envelope", at="2026-11-20T00:00:00Z")

ENVELOPES: Mapping[str, Wrap] = {
    **around.envelopes("of-the-envelope", "2026-11-20T00:00:00Z"),
    "sns with attributes": lambda value: {
        **sns(value),
        "MessageAttributes": {"action": {"Type": "String", "Value": "entitlement-updated"}},
    },
    "pubsub with attributes": lambda value: {
        **pubsub(in_base64(value)),
        "attributes": {"eventType": "ENTITLEMENT_CANCELLED"},
    },
    "pubsub-connect with attributes": lambda value: {
        "message": in_base64(value),
        "googclient_schemaencoding": "JSON",
        "eventType": "ENTITLEMENT_CANCELLED",
    },
}
"""Envelopes with an id, a time and attributes that must not replace those of their content."""

every_topic = pytest.mark.parametrize("feed", Feed)
every_envelope = pytest.mark.parametrize("name", ENVELOPES)


def record(value: object, *headers: tuple[str, bytes | None]) -> Record:
    """A record of bytes, or of a value as JSON."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Record("topic", 3, 7, RECORDED_AT, b"org-42", body, headers)


def results(feed: Feed, value: object) -> Sequence[Fact | Malformed]:
    """Everything that a value contains, on a topic; checks the fuzzer's invariant as well."""
    given = value if isinstance(value, Record) else record(value)
    found = invariant.check(given, feed)
    assert [str(each) for each in found] == [
        str(each) for each in translate(given, feed, invariant._HASH)
    ]
    return found


def only(feed: Feed, value: object) -> Fact | Malformed:
    """The only fact or refusal of a value."""
    (found,) = results(feed, value)
    return found


def refusal(feed: Feed, value: object) -> str:
    """Why a value is refused, with the field."""
    refused = only(feed, value)
    assert isinstance(refused, Malformed), refused
    return str(refused)


# --- every envelope, every topic ------------------------------------------------------------------


@every_topic
@every_envelope
def test_two_nested_envelopes_yield_the_same_fact(name: str, feed: Feed) -> None:
    """In either order, also with an envelope that we do not know."""
    plain = only(feed, CARRIED[feed])
    assert not isinstance(plain, Malformed | Unrecognized)
    for inner, wrap in ENVELOPES.items():
        if name in OF_ANY_NAME and inner.startswith("base64"):
            continue  # base64 is not decoded in a field with an unknown name
        value = record(ENVELOPES[name](wrap(CARRIED[feed])))
        assert list(translate(value, feed, HASH)) == [plain], f"{inner} in {name}"


@every_topic
@every_envelope
def test_a_byte_order_mark_or_blanks_before_an_envelope_are_ignored(name: str, feed: Feed) -> None:
    """.NET writes a byte order mark before its JSON; others a line break."""
    plain, body = only(feed, CARRIED[feed]), as_text(ENVELOPES[name](CARRIED[feed])).encode()
    for before in (b"\xef\xbb\xbf", b"\r\n  "):
        assert only(feed, before + body) == plain


@every_topic
def test_a_value_that_is_bare_base64_is_read(feed: Feed) -> None:
    """A connector for bytes writes it without JSON around it."""
    for encode in (in_base64, in_url_base64):
        assert only(feed, encode(CARRIED[feed]).encode()) == only(feed, CARRIED[feed])


@pytest.mark.parametrize("prefix", ["ce_", "ce-"])
@pytest.mark.parametrize("feed", [Feed.AWS, Feed.GCP, Feed.AZURE])
@every_envelope
def test_cloudevent_headers_around_a_notification_are_ignored(
    name: str, feed: Feed, prefix: str
) -> None:
    """Knative and Event Grid also send CloudEvents in binary mode."""
    attributes = {key: str(held).encode() for key, held in cloudevent("").items() if key != "data"}
    headers = [(f"{prefix}{key}", held) for key, held in attributes.items()]
    value = record(ENVELOPES[name](CARRIED[feed]), ("content-type", b"application/json"), *headers)
    assert only(feed, value) == only(feed, CARRIED[feed])


# --- several in one value -------------------------------------------------------------------------

LISTS: Mapping[str, Wrap] = {
    "a list": lambda values: values,
    "Records": lambda values: {"Records": [{"body": as_text(each)} for each in _of(values)]},
    "records": lambda values: {"records": [{"value": each} for each in _of(values)]},
    "Messages": lambda values: {"Messages": [{"Body": as_text(each)} for each in _of(values)]},
    "receivedMessages": lambda values: {
        "receivedMessages": [{"message": pubsub(in_base64(each))} for each in _of(values)]
    },
}


def _of(values: object) -> list[object]:
    assert isinstance(values, list)
    return values


@every_topic
@pytest.mark.parametrize("name", LISTS)
def test_each_of_several_is_accepted_or_refused_by_itself(name: str, feed: Feed) -> None:
    """An unreadable message must not affect the others in its value."""
    value = LISTS[name]([CARRIED[feed], {"hello": "world"}, CARRIED[feed]])
    first, second, third = results(feed, connect(value, "struct"))
    assert first == third == only(feed, CARRIED[feed])
    assert isinstance(second, Malformed)
    assert ".1" in second.field


def test_one_of_several_without_an_identity_has_its_index() -> None:
    """The index does not depend on what else can be read, so that a redrive after an update yields
    the same identities.
    """
    nameless = {**AZURE, "id": None}
    positional_id = record(b"").positional_id
    assert isinstance(alone := only(Feed.AZURE, [nameless]), Notified)
    assert alone.identity.id == positional_id
    for second in ({"hello": "world"}, {"Records": [AZURE, AZURE]}, AZURE):
        third = results(Feed.AZURE, [nameless, second, nameless])[-1]
        assert isinstance(third, Notified)
        assert third.identity.id == f"{positional_id}/2"
    *_, last = results(Feed.AZURE, [AZURE, {"Records": [AZURE, nameless]}])
    assert isinstance(last, Notified)
    assert last.identity.id == f"{positional_id}/1/1"


def test_two_notifications_in_unknown_fields_are_refused() -> None:
    """Choosing the first would lose the second silently."""
    two = {"before": AZURE, "after": {**AZURE, "action": "Reinstate"}}
    assert refusal(Feed.AZURE, connect(two)) == "payload: several notifications in one value"


@every_topic
def test_two_messages_in_known_envelope_fields_are_refused(feed: Feed) -> None:
    """Choosing the first would lose the second silently."""
    other = {**CARRIED[feed], "id": "another", "eventId": "another"}
    two = {"message": CARRIED[feed], "payload": other}
    assert refusal(feed, two) == "value: several notifications in one value"


@every_topic
def test_one_message_in_two_fields_is_read_once(feed: Feed) -> None:
    """Some forwarders pass on both the text and the object parsed from it."""
    both = {"body": as_text(CARRIED[feed]), "payload": CARRIED[feed]}
    assert only(feed, both) == only(feed, CARRIED[feed])


def test_an_event_is_found_beside_a_value_that_resembles_one() -> None:
    """Otherwise a Support request would neither be executed nor answered."""
    foreign = {"specversion": "1.0", "id": "q", "source": "/z", "type": "com.example.z"}
    request = CARRIED[Feed.SUPPORT_REQUESTS]
    for value in ({"data": foreign, "event": request}, {"data": foreign, "payload": request}):
        assert only(Feed.SUPPORT_REQUESTS, value) == only(Feed.SUPPORT_REQUESTS, request)


def test_the_outermost_of_several_resources_counts() -> None:
    """The outermost router read it last."""
    inner = {"notification": GCP, "resource": {"plan": "p-P1Y", "account": "a/inner"}}
    outer = {"notification": as_text(inner), "resource": {"plan": "p", "account": "a/outer"}}
    fact = only(Feed.GCP, connect(outer, "struct"))
    assert isinstance(fact, Notified)
    assert fact.note.billing_account == "outer"


# --- where the search ends -----------------------------------------------------------------------


@pytest.mark.parametrize("name", EXAMPLES)
def test_event_data_that_resembles_an_envelope_is_not_opened(name: str) -> None:
    """Producers may add any field to the data of an event."""
    feed = feed_of(name)
    other = {**EXAMPLES["support.deactivate_organization"], "id": "another"}
    strange = dict.fromkeys(("notification", "Message", "Records", "payload", "body"), other)
    event = {**EXAMPLES[name], **strange, "data": {**EXAMPLES[name]["data"], **strange}}
    assert only(feed, event) == only(feed, EXAMPLES[name])


@every_topic
def test_an_event_of_ours_on_another_topic_is_a_dead_letter_in_any_envelope(feed: Feed) -> None:
    """Kafka authorizes by topic (events.md section 1)."""
    for other, value in CARRIED.items():
        if other is feed or "specversion" not in value:
            continue
        for name, wrap in ENVELOPES.items():
            refused = refusal(feed, wrap(value))
            assert "is a type of ours that this topic does not carry" in refused, name


@every_topic
def test_a_notification_within_an_event_of_ours_is_ignored(feed: Feed) -> None:
    """A producer of CloudEvents must not be able to notify, nor a marketplace to send events."""
    for notification in (AWS, GCP, AZURE):
        event = {**EXAMPLES["support.extend_grace"], "data": notification}
        assert not isinstance(only(feed, event), Notified)


@pytest.mark.parametrize("feed", [each for each in Feed if "specversion" in CARRIED[each]])
def test_a_notification_on_a_topic_of_cloudevents_is_refused(feed: Feed) -> None:
    """Also in an envelope. Within a CloudEvent it is another party's data."""
    for notification in (AWS, GCP, AZURE, sns(AWS)):
        assert isinstance(only(feed, notification), Malformed)
        found = only(feed, cloudevent(notification))
        assert isinstance(found, Unrecognized)
        assert source_of(found.identity) == "//pubsub.googleapis.com/projects/p/topics/t"


@pytest.mark.parametrize(
    ("type_", "kind"),
    [
        ("com.example.other", Unrecognized),
        ("io.marketplace-worker.usage.api_requests.v1", ApiRequested),
    ],
)
def test_headers_outrank_a_whole_cloudevent_in_the_value(type_: str, kind: type[Fact]) -> None:
    """The headers are the outer envelope."""
    whole = EXAMPLES["usage.api_requests"]
    outer = {**whole, "id": "outer", "source": "/outer", "type": type_}
    headers = [(f"ce_{name}", str(held).encode()) for name, held in outer.items()]
    found = only(Feed.API_REQUESTS, record(whole, *headers))
    assert isinstance(found, kind)
    assert found.identity == Identity("usage./outer", "outer")


def test_a_batch_of_cloudevents_is_read() -> None:
    """With the content type of batches, or without one."""
    login = EXAMPLES["identity.user.logged_in"]
    batch = [login, {**login, "id": "2"}]
    content_type = ("content-type", b"application/cloudevents-batch+json; charset=utf-8")
    for each in (record(batch), record(batch, content_type)):
        first, second = results(Feed.LOGINS, each)
        assert not isinstance(first, Malformed)
        assert not isinstance(second, Malformed)
        assert (first.identity.id, second.identity.id) == (login["id"], "2")


# --- other formats --------------------------------------------------------------------------------


@every_topic
@pytest.mark.parametrize(
    ("value", "named"),
    [
        (b"\x00\x00\x00\x00\x2a\x02\x06abc", "Schema Registry"),
        (b'\x00\x00\x00\x00\x2a{"id": 1}', "Schema Registry"),
        (b"Obj\x01\x04\x14avro.codec", "Avro"),
        (b"\xc3\x01\x01\x02\x03\x04", "Avro"),
    ],
)
def test_other_formats_are_refused_by_name(value: bytes, named: str, feed: Feed) -> None:
    """The operator of the converter must see that it is misconfigured."""
    assert named in refusal(feed, value)


@every_topic
@pytest.mark.parametrize(
    "content_type", [b"application/avro", b"avro/binary", b"application/vnd.google.protobuf"]
)
def test_a_content_type_of_another_format_is_refused(content_type: bytes, feed: Feed) -> None:
    """Protobuf cannot be recognized by its bytes."""
    refused = refusal(feed, record(b"\x0a\x03abc", ("content-type", content_type)))
    assert refused == "content-type: must be JSON: Avro and Protobuf are not read"


# --- bounds ---------------------------------------------------------------------------------------


@every_topic
@every_envelope
def test_too_deep_envelopes_are_refused(name: str, feed: Feed) -> None:
    """Of each kind, alone and mixed with another."""
    value: object = CARRIED[feed]
    for _ in range(envelopes.ENVELOPES_MAX + 2):
        if len(as_text(value)) > 2**20:
            return  # text in text in text exceeds the size of a record first
        value = ENVELOPES[name](value) if name != "none" else connect(value)
    assert isinstance(only(feed, value), Malformed | Unrecognized)


@pytest.mark.parametrize("feed", [Feed.AWS, Feed.LOGINS])
@pytest.mark.parametrize(
    "value",
    [
        [[1] * 100] * 101,
        [[[]] * 100] * 101,
        {"Records": [{}] * 10_001},
        [{"Records": [{"a": {}}] * 101}] * 100,
        {str(number): {"a": {}} for number in range(25_000)},
        [as_text(["x" * 170_000])] * 100,
    ],
)
def test_a_value_with_too_many_parts_is_refused_once(value: object, feed: Feed) -> None:
    """A megabyte can hold half a million empty objects, and each refusal stores a copy of the
    value.
    """
    assert refusal(feed, value).startswith("value: holds more than")


# --- any value ------------------------------------------------------------------------------------

JUNK = [*hostile.VALUES.values(), '{"action": "x"}', '{"specversion": "1.0"}', '{"payload": 1}']


@settings(max_examples=examples(150), deadline=None)
@given(st.data())
def test_any_nesting_of_envelopes_is_accepted_or_refused(data: st.DataObject) -> None:
    """And no refusal quotes the input."""
    feed = data.draw(st.sampled_from(list(Feed)))
    value: object = data.draw(st.sampled_from([*CARRIED.values(), {}, [], "", None]))
    for _ in range(data.draw(st.integers(1, 4))):
        value = ENVELOPES[data.draw(st.sampled_from(sorted(ENVELOPES)))](value)
        places = list(hostile.paths(value)) if isinstance(value, dict | list) else []
        spoiled = data.draw(st.booleans())
        if places and spoiled:
            place, junk = data.draw(st.sampled_from(places)), data.draw(st.sampled_from(JUNK))
            value = json.loads(hostile.filled(value, place, junk))
    invariant.check(record(value), feed)
    secret = {"jane@example.com": value, "b": "jane@example.com"}
    for each in invariant.check(record(secret), feed):
        assert not isinstance(each, Malformed) or "jane" not in str(each)
