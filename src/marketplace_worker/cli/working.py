"""The commands that run the worker, migrate the database and create topics."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from marketplace_worker import demo as demonstration
from marketplace_worker import standalone
from marketplace_worker.app import Loop, run
from marketplace_worker.cli.grammar import Config
from marketplace_worker.cli.options import run_async
from marketplace_worker.cli.printing import printed
from marketplace_worker.errors import Misconfigured
from marketplace_worker.operations.line_writer import never_waiting
from marketplace_worker.operations.logs import set_up_logs
from marketplace_worker.settings import Settings, load_settings
from marketplace_worker.store.database import connecting
from marketplace_worker.store.migrations import Migration, migrate
from marketplace_worker.streams.rights import to_read, to_write
from marketplace_worker.streams.topics import create_topics, find_topic_warnings

EMBEDDED_FOLDER = "marketplace-worker-data"


def run_command(
    config: Config = None,
    only: Annotated[
        str | None, typer.Option(help="Run only some loops: ingest,deadlines,relay,retention.")
    ] = None,
    embedded: Annotated[
        bool, typer.Option("--embedded", help="Start an embedded Postgres and broker, for trials.")
    ] = False,
    folder: Annotated[
        Path | None,
        typer.Option(help=f"Data directory of --embedded; ./{EMBEDDED_FOLDER} by default."),
    ] = None,
) -> None:
    """Run the worker until SIGTERM or Ctrl-C."""
    loops = _loops(only)
    if embedded:
        with never_waiting(sys.stdout) as lines:
            set_up_logs(lines)
            run_async(standalone.run_embedded(folder or Path(EMBEDDED_FOLDER), config, loops))
    elif folder is not None:
        raise Misconfigured("--folder needs --embedded")
    else:
        settings = load_settings(config)
        with never_waiting(sys.stdout) as lines:
            set_up_logs(lines, settings.log_level)
            run_async(run(settings, loops))


def _loops(only: str | None) -> list[Loop]:
    if only is None:
        return list(Loop)
    names = [name.strip() for name in only.split(",")]
    unknown = [name for name in names if name not in list(Loop)]
    if unknown:
        raise Misconfigured(
            f"--only: unknown loop {', '.join(unknown)}; the loops are {', '.join(Loop)}"
        )
    return [Loop(name) for name in names]


def migrate_command(config: Config = None) -> None:
    """Migrate the database schema to this version; does nothing if it is current."""
    applied = run_async(_migrate(load_settings(config)))
    for migration in applied:
        typer.echo(f"applied {migration.name}")
    if not applied:
        typer.echo("the schema is current")


async def _migrate(settings: Settings) -> list[Migration]:
    async with connecting(settings.postgres) as pool:
        return list(await migrate(pool))


def create_topics_command(
    config: Config = None,
    partitions: Annotated[
        int, typer.Option(min=1, max=10_000, help="Partitions of each topic.")
    ] = 12,
    replication_factor: Annotated[
        int, typer.Option(min=1, max=10, help="Replicas of each partition.")
    ] = 3,
) -> None:
    """Create the missing topics."""
    settings = load_settings(config)
    creation = create_topics(
        settings.kafka,
        settings.topics,
        partitions=partitions,
        replication_factor=replication_factor,
    )
    for each in run_async(creation):
        printed(f"{each.presence} {each.topic}")
    rights = (*to_read(settings.kafka, settings.topics), *to_write(settings.topics))
    for doubt in run_async(find_topic_warnings(settings.kafka, settings.topics.state, rights)):
        printed(f"warning: {doubt.topic} {doubt.sentence}")


def demo_command(
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave all running, with the demo's data, until Ctrl-C.")
    ] = False,
) -> None:
    """Demonstrate the worker on its own servers; ends in under half a minute."""
    raise typer.Exit(demonstration.show(keep=keep))
