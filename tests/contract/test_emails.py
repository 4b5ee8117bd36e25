"""The keyed hash of an address (lifecycle.md section 7)."""

import hashlib
import hmac

from marketplace_worker.contract.emails import email_hasher

HASH = email_hasher(b"key")


def test_case_and_surrounding_blanks_do_not_make_another_address() -> None:
    """Else the same owner could be locked under one spelling and sign up under another."""
    assert HASH("  Grace.STRASSE@Example.COM\n") == HASH("grace.strasse@example.com")
    assert HASH("straße@example.com") == HASH("STRASSE@example.com")


def test_the_encoding_of_an_address_does_not_make_another() -> None:
    """A composed letter and the same one in two characters look alike, and so does what has a
    zero-width character in it, copied along with the address.
    """
    assert HASH("caf\u00e9@example.com") == HASH("cafe\u0301@example.com")
    assert HASH("\ufeffa\u200b.b@example.com\u200d ") == HASH("a.b@example.com")
    assert HASH("\u200b a@example.com") == HASH("a@example.com")


def test_it_is_hmac_sha_256_in_hex() -> None:
    """Others must be able to compute it, to look an address up."""
    expected = hmac.new(b"key", b"a@example.com", hashlib.sha256).hexdigest()
    assert HASH("A@example.com") == expected


def test_another_key_gives_another_hash() -> None:
    """The key is what keeps anyone from trying addresses."""
    assert email_hasher(b"other")("a@example.com") != HASH("a@example.com")


def test_different_addresses_differ() -> None:
    """Else a lock would hit a stranger."""
    assert HASH("a@example.com") != HASH("b@example.com")
