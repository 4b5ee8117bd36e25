"""The history of one organization: its facts, the decisions on them and the published events."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from marketplace_worker.contract.feeds import source_of
from marketplace_worker.inspection.fleet_view import FleetView, Inspector, load_view
from marketplace_worker.lifecycle.facts import (
    ApiRequested,
    ClockCorrected,
    ClockMoved,
    ClosureJudged,
    CommitmentLinked,
    Created,
    DeadlineCame,
    EpochBegan,
    EpochCompleted,
    Erased,
    Fact,
    GuardReleased,
    GuardTripped,
    LoggedIn,
    Notified,
    OwnerChanged,
    PublishedBefore,
    SubscriptionLinked,
    SupportRequested,
    TierChanged,
    Unrecognized,
)
from marketplace_worker.lifecycle.linking import NotableLink, notable_links
from marketplace_worker.lifecycle.matching import attached_to
from marketplace_worker.lifecycle.ownership import links_of
from marketplace_worker.lifecycle.vocabulary import Identity, OrganizationId, SubscriptionKey
from marketplace_worker.store import journal
from marketplace_worker.store.database import Connection, one_moment
from marketplace_worker.store.journal import HistoryEntry

PAGE = 500

Notable = Mapping[tuple[SubscriptionKey, str], NotableLink]
"""The links that a person should check, by subscription and link id."""

ERASED = "erased"
"""Shown in place of actor and details that were erased."""


class LineKind(StrEnum):
    """The kind of a line of the history."""

    FACT = "fact"
    TRANSITION = "transition"
    EVENT = "event"


@dataclass(frozen=True, slots=True)
class HistoryLine:
    """One line of the history.

    `at`: when it was decided.  `occurred_at`: when it happened by the sender's clock; for an event,
    from when it is effective.  `what`: the kind of the fact, the states of the transition, or the
    kind of the event; `about`: its details.  `outcome`: of a fact.  `sequence`: of an event.
    """

    line: LineKind
    at: datetime
    occurred_at: datetime
    what: str
    about: Mapping[str, Any]
    cause: Identity
    actor: str
    outcome: str
    policy_version: str
    sequence: int | None = None


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """The newest facts before a place in the history, the newest first, each with its consequences.

    `before`: the place before which the next page lies; None: this is the last.
    """

    facts: Sequence[Sequence[HistoryLine]]
    before: int | None


async def history(inspector: Inspector, organization: OrganizationId) -> list[HistoryLine]:
    """Everything that concerns an organization, in the order in which it was decided."""
    lines: list[HistoryLine] = []
    async with one_moment(inspector.pool) as conn:
        view = await load_view(conn, inspector, [organization])
        keys, notable = _plans(view, organization)
        after = 0
        while chapters := await journal.history(conn, organization, keys, after=after, limit=PAGE):
            lines += (line for chapter in chapters for line in _lines(chapter, notable))
            after = chapters[-1].id
    return lines


async def page_of_history(
    conn: Connection, view: FleetView, organization: OrganizationId, *, before: int, limit: int
) -> HistoryPage:
    """The newest of what concerns an organization of the view: at most `limit` facts."""
    keys, notable = _plans(view, organization)
    chapters = await journal.newest_of_history(conn, organization, keys, before=before, limit=limit)
    return HistoryPage(
        [tuple(_lines(chapter, notable)) for chapter in reversed(chapters)],
        chapters[0].id if len(chapters) == limit else None,
    )


def _plans(view: FleetView, organization: OrganizationId) -> tuple[list[SubscriptionKey], Notable]:
    """Its subscriptions, and their links that a person should check."""
    attached = attached_to(view.fleet, organization)
    notable = {
        (link.subscription, link.id): link
        for each in attached
        for link in notable_links(each, links_of(view.fleet, each))
    }
    return [each.key for each in attached], notable


def _lines(chapter: HistoryEntry, notable: Notable) -> Iterator[HistoryLine]:
    fact = chapter.fact
    actor = ERASED if fact is None else actor_of(fact)
    what, about = (chapter.kind, {ERASED: True}) if fact is None else _description(fact, notable)
    version = chapter.decided_by or chapter.policy_version
    decided_at, cause, outcome = chapter.decided_at, chapter.identity, chapter.outcome.value
    yield HistoryLine(
        LineKind.FACT, decided_at, chapter.occurred_at, what, about, cause, actor, outcome, version
    )
    if chapter.state is not None and chapter.state is not chapter.state_before:
        at, moved = effective_at(chapter), f"{chapter.state_before} -> {chapter.state}"
        yield HistoryLine(
            LineKind.TRANSITION, decided_at, at, moved, {}, cause, actor, outcome, version
        )
    for event in chapter.events:
        yield HistoryLine(
            LineKind.EVENT,
            decided_at,
            datetime.fromisoformat(event["effective_at"]),
            event["kind"],
            event["details"],
            cause,
            actor,
            outcome,
            event["policy_version"] or version,
            event["sequence"],
        )


_NOT_FOR_PEOPLE = {"email_hash", "request_id", "request", "requested_by"}
"""Fields that people do not need, or that the fact's line has already."""


