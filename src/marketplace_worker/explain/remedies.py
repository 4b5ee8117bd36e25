"""What would stop the next change, complete it or undo it: a closed set of values."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from marketplace_worker.lifecycle.index import BillingAccount
from marketplace_worker.lifecycle.vocabulary import CompletedBy, SubscriptionKey, SupportRequestKind


@dataclass(frozen=True, slots=True)
class AnyPlan:
    """A plan that is linked and active, or a commitment that has begun.

    `own`: its subscriptions that could become active again.
    """

    own: tuple[SubscriptionKey, ...]
    kind: Literal["any_plan"] = "any_plan"


@dataclass(frozen=True, slots=True)
class PlanBegins:
    """A plan of the organization begins by itself."""

    plan: str
    at: datetime
    kind: Literal["plan_begins"] = "plan_begins"


@dataclass(frozen=True, slots=True)
class NewSubscription:
    """A new subscription on the organization's own billing account.

    `completed_by`: what completes the reinstatement; None: it is immediate.
    """

    account: BillingAccount
    completed_by: CompletedBy | None
    kind: Literal["new_subscription"] = "new_subscription"


@dataclass(frozen=True, slots=True)
class AzureNeedsSupport:
    """A reinstatement by Azure only waits: Support's reinstate request completes it."""

    kind: Literal["azure_needs_support"] = "azure_needs_support"


@dataclass(frozen=True, slots=True)
class SignIn:
    """A user of the organization signs in after `after`."""

    after: datetime
    kind: Literal["sign_in"] = "sign_in"


@dataclass(frozen=True, slots=True)
class RequestToSupport:
    """A request of Support.  `days_max`: of an extension.  `grant_needed`: without an end of its
    own (`grant_until`) a reinstatement is refused, for there is no plan.
    """

    request: SupportRequestKind
    days_max: int | None = None
    grant_needed: bool = False
    kind: Literal["request"] = "request"


@dataclass(frozen=True, slots=True)
class AnyActivity:
    """Any login or API request postpones inactivity."""

    kind: Literal["activity"] = "activity"


@dataclass(frozen=True, slots=True)
class OtherTier:
    """Tier plus or enterprise is never inactive."""

    kind: Literal["other_tier"] = "other_tier"


@dataclass(frozen=True, slots=True)
class KillSwitch:
    """An operator trips the guard: no step is taken for any organization."""

    kind: Literal["kill_switch"] = "kill_switch"


Remedy = (
    AnyPlan
    | PlanBegins
    | NewSubscription
    | AzureNeedsSupport
    | SignIn
    | RequestToSupport
    | AnyActivity
    | OtherTier
    | KillSwitch
)
