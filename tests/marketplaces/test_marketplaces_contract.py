"""What every marketplace's translator guarantees for any input.

It returns facts or `Malformed`: any exception would stop the partition.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import pytest
from marketplace_samples import (
    HAPPENED_AT,
    MARKETPLACES,
    PLAIN,
    RECORDED_AT,
    SENT_AT,
    Json,
    aws_event,
    aws_message,
    azure_body,
    gcp_message,
    notified,
    record,
    refusal,
    sns,
    wrapped,
)

from marketplace_worker.lifecycle.notes import Attention, Ending, Unchanged
from marketplace_worker.record import Record

every_marketplace = pytest.mark.parametrize("marketplace", MARKETPLACES)

# For each marketplace: how to set the time, the kind and the subject of a notification.
AT: Mapping[str, Callable[[object], Json]] = {
    "aws": lambda time: aws_event(time=time),
    "gcp": lambda time: gcp_message(updateTime=time),
    "azure": lambda time: azure_body(timeStamp=time),
}
OF_KIND: Mapping[str, Callable[[str], Json]] = {
    "aws": aws_event,
    "gcp": gcp_message,
    "azure": azure_body,
}
ABOUT: Mapping[str, Callable[[object], Json]] = {
    "aws": lambda subject: aws_event(agreement={"id": subject}),
    "gcp": lambda subject: gcp_message(id=subject),
    "azure": lambda subject: azure_body(subscriptionId=subject),
}
SUBJECT_FIELD = {"aws": "detail.agreement.id", "gcp": "entitlement.id", "azure": "subscriptionId"}
OWN_ID = record(None).positional_id
CALENDAR_ENDS = [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]
ID_FIELD = {"aws": "id", "gcp": "eventId", "azure": "id"}
TIME_FIELD = {"aws": "time", "gcp": "entitlement.updateTime", "azure": "timeStamp"}


# --- refused values -------------------------------------------------------------------------------

GARBAGE: Mapping[str, bytes | None] = {
    "a tombstone": None,
    "nothing": b"",
    "a blank": b" ",
    "no JSON": b"action=Suspend",
    "a comma too many": b'{"action": "Suspend",}',
    "something after it": b'{"action": "Suspend"} {}',
    "half of it": b'{"action": "Sus',
    "not UTF-8": b'{"action": "\xff"}',
    "UTF-16": '{"action": "Suspend"}'.encode("utf-16"),
    "a list": b"[]",
    "a text": b'"Suspend"',
    "a number": b"17",
    "null": b"null",
    "no known shape": b'{"hello": "world"}',
    "nothing in it": b"{}",
    "not a number": b'{"action": NaN}',
    "deep": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep lists": b"[" * 100_000,
    "a long number": b'{"action": ' + b"9" * 5_000 + b"}",
}


@every_marketplace
@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
def test_a_value_without_a_notification_is_refused(marketplace: str, garbage: bytes | None) -> None:
    """It goes to the dead letters, with a reason for operators."""
    assert refusal(marketplace, garbage).reason


@every_marketplace
@pytest.mark.parametrize("subject", [None, "", "  "])
def test_a_notification_without_a_subject_is_refused(marketplace: str, subject: str | None) -> None:
    """It cannot be assigned to a subscription (lifecycle.md section 11)."""
    refused = refusal(marketplace, ABOUT[marketplace](subject))
    assert (refused.reason, refused.field) == ("is missing", SUBJECT_FIELD[marketplace])


@every_marketplace
@pytest.mark.parametrize("subject", [17, 2**70, 1.5, True, [], ["x"], {}, {"id": "x"}])
def test_a_subject_of_the_wrong_type_is_refused(marketplace: str, subject: object) -> None:
    """Numbers are not converted to text: their spelling would be a guess."""
    refused = refusal(marketplace, ABOUT[marketplace](subject))
    assert (refused.reason, refused.field) == ("must be text", SUBJECT_FIELD[marketplace])


@every_marketplace
@pytest.mark.parametrize(
    "bad", ["a\0b", "a\ud800b", "\udfff", "x" * 1_025, "\N{GRINNING FACE}" * 257]
)
def test_an_id_that_postgres_cannot_store_is_refused(marketplace: str, bad: str) -> None:
    """Postgres stores no NUL and no lone surrogate, and the size of an index entry is limited."""
    assert notified(marketplace, ABOUT[marketplace]("x" * 400)).note.id
    assert refusal(marketplace, ABOUT[marketplace](bad)).field == SUBJECT_FIELD[marketplace]
    identified = {**PLAIN[marketplace], ID_FIELD[marketplace]: bad}
    assert refusal(marketplace, identified).field == ID_FIELD[marketplace]
    kind = {"aws": "detail-type", "gcp": "eventType", "azure": "action"}[marketplace]
    assert refusal(marketplace, {**PLAIN[marketplace], kind: bad}).field == kind


@pytest.mark.parametrize(
    ("marketplace", "value"),
    [
        ("aws", {**aws_message(), "product-code": "p" * 600, "customer-identifier": "c" * 600}),
        ("gcp", gcp_message("ENTITLEMENT_" + "X" * 600, id="e" * 600)),
        ("azure", azure_body("X" * 600, id="i" * 600)),
    ],
)
def test_a_composed_id_is_bounded_as_a_whole(marketplace: str, value: Json) -> None:
    """Each part alone would be short enough."""
    assert refusal(marketplace, value).reason == "is longer than 1024 bytes"


@every_marketplace
def test_a_refusal_never_quotes_the_input(marketplace: str) -> None:
    """It may be personal data, and reasons are logged."""
    secret = "jane@example.com"
    values: list[object] = [
        ABOUT[marketplace]([secret]),
        AT[marketplace]({secret: secret}),
        {secret: secret},
        {"x": {"y": secret}},
        secret,
        f'{{"a": {secret}'.encode(),
        {**PLAIN[marketplace], ID_FIELD[marketplace]: secret * 100},
    ]
    if marketplace == "azure":
        values.append({secret: {"action": "Suspend"}})
    for value in values:
        assert "jane" not in str(refusal(marketplace, value))


# --- time and identity ----------------------------------------------------------------------------


@every_marketplace
def test_the_event_time_is_that_of_the_marketplace(marketplace: str) -> None:
    """Not the time of arrival."""
    assert notified(marketplace, PLAIN[marketplace]).occurred_at == HAPPENED_AT


@every_marketplace
@pytest.mark.parametrize(
    "time",
    [None, "", "...", "yesterday", "20261101", f"2026-11-01{' ' * 60}T10", "2026-13-01T00:00:00Z"],
)
def test_without_a_readable_time_the_records_time_is_used(
    marketplace: str, time: str | None
) -> None:
    """lifecycle.md section 11. .NET writes the year 1 for an absent time."""
    assert notified(marketplace, AT[marketplace](time)).occurred_at == RECORDED_AT
    assert notified(marketplace, AT[marketplace]("0001-01-01T00:00:00")).occurred_at == RECORDED_AT


@every_marketplace
@pytest.mark.parametrize(
    "time", ["2026-11-22T12:00:01Z", "2031-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00"]
)
def test_a_time_ahead_of_the_record_is_replaced_by_the_records_time(
    marketplace: str, time: str
) -> None:
    """Otherwise it would make all later notifications stale (lifecycle.md section 11)."""
    assert notified(marketplace, AT[marketplace](time)).occurred_at == RECORDED_AT


@every_marketplace
@pytest.mark.parametrize(
    ("time", "moment"),
    [
        ("1970-01-01T00:00:00Z", datetime(1970, 1, 1, tzinfo=UTC)),
        ("2026-11-01T10:30:00", HAPPENED_AT),
        ("2026-11-01T10:30:00+00:00", HAPPENED_AT),
        ("2026-11-01T12:30:00+02:00", HAPPENED_AT),
        ("2026-11-01 10:30:00 z", HAPPENED_AT),
        (" 2026-11-01T10: 30: 00.000Z ", HAPPENED_AT),
        ("2026-11-01T10:30:00.1234567Z", HAPPENED_AT + timedelta(microseconds=123456)),
        ("2026-11-01T10:30:00.999999999", HAPPENED_AT + timedelta(microseconds=999999)),
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_as_utc(marketplace: str, time: str, moment: datetime) -> None:
    """A missing zone means UTC. Digits beyond the sixth of a fraction, and blanks, are dropped."""
    read_time = notified(marketplace, AT[marketplace](time)).occurred_at
    assert (read_time, read_time.tzinfo) == (moment, UTC)


@every_marketplace
@pytest.mark.parametrize("time", [17, 1.5, True, [], {}, 2**80])
def test_a_time_of_the_wrong_type_is_refused(marketplace: str, time: object) -> None:
    """Whether a number means seconds or milliseconds would be a guess."""
    refused = refusal(marketplace, AT[marketplace](time))
    assert (refused.reason, refused.field) == ("must be text", TIME_FIELD[marketplace])


@every_marketplace
@pytest.mark.parametrize("at", CALENDAR_ENDS)
def test_a_record_of_the_last_representable_time_is_read(marketplace: str, at: datetime) -> None:
    """Such a timestamp must not stop the partition."""
    value = record(AT[marketplace](None), recorded_at=at)
    assert notified(marketplace, value).occurred_at == at


def test_an_end_beyond_the_calendar_is_left_open() -> None:
    """No datetime can represent it; the end counts once it is reported."""
    at = datetime.max.replace(tzinfo=UTC)
    value = record(aws_event("License Deprovisioned", time=None), recorded_at=at)
    assert notified("aws", value).note.change == Ending(None, closes_usage=True)


@every_marketplace
def test_the_same_notification_twice_is_the_same_fact(marketplace: str) -> None:
    """It was recorded elsewhere and later, but has the marketplace's identity."""
    first = notified(marketplace, PLAIN[marketplace])
    body = json.dumps(PLAIN[marketplace], indent=3).encode()
    later = Record("other", 9, 99, RECORDED_AT + timedelta(days=3), key=b"k", value=body)
    assert notified(marketplace, later) == first


