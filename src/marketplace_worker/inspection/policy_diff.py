"""Compares two policies: whose steps would come earlier or later, and by how much."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from marketplace_worker.errors import Misconfigured
from marketplace_worker.explain.situation import case_of, steps_to_come
from marketplace_worker.inspection.fleet_view import PAGE, FleetView, Inspector, load_views
from marketplace_worker.lifecycle.events import ScheduledStep
from marketplace_worker.lifecycle.policy import Policies, Policy
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import OrganizationId
from marketplace_worker.store import organizations, policies
from marketplace_worker.store.database import Connection, one_moment

PAGE_BESIDE_OTHERS = 100
"""How many organizations are compared at once where other tasks wait: some tens of milliseconds."""


@dataclass(frozen=True, slots=True)
class Moved:
    """A step whose time would change; `then` or `now` is None where it would not happen."""

    organization: OrganizationId
    state: State
    step: State
    now: datetime | None
    then: datetime | None

    @property
    def later_by(self) -> timedelta | None:
        """How much later it would be; negative: earlier."""
        return None if self.now is None or self.then is None else self.then - self.now


@dataclass(frozen=True, slots=True)
class PolicyDiff:
    """For each affected organization, in order of id, its first step whose time would change.

    `looked_at`: how many organizations were compared: all that are not deactivated, unless the time
    was over before (`complete` is False).
    """

    current: str
    proposed: str
    looked_at: int
    moved: Sequence[Moved]
    complete: bool = True


async def policy_diff(
    inspector: Inspector, proposed: Policy, *, within: timedelta | None = None
) -> PolicyDiff:
    """Compare every organization's steps under the policy in force and under a proposed one.

    With `within`, it stops after that time, and compares fewer organizations at once, so that other
    tasks of the process run in between.

    Raises:
        Misconfigured: a different policy has the proposed one's version.
    """
    moved: list[Moved] = []
    looked_at = 0
    loop = asyncio.get_running_loop()
    ends_at = None if within is None else loop.time() + within.total_seconds()
    limit = PAGE if within is None else PAGE_BESIDE_OTHERS
    complete = True
    async with one_moment(inspector.pool) as conn:
        await _check_version(conn, inspector.policies.current, proposed)

        async def page(after: OrganizationId | None) -> Sequence[OrganizationId]:
            return await organizations.page(conn, after=after, limit=limit)

        async for view in load_views(conn, inspector, page):
            looked_at += sum(each.counts_in_the_fleet for each in view.organizations)
            moved += _moved(view, proposed)
            if ends_at is not None and loop.time() > ends_at:
                complete = False
                break
    current = inspector.policies.current.version
    return PolicyDiff(current, proposed.version, looked_at, moved, complete)


async def _check_version(conn: Connection, current: Policy, proposed: Policy) -> None:
    known = await policies.read(conn, [proposed.version])
    taken = {**known, current.version: current}.get(proposed.version, proposed)
    if taken != proposed:
        raise Misconfigured(
            f"policy {proposed.version}: another policy has already used this version: set another "
            "`version` in the file"
        )


def _moved(view: FleetView, proposed: Policy) -> Iterator[Moved]:
    pinned = {**view.policies.pinned, view.policies.current.version: view.policies.current}
    after = replace(view, policies=Policies(proposed, pinned))
    for before, then in zip(_steps(view), _steps(after), strict=True):
        organization, state, steps = before
        yield from _first_moved(organization, state, steps, then[2])


def _steps(view: FleetView) -> list[tuple[OrganizationId, State, tuple[ScheduledStep, ...]]]:
    return [
        (
            each.id,
            each.state,
            steps_to_come(case_of(each, view.fleet, view.policies, now=view.now)),
        )
        for each in view.organizations
    ]


def _first_moved(
    organization: OrganizationId,
    state: State,
    before: tuple[ScheduledStep, ...],
    after: tuple[ScheduledStep, ...],
) -> Iterator[Moved]:
    at, then = {each.state: each.at for each in before}, {each.state: each.at for each in after}
    for step in State:
        if at.get(step) != then.get(step):
            yield Moved(organization, state, step, at.get(step), then.get(step))
            return
