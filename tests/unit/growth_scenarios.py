"""Neighbourhoods of any size, each with one fact to be decided on in it: what may grow, grows.

`test_growth.py` counts what a decision does; `python -m benchmarks neighbourhoods` measures it.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from world import ACME, DAY, DAY_0, OWNER, created, moment, note, notified, signed_in

from marketplace_worker.lifecycle.cancellation import Cancellation
from marketplace_worker.lifecycle.decide import Decision, apply, deadline_of
from marketplace_worker.lifecycle.facts import Created, Fact
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.inactivity import LastSeen
from marketplace_worker.lifecycle.notes import (
    Activated,
    Ended,
    Ending,
    Note,
    Pended,
    Resumed,
    Superseded,
    Suspended,
    Unchanged,
)
from marketplace_worker.lifecycle.organization import Commitment, Organization, Proof
from marketplace_worker.lifecycle.policy import Policies, Policy
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.subscription import Link, Subscription
from marketplace_worker.lifecycle.vocabulary import (
    CompletedBy,
    Initiator,
    Marketplace,
    OrganizationId,
    PlanEndReason,
    SubscriptionKey,
)

NOW = moment(60)
ACCOUNT = "one account"
OVER = Ended(PlanEndReason.CUSTOMER, Initiator.CUSTOMER, terminal=True)


@dataclass(frozen=True, slots=True)
class Grown:
    """A fleet of some size, and a fact that concerns much of it."""

    fleet: Fleet
    fact: Fact
    policies: Policies = field(default_factory=lambda: Policies(Policy()))

    def decide(self) -> Decision:
        """Decide on the fact; the fleet stays as it is."""
        return apply(self.fact, self.fleet.view(), self.policies, now=NOW)


def _key(number: int, marketplace: Marketplace = Marketplace.AWS) -> SubscriptionKey:
    return SubscriptionKey(marketplace, f"s-{number:05}")


def _name(number: int) -> OrganizationId:
    return OrganizationId(f"org-{number:05}")


def _organization(id_: OrganizationId = ACME) -> Organization:
    return Organization(id_).with_creation(created(f"c-{id_}", id_))


def _canceled(id_: OrganizationId = ACME) -> Organization:
    return replace(
        _organization(id_),
        state=State.CANCELED,
        entered_at=moment(30),
        cancellation=Cancellation(moment(30), "story", Policy().version),
    )


def _plan(
    number: int,
    *notes: Note,
    of: OrganizationId | None = ACME,
    linked: float = 2,
    marketplace: Marketplace = Marketplace.AWS,
    account: str | None = ACCOUNT,
) -> Subscription:
    notes_of_account = tuple(replace(each, billing_account=account) for each in notes)
    links = () if of is None else (Link(moment(linked), f"l-{number}", of),)
    return Subscription(_key(number, marketplace), notes_of_account, links)


def _fleet(*held: Organization | Subscription, sign_ins: tuple[float, ...] = ()) -> Fleet:
    fleet = Fleet()
    fleet.put(*held)
    seen = LastSeen()
    for day in sign_ins:
        seen = seen.with_login(moment(day))
    for each in held:
        if isinstance(each, Organization):
            fleet.seen[each.id] = seen
    return fleet


BOUGHT, CANCELED = note(1, Activated()), note(30, OVER, id_="over")
LOGINS = tuple(20 + day / 2 for day in range(80))


# --- a billing account ----------------------------------------------------------------------------


def organizations_of_an_account(count: int) -> Grown:
    """All of them left, and a plan is bought with their account that may be anybody's."""
    held = [
        each
        for n in range(1, count + 1)
        for each in (_canceled(_name(n)), _plan(n, BOUGHT, CANCELED, of=_name(n)))
    ]
    fact = notified(_key(0), replace(note(40, Activated()), billing_account=ACCOUNT))
    return Grown(_fleet(*held, sign_ins=LOGINS), fact)


def former_organizations_of_an_account(count: int) -> Grown:
    """The one agreement was moved from each to the next, and all of them left."""
    moves = tuple(Link(moment(2 + n / 1_000), f"l-{n}", _name(n)) for n in range(1, count + 1))
    plan = replace(_plan(1, BOUGHT, CANCELED, of=None), links=moves)
    fact = notified(_key(0), replace(note(40, Activated()), billing_account=ACCOUNT))
    return Grown(
        _fleet(plan, *(_canceled(_name(n)) for n in range(1, count + 1)), sign_ins=LOGINS), fact
    )


