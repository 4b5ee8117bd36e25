"""One port for probes and monitoring: `/livez`, `/readyz` and `/metrics`.

Served by separate threads, so that a blocked event loop is reported and does not block the answer.
Unknown clients may connect: the number of connections and the time for each are limited.
"""

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from socketserver import TCPServer
from typing import Any
from urllib.parse import urlsplit

import structlog

from marketplace_worker.errors import Misconfigured
from marketplace_worker.operations import metrics
from marketplace_worker.operations.health import Health
from marketplace_worker.terminal import visible

CONNECTIONS_MAX = 32
"""How many requests are served at once; for one more, the oldest is cut off.  A probe sends its
request with its connection, so the oldest is never one of a probe.
"""

REQUEST_TIMEOUT_S = 5.0
"""The time limit of one request, however often its client sends or reads a little."""

BACKLOG = 4_096
"""How many connections wait in the kernel: a client without a place there retries after a second,
which is a probe's timeout.
"""

POLL_S = 0.05
"""How often the server checks for a stop and for connections that exceed their time."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Connection:
    """A client that is being answered by a thread."""

    client: socket.socket
    thread: threading.Thread
    since: float

    def cut_off(self) -> None:
        """Shut down the connection that the thread waits for; the thread closes the socket."""
        with suppress(OSError):  # the client, or the thread, was first
            self.client.shutdown(socket.SHUT_RDWR)


class _Server(TCPServer):
    """Accepts in one thread, answers in at most `CONNECTIONS_MAX` others."""

    allow_reuse_address = True
    request_queue_size = BACKLOG

    def __init__(self, port: int, health: Health) -> None:
        self.health = health
        self._connections: list[_Connection] = []
        # A socket for IPv6 answers IPv4 as well: `TCPServer` does not set IPV6_V6ONLY.
        if socket.has_dualstack_ipv6():
            self.address_family = socket.AF_INET6
        super().__init__(("", port), _Request)

    def server_bind(self) -> None:
        """Bind to all interfaces, independent of the machine's default for IPv6."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept; where the process has no file left, wait a little instead of spinning."""
        try:
            return super().get_request()
        except OSError:
            time.sleep(POLL_S)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as declared
        """Answer in a thread, and cut off the oldest where there are too many."""
        self.service_actions()
        if len(self._connections) >= CONNECTIONS_MAX:
            oldest = self._connections.pop(0)
            oldest.cut_off()
            oldest.thread.join()
        thread = threading.Thread(
            target=self._answer, args=(request, client_address), name="http request", daemon=True
        )
        thread.start()
        self._connections.append(_Connection(request, thread, time.monotonic()))

    def service_actions(self) -> None:
        """Forget the connections that are done, and cut off those whose time is up."""
        self._connections = [each for each in self._connections if each.thread.is_alive()]
        for each in self._connections:
            if time.monotonic() - each.since > REQUEST_TIMEOUT_S:
                each.cut_off()

    def _answer(self, request: socket.socket, client_address: Any) -> None:  # noqa: ANN401 - as declared
        try:
            self.finish_request(request, client_address)
        except OSError:
            pass  # the client went, or was cut off
        except Exception:  # a bug of ours must not end as a traceback between the log's lines
            log.exception("probe_failed")
        finally:
            self.shutdown_request(request)


class _Request(metrics.Exposition):
    """One request: read, answered, and its connection closed."""

    server: _Server

    def do_GET(self) -> None:  # noqa: N802 - the name that the base class calls
        """Answer by the path."""
        health = self.server.health
        match urlsplit(self.path).path:
            case "/metrics" if self.command == "GET":
                super().do_GET()
            case "/livez":
                self._report("alive", "not alive", health.hanging(), _turns(health))
            case "/readyz":
                self._report("ready", "not ready", health.not_ready_reasons(), ())
            case _:
                self._text(HTTPStatus.NOT_FOUND, ["GET /livez, /readyz or /metrics"])

    def do_HEAD(self) -> None:  # noqa: N802 - the name that the base class calls
        """Answer as to GET, without a body; there is none for the figures."""
        self.do_GET()

    def _report(self, well: str, unwell: str, faults: Sequence[str], more: Sequence[str]) -> None:
        if faults:
            self._text(HTTPStatus.SERVICE_UNAVAILABLE, [unwell, *faults])
        else:
            self._text(HTTPStatus.OK, [well, *more])

    def _text(self, status: HTTPStatus, lines: Sequence[str]) -> None:
        """Plain text for people, one item per line; probes use only the status."""
        body = "".join(f"{visible(line)}\n" for line in lines).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def serving(port: int | None, health: Health) -> Iterator[None]:
    """While inside, serve on a port of all interfaces; None: do not serve.

    Raises:
        Misconfigured: the port is taken.
    """
    if port is None:
        yield
        return
    metrics.observe(health)
    try:
        server = _Server(port, health)
    except OSError as error:
        raise Misconfigured(f"http_port: {port}: {error.strerror}") from error
    with server:
        thread = threading.Thread(
            target=server.serve_forever, args=(POLL_S,), name="http", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def _turns(health: Health) -> Sequence[str]:
    return [f"{loop}: last heartbeat {s:.1f} s ago" for loop, s in health.silences().items()]
