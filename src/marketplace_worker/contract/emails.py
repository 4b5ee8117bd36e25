"""The keyed hash that stands for an email address everywhere (lifecycle.md section 7).

Only this module turns an address into what may be kept.
"""

import hmac
import unicodedata
from collections.abc import Callable

from marketplace_worker.lifecycle.vocabulary import EmailHash

_ZERO_WIDTH = dict.fromkeys(map(ord, "\u180e\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"))
"""Characters that nobody sees, to be deleted: they come along when an address is copied."""


EmailHasher = Callable[[str], EmailHash]
"""Turns an address into its keyed hash."""


def email_hasher(key: bytes) -> EmailHasher:
    """HMAC-SHA-256 under `key`, in hex, of the address as `normalized` writes it.

    The same address gives the same hash for as long as the key stays; without the key nobody can
    try addresses.
    """

    def hash_email(address: str) -> EmailHash:
        return EmailHash(hmac.digest(key, normalized(address).encode(), "sha256").hex())

    return hash_email


def normalized(address: str) -> str:
    """One spelling of all that are the same address: without zero-width characters, in NFC, without
    the blanks around it, case-folded; empty where nothing is left.
    """
    visible = address.translate(_ZERO_WIDTH)
    return unicodedata.normalize("NFC", visible).strip().casefold()
