"""Which subscriptions are an organization's plans, or match it by its billing account; and which
organizations a change of a subscription concerns (lifecycle.md section 4).
"""

from collections.abc import Iterable, Iterator
from datetime import datetime

from marketplace_worker.lifecycle.holders import Interval
from marketplace_worker.lifecycle.index import BillingAccount
from marketplace_worker.lifecycle.ownership import (
    account_history_of,
    holders_of,
    is_crowded,
    known_accounts_of,
    links_of,
    tenures_of,
    with_heirs,
)
from marketplace_worker.lifecycle.registers import Registers
from marketplace_worker.lifecycle.subscription import FOREVER, Subscription
from marketplace_worker.lifecycle.vocabulary import OrganizationId, SubscriptionKey, by_key


def attached_to(registers: Registers, organization: OrganizationId) -> list[Subscription]:
    """Every subscription that was ever linked to it, or inherited such a link, by key."""
    keys = with_heirs(registers, registers.linked_to(organization))
    found = [registers.subscription(key) for key in sorted(keys, key=by_key)]
    return [each for each in found if organization in tenures_of(registers, each)]


def concerned(registers: Registers, key: SubscriptionKey, at: datetime) -> set[OrganizationId]:
    """Every organization whose plans a change of this register may concern at that time.

    - Those that it is or was linked to, and those of its heirs.
    - Those of what it continues, for it may end that one.
    - Those that its billing account makes its match, or made its match when they proved it.
    - Those in a cancellation that ever had a plan of the account: any of their logins may have
      found it their match.
    """
    family = with_heirs(registers, [key])
    subscription = registers.subscription(key)
    if subscription.predecessor is not None:
        family.add(subscription.predecessor)
    found = {
        holder for each in family for holder in tenures_of(registers, registers.subscription(each))
    }
    for account in known_accounts_of(registers, subscription):
        if is_crowded(registers, account):
            continue
        holders = holders_of(registers, account)
        if (holder := holders.alone_at(at)) is not None:
            found.add(holder)
        found |= holders.proved
        found |= {
            each for each in holders.linked if registers.organization(each).state.in_cancellation
        }
    return found


def plans_accounts(registers: Registers, plans: Iterable[Subscription]) -> list[BillingAccount]:
    """All billing accounts that were ever reported of any of these plans, in order."""
    return sorted({account for each in plans for account in known_accounts_of(registers, each)})


def ever_matching(
    registers: Registers, organization: OrganizationId, accounts: Iterable[BillingAccount]
) -> Iterator[tuple[Subscription, Interval]]:
    """The subscriptions that ever matched this organization by their billing account, each with
    when: while it was not linked, had the account, and the account was this organization's alone
    (lifecycle.md section 4).

    `accounts`: those of its plans (`plans_accounts`).
    """
    for account in accounts:
        if is_crowded(registers, account):
            continue
        alone = holders_of(registers, account).alone(organization)
        for each in registers.having(account) if alone else ():
            links = links_of(registers, each)
            for since, until in _while_having(registers, account, each):
                for began_at, ended_at in alone:
                    ends_at = min([until, ended_at, *(link.occurred_at for link in links[:1])])
                    if (starts_at := max(since, began_at)) < ends_at:
                        yield each, (starts_at, ends_at)


def _while_having(
    registers: Registers, account: BillingAccount, subscription: Subscription
) -> Iterator[Interval]:
    """When a subscription had a billing account."""
    history = account_history_of(registers, subscription)
    for (since, name, _), following in zip(history, (*history[1:], None), strict=False):
        if name == account[1]:
            yield since, following[0] if following else FOREVER
