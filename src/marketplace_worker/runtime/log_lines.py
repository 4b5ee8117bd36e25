"""What the log says of what was decided, after it was committed.

One line for each event that is published, and one for each fact that a marketplace, a service of
the vendor or Support sent: logins and API usage are only counted.  Ids and numbers: no name, email
or text that a person wrote.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import structlog
from structlog.typing import FilteringBoundLogger

from marketplace_worker.contract.feeds import source_of
from marketplace_worker.contract.tracing import Trace
from marketplace_worker.lifecycle.decide import Decision, Outcome
from marketplace_worker.lifecycle.events import (
    STATE_EVENTS,
    WORKER,
    Event,
    EventKind,
    ReinstatementDetails,
    Standing,
    SupportDetails,
)
from marketplace_worker.lifecycle.facts import (
    CommitmentLinked,
    Created,
    Fact,
    Notified,
    OwnerChanged,
    SubscriptionLinked,
    SupportRequested,
    TierChanged,
    Unrecognized,
)
from marketplace_worker.lifecycle.guard import BY_CLOCK
from marketplace_worker.lifecycle.holders import HOLDERS_MAX
from marketplace_worker.lifecycle.index import BillingAccount
from marketplace_worker.lifecycle.linking import NotableLink
from marketplace_worker.lifecycle.vocabulary import Identity, Marketplace, OrganizationId
from marketplace_worker.lifecycle.worker_details import (
    GuardReleasedDetails,
    GuardTrippedDetails,
    SilentFeedDetails,
    UnreadableFeedDetails,
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DecidedFact:
    """A fact that was decided on, with all that is logged of it.

    `organizations`: those that were decided on.  `position`: the record's place in Kafka.
    """

    fact: Fact
    position: str
    outcome: Outcome
    organizations: tuple[OrganizationId, ...] = ()
    events: tuple[Event, ...] = ()
    trace: Trace | None = None

    @classmethod
    def of(
        cls, fact: Fact, decision: Decision, position: str, trace: Trace | None
    ) -> "DecidedFact":
        """Of a fact and what was decided; the states before and after are not kept for it."""
        ids = tuple(dict.fromkeys(each.organization.id for each in decision.results))
        return cls(fact, position, decision.outcome, ids, decision.events, trace)


def log_decided(decided: Iterable[DecidedFact]) -> None:
    """The line of each fact, and then those of its events, in the order in which they are
    published.
    """
    bound = log.bind()  # once: it costs a third of a line
    for each in decided:
        trace: dict[str, object] = {} if each.trace is None else {"trace_id": each.trace.id}
        _log_fact(bound, each, trace)
        for event in each.events:
            _log_event(bound, event, each.fact, _of_event(event) | trace)


def _log_fact(bound: FilteringBoundLogger, decided: DecidedFact, trace: dict[str, object]) -> None:
    match decided.fact:
        case Notified() as fact:
            about = _of_fact(decided) | trace
            about["subscription"] = str(fact.subscription)
            about["notification"] = fact.notification
            if fact.attention is None:
                bound.info("fact_decided", **about, change=fact.note.change.kind)
            else:
                bound.warning("notification_needs_attention", **about, attention=fact.attention)
        case SubscriptionLinked() as fact:
            about = _of_fact(decided) | trace
            bound.info("fact_decided", **about, subscription=str(fact.subscription))
        case Created() | TierChanged() | OwnerChanged() | CommitmentLinked():
            bound.info("fact_decided", **_of_fact(decided), **trace)
        case Unrecognized(identity=identity, event_type=event_type):
            # A marketplace's own that concerns no subscription is as it should be.
            write = bound.info if identity.source in tuple(Marketplace) else bound.warning
            write(
                "type_unrecognized",
                type=event_type,
                source=source_of(identity),
                topic=decided.position.rsplit("/", maxsplit=2)[0],
                position=decided.position,
                **trace,
            )
        case _:  # the answer to Support is an event; commands and deadlines are told by theirs
            pass


def _of_fact(decided: DecidedFact) -> dict[str, object]:
    """The fields of every fact's line."""
    ids = decided.organizations
    about: dict[str, object] = {"organization": ids[0]} if len(ids) == 1 else {}
    if len(ids) > 1:
        about["organizations"] = ids
    about |= {
        "kind": decided.fact.kind,
        "id": decided.fact.identity.id,
        "outcome": decided.outcome,
        "position": decided.position,
    }
    return about


def _of_event(event: Event) -> dict[str, object]:
    """The fields of every event's line."""
    about: dict[str, object] = {} if event.subject == WORKER else {"organization": event.subject}
    about |= {
        "type": event.kind,
        "sequence": event.sequence,
        "causation_id": event.causation_id,
        "correlation_id": event.correlation_id,
    }
    return about


