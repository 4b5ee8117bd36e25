"""Each topic accepts only its own types, sources and keys (events.md section 1)."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from cloudevent_records import EXAMPLES, HASH, an_event, binary, feed_of, record, structured
from msgspec import structs

from marketplace_worker.contract.feeds import NAME_PREFIXES, Feed, source_of
from marketplace_worker.errors import Malformed
from marketplace_worker.lifecycle.events import EventKind
from marketplace_worker.lifecycle.facts import Fact, LoggedIn, SupportRequested, Unrecognized
from marketplace_worker.lifecycle.vocabulary import Identity
from marketplace_worker.record import Record
from marketplace_worker.translate import translate

both_modes = pytest.mark.parametrize("mode", [structured, binary])
Mode = Callable[[dict[str, Any]], Record]


def result(feed: Feed, given: Record) -> Fact | Malformed:
    """The only fact or refusal of a record on a topic."""
    (found,) = translate(given, feed, HASH)
    return found


def refusal(feed: Feed, given: Record) -> str:
    """Why it is refused."""
    refused = result(feed, given)
    assert isinstance(refused, Malformed), refused
    return str(refused)


def typed(name: str, suffix: str = ".v1") -> dict[str, Any]:
    """A complete event of a name."""
    return an_event("organization.tier_changed", type=f"io.marketplace-worker.{name}{suffix}")


# --- types ----------------------------------------------------------------------------------------


@both_modes
@pytest.mark.parametrize("feed", Feed)
@pytest.mark.parametrize("name", EXAMPLES)
def test_a_topic_carries_only_its_own_types(name: str, feed: Feed, mode: Mode) -> None:
    """A producer with the right to write logins must not be able to deactivate anybody."""
    given = mode(EXAMPLES[name])
    if feed is feed_of(name):
        assert not isinstance(result(feed, given), Malformed | Unrecognized)
    else:
        assert refusal(feed, given).startswith("type: is a type of ours that this topic does not")


@pytest.mark.parametrize("feed", NAME_PREFIXES)
@pytest.mark.parametrize("name", [*EventKind, "organization.state"])
def test_an_event_of_the_workers_own_is_a_dead_letter(name: str, feed: Feed) -> None:
    """A connector that copies topics could send the worker its own events."""
    assert refusal(feed, structured(typed(name))).startswith("type: is a type ")


@pytest.mark.parametrize("name", ["guard.anything", "subscription.observed", "logins.x", "x", ""])
@pytest.mark.parametrize("feed", NAME_PREFIXES)
def test_any_other_name_of_ours_is_a_dead_letter(name: str, feed: Feed) -> None:
    """A later release may use the name, but not on this topic."""
    assert refusal(feed, structured(typed(name))).startswith("type: is a type of ours")


@pytest.mark.parametrize("feed", NAME_PREFIXES)
def test_an_unknown_name_of_the_topics_own_is_unrecognized(feed: Feed) -> None:
    """A producer may be newer than the worker."""
    for event in (
        typed(f"{NAME_PREFIXES[feed]}something_new"),
        typed(f"{NAME_PREFIXES[feed]}x", ".v2"),
    ):
        found = result(feed, structured(event))
        assert isinstance(found, Unrecognized)
        assert found.event_type == event["type"]


@pytest.mark.parametrize("feed", NAME_PREFIXES)
@pytest.mark.parametrize(
    "type_", ["com.example.anything", "identity.user.logged_in", "IO.MARKETPLACE-WORKER.x.v1"]
)
def test_a_foreign_type_is_kept_as_unrecognized(type_: str, feed: Feed) -> None:
    """Others may share the topic; unrecognized events are counted."""
    assert isinstance(result(feed, structured(an_event(type=type_))), Unrecognized)


# --- sources --------------------------------------------------------------------------------------


@both_modes
@pytest.mark.parametrize("name", ["identity.user.logged_in", "usage.api_requests"])
@pytest.mark.parametrize(
    "source",
    ["aws", "gcp", "azure", "operator", "worker", "deadline", " AWS\t", "Deadline", "aWs "],
)
def test_a_reserved_source_is_a_dead_letter(source: str, name: str, mode: Mode) -> None:
    """A CloudEvent must not be able to use the identity of a notification, an operator or a
    deadline.
    """
    given = mode(an_event(name, source=source))
    assert refusal(feed_of(name), given) == "source: is reserved, and no CloudEvent's"
    other = mode(an_event(name, source=source, type="com.example.anything"))
    assert refusal(feed_of(name), other) == "source: is reserved, and no CloudEvent's"


@pytest.mark.parametrize("source", ["/aws", "aws2", "a ws", "urn:operator"])
def test_a_source_that_only_resembles_a_reserved_one_is_read(source: str) -> None:
    """It is a different source."""
    assert isinstance(
        result(Feed.LOGINS, structured(an_event("identity.user.logged_in", source=source))),
        LoggedIn,
    )


# --- the key of a request of Support --------------------------------------------------------------


@both_modes
@pytest.mark.parametrize("key", [b"org-42", b'"org-42"', b'"org\\u002d42"'])
def test_a_request_whose_key_is_its_organization_is_read(key: bytes, mode: Mode) -> None:
    """The key is text, or a JSON string if a converter encodes keys."""
    for name in (each for each in EXAMPLES if each.startswith("support.")):
        event = an_event(name, subject="org-42")
        found = result(Feed.SUPPORT_REQUESTS, structs.replace(mode(event), key=key))
        assert isinstance(found, SupportRequested)
        assert found.problem is None


@both_modes
@pytest.mark.parametrize(
    "key", [None, b"", b"ORG-42", b"org-42 ", b"org-4", b"\xff", b'"org-42', b'["org-42"]', b'""']
)
def test_a_request_with_another_key_is_answered_with_its_problem(
    key: bytes | None, mode: Mode
) -> None:
    """The key keeps requests about one organization in order (lifecycle.md section 7)."""
    for name in (each for each in EXAMPLES if each.startswith("support.")):
        event = an_event(name, subject="org-42")
        found = result(Feed.SUPPORT_REQUESTS, structs.replace(mode(event), key=key))
        assert isinstance(found, SupportRequested)
        assert found.problem is not None
        assert found.problem.startswith("key must be the organization's id")
        assert (found.requested_by, found.hold, found.email, found.days) == (
            "ada",
            None,
            None,
            None,
        )


@pytest.mark.parametrize("key", [None, b"", b"anything"])
def test_an_unlock_without_subject_needs_no_key(key: bytes | None) -> None:
    """The organization of the email is not known yet."""
    given = structs.replace(structured(EXAMPLES["support.unlock_email"]), key=key)
    found = result(Feed.SUPPORT_REQUESTS, given)
    assert isinstance(found, SupportRequested)
    assert found.problem is None


@pytest.mark.parametrize("name", [each for each in EXAMPLES if not each.startswith("support.")])
def test_no_other_event_needs_a_key(name: str) -> None:
    """The order of other events does not matter."""
    given = structs.replace(structured(EXAMPLES[name]), key=None)
    assert not isinstance(result(feed_of(name), given), Malformed)


# --- mistakes of producers ------------------------------------------------------------------------

LOGIN = EXAMPLES["identity.user.logged_in"]


def headers_of(event: dict[str, Any], *, prefix: str = "ce_", quoted: bool = False) -> Record:
    """The event in binary mode, with its headers spelled with this prefix."""
    spelled = json.dumps if quoted else str
    attributes = ((name, held) for name, held in event.items() if name != "data")
    headers = [(f"{prefix}{name}", spelled(held).encode()) for name, held in attributes]
    return record(json.dumps(event["data"]).encode(), *headers)


def test_headers_as_spring_writes_them_are_read() -> None:
    """Spring Cloud Function writes `ce-`, and some values as JSON text."""
    read = result(Feed.LOGINS, headers_of(LOGIN))
    assert isinstance(read, LoggedIn)
    for prefix in ("ce_", "ce-"):
        for quoted in (True, False):
            assert result(Feed.LOGINS, headers_of(LOGIN, prefix=prefix, quoted=quoted)) == read


@pytest.mark.parametrize("value", [b'"', b'"x', b'x"', b'"a"b"', b"'x'"])
def test_a_header_that_only_begins_or_ends_with_a_quote_is_read_as_it_is(value: bytes) -> None:
    """An id may contain quotes."""
    event = {**LOGIN, "id": value.decode()}
    read = result(Feed.LOGINS, headers_of(event))
    assert isinstance(read, LoggedIn)
    assert read.identity.id == value.decode()


def test_an_attribute_in_both_spellings_is_refused() -> None:
    """The two values could differ."""
    given = headers_of(LOGIN)
    both = structs.replace(given, headers=(*given.headers, ("ce-id", b"another")))
    assert refusal(Feed.LOGINS, both) == "ce-id: a ce_ header must not stand twice"


@pytest.mark.parametrize("spelled", [" ", "T"])
@pytest.mark.parametrize("offset", ["Z", "+0000", "+00:00", "-0000"])
def test_a_time_with_a_blank_or_without_a_colon_is_read_wherever_it_stands(
    spelled: str, offset: str
) -> None:
    """Also within the data, and by the fast reader of plain activity."""
    right, odd = "2026-11-01T00:00:00Z", f"2026-11-01{spelled}00:00:00{offset}"
    for name, field in (
        ("identity.user.logged_in", None),
        ("usage.api_requests", None),
        ("organization.created", "billing_cycle_anchor"),
        ("organization.commitment_linked", "starts_at"),
    ):
        feed, example = feed_of(name), EXAMPLES[name]

        read = [result(feed, structured(_at(time, example, field))) for time in (odd, right)]
        assert not isinstance(read[0], Malformed)
        assert read[0] == read[1]


def _at(time: str, example: dict[str, Any], field: str | None) -> dict[str, Any]:
    """The example with another time: of the event, or of a field of its data."""
    if field is None:
        return {**example, "time": time}
    return {**example, "data": {**example["data"], field: time}}


# --- identities -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("feed", "name"),
    [
        (Feed.LOGINS, "com.example.anything"),
        (Feed.API_REQUESTS, "com.example.anything"),
        (Feed.ORGANIZATION_CHANGES, "io.marketplace-worker.organization.tier_changed.v1"),
    ],
)
def test_no_other_topic_can_claim_the_identity_of_a_support_request(feed: Feed, name: str) -> None:
    """Otherwise the request would count as a duplicate, and its hold would silently not be
    placed.
    """
    whose = {"source": "/support", "id": "HOLD-7"}
    first = result(feed, structured(an_event("organization.tier_changed", **whose, type=name)))
    held = result(Feed.SUPPORT_REQUESTS, structured({**EXAMPLES["support.place_hold"], **whose}))
    assert isinstance(held, SupportRequested)
    assert not isinstance(first, Malformed)
    assert held.identity == Identity("/support", "HOLD-7"), "unchanged: no request acts twice"
    assert first.identity != held.identity
    assert source_of(first.identity) == "/support"


def test_a_login_has_one_identity_however_it_is_written() -> None:
    """Both readers, the fast one too, derive the same identity from it."""
    login = EXAMPLES["identity.user.logged_in"]
    plain, other = result(Feed.LOGINS, structured(login)), result(Feed.LOGINS, binary(login))
    assert isinstance(plain, LoggedIn)
    assert plain == other


def test_a_support_source_that_resembles_another_topics_is_kept_apart() -> None:
    """A login with the rest of that source has another identity."""
    login = an_event("organization.tier_changed", source="x.example", id="H7", type="com.example.z")
    hold = {**EXAMPLES["support.place_hold"], "source": "identity.x.example", "id": "H7"}
    first, second = (
        result(Feed.LOGINS, structured(login)),
        result(Feed.SUPPORT_REQUESTS, structured(hold)),
    )
    assert not isinstance(first, Malformed)
    assert not isinstance(second, Malformed)
    assert first.identity != second.identity
    assert source_of(second.identity) == "identity.x.example"


def test_a_tracing_header_does_not_hide_a_structured_event() -> None:
    """Headers are attributes only if a required attribute is among them."""
    whole = EXAMPLES["support.place_hold"]
    given = structs.replace(structured(whole), headers=(("ce_traceparent", b"00-1"),))
    assert isinstance(result(Feed.SUPPORT_REQUESTS, given), SupportRequested)
