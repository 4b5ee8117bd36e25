"""The demo's story: a few customers, their messages, and the events that are expected."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from marketplace_worker.demo.messages import Message, MessageWriter

Script = Callable[[MessageWriter], tuple[Message, ...]]


@dataclass(frozen=True, slots=True)
class Customer:
    """One organization of the story, and its expected lifecycle events, in order.

    `then`: messages to send when an event is received, by the event's name.  Days pass between each
    of these events and the next deadline, so that no reply is late.
    """

    name: str
    what: str
    begins: Script
    expected: tuple[str, ...]
    then: Mapping[str, Script] = field(default_factory=dict)


CONTROL_PLANE_LOSS = ("organization.control_plane_lost", "control_plane.access_revoked")

SUSPENSION = ("organization.suspended", "api_keys.revoked", "data_plane.access_revoked")

WAY_DOWN = (
    "organization.canceled",
    *CONTROL_PLANE_LOSS,
    "organization.notice_given",
    *SUSPENSION,
)

ALL_RESTORED = (
    "control_plane.access_restored",
    "api_keys.restored",
    "data_plane.access_restored",
)

BEFORE_USERS_LEAVE = (
    "organization.notice_given",
    "organization.deactivated",
    "billing.stopped",
    "subscriptions.removed",
    "control_plane.decommissioned",
)

USERS_LEAVE = (
    "team_memberships.removed",
    "roles.removed",
    "logins.blocked",
    "email.locked",
    "runtimes.detached",
)


def customers() -> tuple[Customer, ...]:
    """All customers of the story."""
    return (_acme(), _birch(), _cedar(), _dune(), _elm(), _fern(), _grove(), _hazel())


def _acme() -> Customer:
    return Customer(
        "acme",
        "AWS (EventBridge): the customer cancels and never comes back",
        lambda write: (
            *write.sign_up("acme", "aws", "agmt-acme", "payg"),
            write.agreement_active("acme", "agmt-acme"),
            write.agreement_ended("acme", "agmt-acme", "CANCELLED"),
        ),
        (
            WAY_DOWN[0],
            "metering.final_report_due",
            *WAY_DOWN[1:],
            *BEFORE_USERS_LEAVE,
            *USERS_LEAVE,
            "resources.deletion_requested",
        ),
    )


def _birch() -> Customer:
    return Customer(
        "birch",
        "AWS (SNS): unsubscribes, and subscribes again when suspended",
        lambda write: (
            *write.sign_up("birch", "aws", "prod-1/cust-birch", "payg"),
            write.sns("subscribe-success", "cust-birch"),
            write.sns("unsubscribe-success", "cust-birch"),
        ),
        (
            "organization.canceled",
            "metering.final_report_due",
            *WAY_DOWN[1:],
            "organization.reinstated",
            *ALL_RESTORED,
        ),
        {
            "data_plane.access_revoked": lambda write: (
                write.sns("subscribe-success", "cust-birch"),
            ),
        },
    )


def _cedar() -> Customer:
    return Customer(
        "cedar",
        "Google Cloud: billing is switched off; a new entitlement is linked",
        lambda write: (
            *write.sign_up("cedar", "gcp", "ent-cedar-1", "commit"),
            write.google("ENTITLEMENT_ACTIVE", "ent-cedar-1"),
            write.google("ENTITLEMENT_CANCELLED", "ent-cedar-1", reason="billing-disabled"),
        ),
        (
            "organization.canceled",
            "metering.final_report_due",
            *CONTROL_PLANE_LOSS,
            "organization.reinstated",
            "control_plane.access_restored",
        ),
        {
            "control_plane.access_revoked": lambda write: (
                write.google("ENTITLEMENT_ACTIVE", "ent-cedar-2"),
                write.link("cedar", "gcp", "ent-cedar-2", "commit"),
            )
        },
    )


def _dune() -> Customer:
    return Customer(
        "dune",
        "Azure: payment fails and is made after the suspension; Support reinstates",
        lambda write: (
            *write.sign_up("dune", "azure", "sub-dune", "payg"),
            write.azure("Subscribe", "sub-dune"),
            write.azure("Suspend", "sub-dune"),
        ),
        (
            *WAY_DOWN,
            "organization.reinstatement_pending",
            "organization.reinstated",
            *ALL_RESTORED,
            "support_request.completed",
        ),
        {
            "data_plane.access_revoked": lambda write: (write.azure("Reinstate", "sub-dune"),),
            "organization.reinstatement_pending": lambda write: (write.reinstate("dune"),),
        },
    )


def _elm() -> Customer:
    return Customer(
        "elm",
        "AWS (EventBridge): a renewal, which cancels nothing",
        lambda write: (
            *write.sign_up("elm", "aws", "agmt-elm-1", "commit"),
            write.agreement_active("elm", "agmt-elm-1"),
            write.agreement_renewed("elm", "agmt-elm-1", by="agmt-elm-2"),
            write.agreement_ended("elm", "agmt-elm-1", "RENEWED"),
        ),
        ("metering.final_report_due",),
    )


def _fern() -> Customer:
    return Customer(
        "fern",
        "AWS (EventBridge): buys again from the same account, and signs in",
        lambda write: (
            *write.sign_up("fern", "aws", "agmt-fern-1", "commit"),
            write.agreement_active("fern", "agmt-fern-1"),
            write.agreement_ended("fern", "agmt-fern-1", "CANCELLED"),
        ),
        (
            "organization.canceled",
            "metering.final_report_due",
            *CONTROL_PLANE_LOSS,
            "organization.reinstatement_pending",
            "organization.reinstated",
            "control_plane.access_restored",
        ),
        {
            "control_plane.access_revoked": lambda write: (
                write.agreement_active("fern", "agmt-fern-2"),
            ),
            "organization.reinstatement_pending": lambda write: (write.sign_in("fern"),),
        },
    )


def _grove() -> Customer:
    return Customer(
        "grove",
        "free: nobody ever signs in again",
        lambda write: (write.created("grove", "free"),),
        (
            *BEFORE_USERS_LEAVE,
            "api_keys.revoked",
            "data_plane.access_revoked",
            *USERS_LEAVE,
        ),
    )


def _hazel() -> Customer:
    return Customer(
        "hazel",
        "free: a user signs in again after the notice",
        lambda write: (write.created("hazel", "free"),),
        ("organization.notice_given", "organization.notice_withdrawn"),
        {"organization.notice_given": lambda write: (write.sign_in("hazel"),)},
    )
