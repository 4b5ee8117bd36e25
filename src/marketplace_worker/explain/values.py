"""An explanation as a value: closed sets of reasons, next changes and remedies.

`operators` and `customers` put it into words; nothing here is a sentence.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from marketplace_worker.explain.remedies import Remedy
from marketplace_worker.lifecycle.deadlines import Deadline
from marketplace_worker.lifecycle.events import ScheduledStep, Standing
from marketplace_worker.lifecycle.linking import NotableLink
from marketplace_worker.lifecycle.organization import Hold
from marketplace_worker.lifecycle.safeguards import Trip
from marketplace_worker.lifecycle.states import State
from marketplace_worker.lifecycle.vocabulary import (
    ActivityFeed,
    CompletedBy,
    DeactivationCause,
    Initiator,
    Marketplace,
    PlanEndReason,
    PlanType,
    StateReason,
    SubscriptionKey,
    Tier,
)

# --- why it is as it is ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PlanOnFile:
    """A plan that counts as active; `ends_at` is None while no end is known."""

    plan: str
    ends_at: datetime | None


@dataclass(frozen=True, slots=True)
class NotCreated:
    """Its creation is not known.  `kept`: other facts about it are kept until it is."""

    kept: bool
    kind: Literal["not_created"] = "not_created"


@dataclass(frozen=True, slots=True)
class OnPlan:
    """Active because of these plans.  `reason`: how it was reinstated, if it was."""

    plans: tuple[PlanOnFile, ...]
    reason: StateReason | None
    initiator: Initiator | None
    kind: Literal["on_plan"] = "on_plan"


@dataclass(frozen=True, slots=True)
class WithoutPlan:
    """Active although no plan counts as active: it never had one, or not since it was reactivated.

    `ended`: a plan that has ended and was not decided on yet.
    """

    tier: Tier
    reason: StateReason | None
    ended: str | None
    kind: Literal["without_plan"] = "without_plan"


@dataclass(frozen=True, slots=True)
class PlanEnded:
    """On its way down, because its last plan ended at `canceled_at`."""

    plan: str | None
    canceled_at: datetime
    plan_type: PlanType | None
    reason: StateReason | None
    initiator: Initiator | None
    kind: Literal["plan_ended"] = "plan_ended"


@dataclass(frozen=True, slots=True)
class Closed:
    """Deactivated.  `email_in_use`: another organization has its owner's email, so it could not be
    reactivated at present.
    """

    cause: DeactivationCause
    canceled_at: datetime | None
    email_in_use: bool
    kind: Literal["closed"] = "closed"


Why = NotCreated | OnPlan | WithoutPlan | PlanEnded | Closed


# --- what comes next ------------------------------------------------------------------------------


class NoChangeReason(StrEnum):
    """Why nothing happens by itself."""

    NOT_CREATED = "not_created"
    PLAN_GOES_ON = "plan_goes_on"
    TIER_IS_EXEMPT = "tier_is_exempt"
    DEACTIVATED = "deactivated"


@dataclass(frozen=True, slots=True)
class NothingComes:
    """It stays as it is until a message arrives."""

    because: NoChangeReason
    kind: Literal["nothing"] = "nothing"


@dataclass(frozen=True, slots=True)
class PlanEnds:
    """The last plan ends at `at`; it is canceled then.  `superseded`: the plan has ended already
    and counts on for its successor.
    """

    plan: str
    at: datetime
    reason: PlanEndReason
    superseded: bool
    kind: Literal["plan_ends"] = "plan_ends"


@dataclass(frozen=True, slots=True)
class PlanStarts:
    """It is active without a plan, and one begins at `at`, before any other change."""

    plan: str
    at: datetime
    kind: Literal["plan_starts"] = "plan_starts"


@dataclass(frozen=True, slots=True)
class ComesBack:
    """It is reinstated at `at`, by this plan."""

    plan: str | None
    at: datetime
    kind: Literal["comes_back"] = "comes_back"


@dataclass(frozen=True, slots=True)
class NoticeComes:
    """The notice of the step is to be written at `at`."""

    at: datetime
    deadline: Deadline
    kind: Literal["notice"] = "notice"


@dataclass(frozen=True, slots=True)
class StepComes:
    """The step is due at its deadline.  `given_at`: when its notice was written; None: it needs
    none.
    """

    deadline: Deadline
    given_at: datetime | None
    kind: Literal["step"] = "step"


@dataclass(frozen=True, slots=True)
class StepWithheld:
    """The step is due, and the guard withholds it since `since`."""

    deadline: Deadline
    since: datetime
    trip: Trip | None
    kind: Literal["withheld"] = "withheld"


@dataclass(frozen=True, slots=True)
class SilentFeed:
    """A feed whose silence is too long to be believed."""

    feed: ActivityFeed
    last_heard_at: datetime | None


@dataclass(frozen=True, slots=True)
class UnreadRecords:
    """Records of a feed that could not be read, and may be use until `until`.

    `named`: their key is the organization's id; otherwise there are so many records without a known
    organization that any organization may have been in use.
    """

    feed: ActivityFeed
    named: bool
    until: datetime


@dataclass(frozen=True, slots=True)
class StepPostponed:
    """It would be deactivated for inactivity, but a feed was silent or may hide its use; checked
    again then.
    """

    deadline: Deadline
    looks_again_at: datetime
    feeds: tuple[SilentFeed, ...]
    unread: tuple[UnreadRecords, ...] = ()
    kind: Literal["postponed"] = "postponed"


@dataclass(frozen=True, slots=True)
class OnHold:
    """No step is taken while a hold is in force.  `step` is what would come without it.

    `not_before`: the earliest moment of that, if all holds expire by themselves.
    """

    step: State
    holds: tuple[Hold, ...]
    not_before: datetime | None
    kind: Literal["on_hold"] = "on_hold"


@dataclass(frozen=True, slots=True)
class AwaitsCompletion:
    """A plan is active again since `since`, and its reinstatement waits for its completion.

    `until`: when that plan ends; None while no end is known.
    """

    subscription: SubscriptionKey
    completed_by: CompletedBy
    since: datetime
    until: datetime | None
    step: State
    kind: Literal["awaits_completion"] = "awaits_completion"


NextChange = (
    NothingComes
    | PlanEnds
    | PlanStarts
    | ComesBack
    | NoticeComes
    | StepComes
    | StepWithheld
    | StepPostponed
    | OnHold
    | AwaitsCompletion
)


# --- all of it ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why an organization is in its state, what comes next and what would stop it, as of `now`.

    `since`: when its state was entered, or it was created; None: never.  `schedule`: all steps that
    are scheduled.  `marketplaces`: where its plans were bought.  `links`: those that gave it a
    subscription or took one from it and that an operator should check.  `tripped`: the trip of the
    guard for steps, if it would withhold one now.  `policy_in_force`: that of the worker;
    `standing.policy_version` is the one to which the organization is pinned.
    """

    standing: Standing
    now: datetime
    since: datetime | None
    why: Why
    next: NextChange
    schedule: tuple[ScheduledStep, ...]
    remedies: tuple[Remedy, ...]
    marketplaces: tuple[Marketplace, ...]
    links: tuple[NotableLink, ...]
    tripped: Trip | None
    policy_in_force: str

    @property
    def state(self) -> State:
        """The state it is in."""
        assert self.standing.state is not None, "a stored organization is explained in its state"
        return self.standing.state
