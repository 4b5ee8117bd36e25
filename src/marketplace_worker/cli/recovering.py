"""The command that recovers from a restore, or from a wrong clock of the database."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Annotated
from uuid import uuid4

import typer

from marketplace_worker.cli.grammar import As, Config, Output
from marketplace_worker.cli.operating import Yes, by_operator, confirm, operating
from marketplace_worker.cli.options import name_of, reason_of, run_async
from marketplace_worker.cli.printing import print_data, print_facts, print_table, printed
from marketplace_worker.cli.reanchoring import recover_from_wrong_clock
from marketplace_worker.errors import Misconfigured
from marketplace_worker.lifecycle.decide import Outcome
from marketplace_worker.lifecycle.facts import ClosureJudged
from marketplace_worker.lifecycle.vocabulary import OrganizationId
from marketplace_worker.settings import Settings, load_settings
from marketplace_worker.steps import recovering
from marketplace_worker.steps.reanchoring import CorrectionOrder
from marketplace_worker.steps.recovering import Operator
from marketplace_worker.store.database import transaction
from marketplace_worker.store.published import Gap
from marketplace_worker.streams.reading_back import read_back
from marketplace_worker.streams.rights import to_read_back
from marketplace_worker.streams.topics import require_access

SHOWN_MAX = 100
"""The number of organizations that are printed; `--json` has all."""

Judged = Annotated[str | None, typer.Option(metavar="ORG", help="Close ORG, as it was published.")]
Cleared = Annotated[
    str | None, typer.Option(metavar="ORG", help="Continue ORG in its stored state.")
]
FromRestore = Annotated[
    bool, typer.Option("--from-restore", help="After a restore, or a failover that lost commits.")
]
ClockRanAhead = Annotated[
    tuple[str, str] | None,
    typer.Option(
        "--clock-ran-ahead",
        metavar="FROM TO",
        help="After the database's clock jumped ahead from FROM to TO and was corrected.",
    ),
]
By = Annotated[str | None, typer.Option(help="Your name; it is stored and published.")]
Reason = Annotated[str | None, typer.Option(help="The reason; it is stored and published.")]
Execute = Annotated[
    bool, typer.Option("--execute", help="Apply the changes; otherwise they are only listed.")
]


def recover_command(
    *,
    from_restore: FromRestore = False,
    clock_ran_ahead: ClockRanAhead = None,
    closed: Judged = None,
    not_closed: Cleared = None,
    by: By = None,
    reason: Reason = None,
    execute: Execute = False,
    yes: Yes = False,
    config: Config = None,
    output: As = Output.TABLE,
) -> None:
    """Repair what a restore or a wrong database clock did; without --execute, list it.

    --from-restore reads everything that was published, continues the numbers of each organization
    above it, trips the guard, and lists organizations that were published in another state.  One
    that was published as deactivated waits for --closed ORG or --not-closed ORG.
    """
    ways = (from_restore, clock_ran_ahead is not None, closed is not None, not_closed is not None)
    if sum(ways) != 1:
        raise Misconfigured(
            "recover needs exactly one of --from-restore, --clock-ran-ahead FROM TO, --closed ORG "
            "and --not-closed ORG"
        )
    operator = _operator(by, reason) if execute else None
    settings = load_settings(config)
    if operator is not None:
        confirm("Repair what a restore or a wrong clock did", settings, yes=yes)
    if clock_ran_ahead is not None:
        order = CorrectionOrder(operator.id, operator.by, operator.reason) if operator else None
        recover_from_wrong_clock(settings, clock_ran_ahead, order, output)
        return
    if from_restore:
        _print_found(run_async(_from_restore(settings, operator)), output)
        return
    _judge(
        settings, OrganizationId(closed or not_closed or ""), operator, stands=closed is not None
    )


def _operator(by: str | None, reason: str | None) -> Operator:
    if by is None or reason is None:
        raise Misconfigured("--execute needs --by and --reason, which are stored")
    return Operator(str(uuid4()), name_of(by), reason_of(reason))


# --- from a restore -------------------------------------------------------------------------------


@dataclass(slots=True)
class _Found:
    """What was found on the topics: the number of `organizations`, how many are `behind` the
    published messages, and those that were published in another state.
    """

    executed: bool
    organizations: int = 0
    behind: int = 0
    otherwise: list[Gap] = field(default_factory=list)

    @property
    def in_doubt(self) -> list[Gap]:
        """Those that an operator must decide about."""
        return [each for each in self.otherwise if each.lost or each.in_doubt]


async def _from_restore(settings: Settings, operator: Operator | None) -> _Found:
    await require_access(settings.kafka, to_read_back(settings.topics))
    found = _Found(executed=operator is not None)
    async with operating(settings) as worker:
        if operator is not None:
            await recovering.withhold(worker)
        found.organizations = await recovering.gather(worker, partial(read_back, settings))
        if operator is not None:
            await recovering.begin(worker, operator)
        async for page in recovering.pages(worker):
            behind = [each for each in page if each.is_behind]
            found.behind += len(behind)
            found.otherwise += [each for each in page if each.stands_otherwise]
            if operator is not None and behind:
                await recovering.raise_numbers(worker, behind, operator.id)
        if operator is not None:
            await recovering.complete(worker, operator)
        else:
            await recovering.forget(worker)
    return found


def _data(found: _Found) -> dict[str, object]:
    return {
        "executed": found.executed,
        "published": found.organizations,
        "behind": found.behind,
        "otherwise": [
            {
                "organization_id": each.summary.organization,
                "published": _published(each),
                "stored": _stored(each),
                "waits_for_judgement": each.lost or each.in_doubt,
            }
            for each in found.otherwise
        ],
    }


def _print_found(found: _Found, output: Output) -> None:
    if output is not Output.TABLE:
        print_data(_data(found), output, rows="otherwise")
        return
    print_facts(
        {
            "organizations on the topics": found.organizations,
            "numbers raised" if found.executed else "behind what was published": found.behind,
            "published in another state": len(found.otherwise),
            "published as deactivated, to be decided": len(found.in_doubt),
        }
    )
    in_doubt_first = sorted(found.otherwise, key=lambda each: not (each.lost or each.in_doubt))
    if in_doubt_first:
        printed("")
        print_table(
            ("organization", "published", "stored", ""),
            (
                (
                    each.summary.organization,
                    _published(each),
                    _stored(each),
                    "to be decided" if each.lost or each.in_doubt else "",
                )
                for each in in_doubt_first[:SHOWN_MAX]
            ),
        )
    if len(in_doubt_first) > SHOWN_MAX:
        printed(f"… and {len(in_doubt_first) - SHOWN_MAX} more: use --json")
    printed("")
    for line in _what_next(found):
        printed(line)


def _published(gap: Gap) -> str:
    if gap.summary.erased:
        return "erased"
    return gap.summary.state or "nothing"


def _stored(gap: Gap) -> str:
    if gap.erased:
        return "erased"
    return gap.state or "nothing"


def _what_next(found: _Found) -> Sequence[str]:
    if not found.executed:
        return ["nothing was changed; add --execute, --by and --reason to do it"]
    return [
        "the guard is tripped.  Next (docs/runbook.md):",
        "1. start the workers and wait until their lag is 0",
        "2. for each to be decided: recover --closed ORG --execute, or --not-closed ORG --execute",
        "3. replay --verify; guard status; guard release --steps 1; guard release",
    ]


# --- a person judges ------------------------------------------------------------------------------


def _judge(
    settings: Settings, organization: OrganizationId, operator: Operator | None, *, stands: bool
) -> None:
    if operator is None:
        become = "be deactivated, as published" if stands else "continue in its stored state"
        printed(
            f"{organization} would {become}; nothing was changed: add --execute, --by and --reason"
        )
        return

    def judged(now: datetime) -> ClosureJudged:
        return ClosureJudged(by_operator(), now, organization, stands, operator.by, operator.reason)

    if run_async(_judged(settings, judged)) is Outcome.REFUSED:
        raise Misconfigured(
            f"{organization} needs no such decision, or does not exist yet: let the workers "
            "catch up first (see `marketplace-worker org show`)"
        )
    printed(f"{organization}: {'deactivated' if stands else 'continues in its stored state'}")


async def _judged(settings: Settings, fact_at: Callable[[datetime], ClosureJudged]) -> Outcome:
    async with operating(settings) as worker:
        async with transaction(worker.pool) as conn:
            fact = fact_at(await worker.clock(conn))
        return await recovering.judge(worker, fact)
