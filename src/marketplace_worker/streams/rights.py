"""Rights in Kafka: what the worker needs, and a sentence for an operator where one is missing.

The ACLs that grant them, for the worker and for all others, are in docs/security.md.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from shlex import quote

from aiokafka.errors import (
    GroupAuthorizationFailedError,
    InconsistentGroupProtocolError,
    InvalidSessionTimeoutError,
    KafkaError,
    TopicAuthorizationFailedError,
)

from marketplace_worker.contract.published import numbered_topics
from marketplace_worker.settings import Kafka, Topics


class Operation(StrEnum):
    """Operations, as `kafka-acls.sh` names them."""

    READ = "Read"
    WRITE = "Write"
    CREATE = "Create"


class Resource(StrEnum):
    """Resources of operations."""

    TOPIC = "topic"
    GROUP = "group"


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One operation on one topic or consumer group; one ACL grants it."""

    operation: Operation
    resource: Resource
    name: str


def to_read(kafka: Kafka, topics: Topics) -> Sequence[Right]:
    """The rights of the loop `ingest`."""
    named = (*topics.facts, *topics.activity)
    groups = (kafka.facts_group, kafka.activity_group)
    return (
        *(Right(Operation.READ, Resource.TOPIC, name) for name in named),
        *(Right(Operation.READ, Resource.GROUP, name) for name in groups),
    )


def to_write(topics: Topics) -> Sequence[Right]:
    """The rights of the loop `relay`; an idempotent producer needs no others."""
    return tuple(Right(Operation.WRITE, Resource.TOPIC, name) for name in topics.outbound)


def to_read_back(topics: Topics) -> Sequence[Right]:
    """Additional rights, to check that the database holds what was published."""
    return tuple(Right(Operation.READ, Resource.TOPIC, name) for name in numbered_topics(topics))


def not_allowed(kafka: Kafka, lacking: Iterable[Right]) -> str:
    """List the missing rights, with the commands that grant them."""
    lines = _lines(lacking)
    missing = "; ".join(f"{operation} on {_named(names)}" for operation, names in lines.items())
    typed = " and ".join(
        f"`kafka-acls.sh --bootstrap-server {kafka.bootstrap_servers} --add "
        f"--allow-principal {quote(_principal(kafka))} --operation {operation} {_options(names)}`"
        for operation, names in lines.items()
    )
    return (
        f"Kafka does not allow {_principal(kafka)} {missing}: "
        f"Kafka's administrator can grant it with {typed} (docs/security.md)"
    )


def explained(kafka: Kafka, error: BaseException, operation: Operation) -> str:
    """The error in words: a missing right if that is the cause, else the error itself.

    `operation`: the operation that Kafka refused.
    """
    match error:
        case TopicAuthorizationFailedError(args=(str(name), *_)):
            return not_allowed(kafka, [Right(operation, Resource.TOPIC, name)])
        case GroupAuthorizationFailedError(args=(str(name), *_)):
            return not_allowed(kafka, [Right(operation, Resource.GROUP, name)])
        case KafkaError():
            return str(error)
        case _:
            return repr(error)


def not_joined(kafka: Kafka, group: str, error: BaseException) -> str:
    """Why Kafka did not let us into a consumer group, and what to do about it."""
    match error:
        case InconsistentGroupProtocolError():
            why = (
                "its members use another assignor than roundrobin: stop the other program in the "
                "group, or change kafka.group_prefix"
            )
        case InvalidSessionTimeoutError():
            why = (
                f"the broker does not allow sessions of {kafka.session_timeout_ms} ms: set "
                "kafka.session_timeout_ms within its group.min.session.timeout.ms and "
                "group.max.session.timeout.ms"
            )
        case GroupAuthorizationFailedError():
            return not_allowed(kafka, [Right(Operation.READ, Resource.GROUP, group)])
        case _:
            return explained(kafka, error, Operation.READ)
    return f"Kafka at {kafka.bootstrap_servers} refuses the group {group}: {why}"


def _lines(rights: Iterable[Right]) -> dict[Operation, list[Right]]:
    """For each operation, one command that grants all its rights."""
    lines: dict[Operation, list[Right]] = {}
    for right in sorted(rights):
        lines.setdefault(right.operation, []).append(right)
    return lines


def _named(rights: Iterable[Right]) -> str:
    return ", ".join(f"{right.resource} {right.name}" for right in rights)


def _options(rights: Iterable[Right]) -> str:
    return " ".join(f"--{right.resource} {quote(right.name)}" for right in rights)


def _principal(kafka: Kafka) -> str:
    """The principal that ACLs name; we know it only with SASL."""
    return f"User:{kafka.sasl_username or 'NAME'}"
