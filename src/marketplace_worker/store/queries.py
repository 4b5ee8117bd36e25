"""Loads named statements from the .sql files of this package."""

import re
from collections.abc import Mapping
from importlib import resources

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def queries(table: str) -> Mapping[str, str]:
    """The statements of `<table>.sql`, by the name in the comment above each."""
    text = resources.files(__package__).joinpath(f"{table}.sql").read_text(encoding="utf-8")
    _, *parts = _NAME.split(text)
    return dict(zip(parts[::2], (part.strip() for part in parts[1::2]), strict=True))
