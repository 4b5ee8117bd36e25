"""Replays journalled facts: each decision gets the inputs that it had the first time."""

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime

from marketplace_worker.lifecycle.decide import Decision, apply
from marketplace_worker.lifecycle.facts import Fact
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.guard import GuardAnswers
from marketplace_worker.lifecycle.inactivity import LastSeen
from marketplace_worker.lifecycle.index import BillingAccount
from marketplace_worker.lifecycle.matching import attached_to
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.policy import Policies
from marketplace_worker.lifecycle.values import dataclass, replace
from marketplace_worker.lifecycle.vocabulary import OrganizationId


@dataclass(frozen=True, slots=True)
class Readings:
    """Inputs of a decision that no stored row has; journalled with its fact.

    `seen`: when the organizations that it settled were last in use, and which of their earlier
    logins proved a plan; organizations without any use are left out.  `answers`: what it read of
    the whole fleet.  `crowded`: which billing accounts of the plans that it read were known to be
    crowded (`Fleet.is_crowded`).  `answered`: the fact arrived after the organization was erased,
    and was refused by an event; the fact itself is not kept.
    """

    seen: Mapping[OrganizationId, LastSeen] = field(default_factory=dict)
    answers: GuardAnswers = field(default_factory=GuardAnswers)
    crowded: tuple[BillingAccount, ...] = ()
    answered: bool = False


def readings_of(decision: Decision, fleet: Fleet) -> Readings:
    """What to journal with a decision on a fact of `fleet`, so that it can be folded again.

    Of up to two logins a day only those that proved a plan: the others were checked and made no
    difference.
    """
    seen: dict[OrganizationId, LastSeen] = {}
    for result in decision.results:
        known = fleet.last_seen(result.organization.id)
        new = set(result.organization.proofs).difference(result.before.proofs)
        logins = {proof.at for proof in new}.intersection(known.logins) - {known.login_at}
        read = replace(known, logins=tuple(sorted(logins)))
        if read != LastSeen():
            seen[result.organization.id] = read
    return Readings(seen, decision.answers, _crowded(decision, fleet))


def _crowded(decision: Decision, fleet: Fleet) -> tuple[BillingAccount, ...]:
    if not fleet.crowded:
        return ()
    plans = [
        plan for result in decision.results for plan in attached_to(fleet, result.organization.id)
    ]
    plans += [decision.subscription] if decision.subscription is not None else []
    accounts = {(each.key.marketplace, account) for each in plans for _, account in each.accounts}
    return tuple(sorted(accounts & fleet.crowded))


def replay_refusal(organization: Organization, *, now: datetime) -> Organization:
    """An erased organization as it is after it refused a request at `now` that was not kept."""
    decided_at = max(now, organization.decided_at or now)
    return replace(organization, sequence=organization.sequence + 1, decided_at=decided_at)


def replay_decision(
    fact: Fact, fleet: Fleet, policies: Policies, readings: Readings, *, now: datetime
) -> Decision:
    """Repeat the decision made on a fact at `now`, and store it in the fleet.

    The worker's own events are not published again, and its safeguards are not changed.
    """
    fleet.seen.clear()
    fleet.seen.update(readings.seen)
    fleet.crowded.update(readings.crowded)
    return apply(fact, fleet, policies, now=now, replayed=readings.answers)
