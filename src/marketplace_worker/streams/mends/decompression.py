"""Decompresses record batches up to a bound: 20 kB of zstd can hold 600 MB.

aiokafka 0.14 decompresses a batch as a whole, however large it becomes.  These functions replace
its codecs, stop at the bound, and keep what was decompressed until there.

Upstream: no issue found (searched 2026-11-30).  Remove when aiokafka has such a bound.
"""

import struct
import zlib
from collections.abc import Callable

import cramjam
from aiokafka import codec
from aiokafka.record import default_records, legacy_records
from aiokafka.record._crecords import default_records as fast_default_records
from aiokafka.record._crecords import legacy_records as fast_legacy_records

FIRST_BYTES_MIN = 64 * 1024
GROWTH = 8
"""How many times larger than the compressed data the first buffer is, and each further one than
before.
"""

_XERIAL_HEADER_BYTES = 16

_GZIP = 31
"""A gzip header and trailer, in zlib's numbers."""

_FULL = "failed to write whole buffer"
"""cramjam's error message for a buffer that is too small."""


class TooLarge(Exception):
    """A batch exceeds the limit of decompressed bytes; `beginning` is its first part."""

    def __init__(self, beginning: bytes) -> None:
        super().__init__(f"larger than {_Bound.bytes_max} bytes when decompressed")
        self.beginning = beginning


class _Bound:
    """One for all consumers of the process."""

    bytes_max = 0


def install(bytes_max: int) -> None:
    """Limit the bytes that each consumer of this process decompresses at once; the last call
    counts.
    """
    _Bound.bytes_max = bytes_max
    for module in (default_records, fast_default_records, legacy_records, fast_legacy_records):
        module.gzip_decode = _gzip
        module.snappy_decode = _snappy
        module.lz4_decode = _lz4
        module.zstd_decode = _zstd


def bytes_max() -> int:
    """The maximum of bytes decompressed at once."""
    return _Bound.bytes_max


def _gzip(payload: bytes) -> bytes:
    # One member after another, as gzip files may have several.
    read, rest = bytearray(), bytes(payload)
    while rest:
        member = zlib.decompressobj(wbits=_GZIP)
        read += member.decompress(rest, _Bound.bytes_max - len(read) + 1)
        if len(read) > _Bound.bytes_max:
            raise TooLarge(bytes(read[: _Bound.bytes_max]))
        if not member.eof:
            raise EOFError("the gzip stream ends before its end marker")
        rest = member.unused_data
    return bytes(read)


def _snappy(payload: bytes) -> bytes:
    """Snappy data starts with its decompressed size; in xerial's framing each block does."""
    if not codec._detect_xerial_stream(payload):  # noqa: SLF001 - as aiokafka tells them apart
        if cramjam.snappy.decompress_raw_len(payload) > _Bound.bytes_max:
            raise TooLarge(b"")
        return bytes(cramjam.snappy.decompress_raw(payload))
    read, place = bytearray(), _XERIAL_HEADER_BYTES
    while place < len(payload):
        (size,) = struct.unpack_from("!i", payload, place)
        block = payload[place + 4 : place + 4 + size]
        if len(read) + cramjam.snappy.decompress_raw_len(block) > _Bound.bytes_max:
            raise TooLarge(bytes(read))
        read += cramjam.snappy.decompress_raw(block)
        place += 4 + size
    return bytes(read)


def _lz4(payload: bytes) -> bytes:
    return _into_a_buffer(cramjam.lz4.decompress_into, payload)


def _zstd(payload: bytes) -> bytes:
    return _into_a_buffer(cramjam.zstd.decompress_into, payload)


def _into_a_buffer(decompress_into: Callable[[bytes, bytearray], int], payload: bytes) -> bytes:
    size = max(FIRST_BYTES_MIN, GROWTH * len(payload))
    while True:
        buffer = bytearray(min(size, _Bound.bytes_max))
        try:
            count = decompress_into(payload, buffer)
        except cramjam.DecompressionError as error:
            if _FULL not in str(error):
                raise
            if size >= _Bound.bytes_max:
                raise TooLarge(bytes(buffer)) from error
            size *= GROWTH
        else:
            return bytes(memoryview(buffer)[:count])
