"""Makes what our models describe what we publish: open to additions, with names for generated code.

Our models are closed, for a writer is strict; the tests compare what we write with that form.  Who
reads, or generates code, gets the open one, which an addition does not break (events.md section 3).
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
"""Whether `v1` may get further values, by enum: where it explains; not where it is acted on."""

MAY_GROW = "May grow: take a value that is not listed for one that you do not know."
MAY_NOT_GROW = "Does not grow within v1."

_REF = "#/$defs/"


def with_additions_allowed(schema: JsonObject) -> JsonObject:
    """The schema with any further properties allowed, in every object that it describes."""
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
    """The schema with each enum's description saying whether it may grow.

    An enum that `GROWS` does not know is a decision that was not made: KeyError.
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
    """The schema of an event with what stands under `data` as a definition of that name.

    Several shapes keep their names, and get that one in common.
    """
    told: JsonObject = schema["properties"]["data"]
    named = [ref.removeprefix(_REF) for ref in _references(told)]
    if len(named) == 1:
        return _renamed(schema, named[0], name)
    shapes = {"title": name, "anyOf": told["anyOf"]}
    properties = {**schema["properties"], "data": {"$ref": _REF + name}}
    definitions = {**schema["$defs"], name: shapes}
    in_order = {key: definitions[key] for key in sorted(definitions)}
    return {**schema, "$defs": in_order, "properties": properties}


def _renamed(schema: JsonObject, old: str, new: str) -> JsonObject:
    told = _with_references(schema, {_REF + old: _REF + new}.get)
    definitions = {new if key == old else key: each for key, each in told["$defs"].items()}
    definitions[new]["title"] = new
    return {**told, "$defs": {key: definitions[key] for key in sorted(definitions)}}


def relocated(schema: JsonObject, place: str) -> JsonObject:
    """The schema for a document that has its definitions at another place."""
    return _with_references(schema, lambda ref: place + ref.removeprefix(_REF))


def _with_references(schema: JsonObject, to: Callable[[str], str | None]) -> JsonObject:
    """The schema with each reference as `to` says; None: as it is."""

    def changed(part: object) -> Any:  # noqa: ANN401 - whatever it was
        if isinstance(part, list):
            return [changed(each) for each in part]
        if not isinstance(part, dict):
            return part
        renamed = {key: changed(value) for key, value in part.items()}
        if isinstance(ref := part.get("$ref"), str):
            renamed["$ref"] = to(ref) or ref
        return renamed

    told: JsonObject = changed(schema)
    return told


def definition(schema: JsonObject, name: str) -> JsonObject:
    """One definition of a schema as a schema by itself, with the definitions that it needs."""
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
