"""What the log says of what was decided, after it was committed.

One line a transition, a request of Support, or what a person should look at; the other events are
on their topic.  Ids and numbers: no name, email or text that a person wrote.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import structlog

from marketplace_worker.contract.feeds import source_of
from marketplace_worker.lifecycle.events import (
    STATE_EVENTS,
    Event,
    EventKind,
    ReinstatementDetails,
    Standing,
    SupportDetails,
)
from marketplace_worker.lifecycle.facts import Fact, Notified, SupportRequested, Unrecognized
from marketplace_worker.lifecycle.guard import BY_CLOCK
from marketplace_worker.lifecycle.holders import HOLDERS_MAX
from marketplace_worker.lifecycle.index import BillingAccount
from marketplace_worker.lifecycle.linking import NotableLink
from marketplace_worker.lifecycle.vocabulary import Identity, Marketplace
from marketplace_worker.lifecycle.worker_details import (
    GuardReleasedDetails,
    GuardTrippedDetails,
    SilentFeedDetails,
    UnreadableFeedDetails,
)

log = structlog.get_logger(__name__)


def log_events(events: Sequence[Event]) -> None:
    """A line for each transition, for what waits to be completed, and for the worker's own."""
    together = _by_transition(events)
    for event in events:
        if event.kind in STATE_EVENTS and event.standing is not None:
            _log_transition(event, event.standing, together[_transition(event, event.standing)])
        match event.details:
            case GuardTrippedDetails() | GuardReleasedDetails() as details:
                _log_guard(details, event.causation_id)
            case SilentFeedDetails() | UnreadableFeedDetails() as details:
                _log_feed(details)
            case ReinstatementDetails() as details:
                _log_reinstatement(event, details)
            case _:
                pass


def _log_guard(details: GuardTrippedDetails | GuardReleasedDetails, causation_id: str) -> None:
    match details:
        case GuardTrippedDetails():
            log.error(
                "guard_tripped",
                guard=details.guard,
                counted=details.counted,
                limit=details.limit,
                which=details.which,
                by_operator=details.by is not None,
                by_clock=details.by is None and details.reason == BY_CLOCK,
                added_to=details.added_to and str(details.added_to),
                causation_id=causation_id,
            )
        case GuardReleasedDetails():
            log.info(
                "guard_released",
                guard=details.guard,
                steps=details.steps,
                requests=details.requests,
                causation_id=causation_id,
            )


def _log_feed(details: SilentFeedDetails | UnreadableFeedDetails) -> None:
    match details:
        case SilentFeedDetails(feed=feed, day=day, last_heard_at=last_heard_at):
            log.warning(
                "activity_feed_silent",
                feed=feed,
                day=day.isoformat(),
                last_heard_at=last_heard_at and last_heard_at.isoformat(),
            )
        case UnreadableFeedDetails(feed=feed, day=day, organization=organization):
            log.warning(
                "activity_feed_unreadable",
                feed=feed,
                day=day.isoformat(),
                organization=organization,
            )


def _log_reinstatement(event: Event, details: ReinstatementDetails) -> None:
    is_pending = event.kind is EventKind.REINSTATEMENT_PENDING
    log.info(
        "reinstatement_pending" if is_pending else "reinstatement_lapsed",
        organization=event.subject,
        subscription=str(details.subscription),
        completed_by=details.completed_by,
        correlation_id=event.correlation_id,
    )


def _log_transition(event: Event, standing: Standing, kinds: Sequence[EventKind]) -> None:
    unknown = event.kind is EventKind.CANCELED and standing.plan_type is None
    write = log.warning if unknown else log.info
    odd = {"odd": "plan type unknown: the longest timeline"} if unknown else {}
    write(
        "organization_moved",
        organization=standing.organization,
        state_before=standing.previous_state,
        state=standing.state,
        reason=standing.reason,
        plan_type=standing.plan_type,
        sequence=event.sequence,
        effective_at=event.effective_at.isoformat(),
        late_s=round((event.decided_at - event.effective_at).total_seconds(), 3),
        causation_id=event.causation_id,
        correlation_id=event.correlation_id,
        policy_version=standing.policy_version,
        events=kinds,
        **odd,
    )


def _by_transition(events: Iterable[Event]) -> Mapping[object, Sequence[EventKind]]:
    """What was said at each transition, in order."""
    together: defaultdict[object, list[EventKind]] = defaultdict(list)
    for event in events:
        if event.standing is not None:
            together[_transition(event, event.standing)].append(event.kind)
    return together


def _transition(event: Event, standing: Standing) -> object:
    return event.subject, standing.state, standing.previous_state, event.causation_id


def log_answers(answers: Iterable[tuple[SupportRequested, Event]]) -> None:
    """A line for each request of Support."""
    for request, event in answers:
        assert isinstance(event.details, SupportDetails)
        log.info(
            "support_request_answered",
            organization=event.subject,
            request=request.request,
            request_id=event.details.request_id,
            ticket=request.ticket,
            completed=event.kind is EventKind.SUPPORT_REQUEST_COMPLETED,
            code=event.details.code,
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


def log_attention(fact: Fact, position: str) -> None:
    """A line for what a person should look at: a notification, or a type that is not ours."""
    match fact:
        case Notified(attention=attention) if attention is not None:
            log.warning(
                "notification_needs_attention",
                attention=attention,
                notification=fact.notification,
                subscription=str(fact.subscription),
                position=position,
            )
        case Unrecognized(identity=identity, event_type=event_type):
            # A marketplace's own that concerns no subscription is as it should be.
            write = log.info if identity.source in tuple(Marketplace) else log.warning
            write(
                "type_unrecognized",
                type=event_type,
                source=source_of(identity),
                topic=position.rsplit("/", maxsplit=2)[0],
                position=position,
            )
        case _:
            pass


def log_contradictions(repeated: Iterable[tuple[Identity, str]]) -> None:
    """A line for each identity that came once more, at that position, with other content."""
    for identity, position in repeated:
        log.warning(
            "identity_repeated_with_other_content",
            source=source_of(identity),
            id=identity.id,
            position=position,
        )
