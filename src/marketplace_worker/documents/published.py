"""The document of an organization's published messages, stored during a recovery."""

from datetime import datetime

import msgspec

from marketplace_worker.contract import published
from marketplace_worker.documents.shapes import (
    Document,
    decode,
    encode,
    stores,
    to_core,
    to_stored,
)
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import DeactivationCause


@stores(published.PublishedSummary)
class StoredPublishedSummary(Document):
    """The document."""

    organization: str
    sequence: int = 0
    revision: int = 0
    state: State | None = None
    erased: bool = False
    deactivated_for: DeactivationCause | None = None
    closed_by: str | None = None
    closed_at: datetime | None = None
    closed_sequence: int = 0
    reopened_sequence: int = 0


_DECODER = msgspec.json.Decoder(StoredPublishedSummary)


def published_to_json(summary: published.PublishedSummary) -> str:
    """The document of a summary."""
    return encode(to_stored(summary, StoredPublishedSummary))


def published_from_json(text: str) -> published.PublishedSummary:
    """A summary from its document.  Raises `ValueError`, which names the field."""
    return to_core(decode(text, _DECODER), published.PublishedSummary)
