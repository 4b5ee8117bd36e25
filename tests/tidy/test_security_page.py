"""docs/security.md grants what the worker asks for, and nothing twice; no Kafka is needed for that.

tests/acceptance/test_acls.py has a real one go by it.
"""

import acls
from marketplace_worker.settings import Kafka, Topics
from marketplace_worker.streams.rights import Right, to_read, to_read_back, to_write

TOPICS = Topics()
INBOUND = {*TOPICS.facts, *TOPICS.activity}
KAFKA = Kafka(bootstrap_servers="kafka-1:9092")
RIGHTS = (*to_read(KAFKA, TOPICS), *to_write(TOPICS), *to_read_back(TOPICS))


def words(right: Right) -> str:
    """A right as the page has it."""
    return f"{right.operation} {right.resource} {right.name}"


def test_the_worker_is_granted_exactly_what_it_asks_for() -> None:
    """By the default names of topics and groups."""
    assert sorted(map(str, acls.acls_of(acls.WORKER))) == sorted(map(words, RIGHTS))


def test_who_types_topics_create_may_create_all_topics_and_do_nothing_else() -> None:
    """The same names."""
    created = {f"Create topic {name}" for name in (*INBOUND, *TOPICS.outbound)}
    assert {str(acl) for acl in acls.acls_of(acls.CREATOR)} == created


def test_each_inbound_topic_has_one_writer_who_has_no_other_right() -> None:
    """Kafka authorizes by topic, so who writes two could do what either may."""
    for topic in INBOUND:
        (writer,) = [a.user for a in acls.acls() if (a.operation, a.name) == ("Write", topic)]
        assert [str(acl) for acl in acls.acls_of(writer)] == [f"Write topic {topic}"]


def test_only_the_worker_writes_what_subscribers_believe() -> None:
    """They delete data because of it."""
    writers = {a.user for a in acls.acls() if a.operation == "Write" and a.name not in INBOUND}
    assert writers == {acls.WORKER}


def test_every_topic_stands_in_the_table() -> None:
    """Who writes it, who reads it, and what its writer can cause."""
    table = acls.PAGE.read_text(encoding="utf-8").partition("## Topics")[2].partition("## ")[0]
    assert {name for name in (*INBOUND, *TOPICS.outbound) if f"`{name}`" not in table} == set()
