"""The keyed hash of an address (lifecycle.md section 7)."""

import hashlib
import hmac

from marketplace_worker.contract.emails import email_hasher

HASH = email_hasher(b"key")


def test_case_and_surrounding_blanks_do_not_make_another_address() -> None:
    """Otherwise the owner of a locked address could sign up with another spelling of it."""
    assert HASH("  Grace.STRASSE@Example.COM\n") == HASH("grace.strasse@example.com")
    assert HASH("straße@example.com") == HASH("STRASSE@example.com")


def test_unicode_variants_of_an_address_have_one_hash() -> None:
    """A composed letter equals the same letter in two characters, and zero-width characters are
    often copied along with an address.
    """
    assert HASH("caf\u00e9@example.com") == HASH("cafe\u0301@example.com")
    assert HASH("\ufeffa\u200b.b@example.com\u200d ") == HASH("a.b@example.com")
    assert HASH("\u200b a@example.com") == HASH("a@example.com")


def test_it_is_hmac_sha_256_in_hex() -> None:
    """Others must be able to compute the hash, to find an address."""
    expected = hmac.new(b"key", b"a@example.com", hashlib.sha256).hexdigest()
    assert HASH("A@example.com") == expected


def test_another_key_gives_another_hash() -> None:
    """The key prevents anyone from finding addresses by trial."""
    assert email_hasher(b"other")("a@example.com") != HASH("a@example.com")


def test_different_addresses_differ() -> None:
    """Otherwise a lock would apply to another customer."""
    assert HASH("a@example.com") != HASH("b@example.com")
