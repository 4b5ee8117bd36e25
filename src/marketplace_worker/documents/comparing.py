"""Compares a message with an earlier one of the same identity."""

import json

from marketplace_worker.documents.facts import fact_to_json
from marketplace_worker.lifecycle.facts import Fact

_VERSION = frozenset({"format"})
_MOMENTS = frozenset({"occurred_at", "ends_at"})
"""When it happened, and what is counted from there."""


def is_contradicted(text: str, fact: Fact, *, with_moments: bool) -> bool:
    """Whether a fact differs from the stored document of an earlier one.

    A field that the document lacks did not exist then.  Ids are compared without regard to case:
    older releases stored them unchanged.  Without `with_moments`, times are not compared.
    """
    ignored = _VERSION if with_moments else _VERSION | _MOMENTS
    return not _agrees(json.loads(text), json.loads(fact_to_json(fact)), ignored)


def _agrees(before: object, now: object, ignored: frozenset[str]) -> bool:
    match before, now:
        case dict(), dict():
            compared = before.keys() - ignored
            return all(_agrees(before[name], now.get(name), ignored) for name in compared)
        case list(), list():
            return len(before) == len(now) and all(
                _agrees(*both, ignored) for both in zip(before, now, strict=True)
            )
        case str(), str():
            return before.casefold() == now.casefold()
        case _:
            return before == now
