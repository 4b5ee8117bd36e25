"""The keyed hash that replaces an email address everywhere (lifecycle.md section 7).

Only this module converts an address into what may be stored.
"""

import hmac
import unicodedata
from collections.abc import Callable

from marketplace_worker.lifecycle.vocabulary import EmailHash

_ZERO_WIDTH = dict.fromkeys(map(ord, "\u180e\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"))
"""Invisible characters to delete: they are often copied along with an address."""


EmailHasher = Callable[[str], EmailHash]
"""Converts an address to its keyed hash."""


def email_hasher(key: bytes) -> EmailHasher:
    """HMAC-SHA-256 under `key`, in hex, of the address as `normalized` writes it.

    The same address gives the same hash as long as the key stays the same; without the key nobody
    can find addresses by trial.
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
