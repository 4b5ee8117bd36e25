"""Sends messages for the commands of `send`, and prints where they are.

Only this module decides whether a broker may be written to.
"""

import asyncio
import ipaddress
import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from msgspec.structs import replace

from marketplace_worker.cli.options import run_async
from marketplace_worker.cli.printing import printed
from marketplace_worker.clock import system_clock
from marketplace_worker.contract.fields import read_time
from marketplace_worker.contract.policy_file import parse_duration
from marketplace_worker.contract.topics import feeds
from marketplace_worker.errors import Misconfigured
from marketplace_worker.record import EPOCH, Record
from marketplace_worker.settings import KafkaSettings, Topics, load_kafka_settings
from marketplace_worker.streams.security import servers
from marketplace_worker.streams.sending import sending
from marketplace_worker.terminal import escaped_json
from marketplace_worker.testing import Message
from marketplace_worker.testing.messages import scenario_line

KindName = TypeVar("KindName", bound=StrEnum)

HELP_WIDTH = 76

At = Annotated[
    str | None,
    typer.Option(
        help="When it happened: a time (RFC 3339), or an ISO 8601 duration ago; now by default."
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the messages as lines for simulate; send nothing.")
]
YesTo = Annotated[
    list[str] | None,
    typer.Option(
        "--yes-to",
        metavar="HOST",
        help="Send although this broker is not on this machine; once for each host.",
    ),
]


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message to send, and its description.  Topics have their default names."""

    what: str
    record: Record


@dataclass(frozen=True, slots=True)
class Delivery:
    """Where to, whether really, and with which pause between two messages."""

    config: Path | None
    dry_run: bool
    yes_to: Sequence[str]
    pause: timedelta = timedelta(0)

    def deliver(self, build: Callable[[], Iterable[Message]]) -> None:
        """Send messages.  Kafka dates them, as it does those that arrive late.

        Raises:
            Misconfigured: they cannot be built, or Kafka does not take them.
            Unavailable: Kafka does not answer.
        """
        try:
            messages = list(build())
        except ValueError as error:
            raise Misconfigured(str(error)) from error
        self.deliver_parcels(
            [Parcel(each.what, each.record()) for each in messages], keep_times=False
        )

    def deliver_parcels(self, parcels: Sequence[Parcel], *, keep_times: bool) -> None:
        """Send records; with `keep_times` their times become their timestamps in Kafka."""
        if self.dry_run:
            for each in parcels:
                printed_line = json.dumps(scenario_line(each.record), ensure_ascii=False)
                typer.echo(escaped_json(printed_line))
            return
        settings = load_kafka_settings(self.config)
        _require_consent(_hosts(settings), self.yes_to)
        run_async(self._send(settings, parcels, keep_times=keep_times))

    async def _send(
        self, settings: KafkaSettings, parcels: Sequence[Parcel], *, keep_times: bool
    ) -> None:
        configured = settings.topics.configured
        topics = dict.fromkeys(configured(each.record.topic) for each in parcels)
        async with sending(settings.kafka, topics) as sender:
            _require_consent(sender.hosts, self.yes_to)
            for number, each in enumerate(parcels):
                if number:
                    await asyncio.sleep(self.pause.total_seconds())
                at = each.record.recorded_at if keep_times else EPOCH
                record = replace(each.record, topic=configured(each.record.topic), recorded_at=at)
                place = await sender.send(record)
                printed(f"{place}  {each.what}")
                sys.stdout.flush()


def moment_of(option: str, text: str | None) -> datetime:
    """The moment that an option names: a time, or a duration before now; None: now.

    Raises:
        Misconfigured: it is neither, or in the future.
    """
    now = system_clock()
    if text is None:
        return now
    try:
        moment = now - parse_duration(text) if text.startswith("P") else read_time(text)
    except (ValueError, OverflowError) as error:
        raise Misconfigured(
            f"{option}: {error}, such as 2026-11-22T18:00:00Z, or PT1H for an hour ago"
        ) from error
    if moment > now:
        raise Misconfigured(f"{option}: is in the future")
    return moment


def time_of(option: str, text: str | None) -> datetime | None:
    """The time that an option names; None without one.  Raises `Misconfigured`."""
    if text is None:
        return None
    try:
        return read_time(text)
    except ValueError as error:
        raise Misconfigured(
            f"{option}: {error}: give a time such as 2026-11-22T18:00:00Z"
        ) from error


def slug(kind: StrEnum) -> str:
    """A kind as a word for the command line: `Purchase Agreement Ended` -> `purchase-…-ended`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|[ _]", "-", kind.value).lower()


def kinds_epilog(kinds: Iterable[StrEnum], envelopes: Iterable[str] = ()) -> str:
    """The end of a help: the kinds, and the envelopes, with no name broken at a hyphen."""
    listed = [("Kinds", ", ".join(map(slug, kinds))), ("Envelopes", ", ".join(envelopes))]
    return as_it_is("".join(f"{title}: {words}\n" for title, words in listed if words))


def as_it_is(text: str) -> str:
    """Lines of a help that are broken here, between words, and not once more by click."""
    lines = (
        textwrap.fill(line, HELP_WIDTH, subsequent_indent="  ", break_on_hyphens=False)
        for line in text.splitlines()
    )
    return "\b\n" + "\n".join(lines)


def kind_of(kinds: type[KindName], text: str) -> KindName:
    """The kind that a word names, in any spelling: with spaces, dashes or underscores.

    Raises:
        Misconfigured: none does; the message lists them.
    """
    wanted = re.sub(r"[^a-z0-9]", "", text.lower())
    for kind in kinds:
        if re.sub(r"[^a-z0-9]", "", kind.value.lower()) == wanted:
            return kind
    raise Misconfigured(f"{text}: must be one of {', '.join(map(slug, kinds))}")


def inbound_topics(topics: Topics) -> dict[str, str]:
    """The default names of the inbound topics, by default name and by configured name."""
    defaults = feeds(Topics())
    return {name: each for each in defaults for name in (each, topics.configured(each))}


def _hosts(settings: KafkaSettings) -> Iterable[str]:
    return [server.rpartition(":")[0].strip("[]") for server in servers(settings.kafka)]


def _require_consent(hosts: Iterable[str], yes_to: Sequence[str]) -> None:
    """Refuse to send to a broker on another machine, unless the operator names it.

    Brokers that Kafka advertises count as well: an address on this machine may lead elsewhere.
    """
    foreign = sorted({host for host in hosts if not _is_loopback(host)} - set(yes_to))
    if foreign:
        options = " ".join(f"--yes-to {host}" for host in foreign)
        raise Misconfigured(
            f"the broker {', '.join(foreign)} is not on this machine, and what is sent counts like "
            f"a marketplace's own message: if that is meant, add {options}"
        )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
