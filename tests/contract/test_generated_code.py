"""Code that subscribers generate from `schemas/` has readable names and parses what we publish."""

import importlib.util
import json
import re
import shutil
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from datamodel_code_generator import InputFileType, generate
from datamodel_code_generator.enums import DataModelType
from datamodel_code_generator.format import Formatter
from pydantic import BaseModel, RootModel, ValidationError

from marketplace_worker.contract.cloudevents import message_title
from marketplace_worker.contract.schemas import outbound_schemas

SCHEMAS = Path(__file__).parents[2] / "schemas"
PUBLISHED = outbound_schemas()
EXAMPLES = [(name, example) for name, schema in PUBLISHED.items() for example in schema["examples"]]

Modules = dict[str, ModuleType]
"""Generated modules, by the name of their schema's file."""


def generated(
    schemas: Path, kind: InputFileType, into: Path, *, any_value: bool = False
) -> Modules:
    """Generate code from a file or a folder with the generator's defaults, and import it.

    `any_value`: set the generator's option for enums that may grow.
    """
    output = into / schemas.stem if schemas.is_dir() else into / f"{schemas.stem}.py"
    generate(
        schemas,
        input_file_type=kind,
        output=output,
        output_model_type=DataModelType.PydanticV2BaseModel,
        formatters=[Formatter.BUILTIN],
        ignore_enum_constraints=any_value,
    )
    written = sorted(output.glob("*.py")) if output.is_dir() else [output]
    return {path.stem: imported(path) for path in written if path.stem != "__init__"}


def imported(path: Path) -> ModuleType:
    """Import a module from a file."""
    name = f"generated_{path.parent.name}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # needed to resolve its annotations
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Modules:
    """One module for each event's schema."""
    into = tmp_path_factory.mktemp("events")
    return generated(SCHEMAS / "outbound", InputFileType.JsonSchema, into)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Modules:
    """One module for each schema that `dataschema` names."""
    into = tmp_path_factory.mktemp("data")
    return generated(SCHEMAS / "outbound" / "data", InputFileType.JsonSchema, into)


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """One module for the whole AsyncAPI document."""
    into = tmp_path_factory.mktemp("document")
    (module,) = generated(SCHEMAS / "asyncapi.json", InputFileType.AsyncAPI, into).values()
    return module


def classes(module: ModuleType) -> Iterator[type]:
    """The classes that a module defines itself, without pydantic's generics."""
    for name, each in vars(module).items():
        if isinstance(each, type) and each.__module__ == module.__name__ and "[" not in name:
            yield each


def model(modules: Modules, name: str, title: str) -> type[BaseModel]:
    """The generated model of a message."""
    module = modules[f"{name.replace('.', '_')}_v1"]
    found: type[BaseModel] = getattr(module, title)
    return found


def test_every_class_has_a_descriptive_name(
    events: Modules, data: Modules, document: ModuleType
) -> None:
    """Words from the schema's title, not `Model1` or `Data3`."""
    named = [
        (module.__name__, each.__name__)
        for module in (*events.values(), *data.values(), document)
        for each in classes(module)
        if issubclass(each, BaseModel | Enum)
    ]
    titles = {each for schema in PUBLISHED.values() for each in (schema["title"], *schema["$defs"])}
    assert titles <= {name for _, name in named}
    assert not [each for each in named if not re.fullmatch("([A-Z][a-z]+)+", each[1])]
    assert not [each for each in named if each[1] in {"Model", "Data", "Event", "Payload"}]
    of_files = {name for module, name in named if module != document.__name__}
    assert of_files == titles


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_generated_classes_round_trip_every_example(
    events: Modules, data: Modules, document: ModuleType, name: str, example: dict[str, Any]
) -> None:
    """The whole event, its data alone, and the model of the AsyncAPI document."""
    title = message_title(name)
    for reader in (model(events, name, title), getattr(document, title)):
        read = reader.model_validate_json(json.dumps(example))
        again = json.loads(read.model_dump_json(exclude_unset=True))
        assert same(again, example)
    reader = model(data, name, f"{title}Data")
    read = reader.model_validate_json(json.dumps(example["data"]))
    value = read.root if isinstance(read, RootModel) else read
    assert same(json.loads(value.model_dump_json(exclude_unset=True)), example["data"])


def same(one: object, other: object) -> bool:
    """The same JSON, where `.25Z` equals `.250000Z`."""
    return normal(one) == normal(other)


def normal(part: object) -> object:
    """Remove trailing zeros of times."""
    match part:
        case dict():
            return {key: normal(value) for key, value in part.items()}
        case list():
            return [normal(each) for each in part]
        case str() if re.fullmatch(r"\d{4}-\d\d-\d\dT.*Z", part):
            return re.sub(r"\.?0*Z$", "Z", part) if "." in part else part
        case _:
            return part


@pytest.mark.parametrize("name", PUBLISHED)
def test_generated_classes_survive_an_addition(events: Modules, name: str) -> None:
    """They ignore and keep an unknown field in the envelope and in the data."""
    example = PUBLISHED[name]["examples"][0]
    more = {**example, "added": "later", "data": {**example["data"], "added": {"a": [1]}}}
    read = model(events, name, message_title(name)).model_validate_json(json.dumps(more))
    written = json.loads(read.model_dump_json())
    assert written["added"] == "later"
    assert written["data"]["added"] == {"a": [1]}


def test_generated_enums_refuse_what_they_do_not_list_unless_they_are_made_open(
    events: Modules, tmp_path: Path
) -> None:
    """The enum's description says that it may grow, and the docs how to prepare for it."""
    name = "organization.canceled"
    example = PUBLISHED[name]["examples"][0]
    grown = {**example, "data": {**example["data"], "reason": "a_reason_of_next_year"}}
    with pytest.raises(ValidationError):
        model(events, name, "OrganizationCanceled").model_validate_json(json.dumps(grown))
    one = tmp_path / "one"
    one.mkdir()
    shutil.copy(SCHEMAS / "outbound" / f"{name}.v1.json", one)
    ready = generated(one, InputFileType.JsonSchema, tmp_path / "generated", any_value=True)
    read = model(ready, name, "OrganizationCanceled").model_validate_json(json.dumps(grown))
    assert json.loads(read.model_dump_json())["data"]["reason"] == "a_reason_of_next_year"
