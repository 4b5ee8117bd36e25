"""Reads and writes the policy file: TOML in which an operator lists only deviations from the
default.

Only this module knows the file's format (lifecycle.md section 3).  The meaning of a policy, and
which values are refused, is in `lifecycle.policy`.
"""

import json
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from marketplace_worker.contract.fields import wording
from marketplace_worker.errors import Misconfigured
from marketplace_worker.lifecycle.policy import (
    AzureReinstatement,
    Grace,
    Guard,
    Inactivity,
    MinimumDwell,
    NoticeLead,
    Policy,
    Reinstatement,
    Timeline,
)

DURATION_MAX = timedelta(days=36_500)
"""Longest duration that is accepted (a hundred years): adding it never leaves the calendar."""

_DURATION = re.compile(
    r"P(?=.)((?P<weeks>\d{1,7})W)?((?P<days>\d{1,7})D)?"
    r"(T(?=.)((?P<hours>\d{1,9})H)?((?P<minutes>\d{1,9})M)?((?P<seconds>\d{1,9}(\.\d{1,6})?)S)?)?",
    re.ASCII,
)
_SYNTAX_LINE = re.compile(r"\(at line (\d+), column \d+\)")
_BUILT_IN = Policy()


def load_policy(text: str) -> Policy:
    """The policy that a file describes; what it leaves out is as in `Policy()`.

    `version` must be there: organizations are pinned to a policy by it, so two different files
    must never share one, nor use the name of the built-in one.  `Misconfigured` names the line and
    the field of everything that is wrong with the file.
    """
    try:
        given = tomllib.loads(text)
    except ValueError as error:  # a syntax error, or a number with too many digits
        raise _refused([(_syntax_line(text, str(error)), "", f"is not TOML: {error}")]) from None
    except RecursionError:
        raise _refused([(1, "", "is not TOML: nested too deeply")]) from None
    lines = _Lines.of(text)
    try:
        policy = _File.model_validate(given).policy()
    except ValidationError as error:
        raise _refused(_located(lines, _problems(error))) from None
    if problems := list(policy.problems()):
        raise _refused(_located(lines, problems))
    return policy


def policy_to_toml(policy: Policy) -> str:
    """A policy as a whole file: every field, in the order of lifecycle.md section 3.

    `load_policy` reads the same policy from it, but for the built-in one, whose version no file may
    have.
    """
    return "".join(
        [
            f"version = {_toml(policy.version)}\n",
            _section("timeline.payg", policy.payg),
            _section("timeline.commit", policy.commit),
            _section("minimum_dwell", policy.minimum_dwell),
            _section("notice", policy.notice),
            _section("inactivity", policy.inactivity),
            _section("reinstatement", policy.reinstatement),
            _section("grace", policy.grace),
            _section("guard", policy.guard),
        ]
    )


def parse_duration(value: object) -> timedelta:
    """An ISO 8601 duration in weeks, days, hours, minutes and seconds, such as `P1DT2H`.

    Months and years have no length of their own and are refused.
    """
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise PydanticCustomError(
            "duration",
            "must be an ISO 8601 duration in text, such as P7D, PT1H or PT1.5S, "
            "without years and months",
        )
    duration = timedelta(
        weeks=int(match["weeks"] or 0),
        days=int(match["days"] or 0),
        hours=int(match["hours"] or 0),
        minutes=int(match["minutes"] or 0),
    ) + timedelta(seconds=float(match["seconds"] or 0))
    if duration > DURATION_MAX:
        raise PydanticCustomError("duration", "must be at most P36500D")
    return duration


def format_duration(duration: timedelta) -> str:
    """A duration that is not negative, as `parse_duration` reads it: `P7D`, `PT1H`, `P1DT0.5S`."""
    hours, rest = divmod(timedelta(seconds=duration.seconds), timedelta(hours=1))
    minutes, seconds = divmod(rest, timedelta(minutes=1))
    fraction = f".{duration.microseconds:06}".rstrip("0.")
    time = "".join(
        f"{number}{unit}"
        for number, unit in ((hours, "H"), (minutes, "M"), (f"{seconds.seconds}{fraction}", "S"))
        if number not in {0, "0"}
    )
    days = f"{duration.days}D" if duration.days else ""
    return f"P{days}T{time}" if time else f"P{days or '0D'}"


def _own_version(version: str) -> str:
    if version == _BUILT_IN.version:
        raise PydanticCustomError("version", "must not be the name of the built-in policy")
    return version


# --- writing --------------------------------------------------------------------------------------


def _section(
    name: str,
    section: Timeline | MinimumDwell | NoticeLead | Inactivity | Reinstatement | Grace | Guard,
) -> str:
    lines = (f"{key} = {_toml(value)}\n" for key, value in asdict(section).items())
    return "".join([f"[{name}]\n", *lines])


def _toml(value: timedelta | str | float) -> str:
    # Versions are printable ASCII, where JSON's escapes are TOML's, and so are its numbers and
    # booleans.
    return json.dumps(format_duration(value) if isinstance(value, timedelta) else value)


# --- the file's form ------------------------------------------------------------------------------

Duration = Annotated[timedelta, BeforeValidator(parse_duration)]


