"""The register of one subscription: its notifications, and its links to organizations.

A register keeps what the fold needs of every notification and every link, in order of event time,
so that `projection.fold` yields the same for every order of arrival (marketplaces.md section 1,
*Fold*).
"""

from bisect import insort
from collections.abc import Iterable, Sequence
from dataclasses import field
from datetime import UTC, datetime

from marketplace_worker.lifecycle.notes import Note, Pended, Progress, Unchanged
from marketplace_worker.lifecycle.values import dataclass, replace
from marketplace_worker.lifecycle.vocabulary import (
    Marketplace,
    OrganizationId,
    PlanType,
    SubscriptionKey,
    marketplace_id,
)

FOREVER = datetime.max.replace(tzinfo=UTC)
BEGINNING = datetime.min.replace(tzinfo=UTC)

KEPT_MAX = 500
"""How many notifications, and how many links, a register keeps: the newest.  Without a bound, a
sender that repeats itself would make every decision slower."""


AccountHistory = tuple[tuple[datetime, str, bool], ...]
"""Which billing account a subscription had from when on, in order, and whether one was reported by
then: before the first report it counts as having had that account.
"""


@dataclass(frozen=True, slots=True)
class Link:
    """The vendor's sign-up attached a subscription to an organization."""

    occurred_at: datetime
    id: str
    organization: OrganizationId
    plan_type: PlanType | None = None
    billing_account: str | None = None

    @property
    def order(self) -> tuple[datetime, str]:
        """The newest link wins, by time and then by id (lifecycle.md section 11)."""
        return (self.occurred_at, self.id)


