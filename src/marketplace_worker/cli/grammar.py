"""The grammar that all commands share: a tree of names, and the options that every command of a
kind has.

A command's module is imported when the command is used, so that `--help` and looking at something
do not wait for Kafka's and the server's libraries.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from marketplace_worker.cli.watching import watch
from marketplace_worker.errors import Misconfigured

CONNECTION = "connection.toml"
"""The settings file that `run --embedded` writes into its folder."""


class Output(StrEnum):
    """The form of a command's output."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"


Config = Annotated[
    Path | None,
    typer.Option(
        help="TOML settings file; environment variables (MARKETPLACE_WORKER_…) take precedence."
    ),
]
As = Annotated[
    Output,
    typer.Option(
        "--output", "-o", help="table for people, one JSON document, or JSON with one row a line."
    ),
]


@dataclass(frozen=True, slots=True)
class Leaf:
    """A command, or a group that its module builds: `module:name` in this package, and the first
    sentence of its help.  `watched`: it looks, and can repeat that with `--watch`.
    """

    where: str
    help: str
    watched: bool = False


@dataclass(frozen=True, slots=True)
class Branch:
    """A group of commands."""

    help: str
    commands: Mapping[str, Leaf]


Tree = Mapping[str, Leaf | Branch]


def _options(
    folder: Annotated[
        Path | None,
        typer.Option(help=f"Folder of `run --embedded`: reads the {CONNECTION} in it."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --output json.")] = False,
    watch: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0.5, help="Look again so often, until Ctrl-C."),
    ] = None,
) -> None:
    """The options that `CliCommand` and `WatchedCommand` add."""


def _compiled(callback: Any, **attributes: Any) -> Any:  # noqa: ANN401 - typer's copies of click's classes
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(**attributes)(callback)
    return typer.main.get_command(app)


_SHARED = {each.name: each for each in _compiled(_options).params}


class CliCommand(TyperCommand):
    """A command: where it takes `--config`, it takes `--folder`; where `--output`, `--json`."""

    def __init__(self, *args: Any, **attributes: Any) -> None:  # noqa: ANN401 - typer's own
        super().__init__(*args, **attributes)
        names = {each.name for each in self.params}
        if "config" in names and "folder" not in names:
            self.params.append(_SHARED["folder"])
        if "output" in names:
            self.params.append(_SHARED["as_json"])

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer's own
        """Run it, with the shared options in the values of its own.

        Raises:
            Misconfigured: `--config` and `--folder` are both given.
        """
        given, names = ctx.params, {each.name for each in self.params}
        if _SHARED["as_json"] in self.params and given.pop("as_json"):
            given["output"] = Output.JSON
        if _SHARED["folder"] in self.params:
            folder = given.pop("folder")
            if folder is not None and given["config"] is not None:
                raise Misconfigured("give --config or --folder, not both")
            if folder is not None:
                given["config"] = Path(folder) / CONNECTION
        assert given.keys() <= names
        return super().invoke(ctx)


class WatchedCommand(CliCommand):
    """A command that looks: it takes `--watch`."""

    def __init__(self, *args: Any, **attributes: Any) -> None:  # noqa: ANN401 - typer's own
        super().__init__(*args, **attributes)
        self.params.append(_SHARED["watch"])

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer's own
        """Run it, once or until Ctrl-C."""
        every_s = ctx.params.pop("watch")
        if every_s is None:
            return super().invoke(ctx)
        given = dict(ctx.params)

        def run_once() -> None:
            ctx.params = dict(given)
            super(WatchedCommand, self).invoke(ctx)

        return watch(run_once, every_s)


class Group(TyperGroup):
    """A group whose commands are imported when they are used."""

    def __init__(self, *, tree: Tree, **attributes: Any) -> None:  # noqa: ANN401 - typer's own
        super().__init__(no_args_is_help=True, rich_markup_mode=None, **attributes)
        self.tree = tree

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002 - typer's own
        """The names, in the order of the tree."""
        return list(self.tree)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401, ARG002 - typer's own
        """What the help shows of a command; nothing is imported."""
        match self.tree.get(cmd_name):
            case Leaf(help=text):
                return TyperCommand(name=cmd_name, help=text, rich_markup_mode=None)
            case Branch(help=text, commands=commands):
                return Group(name=cmd_name, help=text, tree=commands)
            case None:
                return None

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401, ARG002 - typer's own
        """List the commands with their whole sentences, which typer would cut."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, each.help) for name, each in self.tree.items()])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - typer's own
        """The command to run."""
        name, command, rest = super().resolve_command(ctx, args)
        found = self.tree.get(name or "")
        return name, load(name or "", found) if isinstance(found, Leaf) else command, rest


def load(name: str, leaf: Leaf) -> Any:  # noqa: ANN401 - typer's copies of click's classes
    """Import a command."""
    module, _, attribute = leaf.where.partition(":")
    found = getattr(import_module(f"{__package__}.{module}"), attribute)
    if isinstance(found, typer.Typer):
        for each in found.registered_commands:
            each.cls = CliCommand
        command = typer.main.get_command(found)
        command.name = name
        return command
    return _compiled(found, name=name, cls=WatchedCommand if leaf.watched else CliCommand)


def leaves(tree: Tree, *above: str) -> Sequence[tuple[tuple[str, ...], Leaf]]:
    """All commands of a tree, with their names."""
    found: list[tuple[tuple[str, ...], Leaf]] = []
    for name, each in tree.items():
        if isinstance(each, Branch):
            found += leaves(each.commands, *above, name)
        else:
            found.append(((*above, name), each))
    return found
