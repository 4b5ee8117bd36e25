"""What Prometheus reads."""

import socket
from urllib.request import urlopen

import pytest

from marketplace_worker.contract.examples import outbound_examples
from marketplace_worker.errors import Misconfigured
from marketplace_worker.operations import metrics


def test_what_was_decided_is_served() -> None:
    """One example of every event, and two facts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    with metrics.serving(port):
        metrics.count(["applied", "stale"], outbound_examples().values())
        with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            said = answer.read().decode()

    for figure in (
        'marketplace_worker_facts_total{outcome="stale"}',
        'marketplace_worker_transitions_total{state="suspended"}',
        'marketplace_worker_activity_feed_silent_total{feed="logins"}',
        'request="reactivate_organization"',
        "marketplace_worker_guard_tripped",
    ):
        assert figure in said


def test_a_port_that_is_taken_stops_the_start_and_is_named() -> None:
    """Rather than to leave the operator without figures."""
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Misconfigured, match=f"metrics_port: {port}"), metrics.serving(port):
            pass


def test_nothing_is_served_where_no_port_is_given() -> None:
    """The default."""
    with metrics.serving(None):
        pass
