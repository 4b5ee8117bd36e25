"""Any input to any translator yields facts or `Malformed`, never another exception."""

import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st
from marketplace_samples import (
    FILES,
    MARKETPLACES,
    RECORDED_AT,
    items,
    push,
    sns,
    sqs,
    wrapped,
)

from examples import examples
from marketplace_worker.errors import Malformed
from marketplace_worker.lifecycle.facts import Notified, Unrecognized

NAMES = st.sampled_from(
    [
        *["id", "detail-type", "source", "time", "detail", "agreement", "acceptor"],
        *["accountId", "status", "endTime", "Records", "Sns", "body", "autoRenewalEnabled"],
        *["previousAgreementId", "Type", "Message", "MessageId", "Timestamp", "action"],
        *["product-code", "customer-identifier", "notification", "resource", "Entitlements"],
        *["ExpirationDate", "eventId", "eventType", "account", "entitlement", "updateTime"],
        *["message", "data", "publishTime", "plan", "offerDuration", "cancellationReason"],
        *["offerEndTime", "subscriptionId", "timeStamp", "subscription", "term", "termUnit"],
        *["endDate", "autoRenew"],
    ]
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        [
            *["", "\0", "\ud800", "...", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"],
            *[
                "entitlement-updated",
                "Suspend",
                "ENTITLEMENT_CANCELLED",
                "Purchase Agreement Ended",
            ],
            *["e30=", '{"action": "Suspend"}', "{", "P1Y", "1" * 600, 2**63, -(2**200), 1e308],
        ]
    ),
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(NAMES | st.text(max_size=5), inner, max_size=6),
    ),
    max_leaves=25,
)
SAMPLES = [json.loads(path.read_bytes()) for path in FILES]


def _is_storable(value: object) -> bool:
    """Whether Postgres can store all texts of a fact, and all its times have a zone."""
    if isinstance(value, str):
        return "\0" not in value and value.encode("utf-8", "replace").decode() == value
    if isinstance(value, datetime):
        return value.tzinfo is UTC
    if is_dataclass(value):
        return all(_is_storable(getattr(value, field.name)) for field in fields(value))
    return True


def _check_total(value: object) -> None:
    """Check that every translator returns facts or `Malformed`."""
    for marketplace in MARKETPLACES:
        found = items(marketplace, value)
        assert found
        for item in found:
            match item:
                case Malformed():
                    assert item.reason
                    assert _is_storable(item.field)
                case Notified() | Unrecognized():
                    assert _is_storable(item)
                    assert item.identity.id
                    assert item.occurred_at <= RECORDED_AT


@settings(max_examples=examples(150), deadline=None)
@given(ANYTHING)
def test_any_json_is_accepted_or_refused(value: object) -> None:
    """Translators are total: unreadable input is `Malformed`, never another exception."""
    _check_total(value)


@settings(max_examples=examples(100), deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_accepted_or_refused(value: bytes) -> None:
    """The same for input that is not JSON."""
    _check_total(value)


def _places(value: object) -> Iterator[tuple[object, str | int]]:
    """All places within a value, as a container and the key or index in it."""
    if isinstance(value, dict | list):
        for at in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, at
            yield from _places(value[at])


@settings(max_examples=examples(200), deadline=None)
@given(st.data())
def test_any_change_to_a_sample_is_accepted_or_refused(data: st.DataObject) -> None:
    """One to three places of a real payload are replaced by any value, with or without an
    envelope.
    """
    value = json.loads(json.dumps(data.draw(st.sampled_from(SAMPLES))))
    for _ in range(data.draw(st.integers(1, 3))):
        places = list(_places(value))
        if places:
            holder, at = data.draw(st.sampled_from(places))
            assert isinstance(holder, dict | list)
            holder[at] = data.draw(ANYTHING)  # type: ignore[index]
    for enveloped in (value, sns(value), sqs(value), push(value)):
        _check_total(enveloped)
    _check_total(wrapped(value, data.draw(ANYTHING)))
