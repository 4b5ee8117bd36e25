"""A second, naive implementation of the lifecycle from the rules (docs/rules), for comparison.

Only decisions are kept: at every moment the registers (`reference_registers.py`), and what counts
for whom (`reference_plans.py`), are computed anew from all messages so far.
Left out: the guard, inactivity, emails, feeds, deactivations that Support asks for, and other
policies.
"""

from typing import NamedTuple

from reference_plans import Life, Proof, World, reached
from reference_registers import DAY, EVER, HOUR, Message, Span, Undecided, fold, parse, seconds

LINES = {
    "payg": {"control_plane_loss": DAY, "suspended": 7 * DAY, "deactivated": 37 * DAY},
    "commit": {"control_plane_loss": 3 * DAY, "suspended": 14 * DAY, "deactivated": 74 * DAY},
}
DWELL = {"canceled": HOUR, "control_plane_loss": DAY, "suspended": 7 * DAY}
LEAD = {"suspended": 3 * DAY, "deactivated": 7 * DAY}
NEXT = {
    "canceled": "control_plane_loss",
    "control_plane_loss": "suspended",
    "suspended": "deactivated",
}
LONG_WAIT, MAX_EXTENSION = 14 * DAY, 90 * DAY


class Outcome(NamedTuple):
    """An event as it is compared."""

    subject: str
    event: str
    decided: int
    effective: int
    reason: str


class View:
    """One organization at one moment."""

    def __init__(self, world: World, life: Life, now: int, by_message: bool) -> None:
        self.life, self.now = life, now
        spans = world.spans(life.name)
        confirmed = world.confirmed(life.name, spans)
        loose = [s for s in spans if not any(s is each for each in confirmed)]
        loose += world.matching(life.name)
        self.starts = [s.start for s in spans if now < s.start < s.end and not s.key]
        self.begun = [s for s in confirmed if s.start <= now]
        self.counts = [s for s in self.begun if not reached(s, now, by_message)]
        known = (
            self.begun
            if life.state != "active"
            else [s for s in self.begun if reached(s, now, by_message)]
        )
        self.last = max((s.end for s in known), default=None)
        self.ended = [s for s in known if s.end == self.last]
        self.loose = [s for s in loose if s.start <= now and self.last is not None]
        self.waits = [s for s in self.loose if not reached(s, now, by_message)]
        self.floor = self.floors(world)
        self.held = any(until > now for until in life.holds.values())
        moments = [at for s in [*spans, *loose] for at in (s.start, s.end)]
        self.wake = [at for at in [*moments, *life.holds.values()] if at > now]
        if any(s.since < s.start > (self.last or 0) for s in self.loose):
            raise Undecided("held only after it began")

    def floors(self, world: World) -> int:
        """Until when Azure requires the data to be kept, by the reports of the time in which a plan
        was its own.
        """
        floors = [-EVER]
        for key in world.keys:
            owners = [owner for _, owner in world.owners(key)]
            if self.life.name in owners:
                moved = len(owners) - owners[::-1].index(self.life.name)
                until = world.owners(key)[moved][0] if moved < len(owners) else EVER
                messages = [each for each in world.messages if each.time <= until]
                floors.append(fold(key, messages, world.linked_at(key)).floor)
        return max(floors)

    @property
    def line(self) -> dict[str, int]:
        """The timeline of the plan that ended last; of two the longer."""
        return LINES["payg" if {s.plan_type for s in self.ended} == {"payg"} else "commit"]

    @property
    def reason(self) -> str:
        longer = self.line is LINES["commit"]
        reasons = {s.reason for s in self.ended if not longer or s.plan_type != "payg"}
        if len(reasons) != 1:
            raise Undecided("two plans that ended at one time")
        return next(iter(reasons))

    def after(self, start: int, length: int) -> int:
        """The moment `length` after `start`, while pending does not count."""
        at, left = start, length
        assert self.last is not None
        for span in sorted(self.loose, key=lambda s: s.start):
            begin, end = max(span.start, self.last, at), span.end
            if end <= at:
                continue
            if begin - at > left:
                break
            left -= begin - at
            at = end
        return at + left

    def dates(self) -> list[int]:
        """The deadline of the next step, by all but its notice."""
        life = self.life
        step = NEXT[life.state]
        assert self.last is not None
        expired = [until for until in life.holds.values() if until <= self.now]
        dwell = max(life.entered_at, life.held_until, *expired)
        found = [self.after(self.last, self.line[step] + life.extension)]
        found.append(self.after(dwell, DWELL[life.state]))
        if step == "deactivated":
            found.append(self.floor)
        if step in LEAD:
            found += [min(self.starts)] if self.starts else []
        return found


