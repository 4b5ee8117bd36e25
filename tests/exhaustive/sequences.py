"""Every short sequence of facts, from several starting points (lifecycle.md section 10, 1 to 5).

    python tests/exhaustive/sequences.py [LENGTH]

Each sequence is applied to the core fact by fact. After each decision the invariants of
`invariants.py` are checked; no decision may raise.  Sequences with a common beginning, or that have
reached the same state, are continued once: depth first, on a fleet that is copied before it
changes.
"""

import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import repeat
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from due_organizations import BEGAN, active_feeds, due_organization
from invariants import Witness
from strategies import TODAY
from world import (
    ACCOUNT,
    ACME,
    BETA,
    BOUGHT_AGAIN,
    DAY,
    ENTITLEMENT,
    HOUR,
    OWNER,
    SAAS,
    World,
)

from marketplace_worker.lifecycle.decide import deadline_of
from marketplace_worker.lifecycle.facts import (
    ApiRequested,
    CommitmentLinked,
    Created,
    Fact,
    GuardReleased,
    GuardTripped,
    LoggedIn,
    Notified,
    SubscriptionLinked,
    SupportRequested,
    TierChanged,
)
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.inactivity import Feeds
from marketplace_worker.lifecycle.notes import (
    Activated,
    Change,
    Ended,
    Note,
    Resumed,
    Superseded,
    Suspended,
    Unsubscribed,
)
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import (
    HoldKind,
    Identity,
    Initiator,
    Marketplace,
    OrganizationId,
    PlanEndReason,
    PlanType,
    SubscriptionKey,
    SupportRequestKind,
    Tier,
)

LENGTH = 4
SAAS_AGAIN = SubscriptionKey(Marketplace.AZURE, "s-2")
BETWEEN = 6 * HOUR
"""Time between two facts, unless the second is a deadline."""

ENDED = Ended(PlanEndReason.CUSTOMER, Initiator.CUSTOMER, terminal=False)
Kind = Callable[[Identity, datetime], Fact]


# --- the kinds of facts ---------------------------------------------------------------------------


def notified(key: SubscriptionKey, change: Change, account: str | None = None) -> Kind:
    """A marketplace notifies about a subscription."""

    def fact(identity: Identity, now: datetime) -> Fact:
        note = Note(now, 1, identity.id, change, billing_account=account)
        return Notified(identity, key, note, notification=change.kind)

    return fact


def linked(
    key: SubscriptionKey, organization: OrganizationId = ACME, account: str | None = None
) -> Kind:
    """The product links a subscription at sign-up."""
    return lambda identity, now: SubscriptionLinked(
        identity, now, organization, key, account, PlanType.PAYG
    )


def asked(
    request: SupportRequestKind, days: int | None = None, grants: timedelta | None = None
) -> Kind:
    """A Support request."""
    return lambda identity, now: SupportRequested(
        identity,
        now,
        ACME,
        request,
        requested_by="ann",
        reason="because",
        grant_until=now + grants if grants else None,
        email=OWNER if request is SupportRequestKind.UNLOCK_EMAIL else None,
        hold=HoldKind.LEGAL,
        days=days,
    )


def committed(identity: Identity, now: datetime) -> Fact:
    """A commitment of 20 days begins."""
    return CommitmentLinked(identity, now, ACME, identity.id, now, now + 20 * DAY)


ALWAYS: dict[str, Kind] = {
    "acme pays": lambda identity, now: TierChanged(identity, now, ACME, Tier.PLUS),
    "committed": committed,
    "signed in": lambda identity, now: LoggedIn(identity, now, ACME),
    "support deactivates": asked(SupportRequestKind.DEACTIVATE_ORGANIZATION),
    "support reactivates": asked(SupportRequestKind.REACTIVATE_ORGANIZATION),
    "support reinstates": asked(SupportRequestKind.REINSTATE_ORGANIZATION, grants=2 * DAY),
    "support unlocks": asked(SupportRequestKind.UNLOCK_EMAIL),
    "support holds": asked(SupportRequestKind.PLACE_HOLD),
    "support releases": asked(SupportRequestKind.RELEASE_HOLD),
    "support extends": asked(SupportRequestKind.EXTEND_GRACE, days=10),
    "guard tripped": lambda identity, now: GuardTripped(identity, now, "ops", "to be safe"),
    "guard released": lambda identity, now: GuardReleased(identity, now, "ops", "all is well"),
}
TIME = "a deadline comes"
"""The earliest deadline of any organization: time jumps to it."""

