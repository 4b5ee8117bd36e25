"""The AsyncAPI 3.0 document: every topic, its direction and its messages (events.md section 1).

It is self-contained, and holds definitions that several messages share once.
Source: asyncapi.com/docs/reference/specification/v3.0.0 and the Kafka bindings 0.5.0.
"""

from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

from marketplace_worker.contract.cloudevents import CLOUDEVENTS_CONTENT_TYPE, message_title
from marketplace_worker.contract.fields import PROSE_BYTES_MAX, TEXT_BYTES_MAX
from marketplace_worker.contract.inbound_data import INBOUND_DATA
from marketplace_worker.contract.outbound_events import EVENT_MODELS, STATE_NAME
from marketplace_worker.contract.schema_rewriting import JsonObject, relocated
from marketplace_worker.contract.schemas import (
    DESCRIPTIONS,
    MARKETPLACE_DESCRIPTIONS,
    STATE_DESCRIPTION,
    inbound_schemas,
    outbound_schemas,
)
from marketplace_worker.lifecycle.events import EventKind

DEAD_LETTERS = "marketplace-worker.dead-letters"

_KAFKA = "0.5.0"
_SCHEMAS = "#/components/schemas/"


@dataclass(frozen=True, slots=True)
class Channel:
    """A topic by its default name, its direction, and the names of its messages."""

    topic: str
    action: Literal["receive", "send"]
    description: str
    messages: tuple[str, ...]
    key: str = "The organization's id."
    compacted: Literal["compacted", "kept by time"] = "kept by time"


def _beginning(prefix: str) -> tuple[str, ...]:
    return tuple(name for name in INBOUND_DATA if name.startswith(prefix))


CHANNELS = (
    *(
        Channel(topic, "receive", description, (topic,), key="Any.")
        for topic, description in MARKETPLACE_DESCRIPTIONS.items()
    ),
    Channel("identity.logins", "receive", "Who signed in.", ("identity.user.logged_in",)),
    Channel("usage.api-requests", "receive", "Use of the API.", ("usage.api_requests",)),
    Channel(
        "organizations.changes",
        "receive",
        "What the rest of the product tells of its organizations.",
        _beginning("organization."),
    ),
    Channel("support.requests", "receive", "What Support asks for.", _beginning("support.")),
    Channel(
        "organizations.lifecycle",
        "send",
        "What happened to each organization and what to do about it, in order per subject. The "
        "subject, which is also the key, is the organization's id; `data` then tells where the "
        "organization stands, and what the kind of event needs. What concerns no one organization "
        "has the subject `worker` and a sequence of its own; `data` then holds only what the kind "
        "needs. Which keys that are, the schemas say: each is always there, null where there is "
        "nothing to tell.",
        tuple(EventKind),
    ),
    Channel(
        "organizations.state",
        "send",
        "Each organization's newest snapshot, for caches and late joiners; none is of `worker`. A "
        "record without a value says that the organization was erased.",
        (STATE_NAME,),
        compacted="compacted",
    ),
    Channel(
        DEAD_LETTERS,
        "send",
        "What could not be read, with the bytes as they came.",
        (DEAD_LETTERS,),
        key="As it came.",
    ),
)
"""All topics, in the order of events.md section 1."""

_DEAD_LETTER_HEADERS: JsonObject = {
    "title": "DeadLetterHeaders",
    "type": "object",
    "description": "The record's own headers as they came, but those whose names begin with "
    "`dead-letter-`; and these, as UTF-8 text.",
    "properties": {
        "dead-letter-reason": {
            "type": "string",
            "description": "What is wrong, with the field; never a value of the input.",
        },
        "dead-letter-topic": {"type": "string", "description": "Where it was read from."},
        "dead-letter-partition": {"type": "string", "pattern": "^[0-9]+$"},
        "dead-letter-offset": {"type": "string", "pattern": "^[0-9]+$"},
        "dead-letter-part": {
            "type": "string",
            "pattern": "^[0-9]+$",
            "description": "Which of the notifications of one value, from 0.",
        },
        "dead-letter-value": {
            "type": "string",
            "description": "Only where the record is too large for the topic, or for the worker: "
            "where it is kept. Then it has no value here; where it is too large for the topic, no "
            "headers of its own either, and no key of over 1,024 bytes.",
        },
        "dead-letter-at": {
            "type": "string",
            "format": "date-time",
            "description": "When it was given up.",
        },
        "dead-letter-attempt": {
            "type": "string",
            "pattern": "^[1-9][0-9]*$",
            "description": "How often it was tried.",
        },
    },
    "required": [
        "dead-letter-reason",
        "dead-letter-topic",
        "dead-letter-partition",
        "dead-letter-offset",
        "dead-letter-part",
        "dead-letter-at",
        "dead-letter-attempt",
    ],
}


