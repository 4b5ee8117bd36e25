"""What the pages say and what the code says, as text that the tests compare."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from marketplace_worker.settings import Settings

ROOT = Path(__file__).parents[2]
PREFIX = "MARKETPLACE_WORKER_"

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_TEST = re.compile(r"\btests/[\w/]+\.py(?:::test_\w+)?")
_SETTING = re.compile(rf"\b{PREFIX}[A-Z0-9_]*[A-Z0-9]\b")


def every_page() -> list[Path]:
    """Every page that people read."""
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("deploy/*.md")])


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """The files and the headings that a page links to; the heading is empty where none is named."""
    for target in _LINK.findall(page.read_text(encoding="utf-8")):
        path, _, heading = target.partition("#")
        if "://" not in target:
            yield (page.parent / path if path else page), heading


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and GitLab name them."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in _HEADING.findall(text)
    }


def named_tests(text: str) -> set[str]:
    """The tests that a text names, each `tests/…/test_x.py` or `tests/…/test_x.py::test_y`."""
    return set(_TEST.findall(text))


def named_settings(text: str) -> set[str]:
    """The environment variables of ours that a text names."""
    return set(_SETTING.findall(text))


def settings_rows() -> dict[str, str]:
    """One row of docs/settings.md for each setting, by its environment variable."""
    schema = Settings.model_json_schema()
    rows: dict[str, str] = {}
    for name, field in schema["properties"].items():
        if "$ref" not in field:
            rows |= _rows(schema, name, field)
            continue
        group = schema["$defs"][field["$ref"].rpartition("/")[2]]
        for inner, its in group["properties"].items():
            rows |= _rows(group, inner, its, f"{name}__")
    return rows


def _rows(
    model: dict[str, Any], name: str, field: dict[str, Any], above: str = ""
) -> dict[str, str]:
    """The row of a setting; and where it is secret, of the file that may hold it."""
    variable, row = _row(model, name, field, above)
    if not any(kind.get("writeOnly") for kind in field.get("anyOf", [field])):
        return {variable: row}
    sentence = "The same, from a file."
    file = f"| `{variable}_FILE` | none | a file that exists | {sentence} |"
    return {variable: row, f"{variable}_FILE": file}


def _row(
    model: dict[str, Any], name: str, field: dict[str, Any], above: str = ""
) -> tuple[str, str]:
    variable = PREFIX + (above + name).upper()
    if name in model.get("required", ()):
        default = "**required**"
    elif field.get("default") is None:
        default = "none"
    else:
        default = f"`{field['default']}`"
    sentence = field["description"].replace("|", r"\|")
    return variable, f"| `{variable}` | {default} | {_bounds(field)} | {sentence} |"


def _bounds(field: dict[str, Any]) -> str:
    kinds = [kind for kind in field.get("anyOf", [field]) if kind.get("type") != "null"]
    (kind,) = kinds
    match kind:
        case {"enum": values}:
            return ", ".join(f"`{value}`" for value in values)
        case {"minimum": least, "maximum": most}:
            return f"{least} to {most}"
        case {"format": "file-path"}:
            return "a file that exists"
        case {"minLength": least, "maxLength": most}:
            return f"{least} to {most} characters"
        case {"minLength": 1}:
            return "not empty"
        case {"minLength": least}:
            return f"{least} characters or more"
        case {"pattern": pattern}:
            return f"matches `{pattern}`".replace("|", r"\|")
        case _:
            return "text"
