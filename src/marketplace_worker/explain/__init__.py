"""Why an organization is in its state, what comes next by which rule, and what would stop it.

Pure and total: every organization has an explanation, whatever its state.  `values` is the
explanation; `for_operators` and `for_customers` put it into words.
"""

from collections.abc import Iterator
from datetime import datetime

from marketplace_worker.explain.customers import for_customers
from marketplace_worker.explain.finding_remedies import remedies
from marketplace_worker.explain.operators import for_operators
from marketplace_worker.explain.situation import case_of, next_change, why
from marketplace_worker.explain.values import Explanation
from marketplace_worker.lifecycle.case import Case
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.linking import NotableLink, notable_links
from marketplace_worker.lifecycle.organization import Organization
from marketplace_worker.lifecycle.policy import Policies
from marketplace_worker.lifecycle.safeguards import Trip

__all__ = ["Explanation", "explain", "for_customers", "for_operators"]


def explain(
    organization: Organization, fleet: Fleet, policies: Policies, *, now: datetime
) -> Explanation:
    """Explain an organization as it is stored; a worker may still have to decide on it."""
    case = case_of(organization, fleet, policies, now=now)
    comes = next_change(case)
    created_at = organization.creation.occurred_at if organization.creation else None
    return Explanation(
        standing=case.standing(),
        now=now,
        since=organization.entered_at or created_at,
        why=why(case),
        next=comes,
        schedule=case.schedule(),
        remedies=remedies(case, comes),
        marketplaces=tuple(sorted({key.marketplace for key in case.covered.subscriptions})),
        links=tuple(_notable_links(case)),
        tripped=_closed(fleet.safeguards.trip),
        policy_in_force=policies.current.version,
    )


def _notable_links(case: Case) -> Iterator[NotableLink]:
    """Those of its subscriptions that it gained or lost by a notable link."""
    id_ = case.organization.id
    for each in case.covered.attachments:
        for link in notable_links(each.subscription, each.links):
            if id_ in {link.organization, link.taken_from}:
                yield link


def _closed(trip: Trip | None) -> Trip | None:
    """The guard's trip, if the guard allows no steps."""
    return trip if trip is not None and trip.allowance == 0 else None
