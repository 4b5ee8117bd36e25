"""The command that resumes a stopped topic."""

from typing import Annotated

import typer

from marketplace_worker.cli.grammar import Config
from marketplace_worker.cli.operating import operating
from marketplace_worker.cli.options import name_of, reason_of, run_async
from marketplace_worker.cli.printing import printed
from marketplace_worker.errors import Misconfigured
from marketplace_worker.settings import Settings, load_settings
from marketplace_worker.store import intake
from marketplace_worker.store.database import transaction


def resume_command(
    topic: Annotated[str, typer.Argument(help="The topic, as `intake status` names it.")],
    by: Annotated[str, typer.Option(help="Your name; it is stored.")],
    reason: Annotated[str, typer.Option(help="The reason; it is stored.")],
    config: Config = None,
) -> None:
    """Resume reading a stopped topic; its refused records are counted from 0 again."""
    if not run_async(_resume(load_settings(config), topic, name_of(by), reason_of(reason))):
        raise Misconfigured(f"{topic} is not stopped (see `marketplace-worker intake status`)")
    printed(f"resumed: the workers read {topic} again within seconds")


async def _resume(settings: Settings, topic: str, by: str, reason: str) -> bool:
    async with operating(settings) as worker, transaction(worker.pool) as conn:
        now = await worker.clock(conn)
        return await intake.resume(conn, topic, by=by, because=reason, now=now)
