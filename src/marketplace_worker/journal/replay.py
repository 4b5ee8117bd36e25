"""Replays rows of the journal from checkpoints on, and checks that they are unchanged.

All inputs of a decision are in its row: nothing else is read.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from marketplace_worker.documents import (
    events_to_json,
    fact_from_json,
    readings_from_json,
)
from marketplace_worker.journal.chain import BEGINNING, content_hash, link
from marketplace_worker.journal.rows import Chain, JournalRow
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.policy import Policies, Policy
from marketplace_worker.lifecycle.replay import replay_decision, replay_refusal
from marketplace_worker.lifecycle.subscription import Subscription
from marketplace_worker.lifecycle.vocabulary import Identity, OrganizationId


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """A row of the journal as it is stored; `row` is what its hash covers."""

    id: int
    row: JournalRow
    decided_at: datetime
    salt: bytes | None
    content_hash: bytes | None
    previous_hash: bytes | None
    hash: bytes | None

    @property
    def identity(self) -> Identity:
        """The identity of the message."""
        return Identity(self.row.source, self.row.message_id)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An aggregate or a register as it was after the row `journal_id`, decided at `decided_at`."""

    chain: Chain
    journal_id: int
    decided_at: datetime
    value: Organization | Subscription
    head: bytes


@dataclass(frozen=True, slots=True)
class Damage:
    """A row that was changed, or whose replay has another result."""

    entry: StoredEntry
    what: str


RecordedDecision = tuple[str | None, str | None, Any]
"""State before, state after, and the events as the history has them."""


@dataclass(slots=True)
class ReplayResult:
    """The result of replaying the journal.  `decided`: each fact's decision for each
    organization.
    """

    fleet: Fleet = field(default_factory=Fleet)
    heads: dict[Chain, bytes] = field(default_factory=dict)
    decided: dict[tuple[Identity, OrganizationId], RecordedDecision] = field(default_factory=dict)
    damages: list[Damage] = field(default_factory=list)
    rows: int = 0
    covered: set[Identity] = field(default_factory=set)
    entries: Sequence[StoredEntry] = ()


def replay_rows(
    began: Iterable[Checkpoint], entries: Sequence[StoredEntry], known: Mapping[str, Policy]
) -> ReplayResult:
    """Fold rows in their order; those up to the checkpoint of their chain are only checked."""
    replaying = _Replay(ReplayResult(), {each.chain: each for each in began}, known)
    for each in replaying.began.values():
        replaying.replayed.fleet.put(each.value)
    for entry in entries:
        replaying.check(entry)
        replaying.replay(entry)
    for chain, checkpoint in replaying.began.items():
        replaying.replayed.heads.setdefault(chain, checkpoint.head)
    replaying.replayed.entries = entries
    return replaying.replayed


@dataclass(slots=True)
class _Replay:
    replayed: ReplayResult
    began: dict[Chain, Checkpoint]
    known: Mapping[str, Policy]

    def check(self, entry: StoredEntry) -> None:
        """Whether the row is unchanged and follows the row that it followed when written."""
        if entry.hash is None:
            return  # of an earlier version
        for what in unsealed(entry):
            self.replayed.damages.append(Damage(entry, what))
        chain = entry.row.chain
        if chain is None:
            return
        before = self._before(chain, entry)
        if before is not None and before != entry.previous_hash:
            self.replayed.damages.append(
                Damage(entry, "the previous row of its chain is missing or another")
            )
        self.replayed.heads[chain] = entry.hash

    def _before(self, chain: Chain, entry: StoredEntry) -> bytes | None:
        """The hash of the preceding row; None if that row was retired and is not known."""
        if chain in self.replayed.heads:
            return self.replayed.heads[chain]
        subject = entry.row.subject
        checkpoint = self.began.get(subject) if subject is not None else None
        if checkpoint is None:
            return BEGINNING
        return checkpoint.head if entry.id > checkpoint.journal_id else None

    def replay(self, entry: StoredEntry) -> None:
        """Decide on it as it was decided on, unless its checkpoint has it."""
        if self._covered(entry):
            self.replayed.covered.add(entry.identity)
            return
        row = entry.row
        if row.fact is None:
            self._fold_without_fact(entry)
            return
        if row.policy_version not in self.known:
            self.replayed.damages.append(Damage(entry, "its policy is missing"))
            return
        decision = replay_decision(
            fact_from_json(row.fact),
            self.replayed.fleet,
            Policies(self.known[row.policy_version], self.known),
            readings_from_json(row.readings),
            now=entry.decided_at,
        )
        self.replayed.rows += 1
        if decision.outcome.value != row.outcome:
            what = f"its outcome was {row.outcome}, and is {decision.outcome} now"
            self.replayed.damages.append(Damage(entry, what))
        for result in decision.results:
            events = json.loads(events_to_json(result.events))
            states = (result.before.state.value, result.organization.state.value)
            self.replayed.decided[entry.identity, result.organization.id] = (*states, events)

    def _fold_without_fact(self, entry: StoredEntry) -> None:
        """A fact about an erased organization is not kept; it changes nothing, except that a
        request is answered with a refusal.
        """
        id_ = OrganizationId(entry.row.organization or "")
        organization = self.replayed.fleet.organization(id_)
        if organization.erased_at is None:
            self.replayed.damages.append(Damage(entry, "its fact is missing, but was not erased"))
            return
        self.replayed.rows += 1
        if readings_from_json(entry.row.readings).answered:
            self.replayed.fleet.put(replay_refusal(organization, now=entry.decided_at))
            state = organization.state.value
            self.replayed.decided[entry.identity, id_] = (state, state, [])

    def _covered(self, entry: StoredEntry) -> bool:
        """Whether a checkpoint covers the row.

        A row without a chain is covered by any checkpoint: the checkpoints of all organizations
        that it changed are stored together.
        """
        subject = entry.row.subject
        cuts = [cut for cut in self.began.values() if subject in {None, cut.chain}]
        return any(entry.id <= cut.journal_id for cut in cuts)


def unsealed(entry: StoredEntry) -> Iterable[str]:
    """The parts of a row that were changed."""
    if entry.hash is None or entry.content_hash is None or entry.previous_hash is None:
        return
    salt, fact = entry.salt, entry.row.fact
    content = None if salt is None or fact is None else content_hash(salt, fact)
    if content not in {None, entry.content_hash}:
        yield "its fact was changed"
    if link(entry.row.lasting, entry.content_hash, entry.previous_hash) != entry.hash:
        yield "it was changed beside its fact"
