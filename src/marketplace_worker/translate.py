"""From bytes to facts: which translator reads which feed.

Shared by `steps.ingest` and `simulate`, so that both read the same.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum

from marketplace_worker.contract import inbound
from marketplace_worker.contract.plain_activity import read_plain_activity
from marketplace_worker.errors import Malformed
from marketplace_worker.lifecycle.facts import Activity, Fact
from marketplace_worker.lifecycle.vocabulary import EmailHash
from marketplace_worker.marketplaces import aws, azure, gcp
from marketplace_worker.record import Record

EmailHasher = Callable[[str], EmailHash]


class Feed(StrEnum):
    """What a topic carries, whatever its name (events.md section 1)."""

    AWS = "aws"
    GCP = "gcp"
    AZURE = "azure"
    CLOUDEVENTS = "cloudevents"


def translate(
    record: Record, feed: Feed, hash_email: EmailHasher
) -> Sequence[Fact | Activity | Malformed]:
    """Read one record: a fact for each thing that it says, a `Malformed` for each part refused.

    Total: whatever the bytes are, nothing is raised for them.
    """
    try:
        _check_header_names(record)
        match feed:
            case Feed.AWS:
                return aws.translate(record)
            case Feed.GCP:
                return gcp.translate(record)
            case Feed.AZURE:
                return azure.translate(record)
            case Feed.CLOUDEVENTS:
                return (read_plain_activity(record) or inbound.read(record, hash_email=hash_email),)
    except Malformed as refusal:
        return (refusal,)


def _check_header_names(record: Record) -> None:
    """Kafka's protocol has them in UTF-8; what is not stands in them as `Headers` says."""
    for place, (name, _) in enumerate(record.headers):
        if not name.isascii() and any("\ud800" <= each <= "\udfff" for each in name):
            raise Malformed("the header's name is not UTF-8", field=f"headers[{place}]")
