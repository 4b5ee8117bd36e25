"""Compressed batches are readable by every client, and compression does not dominate a relay's
time.
"""

import gzip
from types import ModuleType

import pytest
from aiokafka.record import default_records
from aiokafka.record._crecords import default_records as fast_default_records

from marketplace_worker.streams.mends import compression

VALUES = [f'{{"id": {number}, "state": "suspended"}}'.encode() for number in range(100)]

HEADER_BYTES = 61
"""The length of a record batch's header."""

SLOWEST = 2
"""The ninth byte of a gzip header for level 9 (RFC 1952, XFL)."""


@pytest.mark.parametrize("module", [default_records, fast_default_records], ids=["plain", "fast"])
def test_batches_are_gzip_but_not_at_the_slowest_level(module: ModuleType) -> None:
    """Aiokafka itself uses level 9, which takes four times as long."""
    compression.install()
    builder = module.DefaultRecordBatchBuilder(
        2, default_records.DefaultRecordBatch.CODEC_GZIP, 0, -1, -1, 0, 1_000_000
    )
    for offset, value in enumerate(VALUES):
        assert builder.append(offset, 1_000, b"key", value, []) is not None
    batch = bytes(builder.build())

    records = batch[HEADER_BYTES:]
    assert records[8] != SLOWEST
    assert all(value in gzip.decompress(records) for value in VALUES)
    read = default_records.DefaultRecordBatch(batch)
    assert [record.value for record in read] == VALUES
