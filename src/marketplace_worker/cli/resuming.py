"""The command that resumes a stopped topic."""

from pathlib import Path
from typing import Annotated

import typer

from marketplace_worker.cli.grammar import Config
from marketplace_worker.cli.inspecting import inspecting
from marketplace_worker.cli.operating import Yes, confirm, operating
from marketplace_worker.cli.options import name_of, reason_of, run_async
from marketplace_worker.cli.printing import printed
from marketplace_worker.errors import Misconfigured
from marketplace_worker.settings import Settings, load_settings
from marketplace_worker.store import intake
from marketplace_worker.store.database import one_moment, transaction
from marketplace_worker.terminal import visible


def resume_command(
    topic: Annotated[str, typer.Argument(help="The topic, as `intake status` names it.")],
    by: Annotated[str, typer.Option(help="Your name; it is stored.")],
    reason: Annotated[str, typer.Option(help="The reason; it is stored.")],
    config: Config = None,
    yes: Yes = False,
) -> None:
    """Resume reading a stopped topic; its refused records are counted from 0 again."""
    name, why = name_of(by), reason_of(reason)
    settings = load_settings(config)
    not_stopped = Misconfigured(
        f"{visible(topic)} is not stopped (see `marketplace-worker intake status`)"
    )
    if topic not in run_async(_stopped(config)):
        raise not_stopped
    confirm(f"Resume {topic}", settings, yes=yes)
    if not run_async(_resume(settings, topic, name, why)):
        raise not_stopped
    printed(f"resumed: the workers read {topic} again within seconds")


async def _stopped(config: Path | None) -> set[str]:
    async with inspecting(config) as inspector, one_moment(inspector.pool) as conn:
        return {each.topic for each in await intake.stops(conn) if each.holds}


async def _resume(settings: Settings, topic: str, by: str, reason: str) -> bool:
    async with operating(settings) as worker, transaction(worker.pool) as conn:
        now = await worker.clock(conn)
        return await intake.resume(conn, topic, by=by, because=reason, now=now)
