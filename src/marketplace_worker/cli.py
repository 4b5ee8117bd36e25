"""The commands: they parse, call and print; what is done is done elsewhere.

Exit status: 0 done; 1 a server does not answer, or the demo missed something; 2 the settings, the
policy or the input are unusable, with what to change on standard error.
"""

import sys
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, BinaryIO, TypeVar

import typer
import uvloop

from marketplace_worker import demo as demonstration
from marketplace_worker import standalone
from marketplace_worker.app import Loop, feeds, read_policy, run
from marketplace_worker.contract.emails import email_hasher
from marketplace_worker.contract.fields import read_time
from marketplace_worker.contract.outbound import encode
from marketplace_worker.contract.scenario import read_scenario
from marketplace_worker.errors import Malformed, Misconfigured, Unavailable
from marketplace_worker.operations.logs import set_up_logs
from marketplace_worker.record import Record
from marketplace_worker.settings import Settings, Topics, load_email_key, load_settings
from marketplace_worker.simulate import Simulation
from marketplace_worker.store.database import connecting
from marketplace_worker.store.migrations import migrate
from marketplace_worker.streams.topics import create_topics

cli = typer.Typer(
    name="marketplace-worker",
    help="Acts on what happens to customers' marketplace subscriptions.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
topics_cli = typer.Typer(help="The Kafka topics.", no_args_is_help=True)
cli.add_typer(topics_cli, name="topics")

EMBEDDED_FOLDER = "marketplace-worker-data"

T = TypeVar("T")

Config = Annotated[
    Path | None,
    typer.Option(
        help="TOML file of settings; the environment (MARKETPLACE_WORKER_…) wins over it."
    ),
]


def main() -> None:
    """Run a command; the operator's mistakes and absent servers end in a sentence, not a trace."""
    try:
        cli()
    except Misconfigured as error:
        sys.exit(_said(error, status=2))
    except Unavailable as error:
        sys.exit(_said(error, status=1))


def _said(error: Exception, *, status: int) -> int:
    sys.stderr.write(f"marketplace-worker: {error}\n")
    return status


def _go(work: Coroutine[Any, Any, T]) -> T:
    return uvloop.run(work)


@cli.command("run")
def run_command(
    config: Config = None,
    only: Annotated[
        str | None, typer.Option(help="Some of the loops: ingest,deadlines,relay.")
    ] = None,
    embedded: Annotated[
        bool, typer.Option("--embedded", help="With Postgres and a broker of its own, for trials.")
    ] = False,
    folder: Annotated[
        Path | None,
        typer.Option(help=f"Where --embedded keeps its data; ./{EMBEDDED_FOLDER} if not given."),
    ] = None,
) -> None:
    """Run the worker until SIGTERM or Ctrl-C."""
    loops = _loops(only)
    if embedded:
        set_up_logs(sys.stdout)
        _go(standalone.run_embedded(folder or Path(EMBEDDED_FOLDER), config, loops))
    elif folder is not None:
        raise Misconfigured("--folder is of no use without --embedded")
    else:
        settings = load_settings(config)
        set_up_logs(sys.stdout, settings.log_level)
        _go(run(settings, loops))


def _loops(only: str | None) -> list[Loop]:
    if only is None:
        return list(Loop)
    names = [name.strip() for name in only.split(",")]
    unknown = [name for name in names if name not in list(Loop)]
    if unknown:
        raise Misconfigured(
            f"--only: {', '.join(unknown)}: there is no such loop, only {', '.join(Loop)}"
        )
    return [Loop(name) for name in names]


@cli.command("migrate")
def migrate_command(config: Config = None) -> None:
    """Bring the database's schema up to this version; harmless where it is."""
    settings = load_settings(config)
    _go(_migrate(settings))


async def _migrate(settings: Settings) -> None:
    async with connecting(settings.postgres) as pool:
        applied = await migrate(pool)
    for migration in applied:
        typer.echo(f"applied {migration.name}")
    if not applied:
        typer.echo("the schema is current")


@topics_cli.command("create")
def create_topics_command(
    config: Config = None,
    partitions: Annotated[int, typer.Option(min=1, max=10_000, help="Of each topic.")] = 12,
    replication_factor: Annotated[
        int, typer.Option(min=1, max=10, help="Copies of each partition.")
    ] = 3,
) -> None:
    """Create the topics that are not there yet."""
    settings = load_settings(config)
    creation = create_topics(
        settings.kafka,
        settings.topics,
        partitions=partitions,
        replication_factor=replication_factor,
    )
    for each in _go(creation):
        typer.echo(f"{each.presence} {each.topic}")


@cli.command("simulate")
def simulate_command(
    scenario: Annotated[str, typer.Argument(help="A JSON Lines file, or - for standard input.")],
    policy: Annotated[Path | None, typer.Option(help="TOML file of the policy to try.")] = None,
    until: Annotated[str | None, typer.Option(help="Where the clock stops (RFC 3339).")] = None,
) -> None:
    """Print what the worker would publish for a scenario, without any server."""
    key = load_email_key().get_secret_value().encode()
    by_topic = feeds(Topics())
    simulation = Simulation(read_policy(policy), by_topic, email_hasher(key), _report_refusal)
    end = _moment(until)
    with _opened(scenario) as lines:
        for event in simulation.run(read_scenario(lines, by_topic), until=end):
            sys.stdout.buffer.write(encode(event) + b"\n")
    sys.stdout.flush()


@contextmanager
def _opened(scenario: str) -> Iterator[BinaryIO]:
    if scenario == "-":
        yield sys.stdin.buffer
        return
    with ExitStack() as stack:
        try:
            file = stack.enter_context(Path(scenario).open("rb"))
        except OSError as error:
            raise Misconfigured(f"{scenario}: {error.strerror}") from error
        yield file


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return read_time(text)
    except ValueError as error:
        raise Misconfigured(f"--until: {error}") from error


def _report_refusal(record: Record, refusal: Malformed) -> None:
    sys.stderr.write(f"dead letter: {record.position}: {refusal}\n")


@cli.command("demo")
def demo_command() -> None:
    """Show the main job on servers of its own; ends by itself in under half a minute."""
    raise typer.Exit(demonstration.show())