def plans_that_nobody_linked(count: int) -> Grown:
    """All of one account, whose only organization left; one more is bought."""
    loose = [_plan(n, note(40, Activated()), of=None) for n in range(2, count + 2)]
    fact = notified(_key(0), replace(note(41, Activated()), billing_account=ACCOUNT))
    return Grown(_fleet(_canceled(), _plan(1, BOUGHT, CANCELED), *loose), fact)


def plans_that_a_sign_in_proves(count: int) -> Grown:
    """The same, and a user signs in."""
    grown = plans_that_nobody_linked(count)
    login = signed_in(50)
    grown.fleet.record_activity(login)
    return replace(grown, fact=login)


def plans_that_were_proved(count: int) -> Grown:
    """A sign-in proved each of them once; the last one ends."""
    key = [_key(n) for n in range(2, count + 2)]
    proved = _organization()
    proofs = tuple(Proof(each, moment(41), CompletedBy.SIGN_IN) for each in key)
    proved = replace(proved, proofs=proofs)
    loose = [_plan(n, note(40, Activated()), of=None) for n in range(2, count + 2)]
    fact = notified(key[-1], replace(note(55, OVER), billing_account=ACCOUNT))
    return Grown(_fleet(proved, _plan(1, BOUGHT, CANCELED), *loose), fact)


# --- the plans of an organization -----------------------------------------------------------------


def plans_of_an_organization(count: int) -> Grown:
    """All are active, and one of them ends."""
    plans = [_plan(n, BOUGHT) for n in range(count)]
    return Grown(_fleet(_organization(), *plans), notified(_key(0), note(50, OVER)))


def ended_plans_of_an_organization(count: int) -> Grown:
    """All but one have ended: that one ends too, and each calls for its final report."""
    plans = [_plan(n, BOUGHT, CANCELED) for n in range(1, count)]
    fleet = _fleet(_organization(), _plan(0, BOUGHT), *plans)
    return Grown(fleet, notified(_key(0), note(50, OVER)))


def plans_that_wait_for_support(count: int) -> Grown:
    """Azure brought each of them back, and the next moment of the organization comes."""
    back = (BOUGHT, note(30, Suspended()), note(40, Resumed(where="suspended")))
    plans = [_plan(n, *back, marketplace=Marketplace.AZURE, account=None) for n in range(count)]
    canceled = _canceled()
    proofs = tuple(Proof(each.key, moment(35), CompletedBy.SUPPORT) for each in plans)
    canceled = replace(canceled, proofs=proofs)
    return Grown(_fleet(canceled, *plans), deadline_of(canceled, NOW))


def commitments_of_an_organization(count: int) -> Grown:
    """Each was linked while the one before ran, so that each begins early because of another."""
    chained = tuple(
        Commitment(f"c-{n:05}", at + 2 * step, at + 4 * step, at, at, f"c-{n}")
        for n in reversed(range(count))
        for step in [DAY * 40 / count]
        for at in [DAY_0 + n * step]
    )
    return Grown(
        _fleet(replace(_organization(), commitments=chained)), deadline_of(_organization(), NOW)
    )


# --- a chain --------------------------------------------------------------------------------------


def _renewals(count: int, *, linked: bool) -> Iterator[Subscription]:
    """Each continues the one before; only the first, or each, is linked."""
    for n in range(count):
        at = n / count
        renewed = (note(at, Pended(successor_of=_key(n - 1)), id_="b"),) if n else ()
        notes = (*renewed, note(at, Activated(), 2), note(at + 1, Superseded()))
        yield _plan(n, *notes, of=ACME if linked or not n else None, linked=at)


def a_chain_of_which_the_first_is_linked(count: int) -> Grown:
    """And the first is received again, long after."""
    fact = notified(_key(0), note(50, OVER))
    return Grown(_fleet(_organization(), *_renewals(count, linked=False)), fact)


