"""The JSON Schemas (2020-12) of all messages, and of their `data`.

Only this module generates schemas from our models; `export` writes them to files.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, create_model
from pydantic.json_schema import GenerateJsonSchema

from marketplace_worker.contract.cloudevents import (
    Envelope,
    event_schema_id,
    event_type,
    message_title,
    schema_id,
)
from marketplace_worker.contract.examples import (
    example_answer_of_the_worker,
    example_held_and_traced,
    example_snapshot,
    outbound_examples,
)
from marketplace_worker.contract.fields import Text, Time
from marketplace_worker.contract.inbound_data import INBOUND_DATA, Data
from marketplace_worker.contract.inbound_examples import MARKETPLACE_EXAMPLES, inbound_examples
from marketplace_worker.contract.outbound import encode, encode_snapshot
from marketplace_worker.contract.outbound_events import EVENT_MODELS, STATE_MODEL, STATE_NAME
from marketplace_worker.contract.schema_rewriting import (
    JsonObject,
    definition,
    with_additions_allowed,
    with_data_named,
    with_growth_described,
)
from marketplace_worker.lifecycle.events import Event, EventKind

DIALECT = "https://json-schema.org/draft/2020-12/schema"

DESCRIPTIONS: dict[EventKind, str] = {
    EventKind.CANCELED: "The last plan ended; nothing is taken away yet. With the whole schedule.",
    EventKind.CONTROL_PLANE_LOST: "No new users, no new clusters, no changes to clusters.",
    EventKind.SUSPENDED: "Keys are deactivated, content is inaccessible; logging in still works.",
    EventKind.DEACTIVATED: "The organization is closed. `cause` tells whether it can come back.",
    EventKind.REINSTATEMENT_PENDING: (
        "A plan is active again; no step is taken until `completed_by` completes the reinstatement."
    ),
    EventKind.REINSTATEMENT_LAPSED: (
        "The plan ended before the reinstatement was completed; the deadlines go on."
    ),
    EventKind.REINSTATED: "The organization has an active plan again and is as it was before.",
    EventKind.REACTIVATED: "Support undid the deactivation; the organization is on the free tier.",
    EventKind.NOTICE_GIVEN: "A step is announced; it is never taken before the date named here.",
    EventKind.NOTICE_WITHDRAWN: "The announced step is called off or put off.",
    EventKind.CONTROL_PLANE_ACCESS_REVOKED: "Close the control plane to the organization.",
    EventKind.CONTROL_PLANE_ACCESS_RESTORED: "Open the control plane to it again.",
    EventKind.CONTROL_PLANE_PROVISION_REQUESTED: "Provision a new control plane for it.",
    EventKind.CONTROL_PLANE_DECOMMISSIONED: "Decommission the organization's control plane.",
    EventKind.API_KEYS_REVOKED: "Its API keys are no longer valid.",
    EventKind.API_KEYS_RESTORED: "Its API keys are valid again.",
    EventKind.DATA_PLANE_ACCESS_REVOKED: "Close the data plane: no producing, no consuming.",
    EventKind.DATA_PLANE_ACCESS_RESTORED: "Open the data plane again.",
    EventKind.BILLING_STOPPED: "Nothing is billed from here on.",
    EventKind.SUBSCRIPTIONS_REMOVED: "All plans are removed from the organization.",
    EventKind.TEAM_MEMBERSHIPS_REMOVED: "Its users have left its teams; their accounts stay.",
    EventKind.ROLES_REMOVED: "Its users have lost their roles in it; their accounts stay.",
    EventKind.LOGINS_BLOCKED: "Nobody can log in to the organization.",
    EventKind.LOGINS_UNBLOCKED: "Logging in to the organization is possible again.",
    EventKind.EMAIL_LOCKED: "The owner's email may not be used for another organization.",
    EventKind.EMAIL_UNLOCKED: "The email that its deactivation locked may be used again.",
    EventKind.EMAIL_LOCK_VIOLATED: (
        "The email that its deactivation locked is now that of another organization's owner."
    ),
    EventKind.RUNTIMES_DETACHED: "Its runtimes no longer proxy data; they are not stopped.",
    EventKind.RESOURCES_DELETION_REQUESTED: "Delete all content, data and resources, for good.",
    EventKind.ERASED: (
        "All that was personal of the deactivated organization is erased, for good: forget it, too."
    ),
    EventKind.METERING_FINAL_REPORT_DUE: "Report the last usage to the marketplace in time.",
    EventKind.SUPPORT_REQUEST_COMPLETED: (
        "What Support asked for is done; the events that it caused came before."
    ),
    EventKind.SUPPORT_REQUEST_REJECTED: (
        "What Support asked for is refused, and changed nothing. `data` has one of two shapes: "
        "where the organization stands and the answer, or, where the request was to unlock an "
        "email and no organization could be found, the answer alone, with the subject `worker`."
    ),
    EventKind.GUARD_TRIPPED: (
        "From here on the guard withholds what `guard` names: no step of a cancellation and no "
        "deactivation for inactivity is taken, and what is due stays due; or no deactivation that "
        "Support requests is done, and such requests are refused. Of no organization: the subject "
        "is `worker`."
    ),
    EventKind.GUARD_RELEASED: (
        "What the guard withheld goes on, for some steps or requests or altogether. Of no "
        "organization: the subject is `worker`."
    ),
    EventKind.ACTIVITY_FEED_SILENT: (
        "Nobody is deactivated for inactivity while this feed is silent. Of no organization: the "
        "subject is `worker`."
    ),
    EventKind.ACTIVITY_FEED_UNREADABLE: (
        "Records of this feed that could not be read may be use of one organization, or of any: "
        "it is not deactivated for inactivity until they are redriven, discarded as no use, or old "
        "enough. The subject is `worker`."
    ),
}
"""The description of each event, for its readers."""

STATE_DESCRIPTION = (
    "The whole of an organization, newest last; the topic is compacted. `sequence` counts the "
    "snapshots; `last_event_sequence` says which events are included."
)

MARKETPLACE_DESCRIPTIONS: dict[str, str] = {
    "marketplace.aws.notifications": (
        "A notification of AWS Marketplace as it comes: an EventBridge event, an SNS envelope, or "
        "a bare SNS message. Its fields are AWS's to define."
    ),
    "marketplace.gcp.notifications": (
        "A notification of Google Cloud Marketplace as it comes: a Pub/Sub push envelope, or its "
        "decoded message. Its fields are Google's to define."
    ),
    "marketplace.azure.notifications": (
        "The body of an Azure Marketplace SaaS webhook call as it comes. Its fields are "
        "Microsoft's to define."
    ),
}


def inbound_schemas() -> dict[str, JsonObject]:
    """The schema of every inbound message by its name."""
    examples = inbound_examples()
    cloudevents = {
        name: _event(
            name,
            _inbound_model(name, data).model_json_schema(
                schema_generator=_WithoutTitles, mode="validation"
            ),
            description=data.__doc__ or "",
            examples=[examples[name]],
        )
        for name, data in INBOUND_DATA.items()
    }
    notifications = {
        name: _named(
            event_schema_id(name),
            message_title(name),
            {"type": "object", "additionalProperties": True},
            description=description,
            examples=[MARKETPLACE_EXAMPLES[name]],
        )
        for name, description in MARKETPLACE_DESCRIPTIONS.items()
    }
    return cloudevents | notifications


def outbound_schemas(*, closed: bool = False) -> dict[str, JsonObject]:
    """The schema of every outbound message by its name: as published, or `closed`, which allows
    only what we write.
    """
    examples = {name: [message] for name, message in outbound_messages().items()}
    examples[EventKind.SUPPORT_REQUEST_REJECTED].append(_read(example_answer_of_the_worker()))
    examples[EventKind.CANCELED].append(json.loads(encode(*example_held_and_traced())))
    written = [(str(kind), model, DESCRIPTIONS[kind]) for kind, model in EVENT_MODELS.items()]
    schemas = {
        name: _event(
            name,
            model.model_json_schema(schema_generator=_WithoutTitles, mode="serialization"),
            description=description,
            examples=examples[name],
        )
        for name, model, description in [*written, (STATE_NAME, STATE_MODEL, STATE_DESCRIPTION)]
    }
    return (
        schemas
        if closed
        else {name: with_additions_allowed(schema) for name, schema in schemas.items()}
    )


def data_schemas(events: Mapping[str, JsonObject]) -> dict[str, JsonObject]:
    """The schema of the `data` of each of these events, which its `dataschema` names."""
    return {
        name: _data(name, event)
        for name, event in events.items()
        if "data" in event.get("properties", {})
    }


def _data(name: str, event: JsonObject) -> JsonObject:
    title = f"{message_title(name)}Data"
    data = definition(event, title)
    return _named(
        schema_id(name),
        title,
        data,
        description=str(data.get("description", event["description"])),
        examples=[example["data"] for example in event["examples"]],
    )


def outbound_messages() -> dict[str, JsonObject]:
    """An example of everything that we publish by its name, parsed from the published bytes."""
    messages: dict[str, JsonObject] = {
        str(kind): _read(event) for kind, event in outbound_examples().items()
    }
    return messages | {STATE_NAME: json.loads(encode_snapshot(example_snapshot()))}


def _read(event: Event) -> JsonObject:
    message: JsonObject = json.loads(encode(event))
    return message


class _WithoutTitles(GenerateJsonSchema):
    """Pydantic's generator, without a title for each field that only repeats its name."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ANN401 - pydantic's own
        """Never."""
        del schema
        return False


