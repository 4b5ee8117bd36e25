"""Values that nobody should write into a message and somebody will; and where to put them.

As JSON text, because Python cannot hold some of them; the names stand in the reports of tests.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

Path = tuple[str | int, ...]
"""Keys and indices, from the outermost."""

_HOLE = "a hole that is filled with JSON text"
_DEEP = 10_000

SCALARS: Mapping[str, str] = {
    "null": "null",
    "true": "true",
    "false": "false",
    "zero": "0",
    "negative": "-1",
    "fraction": "1.5",
    "2**31": str(2**31),
    "2**63": str(2**63),
    "2**64": str(2**64),
    "-2**64": str(-(2**64)),
    "1e308": "1e308",
    "empty": '""',
    "blank": '"  "',
    "word": '"word"',
    "digits": '"17"',
}
CONTAINERS: Mapping[str, str] = {
    "list": "[]",
    "list of null": "[null]",
    "object": "{}",
    "object of null": '{"a": null}',
}
TEXTS: Mapping[str, str] = {
    "NUL": '"\\u0000"',
    "NUL within": '"a\\u0000b"',
    "high surrogate": '"\\ud800"',
    "low surrogate within": '"a\\udc00b"',
    "too long": json.dumps("x" * 8_193),
    "too long in bytes": json.dumps("\U0001f600" * 2_049),
    "half a megabyte": json.dumps("x" * 500_000),
}
TIMES: Mapping[str, str] = {
    name: json.dumps(text)
    for name, text in {
        "the year 1": "0001-01-01T00:00:00Z",
        "before the year 1": "0001-01-01T00:00:00+23:59",
        "1970": "1970-01-01T00:00:00Z",
        "before 1970": "1970-01-01T00:00:00+00:01",
        "9999": "9999-12-31T23:59:59Z",
        "after 9999": "9999-12-31T23:59:59.999999-23:59",
        "odd offset": "2026-11-01T10:30:00+23:59",
        "offset of seconds": "2026-11-01T10:30:00+01:00:30",
        "no offset": "2026-11-01T10:30:00",
        "leap second": "2026-12-31T23:59:60Z",
        "24 o'clock": "2026-11-01T24:00:00Z",
        "no such day": "2026-02-30T00:00:00Z",
        "week": "2026-W45-1T00:00:00Z",
        "other digits": "\u0662\u0660\u0662\u0666-11-01T00:00:00Z",
        "many digits": "2026-11-01T10:30:00." + "0" * 100 + "Z",
    }.items()
}
NO_JSON: Mapping[str, str] = {
    "NaN": "NaN",
    "Infinity": "Infinity",
    "-Infinity": "-Infinity",
    "many digits": "9" * 5_000,
    "deep lists": "[" * _DEEP + "]" * _DEEP,
    "deep objects": '{"a":' * _DEEP + "1" + "}" * _DEEP,
    "deep and open": "[" * (50 * _DEEP),
    "nothing": "",
    "a comma": ",",
}
"""What makes the whole value unreadable, wherever it stands."""

INFINITE = "1e400"
"""JSON by its grammar; Python's reader makes an infinity of it."""

VALUES: Mapping[str, str] = {
    **SCALARS,
    **CONTAINERS,
    **TEXTS,
    **{f"time: {name}": text for name, text in TIMES.items()},
    "1e400": INFINITE,
}
"""What is JSON, and may be of the wrong type, too long, out of bounds, or not storable."""


def paths(value: object, into: Path = ()) -> Iterator[Path]:
    """Every place within a JSON value, the value itself not among them."""
    match value:
        case dict():
            held: Any = value.items()
        case list():
            held = enumerate(value)
        case _:
            return
    for key, inner in held:
        yield (*into, key)
        yield from paths(inner, (*into, key))


def at(value: Any, path: Path) -> Any:  # noqa: ANN401
    """What stands there."""
    for key in path:
        value = value[key]
    return value


def without(value: Any, path: Path) -> Any:  # noqa: ANN401
    """A copy in which nothing stands there."""
    copy = json.loads(json.dumps(value))
    del at(copy, path[:-1])[path[-1]]
    return copy


def filled(value: Any, path: Path, text: str) -> str:  # noqa: ANN401
    """The value as JSON text, with other JSON text there."""
    copy = json.loads(json.dumps(value))
    at(copy, path[:-1])[path[-1]] = _HOLE
    return json.dumps(copy).replace(json.dumps(_HOLE), text)
