"""The commands that process dead letters again or discard them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from marketplace_worker.cli.dead_letters import no_such, position_of
from marketplace_worker.cli.grammar import As, Config, Output
from marketplace_worker.cli.inspecting import inspecting
from marketplace_worker.cli.operating import Yes, confirm, operating
from marketplace_worker.cli.options import name_of, reason_of, run_async
from marketplace_worker.cli.printing import (
    Cell,
    DataList,
    print_data,
    print_facts,
    print_table,
    printed,
)
from marketplace_worker.contract.emails import email_hasher
from marketplace_worker.contract.topics import feeds
from marketplace_worker.errors import Malformed, Misconfigured
from marketplace_worker.inspection import dead_letters as inspection
from marketplace_worker.inspection.dead_letters import RecordReader, RedriveOutcome, RedrivePreview
from marketplace_worker.settings import Settings, load_settings
from marketplace_worker.steps.redriving import Redrive, RedriveResult, Result, discard
from marketplace_worker.store.dead_letters import (
    BIGINT_MAX,
    DiscardMeaning,
    LetterStatus,
    OperatorAction,
)
from marketplace_worker.terminal import visible

RATE_MAX = 10_000

SHOWN_MAX = 50
"""The number of dead letters that a table lists; `--json` has all."""

Ids = Annotated[
    list[int] | None,
    typer.Argument(help="The dead letters' ids.", metavar="ID", min=1, max=BIGINT_MAX),
]
OfGroup = Annotated[
    str | None, typer.Option(help="All waiting dead letters of a group (see `groups`).")
]
By = Annotated[str | None, typer.Option(help="Your name; it is stored with each dead letter.")]
Reason = Annotated[str | None, typer.Option(help="The reason; it is stored with each dead letter.")]
NoUse = Annotated[
    bool, typer.Option("--no-use", help="Do not count them as possible use (logins, API usage).")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would happen.")]


# --- redriving ------------------------------------------------------------------------------------


def redrive_command(
    *,
    ids: Ids = None,
    group: OfGroup = None,
    everything: Annotated[bool, typer.Option("--all", help="All waiting dead letters.")] = False,
    by: By = None,
    reason: Reason = None,
    rate: Annotated[
        int, typer.Option(min=1, max=RATE_MAX, help="Maximum number per second.")
    ] = 100,
    dry_run: DryRun = False,
    yes: Yes = False,
    config: Config = None,
    output: As = Output.TABLE,
) -> None:
    """Process dead letters again; what can be read now takes effect, once.

    By id (including discarded ones), by group, or all that are waiting.
    """
    if sum((bool(ids), group is not None, everything)) != 1:
        raise Misconfigured("choose dead letters by exactly one of: ids, --group, --all")
    chosen = _Chosen(frozenset(ids or ()), group, (LetterStatus.WAITING, LetterStatus.DISCARDED))
    with DataList("would" if dry_run else "results", output) as document:
        shown = _Shown(None if output is Output.TABLE else document)
        if dry_run:
            _print_prospects(run_async(_prospects(config, chosen, shown)), shown)
        else:
            action = _action(by, reason)
            settings, found = _confirmed("Process", config, chosen, yes=yes)
            done = run_async(_redrive(settings, found, chosen, action, rate=rate, shown=shown))
            _print_redriven(done, shown)


class _Shown:
    """The output for each dead letter: all of them as JSON, or a table of the first."""

    def __init__(self, document: DataList | None) -> None:
        self.document = document
        self.rows: list[tuple[Cell, ...]] = []
        self.count = 0

    def add(self, row: tuple[Cell, ...], data: Mapping[str, object]) -> None:
        """Add one, as a table row and as JSON."""
        self.count += 1
        if self.document is not None:
            self.document.append(data)
        elif len(self.rows) < SHOWN_MAX:
            self.rows.append(row)

    def print_table(self, head: Sequence[str]) -> None:
        """Print the first ones, and the number of the others."""
        if self.rows:
            printed("")
            print_table(head, self.rows, prose=head[-1:])
        if self.count > len(self.rows):
            printed(f"… and {self.count - len(self.rows)} more: use --json")


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Dead letters with these ids and one of the statuses; without ids, all that are waiting, or
    those of a group.
    """

    ids: frozenset[int]
    group: str | None
    statuses: tuple[LetterStatus, ...]


def _action(by: str | None, reason: str | None) -> OperatorAction:
    if by is None or reason is None:
        raise Misconfigured("--by and --reason are required, and stored (not with --dry-run)")
    return OperatorAction(name_of(by), reason_of(reason))


def _confirmed(
    verb: str, config: Path | None, chosen: _Chosen, *, yes: bool
) -> tuple[Settings, Sequence[int]]:
    """The settings, and the ids of the chosen dead letters once the operator has agreed."""
    settings = load_settings(config)
    ids = run_async(_choose(config, chosen))
    if ids:
        confirm(f"{verb} {len(ids)} dead letters", settings, yes=yes)
    return settings, ids


async def _choose(config: Path | None, chosen: _Chosen) -> Sequence[int]:
    """The ids of the chosen dead letters, in the order in which they were refused."""
    async with inspecting(config) as inspector:
        if chosen.ids:
            found = await inspection.summaries(inspector, chosen.ids)
            if missing := chosen.ids - found.keys():
                raise no_such(missing)
            return [each.id for each in found.values() if each.status in chosen.statuses]
        ids = await inspection.waiting(inspector, chosen.group)
    if ids is None:
        raise Misconfigured(
            f"{visible(chosen.group or '')}: no such group (see `marketplace-worker dead-letters "
            "groups`; a dead letter refused for another reason changes its group)"
        )
    return ids


