"""Every field of every real notification, with every kind of invalid value.

The fields that the translators read are listed here again, from marketplaces.md section 1. A wrong
value in one of them is refused with the field's name, or tolerated; in any other field it changes
nothing.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from marketplace_samples import FILES, SENT_AT, aws_message, azure_body, gcp_message, wrapped

import hostile
from fuzz import invariant
from marketplace_worker.contract.feeds import Feed
from marketplace_worker.errors import Malformed
from marketplace_worker.lifecycle.facts import Notified

READ = {
    "aws": """
        id detail-type source time detail detail.agreement detail.acceptor
        detail.agreement.id detail.agreement.status detail.agreement.endTime
        detail.agreement.autoRenewalEnabled detail.agreement.previousAgreementId
        detail.agreement.acceptorId detail.acceptor.accountId
        detail.license detail.license.arn detail.license.id
        action customer-identifier product-code CustomerIdentifier ProductCode
        Type MessageId Message Timestamp Records Sns body Body notification resource
    """,
    "gcp": """
        eventId eventType entitlement entitlement.id entitlement.updateTime
        entitlement.newOfferDuration entitlement.newPlan account account.id account.updateTime
        message message.data message.publishTime message.publish_time
        data publishTime publish_time notification resource
    """,
    "azure": """
        id action subscriptionId timeStamp status operationRequestSource operationRequestedSource
        subscription subscription.autoRenew subscription.term subscription.term.termUnit
        subscription.term.startDate subscription.term.endDate notification resource
    """,
}
"""Every field that is read, in any notification of a marketplace."""

DECIDES = {
    "aws": ("detail-type", "source", "action", "Type", "Message", "Records", "Sns", "notification"),
    "gcp": ("eventType", "entitlement", "account", "message", "data", "notification"),
    "azure": ("action", "subscriptionId", "notification"),
}
"""Fields that decide the kind of a value: with another one the value is read as another kind."""

TEXT = {
    "aws": "id time detail.agreement.id detail.agreement.endTime customer-identifier product-code"
    " MessageId Timestamp",
    "gcp": "eventType eventId entitlement.id entitlement.updateTime entitlement.newOfferDuration"
    " entitlement.newPlan message.data message.publishTime",
    "azure": "id action subscriptionId timeStamp status subscription.term.termUnit"
    " subscription.term.endDate",
}
"""Fields that are always read and must be text."""

NO_TEXT = ("true", "zero", "fraction", "2**64", "1e400", "list of null", "object of null")

IN_UNREAD = ("null", "2**64", "NUL", "high surrogate", "list of null", "1e400", "time: 9999")

EACH_FIELD_IN = 2
"""How many notifications with a field are tried: they differ in their other fields."""

every_marketplace = pytest.mark.parametrize("marketplace", READ)


WITH_RESOURCES: Mapping[str, Sequence[object]] = {
    "aws": [
        wrapped(
            aws_message("entitlement-updated"),
            {"Entitlements": [{"ExpirationDate": 1.5, "CustomerAWSAccountId": "123456789012"}]},
        ),
    ],
    "gcp": [
        wrapped(
            gcp_message("ENTITLEMENT_CANCELLED"),
            {"plan": "a-P1Y", "offerDuration": "P1Y", "account": "providers/p/accounts/a"}
            | {"cancellationReason": "expired"},
        ),
        wrapped(
            gcp_message("ENTITLEMENT_CANCELLING"),
            {"subscriptionEndTime": SENT_AT, "offerEndTime": SENT_AT},
        ),
    ],
    "azure": [
        wrapped(azure_body(), {"autoRenew": True, "term": {"termUnit": "P1M", "endDate": SENT_AT}})
    ],
}
"""The resource that a router fetches; none is among the recorded payloads."""


def _samples(marketplace: str) -> Iterator[dict[str, Any]]:
    """Real notifications that are accepted unchanged."""
    found = [json.loads(path.read_bytes()) for path in FILES if path.parent.name == marketplace]
    for value in [*found, *WITH_RESOURCES[marketplace]]:
        sample = {**value, "unread": 0}
        result = _read(marketplace, json.dumps(sample))
        # Forwarders with a field name of their own would give the fields other paths.
        if not isinstance(result[0], Malformed) and "PayloadFromWebhook" not in sample:
            yield sample


def _places(marketplace: str, *, read: bool) -> Iterator[tuple[dict[str, Any], hostile.Path]]:
    """Every field that is read, or every other one, in a few notifications."""
    tried: Counter[str] = Counter()
    for sample in _samples(marketplace):
        for place in hostile.paths(sample):
            if _is_read(marketplace, place) is read and tried[_name(place)] < EACH_FIELD_IN:
                tried[_name(place)] += 1
                yield sample, place


def _name(path: hostile.Path) -> str:
    """The path, joined by dots."""
    return ".".join(map(str, path))


def _is_read(marketplace: str, path: hostile.Path) -> bool:
    """Whether this field is read, or one within it, or a list or text that contains one."""
    name, known = _name(path), READ[marketplace].split()
    if marketplace == "azure":
        name, known = name.lower(), [each.lower() for each in known]
    if name.split(".", maxsplit=1)[0] in {"Records", "Sns", "notification", "resource"}:
        return True
    return any(each == name or each.startswith(f"{name}.") for each in known)


def _read(marketplace: str, text: str) -> Sequence[object]:
    return invariant.check(invariant.record(text.encode()), Feed(marketplace))


def _reasonless(found: Sequence[object]) -> list[object]:
    return [str(each) if isinstance(each, Malformed) else each for each in found]


@every_marketplace
def test_a_wrong_value_is_tolerated_or_refused_by_its_field(
    marketplace: str,
) -> None:
    """The owner of the sender must see which field it is."""
    tried = 0
    for sample, place in _places(marketplace, read=True):
        wrong = {name: hostile.filled(sample, place, text) for name, text in hostile.VALUES.items()}
        wrong["missing"] = json.dumps(hostile.without(sample, place))
        for value, text in wrong.items():
            tried += 1
            for each in _read(marketplace, text):
                if isinstance(each, Malformed):
                    named = _names(marketplace, each.field, place)
                    assert named, f"{value} as {_name(place)}: {each}"
    assert tried > 500


def _names(marketplace: str, field: str, place: hostile.Path) -> bool:
    """Whether the refusal names this field, or one within it (or its list, if an item is
    missing).
    """
    name = _name(place)
    if marketplace == "azure":
        field, name = field.lower(), name.lower()
    if place[-1] in DECIDES[marketplace]:
        return True
    in_list = isinstance(place[-1], int) and field == _name(place[:-1])
    return field == name or field.startswith(f"{name}.") or in_list


@every_marketplace
def test_other_values_are_refused_where_text_is_required(marketplace: str) -> None:
    """Nothing is converted to text: `1` and `"1"` might be two customers."""
    tried = 0
    for sample, place in _places(marketplace, read=True):
        known = _read(marketplace, json.dumps(sample))
        if _name(place) not in TEXT[marketplace].split() or not isinstance(known[0], Notified):
            continue
        for value in NO_TEXT:
            tried += 1
            (result,) = _read(marketplace, hostile.filled(sample, place, hostile.VALUES[value]))
            assert isinstance(result, Malformed), f"{value} as {_name(place)}: {result}"
            assert result.field in {_name(place), f"{_name(place)}.0"}
    assert tried > 50


@every_marketplace
def test_the_value_of_an_unread_field_changes_nothing(marketplace: str) -> None:
    """The marketplace defines it and may change it."""
    tried = 0
    for sample, place in _places(marketplace, read=False):
        as_it_is = _reasonless(_read(marketplace, json.dumps(sample)))
        for value in IN_UNREAD:
            tried += 1
            text = hostile.filled(sample, place, hostile.VALUES[value])
            assert _reasonless(_read(marketplace, text)) == as_it_is, f"{value} as {_name(place)}"
    assert tried > 50


@pytest.mark.parametrize("value", hostile.NO_JSON)
@every_marketplace
def test_invalid_json_is_refused_in_any_field(marketplace: str, value: str) -> None:
    """The refusal names the whole value, because no field can be parsed."""
    sample = {"unread": 0, "resource": {"term": 0}}
    for place in hostile.paths(sample):
        (result,) = _read(marketplace, hostile.filled(sample, place, hostile.NO_JSON[value]))
        assert isinstance(result, Malformed)
        assert result.field == "value"
