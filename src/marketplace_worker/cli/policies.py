"""The commands of the policy: print it, check a file, and show whom a file would move."""

import tomllib
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from marketplace_worker.cli.grammar import As, Config, Output
from marketplace_worker.cli.inspecting import inspecting
from marketplace_worker.cli.options import run_async
from marketplace_worker.cli.printing import print_data, print_table, printed
from marketplace_worker.contract.policy_file import policy_to_toml
from marketplace_worker.explain.wording import length
from marketplace_worker.inspection.policy_diff import Moved, PolicyDiff, policy_diff
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.policy_reading import read_policy
from marketplace_worker.settings import load_policy_file

PolicyFile = Annotated[Path, typer.Argument(help="TOML policy file.", metavar="FILE")]

NO_TIME = timedelta(0)


def show_command(
    config: Config = None,
    policy: Annotated[
        Path | None, typer.Option(help="Policy file to show instead of the configured one.")
    ] = None,
) -> None:
    """Print the policy in force as a complete file, with every default."""
    shown = read_policy(policy or load_policy_file(config))
    if shown == Policy():
        printed("# The built-in policy.  A policy file needs its own version.")
    for line in policy_to_toml(shown).splitlines():
        printed(line)


def check_command(file: PolicyFile) -> None:
    """Check a policy file: print its errors by line and field, or what it changes."""
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
        printed("no difference from the built-in policy")


def _fields(policy: Policy) -> dict[str, str]:
    return dict(_flat(tomllib.loads(policy_to_toml(policy))))


def _flat(values: Mapping[str, Any], *above: str) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, *above, name)
        else:
            yield ".".join((*above, name)), str(value)


def diff_command(file: PolicyFile, config: Config = None, output: As = Output.TABLE) -> None:
    """Show whose next step a policy file would move, compared with the policy in force.

    Nothing is written.  A canceled organization is pinned to the policy of its cancellation; a
    newer policy applies only where it is more lenient, so that steps can only move later.
    """
    proposed = read_policy(file)
    diff = run_async(_diff(config, proposed))
    if output is not Output.TABLE:
        print_data(
            {
                "current": diff.current,
                "proposed": diff.proposed,
                "looked_at": diff.looked_at,
                "moved": [_row(each) for each in diff.moved],
                "totals": _totals(diff),
            },
            output,
            rows="moved",
        )
        return
    printed(f"current policy {diff.current}, proposed policy {diff.proposed}")
    if diff.moved:
        printed("")
        print_table(
            ("organization", "state", "step", "current (UTC)", "proposed (UTC)", "difference"),
            (
                (each.organization, each.state, each.step, each.now, each.then, _difference(each))
                for each in diff.moved
            ),
        )
        printed("")
    totals = _totals(diff)
    printed(
        f"{diff.looked_at} organizations: {totals['earlier']} earlier, {totals['later']} later, "
        f"{totals['no_longer']} dropped, {totals['newly']} added, {totals['unmoved']} unchanged"
    )


async def _diff(config: Path | None, proposed: Policy) -> PolicyDiff:
    async with inspecting(config) as inspector:
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
        return "dropped" if moved.then is None else "added"
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