def _event(
    name: str, schema: JsonObject, *, description: str, examples: list[JsonObject]
) -> JsonObject:
    title = message_title(name)
    described = with_growth_described(with_data_named(schema, f"{title}Data"))
    return _named(
        event_schema_id(name), title, described, description=description, examples=examples
    )


def _named(
    id_: str, title: str, schema: JsonObject, *, description: str, examples: list[JsonObject]
) -> JsonObject:
    replaced = {"title", "description"}
    return {
        "$schema": DIALECT,
        "$id": id_,
        "title": title,
        "description": description,
        **{key: value for key, value in schema.items() if key not in replaced},
        "examples": examples,
    }


def _inbound_model(name: str, data: type[Data]) -> type[BaseModel]:
    """The model of the CloudEvent of an inbound type, as producers should write it."""
    identity = Field(description="Identifies this event permanently, together with its source.")
    subject = Field(description="The organization's id.")
    time = Field(description="When it happened.")
    fields: dict[str, Any] = {
        "id": (Annotated[Text, identity], ...),
        "type": (Literal[event_type(name)], ...),
        "subject": (Annotated[Text, subject], ...),
        "time": (Annotated[Time, time], ...),
        "data": (data, ...),
    }
    if name == "support.unlock_email":
        fields["subject"] = (Annotated[Text | None, subject], None)
    if name == "usage.api_requests":
        fields["data"] = (data | None, None)
    model: type[BaseModel] = create_model(name, __base__=Envelope, **fields)
    return model
