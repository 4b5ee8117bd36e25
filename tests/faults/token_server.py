"""An OAuth server for one test, with one client; its tokens are not signed."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

from marketplace_worker.embedded import process

CLIENT, SECRET = "worker", "a secret: of/the client"


@dataclass
class TokenServer:
    """Records the requests, and holds the answers to them."""

    url: str
    subject: str = CLIENT
    life_s: int = 300
    asked: list[dict[str, list[str]]] = field(default_factory=list)

    def token(self) -> str:
        """A JWT issued now."""
        now = int(time.time())  # noqa: TID251 - Kafka checks it by its own clock
        claims: dict[str, object] = {
            "sub": self.subject,
            "iat": now,
            "exp": now + self.life_s,
            "scope": "kafka",
        }
        parts = (json.dumps(each).encode() for each in ({"alg": "none"}, claims))
        return ".".join(
            [*(base64.urlsafe_b64encode(each).rstrip(b"=").decode() for each in parts), ""]
        )


@contextmanager
def token_server() -> Iterator[TokenServer]:
    """Run a token server until the block is left."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            state.asked.append(parse_qs(body))
            answer: dict[str, object]
            login = base64.b64encode(b"worker:a%20secret%3A%20of%2Fthe%20client").decode()
            if self.headers["Authorization"] != f"Basic {login}":
                status, answer = 401, {"error": "invalid_client"}
            else:
                status, answer = 200, {"access_token": state.token(), "expires_in": state.life_s}
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((process.LOOPBACK, 0), Handler)
    state = TokenServer(f"http://{process.LOOPBACK}:{server.server_address[1]}/token")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
