"""Whose each subscription and each billing account was, and when: links, projections, holders.

All of it is derived from the registers of a fleet and cached there; only `forget` knows which of
the cached values a change touches.

The rules depend on one another in this order, without a cycle: the links of sign-ups, which
successors inherit; the holders of billing accounts; which proofs count; and the links in force,
which are sign-ups and proofs together.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime

from marketplace_worker.lifecycle.derived import Derived
from marketplace_worker.lifecycle.holders import CROWDED, HOLDERS_MAX, Holders, stakes_of
from marketplace_worker.lifecycle.index import BillingAccount, account_of, accounts_of
from marketplace_worker.lifecycle.organization import Organization, Proof
from marketplace_worker.lifecycle.projection import Projection, fold
from marketplace_worker.lifecycle.registers import Change, Registers
from marketplace_worker.lifecycle.subscription import (
    AccountHistory,
    Link,
    Subscription,
    Tenure,
    before_first_of,
    inherited_links,
    tenures,
)
from marketplace_worker.lifecycle.vocabulary import CompletedBy, OrganizationId, SubscriptionKey

BY_PROOF = "proof"
"""The id of a link that a proof made instead of a sign-up."""


# --- subscriptions --------------------------------------------------------------------------------


def links_of(registers: Registers, subscription: Subscription) -> tuple[Link, ...]:
    """The links in force, in order: its own and, until the first of these, those of the
    subscription that it continues, from its purchase on.  A proof links a subscription that was not
    linked by then.
    """
    return _links_of(registers, subscription.key, by_proof=True)


def projection_of(registers: Registers, subscription: Subscription) -> Projection:
    """The projection of its register, with the links in force."""
    derived = _derived(registers, subscription.key)
    if derived.projection is None:
        derived.projection = fold(subscription, links_of(registers, subscription))
    return derived.projection


def unlinked_projection_of(registers: Registers, subscription: Subscription) -> Projection:
    """The projection of its register without any link."""
    derived = _derived(registers, subscription.key)
    if derived.unlinked_projection is None:
        derived.unlinked_projection = fold(subscription, ())
    return derived.unlinked_projection


def tenures_of(
    registers: Registers, subscription: Subscription
) -> Mapping[OrganizationId, Sequence[Tenure]]:
    """To whom it was ever linked, and for how long each time; in order for each organization."""
    derived = _derived(registers, subscription.key)
    if derived.tenures is None:
        derived.tenures = tenures(links_of(registers, subscription))
    return derived.tenures


def known_accounts_of(
    registers: Registers, subscription: Subscription
) -> AbstractSet[BillingAccount]:
    """All billing accounts that were ever reported for it.

    Cached, because it is needed for each organization that ever had the subscription.
    """
    derived = _derived(registers, subscription.key)
    if derived.accounts is None:
        derived.accounts = accounts_of(subscription)
    return derived.accounts


def account_history_of(registers: Registers, subscription: Subscription) -> AccountHistory:
    """`Subscription.account_history`, cached for the same reason."""
    derived = _derived(registers, subscription.key)
    if derived.account_history is None:
        derived.account_history = subscription.account_history
    return derived.account_history


def with_heirs(registers: Registers, keys: Iterable[SubscriptionKey]) -> set[SubscriptionKey]:
    """These subscriptions and all that continue them, directly or by way of others."""
    found = set(keys)
    waiting = list(found)
    while waiting:
        for heir in registers.successors(waiting.pop()):
            if heir.key not in found:
                found.add(heir.key)
                waiting.append(heir.key)
    return found


def _derived(registers: Registers, key: SubscriptionKey) -> Derived:
    cache = registers.caches.subscriptions
    return cache.get(key) or cache.keep(key, Derived())


def _links_of(registers: Registers, key: SubscriptionKey, *, by_proof: bool) -> tuple[Link, ...]:
    """The links in force, or without `by_proof` those that no proof made: these decide whose an
    account is, and so which proofs count.

    The chain of predecessors is followed down to one whose links are known, and then processed
    upwards, so that a chain of any length needs no recursion and each of its links is derived once.

    Invalid input may close the chain to a cycle.  Then it ends at the first subscription that was
    passed already.  What a member of a cycle inherits depends on where the walk enters it: so of
    the cycle only the entry is cached, marked with `in_a_circle`, for a walk that begins there; a
    walk that arrives from elsewhere does not end at that value.
    """
    links = _cached_links(registers, key, by_proof=by_proof)
    if links is not None:
        return links
    path, links = {key: 0}, ()
    following = registers.subscription(key).predecessor
    while following is not None and following not in path:
        known = _cached_links(registers, following, by_proof=by_proof)
        if known is not None and not _derived(registers, following).in_a_circle:
            links = known
            break
        path[following] = len(path)
        following = registers.subscription(following).predecessor
    circle_at = path.get(following) if following is not None else None
    for each, place in reversed(path.items()):
        links = _with_inherited(registers, each, links, by_proof=by_proof)
        if circle_at is None or place <= circle_at:
            derived = _derived(registers, each)
            derived.in_a_circle = place == circle_at
            if by_proof:
                derived.links = links
            else:
                derived.sign_up_links = links
    return links


def _cached_links(
    registers: Registers, key: SubscriptionKey, *, by_proof: bool
) -> tuple[Link, ...] | None:
    derived = _derived(registers, key)
    return derived.links if by_proof else derived.sign_up_links


def _with_inherited(
    registers: Registers, key: SubscriptionKey, earlier: Sequence[Link], *, by_proof: bool
) -> tuple[Link, ...]:
    """The links of one subscription; `earlier` are those of what it continues."""
    subscription = registers.subscription(key)
    links, bought_at = subscription.links, subscription.bought_at
    if earlier and bought_at is not None:
        links = before_first_of(inherited_links(earlier, bought_at), links)
    return before_first_of(_proved_links(registers, key), links) if by_proof else links


# --- proofs ---------------------------------------------------------------------------------------


def _proved_links(registers: Registers, key: SubscriptionKey) -> list[Link]:
    """The links that proofs made, in order; one for each organization, its first.

    A sign-in proves only a subscription that was not linked by then; another's earlier proof is
    such a link.
    """
    proofs = [
        (holder, proof)
        for holder in sorted(registers.proved_by(key))
        for proof in _proofs_of(registers, holder).get(key, ())
    ]
    first: dict[OrganizationId, Link] = {}
    for holder, proof in sorted(proofs, key=lambda each: (each[1].at, each[0])):
        taken = bool(first) and proof.by is CompletedBy.SIGN_IN
        if not taken and _counts(registers, holder, proof):
            first.setdefault(holder, Link(proof.at, BY_PROOF, holder))
    return list(first.values())


def _proofs_of(
    registers: Registers, organization: OrganizationId
) -> Mapping[SubscriptionKey, Sequence[Proof]]:
    """An organization's proofs, by subscription.

    Cached, because it is needed once for each subscription: otherwise the proofs of an organization
    with many would be scanned as many times.
    """
    cache = registers.caches.proofs
    cached = cache.get(organization)
    if cached is not None:
        return cached
    proofs: dict[SubscriptionKey, list[Proof]] = {}
    for proof in registers.organization(organization).proofs:
        proofs.setdefault(proof.subscription, []).append(proof)
    return cache.keep(organization, proofs)


def _counts(registers: Registers, organization: OrganizationId, proof: Proof) -> bool:
    """Whether a proof counts: Support's confirmation does; a sign-in does if the plan was active
    and the account was the organization's alone.  An existing one stays valid when the account
    becomes crowded.
    """
    if proof.by is CompletedBy.SUPPORT:
        return True
    subscription = registers.subscription(proof.subscription)
    account = account_of(subscription, proof.at)
    if account is None or not unlinked_projection_of(registers, subscription).counts_at(proof.at):
        return False
    return is_crowded(registers, account) or (
        sole_holder(registers, account, proof.at) == organization
    )


# --- billing accounts -----------------------------------------------------------------------------


def is_crowded(registers: Registers, account: BillingAccount) -> bool:
    """Whether more than `HOLDERS_MAX` organizations ever had a subscription of the account: then it
    proves nothing, and no match is searched in it.  That never changes back.
    """
    return account in registers.crowded or holders_of(registers, account).is_crowded


def sole_holder(
    registers: Registers, account: BillingAccount, at: datetime
) -> OrganizationId | None:
    """The only holder of the account at that time; None: there was none, several, or too many.

    If the holder was known by then, a later report adds no other.
    """
    if is_crowded(registers, account):
        return None
    return holders_of(registers, account).alone_at(at)


def holders_of(registers: Registers, account: BillingAccount) -> Holders:
    """Who held a billing account, and when.  Not for one of `registers.crowded`."""
    cache = registers.caches.accounts
    return cache.get(account) or cache.keep(account, _find_holders(registers, account))


def _find_holders(registers: Registers, account: BillingAccount) -> Holders:
    linked, proved, counted = (set[OrganizationId]() for _ in range(3))
    stakes = []
    for key in registers.holding(account):
        subscription = registers.subscription(key)
        links = _links_of(registers, key, by_proof=False)
        by_link = {link.organization for link in links}
        by_proof = registers.proved_by(key)
        linked |= by_link
        proved |= by_proof
        if account in known_accounts_of(registers, subscription):
            counted |= by_link | by_proof
        if len(counted) > HOLDERS_MAX:
            return CROWDED
        of_all = stakes_of(
            subscription, links, lambda holder: registers.organization(holder).plans_taken_at
        )
        stakes += [each for each in of_all if each.account == account[1]]
    return Holders(stakes, frozenset(linked), frozenset(proved))


# --- what a change touches ------------------------------------------------------------------------


def forget(registers: Registers, changes: Iterable[Change]) -> None:
    """Forget what depends on these changes, and nothing else.

    - The projection of a subscription's own register depends on that register, and on nothing else
      if the change does not affect holders (`bears_on_holders`).
    - Its links depend on its predecessor, on its proofs and, if there are any, on its projection
      and on who held its accounts.
    - Who held an account depends on the sign-up links of the subscriptions that had it, and on when
      their organizations lost all plans.
    """
    caches = registers.caches
    linked, proved, accounts = _changed(registers, changes)
    if not (linked or proved or accounts):
        return
    linked = with_heirs(registers, linked)
    accounts |= {
        each
        for key in linked | proved
        for each in known_accounts_of(registers, registers.subscription(key))
    }
    proved |= _forget_accounts(registers, accounts)
    for key in linked | with_heirs(registers, proved):
        caches.subscriptions.forget(key)


def _forget_accounts(
    registers: Registers, accounts: Iterable[BillingAccount]
) -> set[SubscriptionKey]:
    """Forget their holders; returns the proved subscriptions that depend on them."""
    proved = set[SubscriptionKey]()
    for account in accounts:
        # A crowded account stays so: that one more joins it costs nothing, however large it is.
        if not _is_cached_as_crowded(registers, account):
            registers.caches.accounts.forget(account)
            proved |= {each for each in registers.holding(account) if registers.proved_by(each)}
    return proved


def _changed(
    registers: Registers, changes: Iterable[Change]
) -> tuple[set[SubscriptionKey], set[SubscriptionKey], set[BillingAccount]]:
    """Forget what is derived from the changed values alone.

    Returns the subscriptions whose sign-up links change, those whose proofs may count differently,
    and the accounts whose members change.
    """
    linked, proved = set[SubscriptionKey](), set[SubscriptionKey]()
    accounts = set[BillingAccount]()
    for change in changes:
        match change:
            case Subscription() as before, Subscription() as after:
                cache = registers.caches.subscriptions
                if not bears_on_holders(registers, before, after):
                    derived = cache.get(after.key)
                    cache.forget(after.key, but=derived and derived.without_projections())
                    continue
                cache.forget(after.key)
                if _links_depend_on(before) != _links_depend_on(after):
                    linked.add(after.key)
                if before.account_history != after.account_history:
                    accounts |= accounts_of(before) | accounts_of(after)
                if registers.proved_by(after.key):
                    proved.add(after.key)
            case Organization() as before, Organization() as after:
                if before.plans_taken_at != after.plans_taken_at:
                    linked |= registers.linked_to(after.id)
                if before.proofs != after.proofs:
                    registers.caches.proofs.forget(after.id)
                    differ = {*before.proofs}.symmetric_difference(after.proofs)
                    proved |= {each.subscription for each in differ}
    return linked, proved, accounts


def bears_on_holders(registers: Registers, before: Subscription, after: Subscription) -> bool:
    """Whether a change of a register may change whose any subscription or account is or was.

    The status alone does so only where there are proofs: a sign-in counts where the plan was
    active.
    """
    return (
        _links_depend_on(before) != _links_depend_on(after)
        or before.accounts != after.accounts
        or bool(registers.proved_by(after.key))
    )


def _is_cached_as_crowded(registers: Registers, account: BillingAccount) -> bool:
    holders = registers.caches.accounts.get(account)
    return account in registers.crowded or (holders is not None and holders.is_crowded)


def _links_depend_on(subscription: Subscription) -> object:
    return subscription.links, subscription.predecessor, subscription.bought_at
