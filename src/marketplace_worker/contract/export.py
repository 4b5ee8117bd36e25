"""Writes the schemas, their examples and the AsyncAPI document: `make schemas`.

    python -m marketplace_worker.contract.export FOLDER [--check]

With `--check` nothing is written; the exit status is 1 where a file differs, each named.
"""

import argparse
import json
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from marketplace_worker.contract.asyncapi import document
from marketplace_worker.contract.inbound_examples import MARKETPLACE_EXAMPLES, inbound_examples
from marketplace_worker.contract.outbound_events import STATE_NAME
from marketplace_worker.contract.schema_rewriting import JsonObject
from marketplace_worker.contract.schemas import (
    data_schemas,
    inbound_schemas,
    outbound_messages,
    outbound_schemas,
)
from marketplace_worker.lifecycle.events import EventKind

ASYNCAPI_FILE = "asyncapi.json"
_OURS = ("inbound/**/*.json", "outbound/**/*.json", "examples/*/*.json")


def exported_files() -> dict[str, str]:
    """Every file of the export: its path within the folder, and its text."""
    schemas = {**inbound_schemas(), **outbound_schemas()}
    data = data_schemas(schemas)
    examples = {**inbound_examples(), **MARKETPLACE_EXAMPLES, **outbound_messages()}
    files = {_schema_file(name): _text(schema) for name, schema in schemas.items()}
    files |= {_data_schema_file(name): _text(schema) for name, schema in data.items()}
    files |= {
        f"examples/{_schema_file(name)}": _text(example) for name, example in examples.items()
    }
    return files | {ASYNCAPI_FILE: _text(document())}


def differing_files(folder: Path) -> list[str]:
    """The files that an export would change, add or remove, sorted."""
    expected = exported_files()
    differing = {
        name
        for name, text in expected.items()
        if not (folder / name).is_file() or (folder / name).read_text(encoding="utf-8") != text
    }
    return sorted(differing | _stale(folder, expected.keys()))


def export(folder: Path) -> None:
    """Write the schemas, the examples and the AsyncAPI document, and remove outdated files."""
    expected = exported_files()
    for name in _stale(folder, expected.keys()):
        (folder / name).unlink()
    for name, text in expected.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m marketplace_worker.contract.export")
    parser.add_argument("folder", type=Path, help="where the schemas stand")
    parser.add_argument("--check", action="store_true", help="write nothing, name what differs")
    given = parser.parse_args(arguments)
    if not given.check:
        export(given.folder)
        return 0
    differing = differing_files(given.folder)
    for name in differing:
        sys.stderr.write(f"{given.folder / name} differs: run `make schemas`\n")
    return 1 if differing else 0


def _stale(folder: Path, expected: Collection[str]) -> set[str]:
    """Files in our sub-folders that belong to no existing kind."""
    there = {path.relative_to(folder).as_posix() for of in _OURS for path in folder.glob(of)}
    return there - set(expected)


def _text(content: JsonObject) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _schema_file(name: str) -> str:
    """The path of a message's schema, and of its example within `examples/`."""
    return f"{_direction(name)}/{name}.v1.json"


def _data_schema_file(name: str) -> str:
    return f"{_direction(name)}/data/{name}.v1.json"


def _direction(name: str) -> str:
    return "outbound" if name == STATE_NAME or name in tuple(EventKind) else "inbound"


if __name__ == "__main__":
    sys.exit(main())
