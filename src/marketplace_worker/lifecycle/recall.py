"""Folding again what was decided: each fact is told what it was told then."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from marketplace_worker.lifecycle.decide import Decision, take
from marketplace_worker.lifecycle.facts import Fact
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.guard import Answers
from marketplace_worker.lifecycle.inactivity import LastSeen
from marketplace_worker.lifecycle.policy import Policies
from marketplace_worker.lifecycle.vocabulary import OrganizationId


@dataclass(frozen=True, slots=True)
class Readings:
    """What a decision was told that no register holds.

    `seen`: when the organizations that it looked at were last in use; one that never was is left
    out.  `answers`: what it was told of the whole fleet.
    """

    seen: Mapping[OrganizationId, LastSeen] = field(default_factory=dict)
    answers: Answers = field(default_factory=Answers)


def take_again(
    fact: Fact, fleet: Fleet, policies: Policies, readings: Readings, *, now: datetime
) -> Decision:
    """Decide on a fact as it was decided on at `now`, and let the fleet hold it.

    What the worker itself said then is not said again, and its safeguards stay as they are.
    """
    fleet.seen.clear()
    fleet.seen.update(readings.seen)
    return take(fact, fleet, policies, now=now, recalled=readings.answers)
