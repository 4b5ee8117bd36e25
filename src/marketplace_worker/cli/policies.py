"""The commands about the policy: which one is in force, what a file says, whom it would move."""

import tomllib
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from marketplace_worker.app import read_policy
from marketplace_worker.cli.options import AsJson, Config, inspecting, run_async
from marketplace_worker.cli.printing import print_json, print_table, printed
from marketplace_worker.contract.policy_file import policy_to_toml
from marketplace_worker.explain.wording import length
from marketplace_worker.inspection.policy_diff import Moved, PolicyDiff, policy_diff
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.settings import Settings, load_policy_file, load_settings

policy_cli = typer.Typer(help="The policy: timelines, dwell, notices.", no_args_is_help=True)

PolicyFile = Annotated[Path, typer.Argument(help="TOML file of a policy.", metavar="FILE")]

NO_TIME = timedelta(0)


@policy_cli.command("show")
def show_command(
    config: Config = None,
    policy: Annotated[Path | None, typer.Option(help="Another file than the settings'.")] = None,
) -> None:
    """Print the policy in force as a whole file: what a file leaves out has its default."""
    shown = read_policy(policy or load_policy_file(config))
    if shown == Policy():
        printed("# The built-in policy.  A file needs a version of its own.")
    for line in policy_to_toml(shown).splitlines():
        printed(line)


@policy_cli.command("check")
def check_command(file: PolicyFile) -> None:
    """Say whether a file may be used: what is wrong by line and field, or what it changes."""
    policy = read_policy(file)
    printed(f"{file}: ok, policy {policy.version}")
    built_in, given = _fields(Policy()), _fields(policy)
    rows = [
        (name, value, built_in[name])
        for name, value in given.items()
        if name != "version" and value != built_in[name]
    ]
    if rows:
        print_table(("field", "value", "built-in"), rows)
    else:
        printed("nothing differs from the built-in policy")


def _fields(policy: Policy) -> dict[str, str]:
    return dict(_flat(tomllib.loads(policy_to_toml(policy))))


def _flat(values: Mapping[str, Any], *above: str) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, *above, name)
        else:
            yield ".".join((*above, name)), str(value)


@policy_cli.command("diff")
def diff_command(file: PolicyFile, config: Config = None, as_json: AsJson = False) -> None:
    """Say whom the policy of a file would move, against the one in force; nothing is written.

    An organization on its way down is pinned to the policy of its cancellation, and a newer one
    applies only where it is kinder: it can only move later.
    """
    proposed = read_policy(file)
    diff = run_async(_diff(load_settings(config), proposed))
    if as_json:
        print_json(
            {
                "current": diff.current,
                "proposed": diff.proposed,
                "looked_at": diff.looked_at,
                "moved": [_row(each) for each in diff.moved],
                "totals": _totals(diff),
            }
        )
        return
    printed(f"now: policy {diff.current}; then: policy {diff.proposed}")
    if diff.moved:
        printed("")
        print_table(
            ("organization", "state", "step", "now (UTC)", "then (UTC)", "difference"),
            (
                (each.organization, each.state, each.step, each.now, each.then, _difference(each))
                for each in diff.moved
            ),
        )
        printed("")
    totals = _totals(diff)
    printed(
        f"{diff.looked_at} organizations: {totals['earlier']} earlier, {totals['later']} later, "
        f"{totals['no_longer']} no longer, {totals['newly']} newly, {totals['unmoved']} unmoved"
    )


async def _diff(settings: Settings, proposed: Policy) -> PolicyDiff:
    async with inspecting(settings) as inspector:
        return await policy_diff(inspector, proposed)


def _row(moved: Moved) -> dict[str, object]:
    return {
        "organization_id": moved.organization,
        "state": moved.state,
        "step": moved.step,
        "now": moved.now,
        "then": moved.then,
        "later_by": moved.later_by,
    }


def _difference(moved: Moved) -> str:
    later_by = moved.later_by
    if later_by is None:
        return "no longer" if moved.then is None else "newly"
    return f"{'+' if later_by > NO_TIME else '-'}{length(later_by)}"


def _totals(diff: PolicyDiff) -> dict[str, int]:
    by = [each.later_by for each in diff.moved if each.later_by is not None]
    return {
        "earlier": sum(each < NO_TIME for each in by),
        "later": sum(each > NO_TIME for each in by),
        "no_longer": sum(each.then is None for each in diff.moved),
        "newly": sum(each.now is None for each in diff.moved),
        "unmoved": diff.looked_at - len(diff.moved),
    }