GOOGLE: dict[str, Kind] = {
    "linked": linked(ENTITLEMENT, account=ACCOUNT),
    "moved to beta": linked(ENTITLEMENT, BETA, account=ACCOUNT),
    "ended": notified(ENTITLEMENT, ENDED),
    "active again": notified(ENTITLEMENT, Activated()),
    "superseded": notified(ENTITLEMENT, Superseded()),
    "bought again": notified(BOUGHT_AGAIN, Activated(), ACCOUNT),
    "bought again, over": notified(BOUGHT_AGAIN, ENDED),
    "requested": lambda identity, now: ApiRequested(identity, now, ACME),
}
AZURE: dict[str, Kind] = {
    "azure renews": notified(SAAS, Activated()),
    "azure suspends": notified(SAAS, Suspended()),
    "azure reinstates": notified(SAAS, Resumed(where="suspended")),
    "azure unsubscribes": notified(SAAS, Unsubscribed(by_partner=False)),
    "azure, another": notified(SAAS_AGAIN, Activated()),
    "azure, another linked": linked(SAAS_AGAIN),
    "asked to reinstate": asked(SupportRequestKind.REINSTATE_ORGANIZATION),
}
CREATED: dict[str, Kind] = {
    "acme created": lambda identity, now: Created(identity, now, ACME, Tier.FREE, OWNER),
    "beta created": lambda identity, now: Created(identity, now, BETA, Tier.FREE, OWNER),
}
KINDS = {**ALWAYS, **GOOGLE, **AZURE, **CREATED}


# --- starting points ------------------------------------------------------------------------------


def nothing() -> World:
    """An empty fleet."""
    return active_feeds(World())


def walked(*kinds: str, days: float = 0) -> World:
    """Acme was created and linked to a subscription; then these facts were applied."""
    world = nothing()
    beginning = ["acme created", "linked", *kinds]
    for number, kind in enumerate(beginning):
        at = BEGAN + number * HOUR
        world.apply(KINDS[kind](Identity("start", f"s-{number}"), at), at)
    world.wait(BEGAN + days * DAY)
    return world


def azure() -> World:
    """The only plan of acme is Azure's, suspended three days ago."""
    world = nothing()
    at = TODAY - 3 * DAY
    facts = (KINDS["acme created"], linked(SAAS), notified(SAAS, Suspended()))
    for number, kind in enumerate(facts):
        world.apply(kind(Identity("start", f"s-{number}"), at), at)
    world.wait(TODAY)
    return world


def due(state: State) -> World:
    """The next step of acme is due."""
    world = due_organization(state, PlanType.PAYG, timedelta(0))
    world.note(ACME, TODAY, TODAY)
    return world


@dataclass(frozen=True, slots=True)
class Start:
    """A fleet, and the kinds of facts that matter from there."""

    world: Callable[[], World]
    kinds: dict[str, Kind]


STARTS = {
    "empty fleet": Start(nothing, {**ALWAYS, **GOOGLE, **CREATED}),
    "subscribed": Start(walked, {**ALWAYS, **GOOGLE}),
    "inactive": Start(lambda: due(State.ACTIVE), {**ALWAYS, **GOOGLE}),
    "without control plane": Start(lambda: due(State.CONTROL_PLANE_LOSS), {**ALWAYS, **GOOGLE}),
    "suspended": Start(lambda: due(State.SUSPENDED), {**ALWAYS, **GOOGLE}),
    "azure, suspended": Start(azure, {**ALWAYS, **AZURE}),
    "deactivated by Support": Start(
        lambda: walked("support deactivates"), {**ALWAYS, **GOOGLE, **CREATED}
    ),
}


# --- all sequences --------------------------------------------------------------------------------


@dataclass(slots=True)
class Count:
    """The number of sequences, of the decisions made for them, and of those that changed a
    state.
    """

    sequences: int = 0
    decisions: int = 0
    transitions: int = 0

    def add(self, other: "Count") -> None:
        """Add another count."""
        self.sequences += other.sequences
        self.decisions += other.decisions
        self.transitions += other.transitions


