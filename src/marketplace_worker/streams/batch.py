"""Converts aiokafka's records to ours."""

from datetime import UTC, datetime, timedelta

from aiokafka import ConsumerRecord

from marketplace_worker.record import EPOCH, Record
from marketplace_worker.streams.mends.record_batches import LeftOut

_MILLISECOND = timedelta(milliseconds=1)
"""Multiplying it costs a third of `timedelta(milliseconds=...)`."""

_END_OF_CALENDAR = datetime(9999, 12, 31, tzinfo=UTC)


def to_record(raw: ConsumerRecord) -> Record:
    """Convert a record unchanged; a time outside the calendar is moved to its end.

    Nothing here depends on when it was received, so that it is the same record at each delivery.
    """
    try:
        recorded_at = EPOCH + max(raw.timestamp, 0) * _MILLISECOND
    except OverflowError:
        recorded_at = _END_OF_CALENDAR
    is_left_out = isinstance(raw, LeftOut)
    return Record(
        topic=raw.topic,
        partition=raw.partition,
        offset=raw.offset,
        recorded_at=recorded_at,
        key=raw.key,
        value=raw.value,
        headers=tuple(raw.headers),
        left_out_bytes=raw.left_out_bytes if is_left_out else None,
        omitted_after=raw.behind if is_left_out else 0,
    )
