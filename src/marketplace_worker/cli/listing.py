"""The command that lists organizations."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from marketplace_worker.cli.grammar import As, Config, Output
from marketplace_worker.cli.inspecting import inspecting
from marketplace_worker.cli.options import duration_of, run_async
from marketplace_worker.cli.printing import Cell, print_data, print_table, printed
from marketplace_worker.contract.emails import email_hasher
from marketplace_worker.errors import Misconfigured
from marketplace_worker.inspection.listing import (
    Criteria,
    OrganizationPage,
    list_organizations,
    remarks,
)
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import EmailHash, Marketplace
from marketplace_worker.settings import require_email_key
from marketplace_worker.store.listing import ListedOrganization, WaitsFor

PAGE_MAX = 1_000


OfState = Annotated[State | None, typer.Option(help="Only in this state.")]
OfMarketplace = Annotated[
    Marketplace | None, typer.Option(help="Only with a subscription of this marketplace.")
]
OfSubscription = Annotated[
    str | None,
    typer.Option(metavar="ID", help="Only with this subscription, or one that this one continues."),
]
OfAccount = Annotated[
    str | None, typer.Option(metavar="ID", help="Only with a subscription of this billing account.")
]
OfEmail = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Only if the owner has this address, or a deactivation locked it (needs email_key).",
    ),
]
DueWithin = Annotated[
    str | None,
    typer.Option(
        metavar="DURATION",
        help="Only on the way down, or with a notice of inactivity, and due within this time "
        "(ISO 8601 duration).",
    ),
]
Held = Annotated[bool, typer.Option("--held", help="Only with a hold.")]
Waiting = Annotated[
    WaitsFor | None,
    typer.Option(
        help="Only waiting for this: a sign-in or Support to complete a reinstatement, the guard, "
        "a feed, or an operator's judgement after a restore."
    ),
]
Limit = Annotated[int, typer.Option(min=1, max=PAGE_MAX, help="Maximum number to list.")]
After = Annotated[str | None, typer.Option(help="Continue here; the page before says where.")]


def list_command(
    *,
    state: OfState = None,
    marketplace: OfMarketplace = None,
    subscription: OfSubscription = None,
    billing_account: OfAccount = None,
    email: OfEmail = None,
    due_within: DueWithin = None,
    held: Held = False,
    waiting: Waiting = None,
    limit: Limit = 50,
    after: After = None,
    config: Config = None,
    output: As = Output.TABLE,
) -> None:
    """List organizations: by state, marketplace, subscription, and what they wait for.

    Several filters select the organizations that meet all of them.
    """
    criteria = Criteria(
        state=state,
        marketplace=marketplace,
        subscription=subscription,
        billing_account=billing_account,
        email=None if email is None else _hash(email, config),
        due_within=None if due_within is None else duration_of("--due-within", due_within),
        held=held,
        waits_for=waiting,
    )
    found = run_async(_page(config, criteria, after, limit))
    if output is Output.TABLE:
        _print(found)
        return
    rows = [_data(each) for each in found.organizations]
    document = {"now": found.now, "organizations": rows, "after": found.after}
    print_data(document, output, rows="organizations")


async def _page(
    config: Path | None, criteria: Criteria, after: str | None, limit: int
) -> OrganizationPage:
    async with inspecting(config) as inspector:
        return await list_organizations(inspector, criteria, after=after, limit=limit)


def _hash(email: str, config: Path | None) -> EmailHash:
    if "@" not in email:
        raise Misconfigured("--email: must be an address")
    return email_hasher(require_email_key(config).get_secret_value().encode())(email)


def _print(found: OrganizationPage) -> None:
    if found.organizations:
        print_table(
            ("organization", "state", "since (UTC)", "due (UTC)", "marketplace", "remark"),
            (_row(each) for each in found.organizations),
            prose=("remark",),
        )
    elif found.after is None:
        printed("no organizations")
    if found.after is not None:
        printed("")
        printed(f"next page: --after {shlex.quote(found.after)}")


def _row(listed: ListedOrganization) -> Sequence[Cell]:
    organization = listed.organization
    return (
        organization.id,
        organization.state,
        listed.since,
        listed.due_at,
        ", ".join(listed.marketplaces) or None,
        "; ".join(remarks(listed)),
    )


def _data(listed: ListedOrganization) -> dict[str, Any]:
    organization = listed.organization
    return {
        "organization_id": organization.id,
        "state": organization.state,
        "since": listed.since,
        "due_at": listed.due_at,
        "marketplaces": listed.marketplaces,
        "holds": organization.holds,
        "waits_for": listed.waits_for,
    }
