"""The command that folds the journal again: to verify what is stored, or to look back."""

from typing import Annotated

import typer

from marketplace_worker.cli.options import AsJson, Config, go, inspecting
from marketplace_worker.cli.organizations import show
from marketplace_worker.cli.printing import print_json, print_table, printed
from marketplace_worker.contract.fields import read_time
from marketplace_worker.errors import Malformed, Misconfigured
from marketplace_worker.inspection.organizations import Report, report_of
from marketplace_worker.inspection.replaying import Verification, as_of, verify
from marketplace_worker.lifecycle.vocabulary import OrganizationId
from marketplace_worker.settings import Settings, load_settings

SHOWN_MAX = 100
"""How many differences are printed; `--json` has all."""


def replay_command(
    organization: Annotated[
        str | None, typer.Argument(help="One organization; all if not given.", metavar="[ORG]")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare what is stored with what the journal says.")
    ] = False,
    as_of: Annotated[
        str | None,
        typer.Option(help="Show ORG as it was known at a time (RFC 3339).", metavar="TIME"),
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Fold the journal again; nothing is written or published.

    Exit status 3 where anything is not as the journal says.
    """
    if verify is (as_of is not None):
        raise Misconfigured("replay: say either --verify or --as-of TIME")
    settings = load_settings(config)
    if as_of is not None:
        if organization is None:
            raise Misconfigured("--as-of: of which organization? (replay ORG --as-of TIME)")
        show(go(_as_of(settings, organization, as_of)), as_json=as_json)
        return
    found = go(_verify(settings, organization))
    if as_json:
        print_json(
            {
                "organizations": found.organizations,
                "subscriptions": found.subscriptions,
                "rows_folded": found.rows,
                "rows_only_checked": found.covered,
                "differences": found.differences,
            }
        )
    else:
        _print(found)
    if found.differences:
        raise typer.Exit(3)


async def _as_of(settings: Settings, organization: str, time: str) -> Report:
    try:
        at = read_time(time)
    except (Malformed, ValueError) as error:
        raise Misconfigured(f"--as-of: {error}") from error
    async with inspecting(settings) as inspector:
        return report_of(await as_of(inspector, OrganizationId(organization), at))


async def _verify(settings: Settings, organization: str | None) -> Verification:
    only = None if organization is None else OrganizationId(organization)
    found = Verification()
    async with inspecting(settings) as inspector:
        async for page in verify(inspector, only):
            found.organizations += page.organizations
            found.subscriptions += page.subscriptions
            found.rows += page.rows
            found.covered += page.covered
            found.differences += page.differences
    return found


def _print(found: Verification) -> None:
    if found.differences:
        print_table(
            ("where", "what", "stored", "folded"),
            (
                (
                    each.subject,
                    each.what,
                    each.stored,
                    each.folded,
                )
                for each in found.differences[:SHOWN_MAX]
            ),
            widest="stored",
        )
        printed("")
    printed(
        f"{len(found.differences)} differences: {found.organizations} organizations, "
        f"{found.subscriptions} subscriptions; {found.rows} rows folded again, "
        f"{found.covered} only checked"
    )
