"""The commands that send messages, as marketplaces and the vendor's own services would: `send`."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec.structs import replace
from typer.core import TyperGroup

from marketplace_worker.cli.delivering import (
    At,
    Delivery,
    DryRun,
    Parcel,
    YesTo,
    as_it_is,
    inbound_topics,
    kinds_epilog,
    moment_of,
)
from marketplace_worker.cli.grammar import Config
from marketplace_worker.cli.sending_notifications import send_aws, send_azure, send_gcp
from marketplace_worker.cli.sending_own import (
    send_committed,
    send_created,
    send_linked,
    send_login,
    send_owner_changed,
    send_support,
    send_tier_changed,
    send_usage,
)
from marketplace_worker.contract.cloudevents import subject_of
from marketplace_worker.contract.feeds import NAME_PREFIXES, Feed
from marketplace_worker.contract.policy_file import parse_duration
from marketplace_worker.contract.scenario import read_scenario
from marketplace_worker.contract.topics import feeds
from marketplace_worker.errors import Misconfigured
from marketplace_worker.record import Record
from marketplace_worker.settings import Topics, load_kafka_settings
from marketplace_worker.testing import (
    ENVELOPES,
    STORIES,
    AwsKind,
    AzureKind,
    GcpKind,
    SupportRequestKind,
)


class _SendGroup(TyperGroup):
    """`send FILE` is `send file FILE`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - typer's own copies of click's classes
        """Take the name of a file for the command that sends it."""
        is_file = args[0] == "-" or Path(args[0]).is_file()
        if args[0] not in self.commands and is_file:
            args = ["file", *args]
        return super().resolve_command(ctx, args)


send_cli = typer.Typer(
    cls=_SendGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Send messages to the worker's topics, as marketplaces and your own services would: for "
    "trials. Each is printed with where it is: topic/partition/offset. `send FILE` sends a file.",
)


send_cli.command("aws", epilog=kinds_epilog(AwsKind, ENVELOPES))(send_aws)
send_cli.command("gcp", epilog=kinds_epilog(GcpKind, ENVELOPES))(send_gcp)
send_cli.command("azure", epilog=kinds_epilog(AzureKind, ENVELOPES))(send_azure)
send_cli.command("created")(send_created)
send_cli.command("linked")(send_linked)
send_cli.command("committed")(send_committed)
send_cli.command("login")(send_login)
send_cli.command("usage")(send_usage)
send_cli.command("tier-changed")(send_tier_changed)
send_cli.command("owner-changed")(send_owner_changed)
send_cli.command("support", epilog=kinds_epilog(SupportRequestKind))(send_support)


@send_cli.command(
    "story", epilog=as_it_is("".join(f"{each.name}: {each.what}\n" for each in STORIES))
)
def send_story(
    name: Annotated[str, typer.Argument(help="Which one; see below.")],
    *,
    organization: Annotated[
        str | None,
        typer.Option(metavar="ORG", help="The customer; use a new one each time."),
    ] = None,
    at: At = None,
    every: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="Wait so long before each message (ISO 8601)."),
    ] = None,
    config: Config = None,
    dry_run: DryRun = False,
    yes_to: YesTo = None,
) -> None:
    """Send the messages of a customer's whole course.

    They have the times that they have in the story: by default its last message happens now, with
    --at its first one then.
    """
    story = next((each for each in STORIES if each.name == name), None)
    if story is None:
        names = ", ".join(each.name for each in STORIES)
        raise Misconfigured(f"{name}: must be one of {names}")
    began = moment_of("--at", at) - (story.length if at is None else timedelta(0))
    if began + story.length > moment_of("--at", None):
        days = story.length / timedelta(days=1)
        raise Misconfigured(f"--at: must be {days:g} days ago or more: so long is the story")
    pause = timedelta(0) if every is None else _duration(every)
    Delivery(config, dry_run, yes_to or (), pause).deliver(
        lambda: story.messages(organization or story.organization, began.replace(microsecond=0))
    )


@send_cli.command("file")
def send_file(
    file: Annotated[str, typer.Argument(help="A file, or - for standard input.")],
    *,
    topic: Annotated[
        str | None, typer.Option(help="Send the whole file as one message to this topic.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="Its key; by default the subject of a CloudEvent.")
    ] = None,
    config: Config = None,
    dry_run: DryRun = False,
    yes_to: YesTo = None,
) -> None:
    """Send the lines of a scenario as simulate reads it, or with --topic one message.

    The lines keep their times: `at` becomes the timestamp in Kafka.  Without a key, messages of
    your services get their organization as key.
    """
    delivery = Delivery(config, dry_run, yes_to or ())
    names = inbound_topics(Topics() if dry_run else load_kafka_settings(config).topics)
    data = _read(file)
    by_default_name = feeds(Topics())
    by_name = {name: by_default_name[default] for name, default in names.items()}
    if topic is None:
        lines = enumerate(read_scenario(data.splitlines(), by_name), start=1)
        parcels = [
            Parcel(f"record {number} of {file}", _keyed(record, by_name[record.topic]))
            for number, record in lines
        ]
        delivery.deliver_parcels(parcels, keep_times=True)
        return
    if topic not in names:
        raise Misconfigured(f"--topic: must be one of {', '.join(names)}")
    given = None if key is None else key.encode()
    record = Record(topic, 0, 0, moment_of("--at", None), given, data)
    delivery.deliver_parcels([Parcel(file, _keyed(record, by_name[topic]))], keep_times=False)


def _keyed(record: Record, feed: Feed) -> Record:
    """The record with a key, which keeps an organization's messages in order."""
    if record.key is not None or feed not in NAME_PREFIXES:
        return record
    subject = subject_of(record)
    return record if subject is None else replace(record, key=subject.encode())


def _read(file: str) -> bytes:
    if file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise Misconfigured(f"{file}: {error.strerror}") from error


def _duration(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise Misconfigured(f"--every: {error}") from error