def a_chain_of_linked_renewals(count: int) -> Grown:
    """And the last ends."""
    fact = notified(_key(count - 1), note(50, OVER))
    return Grown(_fleet(_organization(), *_renewals(count, linked=True)), fact)


def a_chain_in_reverse_order(count: int) -> Grown:
    """The first, which all others continue, is received last of all."""
    others = list(_renewals(count, linked=False))[1:]
    return Grown(_fleet(_organization(), *others), notified(_key(0), note(0, Activated())))


def successors_of_one(count: int) -> Grown:
    """All say that they continue the same one, which ends."""
    heirs = [
        _plan(n, note(10, Pended(successor_of=_key(0)), id_="b"), note(11, Activated()), of=None)
        for n in range(1, count + 1)
    ]
    fleet = _fleet(_organization(), _plan(0, BOUGHT), *heirs)
    return Grown(fleet, notified(_key(0), note(50, Superseded())))


# --- one subscription -----------------------------------------------------------------------------


def notes_of_a_subscription(count: int) -> Grown:
    """It began, was to end and went on, over and over."""
    notes = [
        note(1 + n / count, Ending(moment(90)) if n % 2 else Activated()) for n in range(count)
    ]
    return Grown(_fleet(_organization(), _plan(0, *notes)), notified(_key(0), note(50, OVER)))


def operations_of_a_subscription(count: int) -> Grown:
    """Each notification of Azure's reports an operation of its own."""
    notes = [
        replace(note(1 + n / count, Suspended() if n % 2 else Activated()), operation=f"{n}")
        for n in range(count)
    ]
    plan = _plan(0, *notes, marketplace=Marketplace.AZURE, account=None)
    fact = notified(plan.key, replace(note(50, Unchanged(), plan_type=None), operation="last"))
    return Grown(_fleet(_organization(), plan), fact)


# --- emails ---------------------------------------------------------------------------------------


def organizations_of_an_owner(count: int) -> Grown:
    """And one more is created."""
    fact: Created = created("another", OrganizationId("another"), owner=OWNER)
    return Grown(_fleet(*(_organization(_name(n)) for n in range(count))), fact)


GROWING: Mapping[str, Callable[[int], Grown]] = {
    make.__name__: make
    for make in (
        organizations_of_an_account,
        former_organizations_of_an_account,
        plans_that_nobody_linked,
        plans_that_a_sign_in_proves,
        plans_that_were_proved,
        plans_of_an_organization,
        ended_plans_of_an_organization,
        plans_that_wait_for_support,
        commitments_of_an_organization,
        a_chain_of_which_the_first_is_linked,
        a_chain_of_linked_renewals,
        a_chain_in_reverse_order,
        successors_of_one,
        notes_of_a_subscription,
        operations_of_a_subscription,
        organizations_of_an_owner,
    )
}


# --- the parts of a value -------------------------------------------------------------------------


def notification(number: int) -> dict[str, object]:
    """One of AWS's, as EventBridge has it."""
    return {
        "id": f"id-{number}",
        "source": "aws.agreement-marketplace",
        "detail-type": "License Updated - Manufacturer",
        "time": "2026-01-01T00:00:00Z",
        "detail": {"agreement": {"id": f"agmt-{number}"}},
    }


def in_sqs(count: int) -> object:
    """Each in SNS in SQS, as Lambda gets them."""
    return {
        "Records": [
            {
                "body": json.dumps(
                    {
                        "Type": "Notification",
                        "MessageId": f"m-{n}",
                        "TopicArn": "t",
                        "Message": json.dumps(notification(n)),
                    }
                )
            }
            for n in range(count)
        ]
    }


VALUES: dict[str, Callable[[int], object]] = {
    "a list": lambda count: [notification(n) for n in range(count)],
    "of SQS": in_sqs,
    "beside much else": lambda count: {
        "junk": [{"n": n} for n in range(count)],
        "event": notification(1),
    },
    "in fields of any name": lambda count: {f"f-{n}": {"n": {"n": n}} for n in range(count)},
    "in texts that are none": lambda count: {f"f-{n}": "[" for n in range(count)},
    "in one another": lambda count: [[[[notification(n)]]] for n in range(count)],
    "a long text": lambda count: {**notification(1), "text": "x" * count},
}