@every_marketplace
@pytest.mark.parametrize("id_", [None, "", " "])
def test_without_an_id_the_identity_is_the_records(marketplace: str, id_: object) -> None:
    """lifecycle.md section 11."""
    fact = notified(marketplace, {**PLAIN[marketplace], ID_FIELD[marketplace]: id_})
    assert (fact.identity.source, fact.identity.id) == (marketplace, OWN_ID)
    assert fact.note.id == fact.identity.id


def test_each_marketplace_has_its_own_identity() -> None:
    """marketplaces.md section 1. Google publishes several messages with one eventId, and Azure
    reports one operation several times with one id.
    """
    assert notified("aws", aws_event()).identity.id == "event-1"
    assert notified("aws", sns(aws_message())).identity.id == "message-1"
    assert notified("aws", aws_message()).identity.id == OWN_ID
    assert notified("gcp", gcp_message()).identity.id == "ENTITLEMENT_ACTIVE:EVENT-1:entitlement-1"
    report = f"operation-1:Subscribe:subscription-1:Succeeded:{SENT_AT}"
    assert notified("azure", azure_body()).identity.id == report
    assert notified("azure", azure_body("SUBSCRIBE")).identity.id == report


ZERO = "00000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize("id_", ["", None, ZERO, f"{{{ZERO}}}"])
def test_an_empty_id_is_no_identity(id_: str | None) -> None:
    """Missing, empty or the zero UUID: two such messages are not duplicates."""
    assert notified("aws", {**aws_event(), "id": id_}).identity.id == OWN_ID
    assert notified("aws", {**sns(aws_message()), "MessageId": id_}).identity.id == OWN_ID
    assert notified("gcp", {**gcp_message(), "eventId": id_}).identity.id == OWN_ID
    assert notified("azure", azure_body(id=id_)).identity.id == OWN_ID