async def _redrive(
    settings: Settings,
    ids: Sequence[int],
    chosen: _Chosen,
    action: OperatorAction,
    *,
    rate: int,
    shown: _Shown,
) -> Redrive:

    def report(result: Result) -> None:
        if shown.document is None and result.became is RedriveResult.REDRIVEN:
            return
        reason = str(result.refusal) if result.refusal else ""
        shown.add(
            (result.id, result.position, result.became, reason),
            {
                "id": result.id,
                "position": result.position,
                "became": result.became,
                **_refusal(result.refusal),
            },
        )

    async with operating(settings) as worker:
        statuses = chosen.statuses if chosen.ids else (LetterStatus.WAITING,)
        redrive = Redrive(worker, action, statuses, report)
        if ids:
            await redrive.redrive(ids, rate=rate)
        return redrive


async def _prospects(
    config: Path | None, chosen: _Chosen, shown: _Shown
) -> Counter[RedriveOutcome]:
    settings = load_settings(config)
    reader = RecordReader(
        feeds(settings.topics), email_hasher(settings.email_key.get_secret_value().encode())
    )
    ids = await _choose(config, chosen)
    would: Counter[RedriveOutcome] = Counter()
    async with inspecting(config) as inspector:
        async for each in inspection.preview_redrive(inspector, ids, reader):
            would[each.would] += 1
            shown.add(
                (each.summary.id, position_of(each.summary), each.would, _prospect(each)),
                {
                    "id": each.summary.id,
                    "position": each.summary.position,
                    "would": each.would,
                    **_refusal(each.refusal),
                    "facts": [{"fact": fact, "taken_before": known} for fact, known in each.facts],
                },
            )
    return would


_NOTHING = "nothing to do: none of these is waiting"


def _print_redriven(redrive: Redrive, shown: _Shown) -> None:
    became = redrive.became
    if shown.document is not None:
        shown.document.print(
            {
                **{each.value: became[each] for each in RedriveResult},
                "outcomes": dict(redrive.applied),
                "duplicates": redrive.duplicates,
                "activity": redrive.activity,
            }
        )
        return
    if not became.total():
        printed(_NOTHING)
        return
    outcomes = [f"{count} {outcome}" for outcome, count in sorted(redrive.applied.items())]
    outcomes += [f"{redrive.duplicates} applied before"] if redrive.duplicates else []
    outcomes += [f"{redrive.activity} counted"] if redrive.activity else []
    print_facts(
        {
            "redriven": became[RedriveResult.REDRIVEN],
            "results": ", ".join(outcomes) or "nothing",
            **_still(
                became[RedriveResult.REFUSED],
                became[RedriveResult.FAILED],
                became[RedriveResult.LEFT],
            ),
        }
    )
    shown.print_table(("id", "position", "became", "reason"))


def _print_prospects(would: Counter[RedriveOutcome], shown: _Shown) -> None:
    if shown.document is not None:
        shown.document.print({"dry_run": True})
        return
    if not would.total():
        printed(_NOTHING)
        return
    print_facts(
        {
            "would be redriven": would[RedriveOutcome.TAKE],
            **_still(
                would[RedriveOutcome.REFUSE],
                would[RedriveOutcome.FAIL],
                would[RedriveOutcome.LEAVE],
            ),
        }
    )
    shown.print_table(("id", "position", "would", "facts, or reason"))
    printed("")
    printed("nothing was written")


def _still(refused: int, failed: int, left: int) -> dict[str, int]:
    """The counts of those that keep waiting, if not 0."""
    outcomes = {
        "refused again": refused,
        "failed again": failed,
        "left, topic not in the settings": left,
    }
    return {name: count for name, count in outcomes.items() if count}


def _prospect(prospect: RedrivePreview) -> str:
    facts = (f"{fact} (applied before)" if known else fact for fact, known in prospect.facts)
    refusal = [str(prospect.refusal)] if prospect.refusal else []
    return "; ".join([*refusal, *facts])


def _refusal(refusal: Malformed | None) -> dict[str, str | None]:
    return {
        "field": None if refusal is None else refusal.field,
        "reason": None if refusal is None else refusal.reason,
    }


# --- discarding -----------------------------------------------------------------------------------


def discard_command(
    *,
    ids: Ids = None,
    group: OfGroup = None,
    no_use: NoUse = False,
    by: By = None,
    reason: Reason = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    config: Config = None,
    output: As = Output.TABLE,
) -> None:
    """Mark dead letters as not needed: they stop waiting, and retention deletes them later.

    By id or by group.  Logins and API usage still count as possible use, which postpones
    deactivations for inactivity; with --no-use they do not (also for those discarded before, by
    id).
    """
    if bool(ids) is (group is not None):
        raise Misconfigured("choose dead letters by exactly one of: ids, --group")
    statuses = (LetterStatus.WAITING, LetterStatus.DISCARDED) if no_use else (LetterStatus.WAITING,)
    chosen = _Chosen(frozenset(ids or ()), group, statuses)
    meaning = DiscardMeaning.NO_USE if no_use else DiscardMeaning.POSSIBLE_USE
    if dry_run:
        count = len(run_async(_choose(config, chosen)))
        said = f"would be discarded: {count}; nothing was written"
    else:
        action = _action(by, reason)
        settings, found = _confirmed("Discard", config, chosen, yes=yes)
        count = run_async(_discard(settings, found, action, meaning))
        said = f"discarded: {count}"
    if output is not Output.TABLE:
        print_data({"dry_run": dry_run, "discarded": count}, output)
    else:
        printed(said if count else _NOTHING)


async def _discard(
    settings: Settings, ids: Sequence[int], action: OperatorAction, meaning: DiscardMeaning
) -> int:
    async with operating(settings) as worker:
        return await discard(ids, action, worker, meaning) if ids else 0