def _log_event(
    bound: FilteringBoundLogger, event: Event, fact: Fact, about: dict[str, object]
) -> None:
    if event.kind in STATE_EVENTS and event.standing is not None:
        _log_transition(bound, event, event.standing, about)
        return
    match event.details:
        case None:
            bound.info("event_decided", **about)
        case GuardTrippedDetails() | GuardReleasedDetails() as details:
            _log_guard(bound, details, about)
        case SilentFeedDetails() | UnreadableFeedDetails() as details:
            _log_feed(bound, details, about)
        case ReinstatementDetails() as details:
            _log_reinstatement(bound, event, details, about)
        case SupportDetails() as details if isinstance(fact, SupportRequested):
            _log_answer(bound, event, details, fact, about)
        case _:
            bound.info("event_decided", **about)


def _log_guard(
    bound: FilteringBoundLogger,
    details: GuardTrippedDetails | GuardReleasedDetails,
    about: Mapping[str, object],
) -> None:
    match details:
        case GuardTrippedDetails():
            bound.error(
                "guard_tripped",
                **about,
                guard=details.guard,
                counted=details.counted,
                limit=details.limit,
                which=details.which,
                by_operator=details.by is not None,
                by_clock=details.by is None and details.reason == BY_CLOCK,
                added_to=details.added_to and str(details.added_to),
            )
        case GuardReleasedDetails():
            bound.info(
                "guard_released",
                **about,
                guard=details.guard,
                steps=details.steps,
                requests=details.requests,
            )


def _log_feed(
    bound: FilteringBoundLogger,
    details: SilentFeedDetails | UnreadableFeedDetails,
    about: dict[str, object],
) -> None:
    match details:
        case SilentFeedDetails(feed=feed, day=day, last_heard_at=last_heard_at):
            bound.warning(
                "activity_feed_silent",
                **about,
                feed=feed,
                day=day.isoformat(),
                last_heard_at=last_heard_at and last_heard_at.isoformat(),
            )
        case UnreadableFeedDetails(feed=feed, day=day, organization=organization):
            bound.warning(
                "activity_feed_unreadable",
                **about,
                feed=feed,
                day=day.isoformat(),
                organization=organization,
            )


def _log_reinstatement(
    bound: FilteringBoundLogger,
    event: Event,
    details: ReinstatementDetails,
    about: dict[str, object],
) -> None:
    is_pending = event.kind is EventKind.REINSTATEMENT_PENDING
    bound.info(
        "reinstatement_pending" if is_pending else "reinstatement_lapsed",
        **about,
        subscription=str(details.subscription),
        completed_by=details.completed_by,
    )


def _log_transition(
    bound: FilteringBoundLogger, event: Event, standing: Standing, about: dict[str, object]
) -> None:
    unknown = event.kind is EventKind.CANCELED and standing.plan_type is None
    write = bound.warning if unknown else bound.info
    if unknown:
        about["odd"] = "plan type unknown: the longest timeline"
    write(
        "organization_moved",
        **about,
        state_before=standing.previous_state,
        state=standing.state,
        reason=standing.reason,
        plan_type=standing.plan_type,
        effective_at=event.effective_at.isoformat(),
        late_s=round((event.decided_at - event.effective_at).total_seconds(), 3),
        policy_version=standing.policy_version,
    )


def _log_answer(
    bound: FilteringBoundLogger,
    event: Event,
    details: SupportDetails,
    request: SupportRequested,
    about: dict[str, object],
) -> None:
    bound.info(
        "support_request_answered",
        **about,
        request=request.request,
        request_id=details.request_id,
        ticket=request.ticket,
        completed=event.kind is EventKind.SUPPORT_REQUEST_COMPLETED,
        code=details.code,
    )


def log_links(links: Iterable[NotableLink]) -> None:
    """A line for each link that took a subscription from another organization, and for each that
    names another billing account than was known.
    """
    for link in links:
        line = log.bind(
            subscription=str(link.subscription),
            organization=link.organization,
            taken_from=link.taken_from,
            link=link.id,
        )
        if link.taken_from is not None:
            line.warning("subscription_moved")
        if link.account_contradicts:
            line.warning("link_needs_attention", attention="billing_account_contradicts")


def log_crowded(accounts: Iterable[BillingAccount]) -> None:
    """A line for each billing account that is too many organizations' to prove anything."""
    for marketplace, account in sorted(accounts):
        log.warning(
            "billing_account_crowded",
            marketplace=marketplace,
            billing_account=account,
            organizations_max=HOLDERS_MAX,
        )


def log_contradictions(repeated: Iterable[tuple[Identity, str]]) -> None:
    """A line for each identity that came once more, at that position, with other content."""
    for identity, position in repeated:
        log.warning(
            "identity_repeated_with_other_content",
            source=source_of(identity),
            id=identity.id,
            position=position,
        )
