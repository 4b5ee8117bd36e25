"""The message for a missing right contains the command that grants it."""

from aiokafka.errors import (
    GroupAuthorizationFailedError,
    InconsistentGroupProtocolError,
    TopicAuthorizationFailedError,
)
from pydantic import SecretStr

from marketplace_worker.settings import Kafka, Topics
from marketplace_worker.streams.rights import (
    Operation,
    explained,
    not_allowed,
    to_read,
    to_write,
)

TOPICS = Topics()
PLAINTEXT = Kafka(bootstrap_servers="kafka-1:9092")
KAFKA = Kafka(
    bootstrap_servers="kafka-1:9092",
    security_protocol="SASL_PLAINTEXT",
    sasl_mechanism="PLAIN",
    sasl_username="worker",
    sasl_password=SecretStr("secret"),
)
RIGHTS = (*to_read(KAFKA, TOPICS), *to_write(TOPICS))


def test_a_missing_right_is_reported_with_the_command_that_grants_it() -> None:
    """One command for all resources of an operation, so that one attempt shows all."""
    sentence = not_allowed(KAFKA, [RIGHTS[-1], *RIGHTS[:2], RIGHTS[8]])
    begins = "kafka-acls.sh --bootstrap-server kafka-1:9092 --add --allow-principal User:worker"
    assert sentence.startswith("Kafka does not allow User:worker Read on group")
    assert (
        f"`{begins} --operation Read --group marketplace-worker.activity "
        "--topic marketplace.aws.notifications --topic marketplace.gcp.notifications`" in sentence
    )
    assert f"`{begins} --operation Write --topic marketplace-worker.dead-letters`" in sentence


def test_names_are_quoted_for_the_shell() -> None:
    """A group's prefix may contain any character."""
    kafka = KAFKA.model_copy(update={"group_prefix": "a group"})
    assert "--group 'a group.facts'" in not_allowed(kafka, to_read(kafka, TOPICS))


def test_without_a_login_the_operator_fills_in_the_user_name() -> None:
    """The broker derives it from the client certificate by its own rules."""
    assert "--allow-principal User:NAME " in not_allowed(PLAINTEXT, RIGHTS)


def test_a_refusal_by_kafka_is_explained_and_other_errors_are_named() -> None:
    """For topics and groups, by the attempted operation."""
    topic = explained(KAFKA, TopicAuthorizationFailedError("t"), Operation.WRITE)
    assert "--operation Write --topic t`" in topic
    group = explained(KAFKA, GroupAuthorizationFailedError("g"), Operation.READ)
    assert "--operation Read --group g`" in group
    other = explained(KAFKA, InconsistentGroupProtocolError(), Operation.READ)
    assert "InconsistentGroupProtocolError" in other
    assert explained(KAFKA, OSError("x"), Operation.READ) == "OSError('x')"
