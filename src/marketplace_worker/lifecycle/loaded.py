"""The keys that a fleet was loaded with: what is not stored differs from what was not loaded."""

from collections.abc import Hashable
from collections.abc import Set as AbstractSet
from dataclasses import field

from marketplace_worker.lifecycle.events import WORKER
from marketplace_worker.lifecycle.index import BillingAccount
from marketplace_worker.lifecycle.values import dataclass
from marketplace_worker.lifecycle.vocabulary import EmailHash, OrganizationId, SubscriptionKey


class NotLoaded(LookupError):
    """A decision looked up a key that was not loaded: a bug in what its step loads.

    The answer would be silently wrong, because the value of the key is not known.
    """


@dataclass(slots=True)
class LoadedKeys:
    """The keys of each kind of lookup for which a fleet has everything that the database has.

    A key is included even if nothing is stored under it.

    - `organizations`: their own values.  Nothing is ever stored under the worker's own name.
    - `subscriptions`: their registers, their successors, and all links to them.
    - `accounts`: the subscriptions of these billing accounts that may have a holder, unless
      crowded.
    - `plans`: the organizations of which all subscriptions are loaded.
    - `activity`: the organizations of which the last use is loaded.
    - `owner_emails`, `locked_emails`: the emails of which all organizations are loaded.
    """

    organizations: set[OrganizationId] = field(default_factory=lambda: {WORKER})
    subscriptions: set[SubscriptionKey] = field(default_factory=set)
    accounts: set[BillingAccount] = field(default_factory=set)
    plans: set[OrganizationId] = field(default_factory=set)
    activity: set[OrganizationId] = field(default_factory=set)
    owner_emails: set[EmailHash] = field(default_factory=set)
    locked_emails: set[EmailHash] = field(default_factory=set)


def require(keys: AbstractSet[Hashable], key: Hashable, what: str) -> None:
    """Raise NotLoaded unless a key was loaded."""
    if key not in keys:
        raise NotLoaded(f"not loaded: {what} of {key}")
