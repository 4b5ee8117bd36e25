"""The base of all stored shapes, and how they are converted from and to the core's values.

A stored shape is a msgspec Struct for one dataclass of the core.  Its attributes are the core's
fields, in the same order; the names in the document are the same ones, or what `rename` says.  So
when a field of the core is renamed, the attribute here is renamed with it, and the class gets
`rename={"new_name": "name_in_the_document"}`: no stored document changes.
"""

import json
import re
from collections.abc import Callable, Collection
from dataclasses import fields, is_dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec import UNSET, Struct, UnsetType

VERSION: Literal[1] = 1
"""The version of every document.  A document without one was written by 0.2 or earlier, and has
this version's shape, except for what its reader corrects.  A shape that cannot read existing
documents gets a new version, and keeps a reader of the old one.
"""

C = TypeVar("C")
S = TypeVar("S", bound=Struct)

Mend = Callable[[dict[str, Any]], None]
"""Brings a document without a version into the shape of version 1, in place."""


class Shape(Struct, gc=False, forbid_unknown_fields=True):
    """Part of a document.  A missing field has its default; an unknown field is refused."""


class Document(Shape, kw_only=True):
    """A whole document, with its version."""

    format: Literal[1] | UnsetType = UNSET


def stores(core: type, *, retired: Collection[str] = ()) -> Callable[[type[S]], type[S]]:
    """Declare a shape to be the stored form of a dataclass of the core.

    A shape whose attributes are not the core's fields, in order, is refused at import.  `retired`:
    attributes that existing documents have and nobody reads; `UNSET` by default, so that they are
    not written.
    """

    def check(shape: type[S]) -> type[S]:
        names, tag = _fields(core)
        given = [name for name in shape.__struct_fields__ if name not in {"format", *retired}]
        assert given == names, f"{shape.__name__} has not the fields of {core.__name__}"
        assert shape.__struct_config__.tag == tag, f"{shape.__name__} has another tag"
        CORE[shape], SHAPES[core] = core, shape
        return shape

    return check


CORE: dict[type[Struct], type[Any]] = {}
SHAPES: dict[type, type[Any]] = {}
"""The class of the core that a shape stores, and the shape that stores a class of the core."""


def _fields(core: type) -> tuple[list[str], str | None]:
    """The fields of a core class but its constant `kind`, and that kind: the tag of its shape.

    A field that the class derives of itself is not stored.
    """
    assert is_dataclass(core)
    hints = get_type_hints(core)
    names = [field.name for field in fields(core) if field.init]
    if get_origin(hints.get("kind")) is not Literal:
        return names, None
    names.remove("kind")
    return names, str(get_args(hints["kind"])[0])


def to_core(stored: Struct, core: type[C]) -> C:
    """The value of the core that a shape holds.  msgspec does it without a call of ours a field."""
    return msgspec.convert(stored, core, from_attributes=True)


def to_stored(value: object, shape: type[S]) -> S:
    """The shape that holds a value of the core."""
    return msgspec.convert(value, shape, from_attributes=True)


def encode(document: Document) -> str:
    """The text of a document, with its version."""
    document.format = VERSION
    return _ENCODER.encode(document).decode()


_ENCODER = msgspec.json.Encoder()


def decode(text: str, decoder: "msgspec.json.Decoder[C]", mend: Mend | None = None) -> C:
    """Decode a document.

    Raises:
        ValueError: a field or the version is unknown, or a field is missing; names it.
    """
    try:
        return decoder.decode(text)
    except msgspec.ValidationError:
        document = json.loads(text)
        if mend is None or not isinstance(document, dict) or "format" in document:
            raise
        mend(document)
        return decoder.decode(msgspec.json.encode(document))


def mend_duration(holder: object, *names: str) -> None:
    """Write years as days: 0.2 wrote a duration of 400 days as `P1Y35D`, which msgspec refuses."""
    for name in names:
        if isinstance(holder, dict) and isinstance(holder.get(name), str):
            holder[name] = _YEARS.sub(_in_days, holder[name])


_YEARS = re.compile(r"P(?P<years>\d+)Y((?P<days>\d+)D)?", re.ASCII)


def _in_days(found: re.Match[str]) -> str:
    return f"P{365 * int(found['years']) + int(found['days'] or 0)}D"
