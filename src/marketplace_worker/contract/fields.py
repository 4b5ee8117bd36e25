"""The field types of inbound messages, and the error messages for invalid fields.

Only this module decides which text and times can be stored.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, ValidationError
from pydantic_core import PydanticCustomError

from marketplace_worker.contract.emails import normalized

TEXT_BYTES_MAX = 1_024
"""The longest id, source, subject or name, in bytes of UTF-8.  Two of them fit into one entry of a
Postgres index (2,704 bytes), so no message can make an insert fail."""

PROSE_BYTES_MAX = 8_192
"""The longest free text (the reason of a Support request), in bytes of UTF-8.  Never indexed."""

FAR_FUTURE = datetime(9000, 1, 1, tzinfo=UTC)
"""Later times are read as this one.  The year 9999 often means "forever", and adding a timeline to
it would overflow."""

YEAR_MIN = 1970
"""Earlier times are refused: they come from an unset clock."""

_RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]([01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(\.[0-9]+)?"
    r"([Zz]|[+-]([01][0-9]|2[0-3]):?[0-5][0-9])"
)
"""Accepts two common mistakes: a blank instead of the T, and an offset without a colon."""
_MUST = re.compile(r"(Input|String|Value) should")
_WORDING = {
    "missing": "is required",
    "model_type": "must be a JSON object",
    "string_unicode": "must not contain a lone surrogate",
}


def _storable(bytes_max: int) -> Callable[[str], str]:
    def check(text: str) -> str:
        if "\0" in text:
            raise PydanticCustomError("nul", "must not contain the character NUL")
        if len(text) * 4 > bytes_max and len(text.encode()) > bytes_max:
            raise PydanticCustomError(
                "bytes", "must have at most {bytes_max} bytes of UTF-8", {"bytes_max": bytes_max}
            )
        return text

    return check


def _not_blank(text: str) -> str:
    if not normalized(text):
        raise PydanticCustomError("blank", "must not be blank")
    return text


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def read_time(value: object) -> datetime:
    """An RFC 3339 time with its zone, in UTC; digits beyond the microsecond are cut.

    Refused: a leap second, and years before 1970 (an unset clock, not a time).
    """
    if not isinstance(value, str) or not _RFC_3339.fullmatch(value):
        raise PydanticCustomError(
            "time", "must be an RFC 3339 time with its zone, such as 2026-11-22T18:15:15Z"
        )
    try:
        moment = datetime.fromisoformat(value.upper())
    except ValueError:
        raise PydanticCustomError("time", "must be a time that the calendar has") from None
    if moment.year < YEAR_MIN:
        raise PydanticCustomError("time", "must not be before 1970")
    return FAR_FUTURE if moment.year >= FAR_FUTURE.year else moment.astimezone(UTC)


Text = Annotated[
    str,
    StringConstraints(min_length=1, max_length=TEXT_BYTES_MAX),
    AfterValidator(_storable(TEXT_BYTES_MAX)),
    Field(json_schema_extra={"pattern": "^[^\\u0000]*$"}),
]
"""A name or an id: 1 to `TEXT_BYTES_MAX` bytes, without characters that Postgres cannot store."""

Prose = Annotated[
    str,
    StringConstraints(min_length=1, max_length=PROSE_BYTES_MAX),
    AfterValidator(_storable(PROSE_BYTES_MAX)),
    Field(json_schema_extra={"pattern": "^[^\\u0000]*$"}),
]
"""Free text: 1 to `PROSE_BYTES_MAX` bytes."""

Whole = BeforeValidator(_whole)
"""Accepts `3.0` as an integer, as JSON Schema and JavaScript do."""

Email = Annotated[Text, AfterValidator(_not_blank)]
"""An email address in clear text.  It leaves this package only as a keyed hash."""

Time = Annotated[datetime, BeforeValidator(read_time)]
"""A moment, in UTC (`read_time`)."""


def first_problem(error: ValidationError, *, within: str = "") -> tuple[str, str]:
    """The path of the invalid field and what is wrong with it; never a value of the input."""
    detail = error.errors(include_url=False, include_context=False, include_input=False)[0]
    path = ".".join([*([within] if within else []), *map(str, detail["loc"])])
    return path, wording(detail["type"], detail["msg"])


def wording(error_type: str, message: str) -> str:
    """Pydantic's message, as the rest of a sentence that begins with the field."""
    return _WORDING.get(error_type) or _MUST.sub("must", message, count=1)
