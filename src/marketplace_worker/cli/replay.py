"""The command that replays the journal, to verify the stored state or show an earlier one."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from marketplace_worker.cli.grammar import As, Config, Output
from marketplace_worker.cli.inspecting import inspecting
from marketplace_worker.cli.options import run_async
from marketplace_worker.cli.organizations import show
from marketplace_worker.cli.printing import print_data, print_table, printed, progress
from marketplace_worker.contract.fields import read_time
from marketplace_worker.errors import Malformed, Misconfigured
from marketplace_worker.inspection.organizations import Report, report_of
from marketplace_worker.inspection.replaying import Verification, as_of, rows_about, verify
from marketplace_worker.lifecycle.vocabulary import OrganizationId

SHOWN_MAX = 100
"""The number of differences that are printed; `--json` has the first `KEPT_MAX`."""

KEPT_MAX = 10_000
"""The number kept in memory; a foreign journal may have millions of differences."""


def replay_command(
    organization: Annotated[
        str | None, typer.Argument(help="One organization; all by default.", metavar="[ORG]")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare the stored state with the journal.")
    ] = False,
    as_of: Annotated[
        str | None,
        typer.Option(help="Show ORG as it was known at a time (RFC 3339).", metavar="TIME"),
    ] = None,
    config: Config = None,
    output: As = Output.TABLE,
) -> None:
    """Replay the journal, to verify the stored state or show an earlier one.

    Nothing is written or published.  Exit status 3 if the stored state differs from the journal.
    """
    if verify is (as_of is not None):
        raise Misconfigured("replay needs either --verify or --as-of TIME")
    if as_of is not None:
        if organization is None:
            raise Misconfigured("--as-of needs an organization: replay ORG --as-of TIME")
        show(run_async(_as_of(config, organization, as_of)), output)
        return
    found = run_async(_verify(config, organization))
    if output is not Output.TABLE:
        print_data(_data(found), output, rows="differences")
    else:
        _print(found)
    if found.differences:
        raise typer.Exit(3)


async def _as_of(config: Path | None, organization: str, time: str) -> Report:
    try:
        at = read_time(time)
    except (Malformed, ValueError) as error:
        raise Misconfigured(f"--as-of: {error}") from error
    async with inspecting(config) as inspector:
        return report_of(await as_of(inspector, OrganizationId(organization), at))


@dataclass(slots=True)
class _Found:
    """The totals of all pages, the first differences and their number."""

    whole: Verification = field(default_factory=Verification)
    differences: int = 0

    def add(self, page: Verification) -> None:
        self.whole.organizations += page.organizations
        self.whole.subscriptions += page.subscriptions
        self.whole.rows += page.rows
        self.whole.covered += page.covered
        self.differences += len(page.differences)
        room = KEPT_MAX - len(self.whole.differences)
        self.whole.differences += page.differences[:room]


async def _verify(config: Path | None, organization: str | None) -> _Found:
    only = None if organization is None else OrganizationId(organization)
    found = _Found()
    async with inspecting(config) as inspector:
        total = await rows_about(inspector) if only is None else None
        with progress("journal rows", total) as move:
            async for page in verify(inspector, only):
                found.add(page)
                move(page.rows + page.covered)
    return found


def _data(found: _Found) -> dict[str, object]:
    return {
        "organizations": found.whole.organizations,
        "subscriptions": found.whole.subscriptions,
        "rows_folded": found.whole.rows,
        "rows_only_checked": found.whole.covered,
        "differences": found.whole.differences,
        "differences_in_all": found.differences,
    }


def _print(found: _Found) -> None:
    whole = found.whole
    if whole.differences:
        print_table(
            ("subject", "what", "stored", "replayed"),
            (
                (
                    each.subject,
                    each.what,
                    each.stored,
                    each.folded,
                )
                for each in whole.differences[:SHOWN_MAX]
            ),
            prose=("stored", "replayed"),
        )
        printed("")
    printed(
        f"{found.differences} differences: {whole.organizations} organizations, "
        f"{whole.subscriptions} subscriptions; {whole.rows} rows replayed, "
        f"{whole.covered} only checked"
    )
