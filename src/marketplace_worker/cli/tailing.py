"""The command that prints lifecycle events as they are published: `tail`."""

import json
import os
import sys
from collections.abc import Collection, Iterable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from marketplace_worker.cli.delivering import moment_of
from marketplace_worker.cli.grammar import As, Config, Output
from marketplace_worker.cli.options import run_async
from marketplace_worker.cli.watching import INTERRUPTED
from marketplace_worker.contract.event_lines import event_name, event_remark
from marketplace_worker.errors import Misconfigured
from marketplace_worker.lifecycle.events import EventKind
from marketplace_worker.record import Record
from marketplace_worker.settings import KafkaSettings, load_kafka_settings
from marketplace_worker.streams.following import follow
from marketplace_worker.terminal import escaped_json, visible

NAME_WIDTH = max(map(len, EventKind))


def tail_command(
    org: Annotated[
        list[str] | None, typer.Option(metavar="ORG", help="Only this organization; repeatable.")
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Only this event, such as organization.suspended, or those whose names begin so, "
            "such as organization; repeatable.",
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Begin there: a time (RFC 3339), or PT1H for an hour ago."
        ),
    ] = None,
    output: As = Output.TABLE,
    config: Config = None,
) -> None:
    """Print lifecycle events as they are published, until Ctrl-C.

    Reads Kafka without a consumer group, so that nobody else is disturbed.
    """
    names = _names(kind or ())
    begin = None if since is None else moment_of("--since", since)
    try:
        run_async(_tail(load_kafka_settings(config), org or (), names, begin, output))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        # Nobody reads any more.  Python would complain once more about it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _names(wanted: Iterable[str]) -> frozenset[str]:
    """The names of the events that are wanted; all, if nothing is said."""
    found: set[str] = set()
    for each in wanted:
        named = {name for name in EventKind if name == each or name.startswith(f"{each}.")}
        if not named:
            raise Misconfigured(f"--kind {each}: must be one of {', '.join(EventKind)}")
        found |= named
    return frozenset(found or EventKind)


async def _tail(
    settings: KafkaSettings,
    organizations: Collection[str],
    names: Collection[str],
    since: datetime | None,
    output: Output,
) -> None:
    topic, batch_bytes_max = settings.topics.lifecycle, settings.ingest.batch_bytes_max
    async with aclosing(follow(settings.kafka, topic, batch_bytes_max, since=since)) as batches:
        async for records in batches:
            for event in _events(records):
                is_wanted = not organizations or event["subject"] in organizations
                if is_wanted and event_name(event) in names:
                    sys.stdout.write(f"{_line(event, output)}\n")
            sys.stdout.flush()


def _events(records: Sequence[Record]) -> Iterable[dict[str, Any]]:
    """The events among the records; whatever others wrote to the topic is left out."""
    for record in records:
        try:
            event = json.loads(record.value or b"")
            datetime.fromisoformat(event["time"])
        except (ValueError, KeyError, TypeError):
            continue
        if isinstance(event.get("type"), str) and isinstance(event.get("subject"), str):
            yield event


def _line(event: dict[str, Any], output: Output) -> str:
    if output is not Output.TABLE:
        return escaped_json(json.dumps(event, ensure_ascii=False))
    at = _written(datetime.fromisoformat(event["time"]), "seconds")
    try:
        remark = event_remark(event, _written)
    except (KeyError, TypeError, ValueError):
        remark = "not written by the worker: its data is not valid"
    line = f"{at}  {event['subject']:<16}  {event_name(event):<{NAME_WIDTH}}  {remark}"
    return visible(line.rstrip())


def _written(moment: datetime, timespec: str = "minutes") -> str:
    return moment.astimezone(UTC).strftime(
        "%Y-%m-%d %H:%M:%S" if timespec == "seconds" else "%Y-%m-%d %H:%M"
    )
