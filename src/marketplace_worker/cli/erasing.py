"""The command that erases the personal data of a deactivated organization."""

from pathlib import Path
from typing import Annotated

import typer

from marketplace_worker.cli.grammar import Config
from marketplace_worker.cli.inspecting import inspecting
from marketplace_worker.cli.operating import Yes, by_operator, confirm, operating
from marketplace_worker.cli.options import name_of, reason_of, run_async
from marketplace_worker.cli.organizations import Id, never_received
from marketplace_worker.cli.printing import printed
from marketplace_worker.errors import Misconfigured
from marketplace_worker.explain.values import NotCreated
from marketplace_worker.inspection.organizations import report
from marketplace_worker.lifecycle.decide import Outcome
from marketplace_worker.lifecycle.facts import Erased
from marketplace_worker.lifecycle.vocabulary import OrganizationId
from marketplace_worker.settings import Settings, load_settings
from marketplace_worker.steps.erasing import erase
from marketplace_worker.store.database import transaction
from marketplace_worker.terminal import visible


def erase_command(
    organization: Id,
    by: Annotated[str, typer.Option(help="Your name; it is stored.")],
    reason: Annotated[str, typer.Option(help="The reason; it is stored.")],
    config: Config = None,
    yes: Yes = False,
) -> None:
    """Erase the personal data of a deactivated organization permanently; can be repeated."""
    name, why = name_of(by), reason_of(reason)
    settings = load_settings(config)
    run_async(_require_received(config, organization))
    confirm(
        f"Erase {visible(organization)}, permanently with its history, the lock on its email and "
        "the possibility of reinstatement",
        settings,
        yes=yes,
    )
    if run_async(_erase(settings, organization, name, why)) is Outcome.REFUSED:
        raise Misconfigured(
            f"{visible(organization)} cannot be erased: it is not deactivated, or is under a legal "
            "hold (see `marketplace-worker org show`)"
        )
    printed(f"erased: {visible(organization)}")


async def _require_received(config: Path | None, organization: str) -> None:
    async with inspecting(config) as inspector:
        found = await report(inspector, OrganizationId(organization))
    if found.explanation.why == NotCreated(kept=False):
        raise never_received(organization)


async def _erase(settings: Settings, organization: str, by: str, reason: str) -> Outcome:
    async with operating(settings) as worker:
        async with transaction(worker.pool) as conn:
            now = await worker.clock(conn)
        who = OrganizationId(organization)
        fact = Erased(by_operator(), now, who, by, reason, repeatable=True)
        return await erase(fact, worker)
