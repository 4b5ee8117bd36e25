"""The commands that list and show dead letters, one by one and by group."""

from base64 import b64encode
from collections.abc import Collection, Sequence
from typing import Annotated, Any

import typer

from marketplace_worker.cli.grammar import As, Config, Output
from marketplace_worker.cli.inspecting import inspecting
from marketplace_worker.cli.options import run_async
from marketplace_worker.cli.printing import (
    Cell,
    print_data,
    print_facts,
    print_section,
    print_table,
    printed,
)
from marketplace_worker.errors import Malformed, Misconfigured
from marketplace_worker.explain.operators import moment
from marketplace_worker.inspection import dead_letters as inspection
from marketplace_worker.record import Record
from marketplace_worker.store.dead_letters import (
    BIGINT_MAX,
    DeadLetter,
    LetterGroup,
    LetterStatus,
    LetterSummary,
)
from marketplace_worker.terminal import visible

PAGE_MAX = 1_000

SHOWN_CHARACTERS_MAX = 10_000
"""The length up to which a value is shown; `--json` has all of it."""

Id = Annotated[int, typer.Argument(help="The dead letter's id.", min=1, max=BIGINT_MAX)]


def position_of(summary: LetterSummary) -> str:
    """The position of its record, and the part of it, if not the first."""
    return f"{summary.position} part {summary.part}" if summary.part else summary.position


def no_such(ids: Collection[int]) -> Misconfigured:
    """The error for ids that do not exist."""
    missing = ", ".join(map(str, sorted(ids)))
    return Misconfigured(f"{missing}: no such dead letter (it may have passed its retention)")


# --- many -----------------------------------------------------------------------------------------


def groups_command(config: Config = None, output: As = Output.TABLE) -> None:
    """List waiting dead letters by topic, field and reason."""

    async def ask() -> Sequence[LetterGroup]:
        async with inspecting(config) as inspector:
            return await inspection.groups(inspector)

    found = run_async(ask())
    if output is not Output.TABLE:
        print_data({"groups": found}, output, rows="groups")
        return
    if not found:
        printed("no dead letters are waiting")
        return
    print_table(
        ("group", "waiting", "retried", "first (UTC)", "last (UTC)", "topic and reason"),
        (
            (
                g.id,
                g.letters,
                _share(g),
                g.first_at,
                g.last_at,
                f"{g.topic}: {_why(g.field, g.reason)}",
            )
            for g in found
        ),
        prose=("topic and reason",),
    )


def _share(group: LetterGroup) -> str:
    return f"{group.retried} ({group.retried / group.letters:.0%})" if group.retried else "0"


def _why(field: str, reason: str) -> str:
    return str(Malformed(reason, field=field))


def list_command(
    *,
    config: Config = None,
    group: Annotated[str | None, typer.Option(help="Only dead letters of this group.")] = None,
    status: Annotated[
        LetterStatus, typer.Option(help="Only dead letters with this status.")
    ] = LetterStatus.WAITING,
    limit: Annotated[int, typer.Option(min=1, max=PAGE_MAX, help="Maximum number to list.")] = 50,
    before: Annotated[
        int | None, typer.Option(min=1, max=BIGINT_MAX, help="Only dead letters with a lower id.")
    ] = None,
    output: As = Output.TABLE,
) -> None:
    """List dead letters, the newest first."""

    async def ask() -> Sequence[LetterSummary]:
        async with inspecting(config) as inspector:
            return await inspection.page(inspector, status, group=group, before=before, limit=limit)

    found = run_async(ask())
    if output is not Output.TABLE:
        document = {"dead_letters": [_data(each) for each in found]}
        print_data(document, output, rows="dead_letters")
        return
    if not found:
        printed("no dead letters")
        return
    _print_list(found, status)
    if len(found) == limit:
        printed("")
        printed(f"next page: --before {found[-1].id}")


