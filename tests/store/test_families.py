"""What belongs together: the store's queries find what `lifecycle.families` defines, in random
fleets.

All fleets of a test are in one database, so a query that goes too far finds strangers.
"""

import random
from datetime import UTC, datetime, timedelta

from marketplace_worker.lifecycle import families
from marketplace_worker.lifecycle.decide import Outcome
from marketplace_worker.lifecycle.facts import (
    Created,
    Fact,
    Notified,
    OwnerChanged,
    SubscriptionLinked,
    SupportRequested,
    TierChanged,
)
from marketplace_worker.lifecycle.families import Recorded
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.matching import concerned
from marketplace_worker.lifecycle.notes import Activated, Note, Pended
from marketplace_worker.lifecycle.organization import Creation, LatestWins, Organization, Proof
from marketplace_worker.lifecycle.replay import Readings
from marketplace_worker.lifecycle.scope import FamilySeeds, scope_of
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.subscription import Link, Subscription
from marketplace_worker.lifecycle.vocabulary import (
    CompletedBy,
    DeactivationCause,
    EmailHash,
    Identity,
    Marketplace,
    OrganizationId,
    SubscriptionKey,
    SupportRequestKind,
    Tier,
)
from marketplace_worker.store import (
    decisions,
    journal,
    organizations,
    replay,
    subscriptions,
    working_set,
)
from marketplace_worker.store.database import Connection, Pool, transaction
from marketplace_worker.store.decisions import DecisionRow

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FLEETS = 40
ASKED = 5
"""How many fleets a test draws, and how often each is asked."""


class Drawn:
    """A random fleet: sparse, so that not everything belongs together.

    Its first organization and its first subscription are not stored.
    """

    def __init__(self, seed: int) -> None:
        self.name = f"f{seed}"
        self.fleet = Fleet()
        self.history: list[Recorded] = []
        self.random = draw = random.Random(seed)
        self.numbers = 0
        self.ids = [OrganizationId(f"{self.name}-org-{n}") for n in range(draw.randint(1, 6))]
        self.keys = [
            SubscriptionKey(draw.choice(list(Marketplace)), f"{self.name}-{n}")
            for n in range(draw.randint(1, 10))
        ]
        self.accounts = [f"{self.name}-account-{n}" for n in range(draw.randint(1, 4))]
        self.emails = [EmailHash(f"{self.name}-{n}".ljust(64, "0")) for n in range(2)]
        for key in self.keys[1:]:
            self.fleet.put(self.subscription(key))
        for id_ in self.ids[1:]:
            self.fleet.put(self.organization(id_))
        crowded = draw.sample(self.accounts, draw.randint(0, 1))
        self.fleet.crowded |= {(market, name) for market in Marketplace for name in crowded}
        for _ in range(draw.randint(0, 8)):
            some = frozenset(draw.sample(self.ids[1:], draw.randint(0, min(2, len(self.ids) - 1))))
            self.history.append(Recorded(self.fact(), some))

    def at(self) -> datetime:
        """A moment."""
        return NOW - timedelta(minutes=self.random.randint(1, 10_000))

    def identity(self) -> Identity:
        """A unique identity."""
        self.numbers += 1
        return Identity(f"/{self.name}", f"m-{self.numbers}")

    def account(self) -> str | None:
        """Mostly none, so that not everything belongs together."""
        return self.random.choice(self.accounts) if self.random.random() < 0.3 else None

    def note(self, key: SubscriptionKey) -> Note:
        """A note of a subscription; sometimes it continues another one of the marketplace."""
        others = [each for each in self.keys if each.marketplace is key.marketplace]
        continues = self.random.choice(others) if self.random.random() < 0.2 else None
        change = Activated() if continues is None else Pended(successor_of=continues)
        return Note(self.at(), 1, self.identity().id, change, billing_account=self.account())

    def subscription(self, key: SubscriptionKey) -> Subscription:
        """A register with a few notifications and links."""
        register = Subscription(key)
        for _ in range(self.random.randint(0, 2)):
            register = register.with_note(self.note(key))
        if self.random.random() < 0.4:
            holder = self.random.choice(self.ids)
            link = Link(self.at(), self.identity().id, holder, billing_account=self.account())
            register = register.with_link(link)
        return register

    def organization(self, id_: OrganizationId) -> Organization:
        """An organization, at times deactivated, with proofs or without an owner."""
        draw = self.random
        closed = draw.random() < 0.3
        proved = draw.sample(self.keys, draw.choice([0, 0, 1]))
        owner = draw.choice(self.emails)
        return Organization(
            id_,
            creation=Creation(NOW, "c", NOW),
            tier=LatestWins(NOW, "c", Tier.FREE),
            owner=LatestWins(NOW, "c", owner) if draw.random() < 0.8 else None,
            state=State.DEACTIVATED if closed else State.ACTIVE,
            entered_at=NOW,
            deactivation_cause=DeactivationCause.SUPPORT_REQUEST if closed else None,
            locked_email=owner if closed else None,
            proofs=tuple(Proof(key, self.at(), CompletedBy.SUPPORT) for key in proved),
        )

    def fact(self) -> Fact:
        """Any kind that names something."""
        draw, identity = self.random, self.identity()
        id_, key, email = draw.choice(self.ids), draw.choice(self.keys), draw.choice(self.emails)
        match draw.randint(0, 6):
            case 0:
                return Notified(identity, key, self.note(key), "word")
            case 1 | 2:
                return SubscriptionLinked(identity, self.at(), id_, key, self.account())
            case 3:
                return Created(identity, self.at(), id_, Tier.FREE, email)
            case 4:
                return OwnerChanged(identity, self.at(), id_, email)
            case 5:
                return TierChanged(identity, self.at(), id_, Tier.PLUS)
            case _:
                request = draw.choice(
                    [SupportRequestKind.REACTIVATE_ORGANIZATION, SupportRequestKind.UNLOCK_EMAIL]
                )
                unlocked = email if request is SupportRequestKind.UNLOCK_EMAIL else None
                return SupportRequested(
                    identity, NOW, id_, request, "somebody", "why", email=unlocked
                )


