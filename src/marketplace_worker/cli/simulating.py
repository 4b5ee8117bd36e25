"""The command that simulates a scenario without servers (events.md section 4)."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from marketplace_worker.contract.emails import email_hasher
from marketplace_worker.contract.fields import read_time
from marketplace_worker.contract.outbound import encode
from marketplace_worker.contract.scenario import read_scenario
from marketplace_worker.contract.topics import feeds
from marketplace_worker.errors import Malformed, Misconfigured
from marketplace_worker.policy_reading import read_policy
from marketplace_worker.record import Record
from marketplace_worker.settings import Ingest, Topics, load_email_key
from marketplace_worker.simulate import Simulation
from marketplace_worker.terminal import escaped_json, visible


def simulate_command(
    scenario: Annotated[str, typer.Argument(help="A JSON Lines file, or - for standard input.")],
    policy: Annotated[Path | None, typer.Option(help="TOML policy file to try.")] = None,
    until: Annotated[str | None, typer.Option(help="When the simulation ends (RFC 3339).")] = None,
) -> None:
    """Print the events that the worker would publish for a scenario; needs no servers."""
    key = load_email_key().get_secret_value().encode()
    by_topic = feeds(Topics())
    simulation = Simulation(read_policy(policy), by_topic, email_hasher(key), _report_refusal)
    end = _moment(until)
    limit = Ingest().record_bytes_max
    with _opened(scenario) as lines:
        records = (each.bounded(limit) for each in read_scenario(lines, by_topic))
        for event in simulation.run(records, until=end):
            published = encode(event, simulation.traces.get(event.id)).decode()
            sys.stdout.buffer.write(f"{escaped_json(published)}\n".encode())
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
    sys.stderr.write(f"{visible(f'dead letter: {record.position}: {refusal}')}\n")
