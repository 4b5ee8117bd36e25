"""The page of the policy: the one in force, and what a proposed file would move."""

import asyncio
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from marketplace_worker.console.page import SignInRefused, context_of, render
from marketplace_worker.console.signing_in import own_form
from marketplace_worker.contract.policy_file import load_policy, policy_to_toml
from marketplace_worker.errors import Misconfigured
from marketplace_worker.inspection.policy_diff import Moved, PolicyDiff, policy_diff
from marketplace_worker.lifecycle.policy import Policy

TIME_MAX = timedelta(seconds=20)
"""How long a comparison may take; a larger fleet is compared in part."""

MOVED_SHOWN_MAX = 200

NO_TIME = timedelta(0)

ONE_AT_A_TIME = asyncio.Semaphore(1)
"""A comparison takes a processor for its time."""


async def _show(request: Request) -> Response:
    return _page(request)


async def _compare(request: Request) -> Response:
    try:
        async with own_form(request) as form:
            proposed = load_policy(await _uploaded(form))
    except (Misconfigured, SignInRefused) as error:
        return _page(request, problem=str(error), status=422)
    if ONE_AT_A_TIME.locked():
        problem = "Another comparison is running: try again in a few seconds."
        return _page(request, problem=problem, status=429)
    async with ONE_AT_A_TIME:
        try:
            inspector = await context_of(request).inspector()
            diff = await policy_diff(inspector, proposed, within=TIME_MAX)
        except Misconfigured as error:
            return _page(request, problem=str(error), status=422)
    return _page(request, diff=diff, proposed=proposed)


async def _uploaded(form: FormData) -> str:
    """The text of the chosen file.

    Raises:
        Misconfigured: none was chosen, or it is not UTF-8.
    """
    file = form.get("file")
    content = await file.read() if isinstance(file, UploadFile) else b""
    if not content.strip():
        raise Misconfigured("choose a policy file")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Misconfigured("the file is not UTF-8 text") from error


def _page(
    request: Request,
    *,
    diff: PolicyDiff | None = None,
    proposed: Policy | None = None,
    problem: str = "",
    status: int = 200,
) -> Response:
    current = context_of(request).policies.current
    values = {
        "policy": current,
        "built_in": current == Policy(),
        "tables": _tables(current),
        "problem": problem,
        "diff": diff,
        "changes": [] if proposed is None else _changes(current, proposed),
        "totals": {} if diff is None else _totals(diff),
        "moved": [] if diff is None else diff.moved[:MOVED_SHOWN_MAX],
        "no_time": NO_TIME,
        "seconds_max": int(TIME_MAX.total_seconds()),
    }
    return render(request, "policy.html", values, status=status)


def _changes(current: Policy, proposed: Policy) -> Sequence[tuple[str, str, str]]:
    """The fields that differ: name, value in force, proposed value."""
    before, after = _fields(current), _fields(proposed)
    return [
        (name, before.get(name, "none"), after.get(name, "none"))
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    ]


def _fields(policy: Policy) -> dict[str, str]:
    return dict(_flat(tomllib.loads(policy_to_toml(policy))))


def _tables(policy: Policy) -> Mapping[str, Mapping[str, str]]:
    """The fields of each table of the file; the version stands for itself."""
    tables: dict[str, dict[str, str]] = {}
    for path, value in _fields(policy).items():
        table, _, name = path.rpartition(".")
        if table:
            tables.setdefault(table, {})[name] = value
    return tables


def _flat(values: Mapping[str, Any], *above: str) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, *above, name)
        else:
            yield ".".join((*above, name)), str(value)


def _totals(diff: PolicyDiff) -> Mapping[str, int]:
    return {
        "earlier": sum(_by(each) < NO_TIME for each in diff.moved),
        "later": sum(_by(each) > NO_TIME for each in diff.moved),
        "dropped": sum(each.then is None for each in diff.moved),
        "added": sum(each.now is None for each in diff.moved),
        "unchanged": diff.looked_at - len(diff.moved),
    }


def _by(moved: Moved) -> timedelta:
    return moved.later_by or NO_TIME


ROUTES: Sequence[BaseRoute] = (
    Route("/policy", _show, methods=["GET"]),
    Route("/policy", _compare, methods=["POST"]),
)
