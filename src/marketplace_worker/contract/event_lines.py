"""A published lifecycle event in words, for a reader who watches many."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from marketplace_worker.contract.cloudevents import TYPE_PREFIX

_VERSION = ".v1"


def event_name(event: Mapping[str, Any]) -> str:
    """The name of an event, such as `organization.suspended`."""
    return str(event["type"]).removeprefix(TYPE_PREFIX).removesuffix(_VERSION)


def event_remark(event: Mapping[str, Any], written: Callable[[datetime], str]) -> str:
    """The most useful detail of an event: what changed and why, or what happens when.

    `written`: how a moment is written.
    """
    data = event["data"]

    def moment(field: str) -> str:
        return written(datetime.fromisoformat(data[field]))

    match event_name(event):
        case "organization.canceled" | "organization.reinstated":
            return f"{data['previous_state']} -> {data['state']}, reason {data['reason']}"
        case "organization.control_plane_lost" | "organization.suspended":
            return f"{data['previous_state']} -> {data['state']}"
        case "organization.deactivated":
            return f"{data['previous_state']} -> {data['state']}, cause {data['cause']}"
        case "organization.notice_given" | "organization.notice_withdrawn":
            return f"{data['upcoming_state']} on {moment('at')}"
        case "organization.reinstatement_pending":
            return f"{data['subscription_id']}, waits for {data['completed_by']}"
        case "support_request.completed" | "support_request.rejected":
            return f"{data['request']}: {data['message']}"
        case "metering.final_report_due":
            return f"{data['subscription_id']} until {moment('deadline')}"
        case _:
            return ""
