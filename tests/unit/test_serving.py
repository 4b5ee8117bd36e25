"""What the worker's port answers, and that it answers whatever the event loop does."""

import re
import socket
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from marketplace_worker.contract.examples import outbound_examples
from marketplace_worker.embedded.process import free_port
from marketplace_worker.errors import Misconfigured
from marketplace_worker.operations import health, metrics
from marketplace_worker.operations.health import Health
from marketplace_worker.operations.serving import serving


def healthy(*, stopping: bool = False) -> Health:
    """Of a worker that has started, with one loop that turns."""
    health_ = Health(silence_max_s=60.0, stopping=lambda: stopping)
    health_.started = True
    health_.heartbeat("relay").beat()
    health_.report("Postgres")
    return health_


def answer(health_: Health, path: str) -> tuple[int, str]:
    """What is answered there: status and text."""
    port = free_port()
    with serving(port, health_):
        try:
            with urlopen(f"http://127.0.0.1:{port}{path}") as given:
                return given.status, given.read().decode()
        except HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.read().decode()


def test_what_was_decided_is_served() -> None:
    """One example of every event, and two facts."""
    metrics.count(["applied", "stale"], outbound_examples().values())
    _, body = answer(healthy(), "/metrics")

    for figure in (
        'marketplace_worker_facts_total{outcome="stale"}',
        'marketplace_worker_transitions_total{state="suspended"}',
        'marketplace_worker_activity_feed_silent_total{feed="logins"}',
        'request="reactivate_organization"',
        "marketplace_worker_guard_tripped",
        "marketplace_worker_ready 1.0",
    ):
        assert figure in body


def test_a_worker_that_turns_and_sees_its_servers_is_alive_and_ready() -> None:
    """A probe goes by the status; the words are for a person."""
    status, text = answer(healthy(), "/livez")
    assert status == 200
    assert re.fullmatch(r"alive\nrelay: last heartbeat \d+\.\d s ago\n", text)
    assert answer(healthy(), "/readyz") == (200, "ready\n")
    assert answer(healthy(), "/other")[0] == 404


def test_each_thing_that_is_missing_has_its_sentence() -> None:
    """All of them at once; none of them requires a restart of the worker."""
    health_ = healthy()
    health_.report("Postgres", not_ready_reason="does not answer")
    health_.report("schema", not_ready_reason="the database lacks 0003_recovery.sql")
    for _ in range(3):
        health_.heartbeat("relay").fail("Kafka did not acknowledge 2 messages")
    status, text = answer(health_, "/readyz")
    assert status == 503
    assert text.splitlines() == [
        "not ready",
        "Postgres: does not answer",
        "schema: the database lacks 0003_recovery.sql",
        "relay: failed 3 times in a row: Kafka did not acknowledge 2 messages",
    ]
    assert answer(health_, "/livez")[0] == 200
    assert "marketplace_worker_ready 0.0" in answer(health_, "/metrics")[1]


def test_a_worker_that_starts_or_stops_is_alive_and_not_ready() -> None:
    """So that a start that waits is left alone, and a stop is not taken for a hang."""
    starting = healthy()
    starting.started = False
    assert answer(starting, "/readyz") == (503, "not ready\nthe worker is starting\n")
    assert answer(healthy(stopping=True), "/readyz") == (503, "not ready\nthe worker is stopping\n")
    stopping = Health(silence_max_s=0.0, stopping=lambda: True)
    stopping.heartbeat("relay").beat()
    assert answer(stopping, "/livez")[0] == 200


def test_a_loop_that_is_silent_for_too_long_is_named() -> None:
    """A rest that it announced is no silence."""
    health_ = Health(silence_max_s=0.0, stopping=lambda: False)
    health_.heartbeat("deadlines").beat(rest_s=3600.0)
    status, text = answer(health_, "/livez")
    assert status == 200
    assert re.fullmatch(r"alive\ndeadlines: last heartbeat \d+\.\d s ago\n", text)
    health_.heartbeat("relay").beat()
    status, text = answer(health_, "/livez")
    assert status == 503
    assert text.startswith("not alive\nrelay: no heartbeat for ")
    assert "deadlines" not in text


def test_without_a_recent_check_health_is_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where the event loop is blocked, and looks at nothing any more."""
    health_ = healthy()
    monkeypatch.setattr(health, "SEEN_WITHIN_S", -1.0)
    status, text = answer(health_, "/readyz")
    assert (status, text.splitlines()[1]) == (503, "Postgres: has not answered for 0 s")


def test_a_port_in_use_stops_the_start_and_is_named() -> None:
    """Rather than to leave the operator without probes and figures."""
    with socket.socket() as listener:
        listener.bind(("", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(Misconfigured, match=f"http_port: {port}"), serving(port, healthy()):
            pass


def test_nothing_is_served_where_no_port_is_given() -> None:
    """The default."""
    with serving(None, healthy()):
        pass
