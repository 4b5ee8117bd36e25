"""Which plans the sign-ins of an organization prove to be its own (lifecycle.md section 4).

Each kept login is checked as of its own time, so that the order of arrival does not matter.
"""

from collections.abc import Sequence
from datetime import datetime

from marketplace_worker.lifecycle.case import Case
from marketplace_worker.lifecycle.coverage.combined import matched_intervals
from marketplace_worker.lifecycle.coverage.intervals import Moment, Trigger
from marketplace_worker.lifecycle.fleet import Fleet
from marketplace_worker.lifecycle.holders import Interval
from marketplace_worker.lifecycle.index import BillingAccount
from marketplace_worker.lifecycle.matching import attached_to, plans_accounts
from marketplace_worker.lifecycle.organization import Organization, Proof
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.lifecycle.vocabulary import CompletedBy, OrganizationId


def prove_by_sign_ins(case: Case) -> None:
    """Add a proof of each plan that was active and matched when a user signed in.

    Whether a plan matched is derived as of the sign-in, from all that is known now (lifecycle.md
    section 11).
    """
    moments = set(case.fleet.last_seen(case.organization.id).sign_ins)
    if case.signed_in_at is not None:
        moments.add(case.signed_in_at)
    sign_in_required = case.policy.reinstatement.sign_in_required
    if sign_in_required and not moments:
        return
    proved, fleet = case.organization, case.fleet.with_organization(case.organization)
    accounts, unlinked = _unlinked(proved.id, fleet, case.policy)
    if not sign_in_required:
        # Then a plan is proved as soon as it matches.
        moments |= {since for since, _ in unlinked if since <= case.now}
    for at in sorted(moments):
        if not any(since <= at <= until for since, until in unlinked):
            continue
        after = _proved_at(at, proved, accounts, fleet, case.policy)
        if after is not proved:
            proved, fleet = after, case.fleet.with_organization(after)
            accounts, unlinked = _unlinked(proved.id, fleet, case.policy)
    case.update(proved)


def _proved_at(
    at: datetime,
    organization: Organization,
    accounts: Sequence[BillingAccount],
    fleet: Fleet,
    policy: Policy,
) -> Organization:
    """A copy with a proof of every plan that matched at that time."""
    required = policy.reinstatement.sign_in_required
    proofs = []
    for interval, (since, until) in matched_intervals(organization.id, accounts, fleet, policy):
        if not since <= at < until:
            continue
        begun = interval.starts_at < at if required else interval.starts_at <= at
        if begun and interval.revives(Moment(at, Trigger.NEWS)):
            assert interval.subscription is not None
            proofs.append(Proof(interval.subscription, at, CompletedBy.SIGN_IN))
    return organization.with_proofs(*proofs)


def _unlinked(
    organization: OrganizationId, fleet: Fleet, policy: Policy
) -> tuple[Sequence[BillingAccount], Sequence[Interval]]:
    """The accounts of its plans; and from when to when anything may have matched by them, both
    included: nothing matches outside of these.

    Deriving the matches of every login is expensive: it is done only within these intervals.
    """
    accounts = plans_accounts(fleet, attached_to(fleet, organization))
    return accounts, [
        (since, until)
        for interval, matched in matched_intervals(organization, accounts, fleet, policy)
        if (since := max(interval.starts_at, matched[0]))
        <= (until := min(interval.revives_until, matched[1]))
    ]