class ReferenceModel:
    """The fleet, and the emitted events."""

    def __init__(self) -> None:
        self.lives: dict[str, Life] = {}
        self.messages: list[Message] = []
        self.proofs: dict[str, Proof] = {}
        self.emitted: list[Outcome] = []

    def run(self, text: str, until: str) -> list[Outcome]:
        messages, end = parse(text), seconds(until)
        now = messages[0].at
        while True:
            while messages and messages[0].at == now:
                self.apply(messages.pop(0), now)
            while sum(self.settle(life, now, False) for life in self.lives.values()):
                pass
            times = [m.at for m in messages[:1]] + self.wakes(now)
            now = min((at for at in times if at > now), default=EVER)
            if now > end:
                return self.emitted

    def world(self) -> World:
        return World(self.messages, self.lives, self.proofs)

    def view(self, life: Life, now: int, by_message: bool) -> View:
        return View(self.world(), life, now, by_message)

    def apply(self, message: Message, now: int) -> None:
        self.messages.append(message)
        match message.words:
            case [name, "created", *_]:
                self.lives[name] = Life(name)
            case ["support:", name, *request]:
                self.settle(self.lives[name], now, True)
                self.support(self.lives[name], request, message, now)
            case _:
                pass
        for _ in range(2):
            for life in self.lives.values():
                self.settle(life, now, True)

    def support(self, life: Life, request: list[str], message: Message, now: int) -> None:
        view = self.view(life, now, True)
        matching, canceled = self.world().matching(life.name), life.state in NEXT
        match request:
            case ["hold", kind]:
                life.holds[kind] = message.day("until")
                self.withdraw(view)
            case ["release", kind] if life.holds.get(kind, 0) > now:
                del life.holds[kind]
                life.held_until = now
            case ["extend", days] if canceled:
                if life.extension + int(days) * DAY <= MAX_EXTENSION:
                    life.extension += int(days) * DAY
                    self.withdraw(self.view(life, now, True))
            case ["reinstate"] if canceled:
                waiting = [s for s in view.waits if not s.superseded]
                grant = message.day("grant")
                if not waiting and grant == EVER:
                    return
                life.requests.append(now)
                for span in waiting:
                    if any(span.key == each.key for each in matching):
                        self.proofs[span.key] = Proof(life.name, None)
                if grant < EVER:
                    life.grants.append(Span(now, grant, False, False, "grant_expired"))
            case _:
                pass  # refused

    # --- one organization ---

    def emit(self, life: Life, event: str, now: int, reason: str, effective: int = -EVER) -> None:
        effective = now if effective == -EVER else effective
        self.emitted.append(Outcome(life.name, f"organization.{event}", now, effective, reason))

    def withdraw(self, view: View) -> None:
        if view.life.notice:
            view.life.notice = None
            reason = view.reason if view.life.state in NEXT else "reinstated"
            self.emit(view.life, "notice_withdrawn", view.now, reason)

    def settle(self, life: Life, now: int, by_message: bool) -> bool:
        """Apply what is due now; returns whether an event was emitted."""
        before = len(self.emitted)
        view = self.view(life, now, by_message)
        if life.state == "active" and view.last is not None and not view.counts:
            life.state, life.entered_at, life.decided = "canceled", now, view.last
            life.extension, life.pending, life.notice = 0, False, None
            self.emit(life, "canceled", now, view.reason, view.last)
            view = self.view(life, now, by_message)
        if life.state in NEXT:
            if proved := self.world().proved(life.name):
                self.proofs |= proved
                view = self.view(life, now, by_message)
            if any(not s.superseded for s in view.counts):
                life.state, life.entered_at, life.pending = "active", now, False
                self.emit(life, "reinstated", now, "reinstated")
                self.withdraw(view)
            else:
                self.wait(view)
                if not by_message and not life.pending:
                    self.step(view)
        return len(self.emitted) > before

    def wait(self, view: View) -> None:
        """Pending begins and ends; a notice that outlasted a long wait goes."""
        life, now = view.life, view.now
        if bool(view.waits) != life.pending:
            life.pending = bool(view.waits)
            event = "reinstatement_pending" if life.pending else "reinstatement_lapsed"
            self.emit(life, event, now, view.reason)
            if not life.pending and life.notice and now - life.notice[1] > LONG_WAIT:
                self.withdraw(view)

    def step(self, view: View) -> None:
        life, now = view.life, view.now
        step, lead = NEXT[life.state], LEAD.get(NEXT[life.state])
        if view.held or view.last is None:
            return
        deadline = self.deadline(view)
        if lead is not None and life.notice is None:
            at = max(*view.dates(), -EVER)
            if at - lead <= now:
                life.notice = (step, max(at, now + lead), now)
                self.emit(life, "notice_given", now, view.reason)
        elif deadline <= now and not (step in LEAD and view.counts):
            life.state, life.entered_at, life.notice = step, now, None
            event = "control_plane_lost" if step == "control_plane_loss" else step
            self.emit(life, event, now, view.reason, deadline)

    def deadline(self, view: View) -> int:
        life = view.life
        found = view.dates()
        if life.notice:
            step, at, written = life.notice
            found += [view.after(written, at - written), view.after(written, LEAD[step])]
        return max(found)

    def wakes(self, now: int) -> list[int]:
        """The times at which something may be due; an expired hold counts as released."""
        found: list[int] = []
        for life in self.lives.values():
            view = self.view(life, now, False)
            found += view.wake
            if life.state in NEXT and view.last is not None:
                lead = LEAD.get(NEXT[life.state], 0)
                found += [self.deadline(view), max(view.dates()) - lead]
        return found