class _Section(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    def over(self, default: Any) -> Any:  # noqa: ANN401 - any of the policy's dataclasses
        """The default with the values of the file."""
        return replace(default, **{name: getattr(self, name) for name in self.model_fields_set})


class _Timeline(_Section):
    control_plane_loss: Duration | None = None
    suspended: Duration | None = None
    deactivated: Duration | None = None


class _Timelines(_Section):
    payg: _Timeline = _Timeline()
    commit: _Timeline = _Timeline()


class _MinimumDwell(_Section):
    canceled: Duration | None = None
    control_plane_loss: Duration | None = None
    suspended: Duration | None = None


class _Notice(_Section):
    suspended: Duration | None = None
    deactivated: Duration | None = None
    inactivity: Duration | None = None


class _Inactivity(_Section):
    no_login_for: Duration | None = None
    billing_cycle: Duration | None = None
    feed_max_gap: Duration | None = None


class _Reinstatement(_Section):
    sign_in_required: bool | None = None
    azure: Annotated[AzureReinstatement, Field(strict=False)] | None = None


class _Grace(_Section):
    max_extension: Duration | None = None
    successor_within: Duration | None = None


class _Guard(_Section):
    minimum: Annotated[int, Field(le=10**9)] | None = None
    fraction: float | None = None
    control_plane_fraction: float | None = None
    requested_per_hour: Annotated[int, Field(le=10**9)] | None = None
    requested_per_person: Annotated[int, Field(le=10**9)] | None = None


class _File(_Section):
    version: Annotated[
        str,
        Field(pattern=r"^[!-~]([ -~]{0,98}[!-~])?$"),
        AfterValidator(_own_version),
    ]
    timeline: _Timelines = _Timelines()
    minimum_dwell: _MinimumDwell = _MinimumDwell()
    notice: _Notice = _Notice()
    inactivity: _Inactivity = _Inactivity()
    reinstatement: _Reinstatement = _Reinstatement()
    grace: _Grace = _Grace()
    guard: _Guard = _Guard()

    def policy(self) -> Policy:
        """The policy that it describes."""
        return Policy(
            version=self.version,
            payg=self.timeline.payg.over(_BUILT_IN.payg),
            commit=self.timeline.commit.over(_BUILT_IN.commit),
            minimum_dwell=self.minimum_dwell.over(_BUILT_IN.minimum_dwell),
            notice=self.notice.over(_BUILT_IN.notice),
            inactivity=self.inactivity.over(_BUILT_IN.inactivity),
            reinstatement=self.reinstatement.over(_BUILT_IN.reinstatement),
            grace=self.grace.over(_BUILT_IN.grace),
            guard=self.guard.over(_BUILT_IN.guard),
        )


# --- what is wrong, and where ---------------------------------------------------------------------


def _problems(error: ValidationError) -> Iterator[tuple[str, str]]:
    for detail in error.errors(include_url=False, include_context=False, include_input=False):
        path = ".".join(map(str, detail["loc"]))
        match detail["type"]:
            case "extra_forbidden":
                yield path, "is not a field of the policy"
            case "model_type":
                yield path, "must be a section"
            case "string_pattern_mismatch":
                yield path, "must be 1 to 100 printable characters"
            case other:
                yield path, wording(other, detail["msg"])


def _located(
    lines: "_Lines", problems: Iterable[tuple[str, str]]
) -> Iterator[tuple[int, str, str]]:
    return ((lines.of_field(path), path, sentence) for path, sentence in problems)


def _refused(problems: Iterable[tuple[int, str, str]]) -> Misconfigured:
    said = (
        f"policy file, line {line}: {path} {sentence}"
        if path
        else f"policy file, line {line}: {sentence}"
        for line, path, sentence in sorted(problems)
    )
    return Misconfigured("\n".join(said))


def _syntax_line(text: str, message: str) -> int:
    """The line that a syntax error names; the last one if it says "at end of document"."""
    found = _SYNTAX_LINE.search(message)
    return int(found[1]) if found else text.rstrip("\n").count("\n") + 1


@dataclass(frozen=True, slots=True)
class _Lines:
    """The line of each key and each section of a TOML text.

    A search, not a parse: it only has to point at a line of a text that tomllib has read.
    """

    numbers: dict[tuple[str, ...], int] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str) -> "_Lines":
        """The lines of a text."""
        lines = cls()
        section: tuple[str, ...] = ()
        for number, line in enumerate(text.split("\n"), start=1):
            if header := re.match(r"\s*\[+([^\]]+)\]", line):
                section = _path(header[1])
                lines._stands(section, number)
            elif key := re.match(r"""\s*([\w."' -]+?)\s*=""", line):
                lines._stands((*section, *_path(key[1])), number)
        return lines

    def _stands(self, path: tuple[str, ...], number: int) -> None:
        """Record a field's line, and that of each section that contains it unless recorded
        already.
        """
        for parts in range(1, len(path) + 1):
            self.numbers.setdefault(path[:parts], number)

    def of_field(self, path: str) -> int:
        """The line of a field, or of the nearest thing around it that the text does have."""
        parts = tuple(path.split("."))
        while parts and parts not in self.numbers:
            parts = parts[:-1]
        return self.numbers.get(parts, 1)


def _path(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))
