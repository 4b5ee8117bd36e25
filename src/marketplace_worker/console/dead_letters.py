"""The pages of dead letters: groups, the letters of one, and one letter with its bytes."""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from marketplace_worker.console.page import before_of, context_of, render, viewer_of
from marketplace_worker.inspection import dead_letters as inspection
from marketplace_worker.record import Record
from marketplace_worker.store.dead_letters import BIGINT_MAX, LetterStatus

PAGE = 50

BYTES_SHOWN_MAX = 16 * 1024

BYTES_IN_ROW = 16

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Shown:
    """Bytes as a page shows them.

    `text`: the lines, if all of it is UTF-8; `dump`: else rows of offset, hexadecimal and ASCII.
    `more`: how many bytes are not shown.
    """

    text: Sequence[str]
    dump: Sequence[tuple[str, str, str]]
    more: int


async def _groups(request: Request) -> Response:
    inspector = await context_of(request).inspector()
    found = await inspection.groups(inspector)
    values = {"groups": found, "now": inspector.now, "letters": sum(g.letters for g in found)}
    return render(request, "dead_letters.html", values)


async def _list(request: Request) -> Response:
    group, status = request.query_params.get("group"), _status(request)
    before = before_of(request)
    inspector = await context_of(request).inspector()
    found = await inspection.page(inspector, status, group=group, before=before, limit=PAGE)
    values = {
        "letters": found,
        "group": group,
        "status": status,
        "statuses": tuple(LetterStatus),
        "next": found[-1].id if len(found) == PAGE else None,
        "before": before,
        "now": inspector.now,
    }
    return render(request, "dead_letters_list.html", values)


async def _one(request: Request) -> Response:
    id_ = request.path_params["id"]
    inspector = await context_of(request).inspector()
    found = await inspection.one(inspector, id_) if id_ <= BIGINT_MAX else None
    if found is None:
        raise HTTPException(404, "There is no such dead letter")
    log.info("dead_letter_viewed", dead_letter=id_, viewer=viewer_of(request).id)
    record = found.record
    values = {
        "letter": found.summary,
        "record": record,
        "key": _shown(record.key),
        "headers": [(name, _shown(value)) for name, value in record.headers],
        "value": _shown(record.value),
        "value_title": _title(record),
        "now": inspector.now,
    }
    return render(request, "dead_letter.html", values)


def _status(request: Request) -> LetterStatus:
    try:
        return LetterStatus(request.query_params.get("status", LetterStatus.WAITING))
    except ValueError:
        raise HTTPException(404, "There is no such status") from None


def _shown(value: bytes | None) -> Shown | None:
    if value is None:
        return None
    part, more = value[:BYTES_SHOWN_MAX], max(0, len(value) - BYTES_SHOWN_MAX)
    try:
        # A character that the limit cuts in two is no reason for a dump.
        text = part.decode("utf-8") if not more else part.decode("utf-8", "ignore")
    except UnicodeDecodeError:
        return Shown((), [_row(part, at) for at in range(0, len(part), BYTES_IN_ROW)], more)
    return Shown(text.split("\n"), (), more)


def _row(part: bytes, at: int) -> tuple[str, str, str]:
    row = part[at : at + BYTES_IN_ROW]
    printable = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
    return f"{at:08x}", row.hex(" "), printable


def _title(record: Record) -> str:
    if record.left_out_bytes is not None:
        return f"Value, {record.left_out_bytes} bytes: too large to store, only in Kafka"
    return "Value: null" if record.value is None else f"Value, {len(record.value)} bytes"


ROUTES: Sequence[BaseRoute] = (
    Route("/dead-letters", _groups, methods=["GET"]),
    Route("/dead-letters/list", _list, methods=["GET"]),
    Route("/dead-letters/{id:int}", _one, methods=["GET"]),
)