async def drawn(pool: Pool, seed: int) -> Drawn:
    """A random fleet, and the same in the database."""
    found = Drawn(seed)
    fleet = found.fleet
    stored = list(fleet.organizations.values())
    async with transaction(pool) as conn:
        await subscriptions.lock_families(conn, FamilySeeds(fleet.subscriptions.keys()))
        await organizations.lock(conn, [each.id for each in stored])
        await working_set.save(
            conn, list(fleet.subscriptions.values()), stored, {each.id: None for each in stored}
        )
        await subscriptions.record_crowded(conn, fleet.crowded)
        await record(conn, found)
    return found


async def record(conn: Connection, found: Drawn) -> None:
    """Store the fleet's history."""
    entries = [
        journal.Entry(each.fact, Outcome.APPLIED, "drawn", Readings()) for each in found.history
    ]
    rows = [
        DecisionRow(each.fact.identity, id_, State.ACTIVE, State.ACTIVE, "default", ())
        for each in found.history
        for id_ in sorted(each.decided)
    ]
    if entries:
        await journal.append(conn, entries, decided_at=NOW, policy_version="default")
    if rows:
        await decisions.append(conn, rows, decided_at=NOW)


async def test_a_batch_is_loaded_with_what_belongs_to_it(pool: Pool) -> None:
    """Less would make decisions wrong; more would lock unrelated organizations."""
    for seed in range(FLEETS):
        found = await drawn(pool, seed)
        for _ in range(ASKED):
            scope = scope_of(found.fact() for _ in range(found.random.randint(1, 3)))
            locked, keys = families.working_set(found.fleet, scope)
            async with pool.acquire() as conn:
                asking = conn.transaction()
                await asking.start()
                loaded = await working_set.lock_for(conn, scope)
                await asking.rollback()  # what is locked is written down, where it is new
            assert loaded.locked == locked, f"seed {seed}: {scope}"
            assert loaded.keys == keys, f"seed {seed}: {scope}"
            assert loaded.fleet.crowded == found.fleet.crowded & keys.accounts, f"seed {seed}"


async def test_a_replay_group_is_all_that_decisions_may_have_looked_up(pool: Pool) -> None:
    """Also refused links, former owners, and facts that changed several organizations."""
    for seed in range(FLEETS):
        found = await drawn(pool, seed)
        for _ in range(ASKED):
            ids = found.random.sample(found.ids, min(len(found.ids), found.random.randint(0, 1)))
            keys = found.random.sample(found.keys, 1)
            expected = families.replay_group(found.fleet, found.history, ids, keys)
            async with transaction(pool) as conn:
                assert await replay.group_of(conn, ids, keys) == expected, f"seed {seed}"


def test_whom_a_change_concerns_is_whom_its_family_belongs_to() -> None:
    """So a decision on a partly loaded fleet reads the same as on the whole one."""
    for seed in range(10 * FLEETS):
        found = Drawn(seed)
        for key in found.keys:
            family = families.family(found.fleet, FamilySeeds({key}))
            holders = families.holders(found.fleet, family)
            assert concerned(found.fleet, key, NOW) <= holders, f"seed {seed}: {key}"