def for_people(about: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The details of a line that a person reads: its short ones."""
    for name, value in about.items():
        long = isinstance(value, list | Mapping)
        if value is not None and not long and name not in _NOT_FOR_PEOPLE:
            yield name, value


def effective_at(chapter: HistoryEntry) -> datetime:
    """When the transition takes effect: the time of its first event (lifecycle.md section 9)."""
    moments = (datetime.fromisoformat(event["effective_at"]) for event in chapter.events)
    return next(moments, chapter.decided_at)


def actor_of(fact: Fact) -> str:
    """Who caused a fact: a marketplace, a member of Support, an operator, a user, another
    service,
    or the worker itself.
    """
    match fact:
        case Notified(subscription=key):
            return f"marketplace {key.marketplace}"
        case SupportRequested(requested_by=requested_by):
            return f"support {requested_by}"
        case (
            GuardTripped(by=by)
            | GuardReleased(by=by)
            | Erased(by=by)
            | ClockCorrected(by=by)
            | EpochBegan(by=by)
            | EpochCompleted(by=by)
            | ClosureJudged(by=by)
        ):
            return f"operator {by}"
        case DeadlineCame() | ClockMoved() | PublishedBefore():
            return "system"
        case LoggedIn() | ApiRequested():
            return "user"
        case (
            Created()
            | TierChanged()
            | OwnerChanged()
            | SubscriptionLinked()
            | CommitmentLinked()
            | Unrecognized()
        ):
            return f"service {source_of(fact.identity)}"


def _description(fact: Fact, notable: Notable) -> tuple[str, Mapping[str, Any]]:
    """The kind and the details of a fact, without personal data."""
    match fact:
        case Notified(notification=notification):
            return notification, {"subscription": str(fact.subscription)}
        case SupportRequested():
            return f"support.{fact.request}", details_of_request(fact)
        case Unrecognized(event_type=event_type):
            return event_type, {}
        case _:
            return fact.kind, _about(fact, notable)


def details_of_request(fact: SupportRequested) -> Mapping[str, Any]:
    """What a Support request asked for, without the fields of the line itself and the email."""
    return _without_none(
        reason=fact.reason,
        ticket=fact.ticket,
        hold=fact.hold,
        days=fact.days,
        grant_until=fact.grant_until,
        expires_at=fact.expires_at,
        problem=fact.problem,
    )


def _about(fact: Fact, notable: Notable) -> Mapping[str, Any]:
    match fact:
        case Created(tier=tier) | TierChanged(tier=tier):
            return {"tier": tier}
        case SubscriptionLinked():
            return _without_none(
                subscription=str(fact.subscription),
                billing_account=fact.billing_account,
                plan_type=fact.plan_type,
                **_about_link(notable.get((fact.subscription, fact.identity.id))),
            )
        case CommitmentLinked(commitment_id=id_, starts_at=starts_at, ends_at=ends_at):
            return {"commitment": id_, "starts_at": starts_at, "ends_at": ends_at}
        case (
            GuardTripped(reason=reason)
            | Erased(reason=reason)
            | EpochBegan(reason=reason)
            | EpochCompleted(reason=reason)
        ):
            return {"reason": reason}
        case GuardReleased():
            return _without_none(
                guard=fact.guard, reason=fact.reason, steps=fact.steps, requests=fact.requests
            )
        case ClockCorrected():
            return {"reason": fact.reason, "since": fact.since, "ahead": fact.ahead}
        case ClockMoved(ahead=ahead):
            return {"ahead": ahead}
        case PublishedBefore() | ClosureJudged():
            return _about_restore(fact)
        case OwnerChanged() | DeadlineCame() | LoggedIn() | ApiRequested():
            return {}
        case Notified() | SupportRequested() | Unrecognized():
            raise AssertionError("described by what they say")


def _about_restore(fact: PublishedBefore | ClosureJudged) -> Mapping[str, Any]:
    """The state that the topics published, or a person's judgement of it."""
    if isinstance(fact, ClosureJudged):
        return {"stands": fact.stands, "reason": fact.reason}
    return _without_none(
        sequence=fact.sequence, revision=fact.revision, deactivated_for=fact.deactivated_for
    )


def _about_link(link: NotableLink | None) -> Mapping[str, Any]:
    """The details of a link that a person should check."""
    if link is None:
        return {}
    return {
        "organization": link.organization,
        "taken_from": link.taken_from,
        "attention": "billing_account_contradicts" if link.account_contradicts else None,
    }


def _without_none(**values: object) -> Mapping[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