# --- unknown kinds, unknown fields, and the router's wrapper --------------------------------------


@every_marketplace
def test_an_unknown_kind_is_kept_and_changes_nothing(marketplace: str) -> None:
    """A vendor's new kind must not stop the worker, and an operator should notice it."""
    fact = notified(marketplace, OF_KIND[marketplace]("Something New"))
    assert (fact.note.change, fact.attention) == (Unchanged(), Attention.UNKNOWN_KIND)
    assert fact.notification == "Something New"


@every_marketplace
def test_a_long_kind_is_truncated(marketplace: str) -> None:
    """The kind is only for the journal and the log."""
    assert notified(marketplace, OF_KIND[marketplace]("N" * 300)).notification == "N" * 200


@every_marketplace
def test_unknown_fields_are_ignored(marketplace: str) -> None:
    """Whatever they contain, also if they have the name of an envelope's field."""
    plain = PLAIN[marketplace]
    strange: list[object] = [2**70, "\0", [[]], {"x": {"y": 1}}]
    for name in ("new", "notification", "resource", "Message", "Records", "data", "body"):
        for value in strange:
            assert notified(marketplace, {**plain, name: value}) == notified(marketplace, plain)


@every_marketplace
def test_a_wrapper_without_a_resource_is_ignored(marketplace: str) -> None:
    """As an object or as JSON text, also wrapped twice."""
    plain = PLAIN[marketplace]
    wrappers: list[Json] = [
        wrapped(plain),
        {"notification": plain},
        wrapped(json.dumps(plain)),
        wrapped(wrapped(plain)),
    ]
    for value in wrappers:
        assert notified(marketplace, value) == notified(marketplace, plain)


@every_marketplace
@pytest.mark.parametrize("resource", ["text", 17, [], [{}]])
def test_a_resource_that_is_no_object_is_refused(marketplace: str, resource: object) -> None:
    """The resource decides the meaning, so it must not be ignored."""
    assert refusal(marketplace, wrapped(PLAIN[marketplace], resource)).field == "resource"


@every_marketplace
def test_too_deeply_nested_wrappers_are_refused(marketplace: str) -> None:
    """The nesting of envelopes is bounded."""
    value: Json = PLAIN[marketplace]
    for _ in range(50):
        value = wrapped(value)
    assert "envelopes" in refusal(marketplace, value).reason


@every_marketplace
def test_a_byte_order_mark_is_skipped(marketplace: str) -> None:
    """.NET writes a byte order mark before its JSON."""
    plain = json.dumps(PLAIN[marketplace]).encode()
    assert notified(marketplace, b"\xef\xbb\xbf" + plain) == notified(marketplace, plain)
