"""What counts for which organization once more, naively: lifecycle.md section 2, for
`reference_model.py`.

All of it is computed again from everything received so far.  What is `Undecided` with `M5` or `M6`
are kinds in which the core is known to differ from the rules; they are left out:

- M5: a deactivation leaves a billing account to one organization, which is not looked at then;
- M6: whose a billing account was in the past, where subscriptions with one are moved.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from reference_registers import DAY, EVER, Message, Span, Undecided, fold

SUCCESSOR_WITHIN = 7 * DAY


@dataclass
class Life:
    """What was decided about one organization.

    `decided`: `canceled_at` as it was when the cancellation was decided.  `notice`: its step, the
    date that it named, and when it was written.  `holds`: until when, by kind.  `requests`: when
    Support reinstated it.
    """

    name: str
    state: str = "active"
    entered_at: int = 0
    decided: int = 0
    notice: tuple[str, int, int] | None = None
    pending: bool = False
    extension: int = 0
    holds: dict[str, int] = field(default_factory=dict)
    held_until: int = -EVER
    requests: list[int] = field(default_factory=list)
    grants: list[Span] = field(default_factory=list)


class Proof(NamedTuple):
    """Whose a plan is by a sign-in at a time, at which it must have counted, or by Support."""

    name: str
    at: int | None


class World:
    """Everything as it is known at one moment."""

    def __init__(
        self, messages: list[Message], lives: dict[str, Life], proofs: dict[str, Proof]
    ) -> None:
        self.messages, self.lives = messages, lives
        self.links = sorted(
            (each for each in messages if each.words[1:2] == ["links"]),
            key=lambda each: each.order,
        )
        keys = [each.words[0] for each in messages if ":" in each.words[0]]
        keys = [key for key in keys if key != "support:"] + [e.words[2] for e in self.links]
        self.keys = list(dict.fromkeys(keys))
        self.registers = {key: fold(key, messages, self.linked_at(key)) for key in self.keys}
        self.proofs = {
            key: proof.name
            for key, proof in proofs.items()
            if proof.at is None
            or any(b.start < proof.at < b.end for b in self.registers[key].begun)
        }
        self._inherit()
        self._supersede()
        for key in self.registers:
            if self.accounts(key) and len(self.owners(key)) > 1:
                raise Undecided("M6")

    def links_of(self, key: str) -> list[Message]:
        return [each for each in self.links if each.words[2] == key]

    def linked_at(self, key: str) -> int:
        return min((each.time for each in self.links_of(key)), default=EVER)

    def owners(self, key: str) -> list[tuple[int, str]]:
        """(since, organization); the first has it from its beginning."""
        links = [(each.time, each.words[0]) for each in self.links_of(key)]
        inherited = self.proofs.get(key) or self._inherited(key)
        owners = [(-EVER, inherited)] if inherited else []
        for since, name in links:
            if not owners:
                owners.append((-EVER, name))
            elif owners[-1][1] != name:
                owners.append((since, name))
        return owners

    def owner(self, key: str, at: int) -> str | None:
        return next((name for since, name in reversed(self.owners(key)) if since <= at), None)

    def _inherited(self, key: str) -> str | None:
        previous = self.registers[key].previous if key in self.registers else None
        if not previous or previous not in self.registers:
            return None
        owners = self.owners(previous)
        own = {each.words[0] for each in self.links_of(key)}
        if own and own != {name for _, name in owners}:
            raise Undecided("a successor with a link of its own")
        if len({name for _, name in owners}) > 1:
            raise Undecided("a moved predecessor")
        return owners[0][1] if owners else None

    def _inherit(self) -> None:
        """A successor that is pending counts from when it was sold, as if it was linked then."""
        for key, it in self.registers.items():
            if self._inherited(key):
                linked_at = min(self.linked_at(key), it.bought_at)
                self.registers[key] = fold(key, self.messages, linked_at)

    def _supersede(self) -> None:
        """A superseded plan counts until its successor begins, at most seven days."""
        for key, it in self.registers.items():
            successors = [each for each in self.registers.values() if each.previous == key]
            begins = [each.begun[0].start for each in successors if each.begun]
            for span in it.spans:
                if span.superseded:
                    begin = max(min(begins, default=EVER), span.start)
                    span.end = min(span.start + SUCCESSOR_WITHIN, begin)

    def plan_type(self, key: str, owner: str = "", until: int = EVER) -> str | None:
        """As it was reported before it moved away from its owner, or by the owner's own link."""
        links = [
            each
            for each in self.links_of(key)
            if each.time < until or (each.time == until and each.words[0] == owner)
        ]
        plan_types = [each.words[3] for each in links if len(each.words) > 3]
        messages = [each for each in self.messages if each.time <= until]
        return plan_types[-1] if plan_types else fold(key, messages, self.linked_at(key)).plan_type

    # --- what counts for whom ---

    def spans(self, name: str) -> list[Span]:
        """All intervals in which plans of an organization counted, confirmed or (Azure) not."""
        found: list[Span] = []
        for key in self.keys:
            owners = self.owners(key)
            for number, (since, owner) in enumerate(owners):
                if owner != name:
                    continue
                until = owners[number + 1][0] if number + 1 < len(owners) else EVER
                found += self._owned(key, owner, since, until)
        return found + self._commitments(name, found) + self.lives[name].grants

    def _owned(self, key: str, owner: str, since: int, until: int) -> Iterator[Span]:
        """The intervals of a subscription for whom it belongs to from `since` to `until`."""
        it, kind = self.registers[key], self.plan_type(key, owner, until)
        before = [span for span in it.spans if span.end <= since and since > -EVER]
        if before and not any(span.start <= since < span.end for span in it.spans):
            reason = before[-1].reason
            yield Span(since, since, reason=reason, plan_type=kind, key=key)
        for span in it.spans:
            if span.start > until or span in before:
                continue
            start, end = max(span.start, since), min(span.end, until)
            reason = span.reason if end == span.end else "unknown"
            explicit = span.explicit or end < span.end
            yield Span(start, end, explicit, span.inferred, reason, span.superseded, kind, key)

    def _commitments(self, name: str, plans: list[Span]) -> list[Span]:
        """From its start, or from its link where the organization had an active plan then."""
        found = {}
        links = [e for e in self.messages if e.words[:2] == [name, "commits"]]
        for link in links:
            start, end = link.day("from"), link.day("to")
            what = Span(start, end, False, False, "commit_expired", plan_type="commit")
            found[link.number] = what
        for link in sorted(links, key=lambda each: each.order):
            mine, at = found[link.number], link.time
            others = [*self.confirmed(name, plans), *found.values(), *self.lives[name].grants]
            if any(o.start <= at and not reached(o, at, True) for o in others if o is not mine):
                mine.start = min(mine.start, at)
        return [*found.values()]

    def confirmed(self, name: str, spans: list[Span]) -> list[Span]:
        """Without Azure's that began after the cancellation was decided."""
        life = self.lives[name]
        if life.state == "active":
            return spans
        return [
            span
            for span in spans
            if not span.key.startswith("azure")
            or span.start == span.end
            or span.start <= life.decided
            or any(at >= span.start for at in life.requests)
        ]

    # --- billing accounts ---

    def accounts(self, key: str) -> list[tuple[int, str]]:
        """When each account of a subscription was reported, by its notifications and links."""
        links = self.links_of(key)
        told = [(e.time, e.options["account"]) for e in links if "account" in e.options]
        return [*self.registers[key].accounts, *told]

    def holders(self, market: str, account: str, at: int) -> set[str]:
        """Who held a billing account at a moment."""
        found = set()
        for key in self.keys:
            if key[:3] != market[:3]:
                continue
            if not any(told <= at and account == each for told, each in self.accounts(key)):
                continue
            name = self.owner(key, at)
            if name and min(self.linked_at(key), self.registers[key].bought_at) <= at:
                found.add(name)
        gone = {name for name in found if self.lives[name].state == "deactivated"}
        if gone and found - gone:
            raise Undecided("M5")
        return found - gone

    def matching(self, name: str) -> list[Span]:
        """The intervals of subscriptions that match by their billing account alone."""
        found: list[Span] = []
        for key in self.keys:
            if key.startswith("azure") or key in self.proofs or self._inherited(key):
                continue
            for span in self.registers[key].spans:
                parts = list(self._matching(name, key, span))
                if parts and span.superseded:
                    raise Undecided("a superseded plan that only matches")
                found += parts
        return found

    def _matching(self, name: str, key: str, span: Span) -> Iterator[Span]:
        since = start = span.start
        end = min(span.end, self.linked_at(key))
        for begin, until in self._alone(name, key, start, end):
            explicit = span.explicit or until < span.end
            yield Span(begin, until, explicit, plan_type=self.plan_type(key), key=key, since=since)
            since = until
        accounts = {account for _, account in self.accounts(key)}
        if since == start < end and any(self.holders(key, a, EVER) == {name} for a in accounts):
            raise Undecided("held only after it began")

    def _alone(self, name: str, key: str, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The parts of an interval in which the account was this organization's alone."""
        accounts = [account for _, account in sorted(self.accounts(key))]
        cuts = {start, end, *(each.time for each in self.messages)}
        points = sorted(at for at in cuts if start <= at <= end)
        for begin, until in pairwise(points):
            if accounts and self.holders(key, accounts[0], begin) == {name}:
                yield begin, until

    def proved(self, name: str) -> dict[str, Proof]:
        """A login proves every plan that matches at its time."""
        logins = [e.time for e in self.messages if e.words == [name, "logs", "in"]]
        found = {}
        for span in self.matching(name):
            whole = next(s for s in self.registers[span.key].spans if s.end >= span.end)
            for at in logins:
                if whole.start < at and span.start <= at < span.end:
                    found[span.key] = Proof(name, at)
        return found


def reached(span: Span, now: int, by_message: bool) -> bool:
    """An end that comes by itself is not reached while messages of its instant are read."""
    return span.end < now or (span.end == now and (span.explicit or not by_message))