def copied(world: World) -> World:
    """A copy that may change; each of its decisions is checked."""
    before = world.fleet
    days = {feed: dict(counts) for feed, counts in before.feeds.days.items()}
    fleet = Fleet(seen=dict(before.seen), feeds=Feeds(days), safeguards=before.safeguards)
    fleet.put(*before.subscriptions.values(), *before.organizations.values())
    return World(
        world.policies, fleet, dict(world.due_at), set(world.idle), watch=Witness.of(fleet)
    )


def state_of(world: World, now: datetime) -> object:
    """Everything that a decision could depend on, so not the sequences of events."""
    fleet = world.fleet
    return (
        now,
        frozenset(replace(each, sequence=0) for each in fleet.organizations.values()),
        frozenset(fleet.subscriptions.values()),
        frozenset(fleet.seen.items()),
        frozenset((feed, *counts.items()) for feed, counts in fleet.feeds.days.items()),
        replace(fleet.safeguards, sequence=0),
        frozenset(world.due_at.items()),
    )


def possible_next(
    kinds: dict[str, Kind], world: World, now: datetime, number: int
) -> Iterator[tuple[str, Fact, datetime]]:
    """Every possible next fact, with its name and its time."""
    at = now + BETWEEN
    for name, kind in kinds.items():
        yield name, kind(Identity("t", f"t-{number}"), at), at
    if world.due_at:
        due_at, organization = min((due_at, id_) for id_, due_at in world.due_at.items())
        at = max(due_at, now)
        yield TIME, deadline_of(world.fleet.organization(organization), at), at


@dataclass(slots=True)
class SequenceSearch:
    """All sequences of one length; `known`: the states continued already, and their sequences."""

    kinds: dict[str, Kind]
    length: int
    known: dict[object, int] = field(default_factory=dict)

    def continue_from(
        self, world: World, now: datetime, history: tuple[str, ...], first: str = ""
    ) -> Count:
        """Continue with every possible fact, or only with `first`."""
        count, left = Count(), self.length - len(history)
        if left == 0:
            return Count(sequences=1)
        for name, fact, at in possible_next(self.kinds, world, now, len(history)):
            if first in {"", name}:
                then = copied(world)
                count.add(self.decide(then, fact, at, (*history, name)))
                count.add(self._continue_once(then, at, (*history, name)))
        return count

    def decide(self, world: World, fact: Fact, now: datetime, history: tuple[str, ...]) -> Count:
        """Make one decision; if it breaks an invariant, the error has the history."""
        if isinstance(fact, LoggedIn | ApiRequested):
            world.fleet.record_activity(fact)
        try:
            decision = world.decide(fact, now)
        except Exception as error:
            error.add_note(f"after {' -> '.join(history)}")
            raise
        moved = any(each.before.state is not each.organization.state for each in decision.results)
        return Count(decisions=1, transitions=moved)

    def _continue_once(self, world: World, now: datetime, history: tuple[str, ...]) -> Count:
        """Continue from each state once; count its sequences as often as it is reached."""
        if len(history) == self.length:
            return Count(sequences=1)
        here = (len(history), state_of(world, now))
        if here in self.known:
            return Count(sequences=self.known[here])
        count = self.continue_from(world, now, history)
        self.known[here] = count.sequences
        return count


def run_sequences(start: str, first: str, length: int) -> Count:
    """Every sequence from one starting point with this first fact."""
    begins = STARTS[start]
    return SequenceSearch(begins.kinds, length).continue_from(begins.world(), TODAY, (), first)


def main() -> int:
    """Run all sequences on all processors, and print their number."""
    length = int(sys.argv[1]) if len(sys.argv) > 1 else LENGTH
    began, total = time.monotonic(), Count()
    with ProcessPoolExecutor() as pool:
        for name, start in STARTS.items():
            here, firsts = Count(), [*start.kinds, TIME]
            for count in pool.map(run_sequences, repeat(name), firsts, repeat(length)):
                here.add(count)
            print(f"{name:24} {here.sequences:>10,} sequences of {length}", flush=True)
            total.add(here)
    print(
        f"{'in all':24} {total.sequences:>10,} sequences of {length}, by {total.decisions:,} "
        f"decisions; {total.transitions:,} of these changed a state, and every one kept the "
        f"invariants ({time.monotonic() - began:.0f} s)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