def document() -> JsonObject:
    """The whole document.

    Its schemas use only what AsyncAPI's schema format and JSON Schema have in common, so that every
    tool reads them.
    """
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "marketplace-worker",
            "version": version("marketplace-worker"),
            "description": (
                "Acts on what happens to a SaaS vendor's cloud-marketplace subscriptions. "
                "Topics stand here under their default names. CloudEvents are written in "
                "structured mode; structured and binary mode are both read. A reader of ours "
                "ignores unknown fields, and yours should, too. It takes ids and names of up to "
                f"{TEXT_BYTES_MAX} bytes of UTF-8 and free texts of up to {PROSE_BYTES_MAX}, none "
                "of them with the character NUL."
            ),
            "license": {
                "name": "Apache-2.0",
                "url": "https://www.apache.org/licenses/LICENSE-2.0",
            },
        },
        "defaultContentType": CLOUDEVENTS_CONTENT_TYPE,
        "channels": {message_title(channel.topic): _channel(channel) for channel in CHANNELS},
        "operations": {
            f"{channel.action.capitalize()}{message_title(channel.topic)}": _operation(channel)
            for channel in CHANNELS
        },
        "components": {
            "messages": {
                message_title(name): _message(name, channel)
                for channel in CHANNELS
                for name in channel.messages
            },
            "schemas": _schemas(),
        },
    }


def _schemas() -> JsonObject:
    """The schemas of all messages, and their shared definitions once."""
    schemas: JsonObject = {}
    for whole in {**inbound_schemas(), **outbound_schemas()}.values():
        schema = relocated(whole, _SCHEMAS)
        for title, each in {**schema.pop("$defs", {}), whole["title"]: schema}.items():
            assert schemas.setdefault(title, each) == each, f"two of the name {title}"
    beside = {"$schema", "$id", "examples"}
    return {
        title: {key: value for key, value in schemas[title].items() if key not in beside}
        for title in sorted(schemas)
    }


def _channel(channel: Channel) -> JsonObject:
    kafka: JsonObject = {"topic": channel.topic, "bindingVersion": _KAFKA}
    if channel.compacted == "compacted":
        kafka["topicConfiguration"] = {"cleanup.policy": ["compact"]}
    return {
        "address": channel.topic,
        "description": channel.description,
        "messages": {
            message_title(name): {"$ref": f"#/components/messages/{message_title(name)}"}
            for name in channel.messages
        },
        "bindings": {"kafka": kafka},
    }


def _operation(channel: Channel) -> JsonObject:
    return {
        "action": channel.action,
        "channel": {"$ref": f"#/channels/{message_title(channel.topic)}"},
        "summary": channel.description,
        "messages": [
            {"$ref": f"#/channels/{message_title(channel.topic)}/messages/{message_title(name)}"}
            for name in channel.messages
        ],
        "bindings": {"kafka": {"bindingVersion": _KAFKA}},
    }


def _message(name: str, channel: Channel) -> JsonObject:
    message: JsonObject = {
        "name": str(name),
        "title": str(name),
        "summary": _summary(name),
        "contentType": _content_type(channel),
        "bindings": {
            "kafka": {
                "key": _key(name, channel),
                "bindingVersion": _KAFKA,
            }
        },
    }
    if name == DEAD_LETTERS:
        message["headers"] = _DEAD_LETTER_HEADERS
        message["payload"] = {"title": message_title(DEAD_LETTERS), "description": "Any bytes."}
    else:
        message["payload"] = {"$ref": f"{_SCHEMAS}{message_title(name)}"}
    return message


def _key(name: str, channel: Channel) -> JsonObject:
    """The key of a message.  For an outgoing event it is described at `subject` in its model."""
    model = next((model for kind, model in EVENT_MODELS.items() if kind == name), None)
    if model is None:
        return {"type": "string", "description": channel.key}
    subject: JsonObject = model.model_json_schema()["properties"]["subject"]
    return {key: value for key, value in subject.items() if key in {"type", "const", "description"}}


def _summary(name: str) -> str:
    summaries: dict[str, str | None] = {
        **{event: data.__doc__ for event, data in INBOUND_DATA.items()},
        **MARKETPLACE_DESCRIPTIONS,
        **{str(kind): description for kind, description in DESCRIPTIONS.items()},
        STATE_NAME: STATE_DESCRIPTION,
        DEAD_LETTERS: "A record that could not be read.",
    }
    return str(summaries[name])


def _content_type(channel: Channel) -> str:
    if channel.topic == DEAD_LETTERS:
        return "application/octet-stream"
    if channel.topic in MARKETPLACE_DESCRIPTIONS:
        return "application/json"
    return CLOUDEVENTS_CONTENT_TYPE
