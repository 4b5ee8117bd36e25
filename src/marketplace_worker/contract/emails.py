"""The keyed hash that stands for an email address everywhere (lifecycle.md section 7).

Only this module turns an address into what may be kept.
"""

import hmac
from collections.abc import Callable

from marketplace_worker.lifecycle.vocabulary import EmailHash


def email_hasher(key: bytes) -> Callable[[str], EmailHash]:
    """HMAC-SHA-256 under `key`, in hex, of the trimmed and case-folded address.

    The same address gives the same hash for as long as the key stays; without the key nobody can
    try addresses.
    """

    def hash_email(address: str) -> EmailHash:
        return EmailHash(hmac.digest(key, address.strip().casefold().encode(), "sha256").hex())

    return hash_email
