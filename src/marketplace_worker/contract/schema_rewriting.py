"""Converts the schemas of our models into the published ones: open, with names for generated code.

Our models forbid unknown properties, and the tests check our messages against them.  The published
schemas allow unknown properties, so that an addition breaks no reader (events.md section 3).
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

JsonObject = dict[str, Any]

GROWS: Mapping[str, bool] = {
    "ActivityFeed": True,
    "CompletedBy": True,
    "DeactivationCause": False,
    "GuardSide": True,
    "HoldKind": True,
    "Initiator": True,
    "Marketplace": True,
    "PlanType": True,
    "Refusal": True,
    "RequestLimit": True,
    "State": False,
    "StateReason": True,
    "SupportRequestKind": True,
    "Tier": False,
}
"""For each enum, whether `v1` may add values: yes if it only explains, no if readers act on it."""

MAY_GROW = "May grow: take a value that is not listed for one that you do not know."
MAY_NOT_GROW = "Does not grow within v1."

_REF = "#/$defs/"


def with_additions_allowed(schema: JsonObject) -> JsonObject:
    """The schema with additional properties allowed in every object."""
    return {
        key: True
        if key == "additionalProperties" and value is False
        else _with_additions_allowed(value)
        for key, value in schema.items()
    }


def _with_additions_allowed(part: object) -> object:
    match part:
        case dict():
            return with_additions_allowed(part)
        case list():
            return [_with_additions_allowed(each) for each in part]
        case _:
            return part


def with_growth_described(schema: JsonObject) -> JsonObject:
    """The schema with a description of each enum that says whether it may grow.

    Raises KeyError for an enum that is missing from `GROWS`: a decision is needed.
    """
    definitions = {
        name: _described(name, each) if "enum" in each else each
        for name, each in schema.get("$defs", {}).items()
    }
    return {**schema, "$defs": definitions} if definitions else schema


def _described(name: str, enum: JsonObject) -> JsonObject:
    growth = MAY_GROW if GROWS[name] else MAY_NOT_GROW
    return {**enum, "description": f"{enum['description']} {growth}"}


def with_data_named(schema: JsonObject, name: str) -> JsonObject:
    """The schema of an event with the schema of its `data` as a definition of that name.

    Of several shapes, each keeps its name, and the new definition combines them.
    """
    data: JsonObject = schema["properties"]["data"]
    named = [ref.removeprefix(_REF) for ref in _references(data)]
    if len(named) == 1:
        return _renamed(schema, named[0], name)
    shapes = {"title": name, "anyOf": data["anyOf"]}
    properties = {**schema["properties"], "data": {"$ref": _REF + name}}
    definitions = {**schema["$defs"], name: shapes}
    in_order = {key: definitions[key] for key in sorted(definitions)}
    return {**schema, "$defs": in_order, "properties": properties}


def _renamed(schema: JsonObject, old: str, new: str) -> JsonObject:
    renamed = _with_references(schema, {_REF + old: _REF + new}.get)
    definitions = {new if key == old else key: each for key, each in renamed["$defs"].items()}
    definitions[new]["title"] = new
    return {**renamed, "$defs": {key: definitions[key] for key in sorted(definitions)}}


def relocated(schema: JsonObject, place: str) -> JsonObject:
    """The schema with its references pointing to definitions at another place."""
    return _with_references(schema, lambda ref: place + ref.removeprefix(_REF))


def _with_references(schema: JsonObject, to: Callable[[str], str | None]) -> JsonObject:
    """The schema with each reference replaced by what `to` returns; None keeps it."""

    def changed(part: object) -> Any:  # noqa: ANN401 - whatever it was
        if isinstance(part, list):
            return [changed(each) for each in part]
        if not isinstance(part, dict):
            return part
        renamed = {key: changed(value) for key, value in part.items()}
        if isinstance(ref := part.get("$ref"), str):
            renamed["$ref"] = to(ref) or ref
        return renamed

    rewritten: JsonObject = changed(schema)
    return rewritten


def definition(schema: JsonObject, name: str) -> JsonObject:
    """One definition as a schema of its own, with the definitions that it refers to."""
    definitions: JsonObject = schema["$defs"]
    needed: set[str] = set()
    waiting = [name]
    while waiting:
        for ref in _references(definitions[waiting.pop()]):
            if (each := ref.removeprefix(_REF)) not in needed:
                needed.add(each)
                waiting.append(each)
    alone: JsonObject = dict(definitions[name])
    if needed:
        alone["$defs"] = {key: definitions[key] for key in sorted(needed)}
    return alone


def _references(part: object) -> Iterator[str]:
    match part:
        case {"$ref": str() as ref}:
            yield ref
        case dict():
            for value in part.values():
                yield from _references(value)
        case list():
            for each in part:
                yield from _references(each)
        case _:
            pass
