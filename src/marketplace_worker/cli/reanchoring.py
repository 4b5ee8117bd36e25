"""`recover --clock-ran-ahead FROM TO`: corrects decisions that were made by a wrong clock."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from marketplace_worker.cli.grammar import Output
from marketplace_worker.cli.operating import operating
from marketplace_worker.cli.options import run_async
from marketplace_worker.cli.printing import print_data, print_facts, print_table, printed
from marketplace_worker.contract.fields import read_time
from marketplace_worker.errors import Misconfigured
from marketplace_worker.lifecycle.reanchoring import WrongClockPeriod
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.settings import Settings
from marketplace_worker.steps.reanchoring import Correction, CorrectionOrder, correct, corrections
from marketplace_worker.store import journal
from marketplace_worker.store.database import transaction
from marketplace_worker.store.journal import EndedHold

SHOWN_MAX = 100
"""The number of organizations that are printed; `--json` has all."""


def recover_from_wrong_clock(
    settings: Settings, span: tuple[str, str], order: CorrectionOrder | None, output: Output
) -> None:
    """List decisions made by the wrong clock; with an order, also correct them.

    Raises:
        Misconfigured: the times cannot be read, or the clock is still ahead.
    """
    began, went_to = (_moment(each) for each in span)
    if went_to <= began:
        raise Misconfigured("--clock-ran-ahead: TO must be later than FROM")
    found, holds = run_async(_recover(settings, WrongClockPeriod.between(began, went_to), order))
    if output is not Output.TABLE:
        print_data(
            {
                "executed": order is not None,
                "corrections": [asdict(each) for each in found],
                "ended_holds": [asdict(each) for each in holds],
            },
            output,
            rows="corrections",
        )
    else:
        _print(found, holds, executed=order is not None)


def _moment(text: str) -> datetime:
    try:
        return read_time(text)
    except ValueError:
        raise Misconfigured(
            "--clock-ran-ahead: FROM and TO must be times with an offset, such as "
            "2026-11-30T18:00:00Z"
        ) from None


async def _recover(
    settings: Settings, wrong: WrongClockPeriod, order: CorrectionOrder | None
) -> tuple[Sequence[Correction], Sequence[EndedHold]]:
    async with operating(settings) as worker:
        now = await _right_now(worker, wrong)
        found = [each async for page in corrections(worker.pool, wrong) for each in page]
        if order is not None:
            await correct(worker, wrong, order)
        async with transaction(worker.pool) as conn:
            holds = await journal.holds_ended(conn, after=now)
    return found, holds


async def _right_now(worker: Worker, wrong: WrongClockPeriod) -> datetime:
    """The database's time; raises `Misconfigured` if it is still ahead."""
    async with transaction(worker.pool) as conn:
        now = await worker.clock(conn)
    if now >= wrong.since:
        raise Misconfigured(
            f"--clock-ran-ahead: the database's clock says {now.isoformat()}, which is not before "
            f"{wrong.since.isoformat()}: correct the clock first; if it is correct, that time has "
            "passed and there is nothing to recover"
        )
    return now


def _print(found: Sequence[Correction], holds: Sequence[EndedHold], *, executed: bool) -> None:
    print_facts(
        {
            "corrected" if executed else "to be corrected": len(found),
            "notices withdrawn, to be repeated in time": sum(e.announced for e in found),
            "entered their state too early": sum(each.stepped for each in found),
            "holds that expired too early": len(holds),
        }
    )
    if found:
        printed("")
        print_table(
            ("organization", "state", "entered too early", "notice withdrawn", "decided at (UTC)"),
            (
                (
                    each.organization,
                    each.state,
                    "yes" if each.stepped else "",
                    "yes" if each.announced else "",
                    each.decided_at,
                )
                for each in sorted(found, key=_by_harm)[:SHOWN_MAX]
            ),
        )
    if len(found) > SHOWN_MAX:
        printed(f"… and {len(found) - SHOWN_MAX} more: use --json")
    if holds:
        printed("")
        print_table(
            ("organization", "expired hold", "valid until (UTC)"),
            ((each.organization, each.kind, each.expires_at) for each in holds),
        )
    printed("")
    if not executed:
        printed("nothing was changed; add --execute, --by and --reason to do it")
        return
    printed("Next: check the organizations that entered their state too early (org explain ORG);")
    printed("Support can reinstate or reactivate them, and has to place the expired holds again.")
    printed("Then: replay --verify, guard release.")


def _by_harm(correction: Correction) -> tuple[bool, str]:
    return not correction.stepped, correction.organization
