"""Translates records to facts: selects the translator of the feed.

Shared by `steps.ingest` and `simulate`, so that both read records in the same way.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from marketplace_worker import envelopes, json_reading
from marketplace_worker.contract import cloudevents, inbound
from marketplace_worker.contract.emails import EmailHasher
from marketplace_worker.contract.feeds import NAME_PREFIXES, Feed
from marketplace_worker.contract.plain_activity import read_plain_activity
from marketplace_worker.contract.tracing import Trace, trace_of
from marketplace_worker.envelopes import Fields, Match, Payload, Recognizer
from marketplace_worker.errors import Malformed
from marketplace_worker.lifecycle.facts import ActivityFact, Fact, Notified, Unrecognized
from marketplace_worker.marketplaces import aws, azure, gcp
from marketplace_worker.record import Record

Part = TypeVar("Part")


REFUSED_MAX = 10
"""How many refused parts of one value are reported one by one: the dead letter of each has a copy
of the whole value, which may be a megabyte.
"""


class Translated(NamedTuple):
    """The fact of one part of a record, or the part's refusal, with the trace that it came with."""

    what: Fact | ActivityFact | Malformed
    trace: Trace | None = None


def translate(
    record: Record, feed: Feed, hash_email: EmailHasher
) -> Sequence[Fact | ActivityFact | Malformed]:
    """The facts of a record, with a `Malformed` for each part that is refused.

    Never raises because of the record's content.
    """
    return [each.what for each in translate_traced(record, feed, hash_email)]


def translate_traced(record: Record, feed: Feed, hash_email: EmailHasher) -> Sequence[Translated]:
    """The same, with traces, for callers that publish events."""
    if activity := read_plain_activity(record, feed):
        return (Translated(activity.content, trace_of(record)),)
    return translate_in_full(record, feed, hash_email)


def translate_in_full(record: Record, feed: Feed, hash_email: EmailHasher) -> Sequence[Translated]:
    """The same without the fast path, for callers that tried it: plain activity is read as well."""
    try:
        _check_size(record)
        _check_header_names(record)
        match feed:
            case Feed.AWS:
                return _translate_notifications(record, _AWS, aws.translate)
            case Feed.GCP:
                return _translate_notifications(record, _GCP, gcp.translate)
            case Feed.AZURE:
                return _translate_notifications(record, _AZURE, azure.translate)
            case (
                Feed.LOGINS | Feed.API_REQUESTS | Feed.ORGANIZATION_CHANGES | Feed.SUPPORT_REQUESTS
            ):
                return _translate_events(record, NAME_PREFIXES[feed], hash_email)
    except Malformed as refusal:
        return (Translated(refusal),)


def _check_size(record: Record) -> None:
    if record.omitted_after:
        reason = (
            "stands in a record batch that is larger than ingest.batch_bytes_max: from this record "
            "on it was not read, and stays in Kafka"
        )
        raise Malformed(reason, field=json_reading.WHOLE)
    if record.left_out_bytes is not None:
        reason = (
            "is larger than ingest.record_bytes_max: it was not read, and stays in Kafka where the "
            "record stands"
        )
        raise Malformed(reason, field=json_reading.WHOLE)


def _check_header_names(record: Record) -> None:
    """Refuse names that are not UTF-8, which Kafka's protocol requires."""
    for place, (name, _) in enumerate(record.headers):
        if not name.isascii() and any("\ud800" <= each <= "\udfff" for each in name):
            raise Malformed("the header's name is not UTF-8", field=f"headers[{place}]")


def _translate_events(
    record: Record, carries: str, hash_email: EmailHasher
) -> Sequence[Translated]:
    def read(event: cloudevents.CloudEvent) -> Translated:
        fact = inbound.read_fact(event, record, carries=carries, hash_email=hash_email)
        return Translated(fact, trace_of(record, event.attributes))

    return _translate_parts(cloudevents.read_cloudevents(record), read)


def _translate_notifications(
    record: Record,
    recognize: Recognizer,
    translator: Callable[[Payload], Notified | Unrecognized],
) -> Sequence[Translated]:
    if record.headers and cloudevents.has_own_type_in_headers(record):
        raise Malformed(_ON_ANOTHER_TOPIC, field="type")

    def read(payload: Payload) -> Translated:
        if cloudevents.is_own_type(payload.fields):
            raise Malformed(_ON_ANOTHER_TOPIC, field=payload.at("type"))
        around = payload.event.fields if payload.event else None
        return Translated(translator(payload), trace_of(record, around))

    return _translate_parts(envelopes.unwrap(record, recognize), read)


_ON_ANOTHER_TOPIC = "is a type of ours that this topic does not carry: it carries notifications"


def _or_own_type(recognize: Recognizer) -> Recognizer:
    """Recognize CloudEvents of our own types too, so that their data is not searched for one."""

    def recognize_both(fields: Fields) -> Match:
        return Match.SURE if cloudevents.is_own_type(fields) else recognize(fields)

    return recognize_both


_AWS, _GCP, _AZURE = map(_or_own_type, (aws.recognize, gcp.recognize, azure.recognize))


def _translate_parts(
    parts: Iterable[Part | Malformed], read: Callable[[Part], Translated]
) -> Sequence[Translated]:
    """Translate or refuse each part by itself.

    Reports at most `REFUSED_MAX` refusals.  All parts that can be read are translated.
    """
    translated: list[Translated] = []
    refused = 0
    for part in parts:
        try:
            if isinstance(part, Malformed):
                raise part
            translated.append(read(part))
        except Malformed as refusal:
            refused += 1
            if refused < REFUSED_MAX:
                translated.append(Translated(refusal))
            elif refused == REFUSED_MAX:
                reason = f"{refusal.reason}; records refused after this one are not told one by one"
                translated.append(Translated(Malformed(reason, field=refusal.field)))
    return translated