@dataclass(frozen=True, slots=True)
class Subscription:
    """Everything that was reported about one subscription; `notes` and `links` in order of event
    time.

    Values that follow from these are derived once, when the value is made, because they are needed
    often:

    - `accounts`: each report of the customer's billing account, links last; none for Azure
      (section 1);
    - `predecessor`: the subscription that it continues, by the newest notification that names one;
    - `bought_at`: when it was first reported as the successor of another.
    """

    key: SubscriptionKey
    notes: tuple[Note, ...] = ()
    links: tuple[Link, ...] = ()
    accounts: tuple[tuple[datetime, str], ...] = field(init=False, compare=False, repr=False)
    predecessor: SubscriptionKey | None = field(init=False, compare=False, repr=False)
    bought_at: datetime | None = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Derive what follows from the reports."""
        object.__setattr__(self, "accounts", _accounts(self.key, self.notes, self.links))
        purchases = [
            (note.occurred_at, note.change.successor_of)
            for note in self.notes
            if isinstance(note.change, Pended) and note.change.successor_of not in {None, self.key}
        ]
        object.__setattr__(self, "predecessor", purchases[-1][1] if purchases else None)
        object.__setattr__(self, "bought_at", purchases[0][0] if purchases else None)

    def with_note(self, note: Note) -> "Subscription":
        """A copy with one more notification; unchanged if it has nothing that the fold needs."""
        if _is_redundant(note) or any(each.id == note.id and each == note for each in self.notes):
            return self
        notes, reports = list(self.notes), [note]
        if note.operation is not None:
            same = [each for each in notes if each.operation == note.operation]
            notes = [each for each in notes if each.operation != note.operation]
            reports = [*decisive_reports([*same, note])]
        for each in reports:
            insort(notes, each, key=lambda each: each.order)
        return replace(self, notes=_kept(notes))

    def with_link(self, link: Link) -> "Subscription":
        """A copy with one more explicit link."""
        links = sorted(dict.fromkeys((*self.links, link)), key=lambda each: each.order)
        return replace(self, links=tuple(links[-KEPT_MAX:]))

    @property
    def billing_account(self) -> str | None:
        """The account by the last report."""
        return self.account_at(FOREVER)

    def account_at(self, at: datetime) -> str | None:
        """The account by the last report up to then; before the first report, that one.  A link
        outranks a notification.
        """
        by_then = [account for moment, account in self.accounts if moment <= at]
        return by_then[-1] if by_then else min(self.accounts, default=(at, None))[1]

    @property
    def account_history(self) -> AccountHistory:
        """`account_at` as a list: each account, and from when on it is the answer."""
        accounts = self.accounts
        if not accounts:
            return ()
        history = [(BEGINNING, min(accounts)[1], False)]
        newest = 0
        for at, place in sorted((at, place) for place, (at, _) in enumerate(accounts)):
            newest = max(newest, place)
            if (accounts[newest][1], True) != history[-1][1:]:
                history.append((at, accounts[newest][1], True))
        return tuple(history)

    def up_to(self, at: datetime) -> "Subscription":
        """The register with the notifications up to then, and without its links."""
        notes = tuple([note for note in self.notes if note.occurred_at <= at])
        return Subscription(self.key, notes)


def _accounts(
    key: SubscriptionKey, notes: Sequence[Note], links: Sequence[Link]
) -> tuple[tuple[datetime, str], ...]:
    if key.marketplace is Marketplace.AZURE:
        return ()
    reported = [
        (each.occurred_at, marketplace_id(account))
        for reports in (notes, links)
        for each in reports
        if (account := each.billing_account) is not None
    ]
    return tuple(reported)


def inherited_links(links: Sequence[Link], bought_at: datetime) -> list[Link]:
    """The links that a successor inherits from its predecessor: its holder from the purchase on.

    The plan type is not inherited: it was reported of the earlier purchase.
    """
    sold = [link for link in links if link.occurred_at <= bought_at][-1:]
    later = [link for link in links if link.occurred_at > bought_at]
    return [
        replace(link, occurred_at=max(link.occurred_at, bought_at), plan_type=None)
        for link in (*sold, *later)
    ]


def before_first_of(earlier: Iterable[Link], links: tuple[Link, ...]) -> tuple[Link, ...]:
    """These links, and before them the earlier ones that precede the first of them."""
    return (*(each for each in earlier if not links or each.order < links[0].order), *links)


@dataclass(frozen=True, slots=True)
class Tenure:
    """The interval in which a subscription was an organization's, by its links.

    `since` is None if it was not linked before; `until`: when it was linked to another
    organization.  `linked_at`: when it was last linked to the organization before that;
    `plan_type`: the newest plan type by then, of a link to any organization.
    """

    since: datetime | None
    until: datetime | None
    linked_at: datetime
    plan_type: PlanType | None


def tenures(links: Sequence[Link]) -> dict[OrganizationId, list[Tenure]]:
    """To which organizations a subscription with these links belonged.  A repeated link to the same
    organization does not begin a new tenure.
    """
    found: dict[OrganizationId, list[Tenure]] = {}
    plan_type: PlanType | None = None
    since: datetime | None = None
    for link, following in zip(links, (*links[1:], None), strict=False):
        plan_type = link.plan_type or plan_type
        if following is None or following.organization != link.organization:
            until = following.occurred_at if following else None
            tenure = Tenure(since, until, link.occurred_at, plan_type)
            found.setdefault(link.organization, []).append(tenure)
            since = until
    return found


def decisive_reports(reports: Sequence[Note]) -> Sequence[Note]:
    """The reports of one operation that decide its result.

    That is one final report, if there is any: the newest, and of several at one time the more
    lenient (a failure of what takes something away, else a success).  Otherwise all of them.
    """
    final = [each for each in reports if each.progress is not Progress.RUNNING]
    return [max(final, key=_finality)] if final else reports


def _finality(report: Note) -> tuple[object, ...]:
    lenient = Progress.FAILED if report.is_destructive else Progress.SUCCEEDED
    return (report.occurred_at, report.progress is lenient, report.order)


def _kept(notes: Sequence[Note]) -> tuple[Note, ...]:
    """At most `KEPT_MAX`.  Those that change no status are dropped first, then the oldest."""
    over = len(notes) - KEPT_MAX
    if over <= 0:
        return tuple(notes)
    idle = [number for number, each in enumerate(notes) if isinstance(each.change, Unchanged)]
    gone = set(idle[:over])
    return tuple(each for number, each in enumerate(notes) if number not in gone)[-KEPT_MAX:]


def _is_redundant(note: Note) -> bool:
    if note.operation is not None and note.progress is not Progress.RUNNING:
        return False  # it outweighs other reports of the operation
    if not note.counts:
        return True
    values = (
        note.plan_type,
        note.billing_account,
        note.term_ends_at,
        note.auto_renews,
        note.licence,
        note.term_started,
    )
    return isinstance(note.change, Unchanged) and all(each is None for each in values)
