"""Which plans the sign-ins of an organization prove to be its own (lifecycle.md section 4).

Every login that is kept is asked, each at its own time: which was heard last does not matter.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

from marketplace_worker.lifecycle.case import Case
from marketplace_worker.lifecycle.claims import Claim, Moment, Trigger, claims_of
from marketplace_worker.lifecycle.course import fold
from marketplace_worker.lifecycle.coverage import matched_claims
from marketplace_worker.lifecycle.events import CompletedBy
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.organization import Organization, Proof
from marketplace_worker.lifecycle.plans import FOREVER
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.lifecycle.vocabulary import OrganizationId


def prove_by_sign_ins(case: Case) -> None:
    """Add a proof of each plan that was active and matched when a user signed in.

    Who matched is derived as of the sign-in, with all that is known now (lifecycle.md section 11).
    """
    proved, fleet = case.organization, case.fleet.with_organization(case.organization)
    unlinked = _unlinked(proved.id, fleet, case.policy)
    for at in _moments(case, fleet, unlinked):
        if not any(claim.starts_at <= at <= until for claim, until in unlinked):
            continue
        after = _proved_at(at, proved, fleet, case.policy)
        if after is not proved:
            proved, fleet = after, case.fleet.with_organization(after)
            unlinked = _unlinked(proved.id, fleet, case.policy)
    case.become(proved)


def _proved_at(
    at: datetime, organization: Organization, fleet: Fleet, policy: Policy
) -> Organization:
    """With a proof of every plan that matched at that time."""
    required = policy.reinstatement.sign_in_required
    for claim in matched_claims(organization.id, fleet, policy, at):
        begun = claim.starts_at < at if required else claim.starts_at <= at
        if begun and claim.revives(Moment(at, Trigger.NEWS)):
            assert claim.subscription is not None
            organization = organization.proved(Proof(claim.subscription, at, CompletedBy.SIGN_IN))
    return organization


_Unlinked = Sequence[tuple[Claim, datetime]]
"""Claims of what may have matched, each with when somebody linked it first."""


def _unlinked(organization: OrganizationId, fleet: Fleet, policy: Policy) -> _Unlinked:
    """What may have matched at some time; nothing matches outside these intervals.

    To derive at each of many logins who matched then is dear: it is done only within them.
    """
    return list(_intervals(organization, fleet, policy))


def _intervals(
    organization: OrganizationId, fleet: Fleet, policy: Policy
) -> Iterator[tuple[Claim, datetime]]:
    for subscription in fleet.sharing_accounts(organization):
        links = fleet.links_of(subscription)
        until = links[0].occurred_at if links else FOREVER
        for claim in claims_of(subscription, fold(subscription, ()), fleet, policy):
            if claim.starts_at < until:
                yield claim, min(claim.revives_until, until)


def _moments(case: Case, fleet: Fleet, unlinked: _Unlinked) -> Sequence[datetime]:
    """The moments at which a plan may be proved, in order: the logins, and where no sign-in is
    required, whenever a plan may have begun to match.
    """
    id_ = case.organization.id
    moments = {*fleet.last_seen(id_).sign_ins}
    if case.signed_in_at is not None:
        moments.add(case.signed_in_at)
    if not case.policy.reinstatement.sign_in_required and unlinked:
        begun = {claim.starts_at for claim, _ in unlinked} | _matches_change_at(id_, fleet)
        moments |= {at for at in begun if at <= case.now}
    return sorted(moments)


def _matches_change_at(organization: OrganizationId, fleet: Fleet) -> set[datetime]:
    """When another may have become the match of what has an organization's billing accounts: an
    account was told, a plan was linked, or a deactivation took one.
    """
    moments: set[datetime] = set()
    for subscription in fleet.sharing_accounts(organization):
        moments |= {at for at, _ in subscription.accounts}
        for link in fleet.links_of(subscription):
            moments |= {link.occurred_at, *fleet.organization(link.organization).plans_taken_at}
    return moments
