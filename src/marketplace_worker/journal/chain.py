"""The journal's chain: each row has a hash over its content and over the previous row's hash.

There is one chain for each organization, and one for each subscription for rows that name no
organization; a row that names neither is not chained.  The chain covers a salted hash of the fact,
so that the fact can be erased (with its salt, or it could be guessed) while the chain stays valid
(docs/personal-data.md).
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

BEGINNING = b""
"""The previous hash of the first row."""

SALT_BYTES = 16


@dataclass(frozen=True, slots=True)
class Seal:
    """What a row adds to its chain."""

    salt: bytes
    content_hash: bytes
    previous_hash: bytes
    hash: bytes


def seal(fact: str, lasting: Sequence[str | None], previous_hash: bytes, salt: bytes) -> Seal:
    """Seal a row: `fact` is the text that can be erased, `lasting` the other columns as text.

    `salt`: `SALT_BYTES` random bytes, of this row alone.
    """
    content = content_hash(salt, fact)
    return Seal(salt, content, previous_hash, link(lasting, content, previous_hash))


def content_hash(salt: bytes, fact: str) -> bytes:
    """The salted hash that represents the fact."""
    return hashlib.sha256(salt + fact.encode()).digest()


def link(lasting: Sequence[str | None], content: bytes, previous_hash: bytes) -> bytes:
    """The hash of a row."""
    # JSON sets the columns apart: no two rows have the same text.
    row = json.dumps([previous_hash.hex(), content.hex(), *lasting]).encode()
    return hashlib.sha256(row).digest()
