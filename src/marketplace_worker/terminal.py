"""Makes text safe for a terminal, for everything that is printed or logged.

Text of others (ids, reasons, headers) may contain escape sequences, control characters, or
characters that reverse the text around them.  Everything that `str.isprintable` refuses is escaped.
"""

import re

_SUSPECT = re.compile(r"[^ -~]")
"""Characters that may not be printable: all but printable ASCII."""


def visible(text: str) -> str:
    """A text in which what a terminal might act on is written out, as Python's `repr` does."""
    return text if text.isprintable() else _SUSPECT.sub(_written_out, text)


def escaped_json(document: str) -> str:
    """A JSON document with the same in JSON's own escapes: it is parsed to the same value.

    Line ends stay: within a string they are escaped already, as all of ASCII but DEL.
    """
    if document.isascii() and "\x7f" not in document:
        return document
    return _SUSPECT.sub(_json_escape, document)


def _written_out(found: re.Match[str]) -> str:
    character = found.group()
    if character.isprintable():
        return character
    code = ord(character)
    if code > 0xFFFF:
        return f"\\U{code:08x}"
    return f"\\u{code:04x}" if code > 0xFF else f"\\x{code:02x}"


def _json_escape(found: re.Match[str]) -> str:
    character = found.group()
    if character == "\n" or character.isprintable():
        return character
    code = ord(character)
    if code > 0xFFFF:
        high, low = divmod(code - 0x10000, 0x400)
        return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
    return f"\\u{code:04x}"