def _print_list(found: Sequence[LetterSummary], status: LetterStatus) -> None:
    waiting = status is LetterStatus.WAITING
    acted = ("attempts", "reason") if waiting else (f"{status} (UTC)", "by", "reason")
    print_table(
        ("id", "refused (UTC)", "position", *acted),
        (
            (
                summary.id,
                summary.refused_at,
                position_of(summary),
                *(
                    (summary.attempts, _why(summary.field, summary.reason))
                    if waiting
                    else (summary.acted_at, summary.acted_by, summary.acted_because)
                ),
            )
            for summary in found
        ),
        prose=("reason",),
    )


def _data(summary: LetterSummary) -> dict[str, Any]:
    topic, partition, offset = summary.position.rsplit("/", 2)
    return {
        "id": summary.id,
        "status": summary.status,
        "topic": topic,
        "partition": int(partition),
        "offset": int(offset),
        "part": summary.part,
        "recorded_at": summary.recorded_at,
        "refused_at": summary.refused_at,
        "group": summary.group,
        "field": summary.field,
        "reason": summary.reason,
        "attempts": summary.attempts,
        "no_use": summary.no_use,
        "acted_by": summary.acted_by,
        "acted_because": summary.acted_because,
        "acted_at": summary.acted_at,
        "value_bytes": summary.value_bytes,
    }


# --- one ------------------------------------------------------------------------------------------


def show_command(id_: Id, config: Config = None, output: As = Output.TABLE) -> None:
    """Show a dead letter with its key, headers and value, which may contain personal data."""

    async def ask() -> DeadLetter | None:
        async with inspecting(config) as inspector:
            return await inspection.one(inspector, id_)

    found = run_async(ask())
    if found is None:
        raise no_such([id_])
    summary, record = found.summary, found.record
    if output is not Output.TABLE:
        headers = [{"name": name, **_bytes(value)} for name, value in record.headers]
        print_data(
            {
                **_data(summary),
                "key": _bytes(record.key),
                "headers": headers,
                "value": _bytes(record.value),
            },
            output,
        )
        return
    print_facts(_facts(summary))
    print_section("Key", [] if record.key is None else [_text(record.key)])
    print_section("Headers", (f"{name}: {_text(value)}" for name, value in record.headers))
    print_section(_heading(record), _lines(record.value))


def _facts(summary: LetterSummary) -> dict[str, Cell]:
    shown: dict[str, Cell] = {
        "dead letter": summary.id,
        "status": summary.status,
        "position": position_of(summary),
        "recorded": summary.recorded_at,
        "refused": summary.refused_at,
        "group": summary.group,
        "reason": _why(summary.field, summary.reason),
        "attempts": summary.attempts,
    }
    if summary.acted_at is not None:
        acted = f"{moment(summary.acted_at)} by {summary.acted_by}: {summary.acted_because}"
        shown["last action"] = acted
    if summary.no_use:
        shown["no use"] = "marked by an operator: not counted as possible use"
    return shown


def _text(value: bytes | None) -> str:
    """Bytes as text; what is not UTF-8 is escaped."""
    return "null" if value is None else visible(_decoded(value))


def _decoded(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")


def _bytes(value: bytes | None) -> dict[str, str | None]:
    """Bytes for JSON: in base64, and as text."""
    if value is None:
        return {"base64": None, "text": None}
    return {"base64": b64encode(value).decode(), "text": _decoded(value)}


def _heading(record: Record) -> str:
    if record.left_out_bytes is not None:
        return f"Value, {record.left_out_bytes} bytes: too large to store, only in Kafka"
    return "Value: null" if record.value is None else f"Value, {len(record.value)} bytes"


def _lines(value: bytes | None) -> Sequence[str]:
    if not value:
        return [""]
    text = _decoded(value)
    lines = text[:SHOWN_CHARACTERS_MAX].split("\n")
    more = len(text) - SHOWN_CHARACTERS_MAX
    return [*lines, f"… and {more} more characters: use --json"] if more > 0 else lines
