"""Clients of the worker's port that are slow, many, rude or on IPv6 do not keep others from it."""

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from marketplace_worker.embedded.process import free_port
from marketplace_worker.operations import serving as served
from marketplace_worker.operations.health import Health
from marketplace_worker.operations.serving import CONNECTIONS_MAX, serving

MANY = 300
"""More than the port answers at once, and fewer than this process may have files open."""

PATIENCE_S = 10.0


@pytest.fixture
def port() -> Iterator[int]:
    """Of a worker that is alive."""
    health_ = Health(silence_max_s=60.0, stopping=lambda: False)
    health_.started = True
    free = free_port()
    with serving(free, health_):
        yield free


def connected(port: int, host: str = "127.0.0.1") -> socket.socket:
    """A connection on which nothing was sent yet."""
    return socket.create_connection((host, port), timeout=PATIENCE_S)


def status(connection: socket.socket) -> bytes:
    """The first line that is answered to a whole request."""
    connection.sendall(b"GET /livez HTTP/1.1\r\nHost: worker\r\n\r\n")
    return connection.makefile("rb").readline().rstrip()


def threads() -> int:
    """How many requests are answered now."""
    return sum(each.name.startswith("http ") for each in threading.enumerate())


def test_a_probe_is_answered_while_many_connections_are_idle(port: int) -> None:
    """The oldest silent ones are cut off for it; threads and open files stay bounded."""
    with ExitStack() as stack:
        for _ in range(MANY):
            stack.enter_context(connected(port))
        with connected(port) as probe:
            assert status(probe) == b"HTTP/1.0 200 OK"
        assert 0 < threads() <= CONNECTIONS_MAX


def test_a_client_that_drips_is_cut_off_in_time(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time is for a whole request: a byte now and then does not prolong it."""
    monkeypatch.setattr(served, "REQUEST_TIMEOUT_S", 0.3)
    with connected(port) as slow:
        slow.sendall(b"GET /livez HTTP/1.1\r\n")
        slow.settimeout(0.02)
        ends_at = time.monotonic() + PATIENCE_S
        while time.monotonic() < ends_at:
            try:
                slow.sendall(b"x: y\r\n")
                if slow.recv(1) == b"":
                    return
            except TimeoutError:
                continue
            except OSError:
                return
    pytest.fail("it was never cut off")


def test_clients_that_reset_or_send_nonsense_leave_no_line(
    port: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """A traceback in the log would look like a fault of the worker's."""
    for sent in (b"", b"GET /livez HTTP/1.1\r\n", b"\x16\x03\x01\x02\x00\xff\xfe\r\n\r\n", b"\r\n"):
        rude = connected(port)
        rude.sendall(sent)
        rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        rude.close()
    with connected(port) as long_line:
        long_line.sendall(b"GET /" + b"x" * 70_000)
        assert b"414" in long_line.makefile("rb").readline()
    with connected(port) as probe:
        assert status(probe) == b"HTTP/1.0 200 OK"

    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_a_probe_may_come_by_ipv6(port: int) -> None:
    """As the kubelet does in a cluster that has nothing else."""
    with connected(port, "::1") as probe:
        assert status(probe) == b"HTTP/1.0 200 OK"
