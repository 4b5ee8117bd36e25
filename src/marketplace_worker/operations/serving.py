"""One port for who watches the worker: `/livez`, `/readyz` and `/metrics`.

Answered by threads of its own, so that a blocked event loop is said instead of being waited for.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from marketplace_worker.errors import Misconfigured
from marketplace_worker.operations import metrics
from marketplace_worker.operations.health import Health

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

CLIENT_TIMEOUT_S = 5.0
"""A client that sends nothing, or takes nothing, keeps a thread for so long."""

STOP_POLL_S = 0.05


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Request(WSGIRequestHandler):
    timeout = CLIENT_TIMEOUT_S

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its own name
        """Log nothing: probes come every few seconds."""


@contextmanager
def serving(port: int | None, health: Health) -> Iterator[None]:
    """While inside, answer on a port of all interfaces; None: nobody asks.

    Raises:
        Misconfigured: the port is taken.
    """
    if port is None:
        yield
        return
    metrics.observe(health)
    try:
        server = make_server("", port, _answers(health), _Server, _Request)
    except OSError as error:
        raise Misconfigured(f"http_port: {port}: {error.strerror}") from error
    with server:
        thread = threading.Thread(
            target=server.serve_forever, args=(STOP_POLL_S,), name="http", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def _answers(health: Health) -> "WSGIApplication":
    figures = metrics.exposition()

    def answer(request: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
        match request["REQUEST_METHOD"], request["PATH_INFO"]:
            case _, "/metrics":
                return figures(request, start)
            case "GET" | "HEAD", "/livez":
                return _said(start, "alive", "not alive", health.hanging(), _turns(health))
            case "GET" | "HEAD", "/readyz":
                return _said(start, "ready", "not ready", health.lacking(), ())
            case _:
                return _text(start, "404 Not Found", ["GET /livez, /readyz or /metrics"])

    return answer


def _turns(health: Health) -> Sequence[str]:
    return [f"{loop}: silent for {s:.1f} s" for loop, s in health.silences().items()]


def _said(
    start: "StartResponse", well: str, unwell: str, faults: Sequence[str], more: Sequence[str]
) -> Iterable[bytes]:
    if faults:
        return _text(start, "503 Service Unavailable", [unwell, *faults])
    return _text(start, "200 OK", [well, *more])


def _text(start: "StartResponse", status: str, lines: Sequence[str]) -> Iterable[bytes]:
    """Plain text, a line for each thing: for a person; a probe goes by the status."""
    body = "".join(f"{line}\n" for line in lines).encode()
    start(
        status,
        [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
        ],
    )
    return [body]
