"""Opens a thousand slow connections to the probes' port: probes and messages must not suffer.

python tests/attacks/slow_probes.py
"""

import asyncio
import socket
import time
from urllib.request import urlopen

from outsider import Outsider, example, repeat, until

STRANGERS = 1_000
TOPIC = "organizations.changes"


def free_port() -> int:
    """A free port."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


async def drip(port: int) -> None:
    """Send a request one byte at a time; reconnect when cut off."""
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.5)
            continue
        try:
            for byte in b"GET /livez HTTP/1.1\r\n" * 9:
                writer.write(bytes([byte]))
                await asyncio.sleep(0.5)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()


async def attack(outsider: Outsider) -> None:
    """Probe and send messages meanwhile."""
    port = free_port()
    async with outsider.worker(MARKETPLACE_WORKER_HTTP_PORT=str(port)) as worker:
        strangers = [asyncio.create_task(drip(port)) for _ in range(STRANGERS)]
        slowest_s, answers = 0.0, []
        for number in range(20):
            began = time.monotonic()
            answers.append(await asyncio.to_thread(ask, port))
            slowest_s = max(slowest_s, time.monotonic() - began)
            key = f"org-{number}"
            await outsider.send(TOPIC, example("organization.created", key), key=key.encode())
            await asyncio.sleep(0.5)
        accepted = await until(
            lambda: sum(each["records"] for each in worker.lines("batch_ingested")) == 20, 30
        )
        for each in strangers:
            each.cancel()
        await asyncio.wait(strangers)
    print(f"the slowest of 20 probes took {slowest_s * 1000:.0f} ms")
    outsider.require(set(answers) == {200}, "every probe was answered with 200")
    outsider.require(accepted, "every message was accepted")
    outsider.require(not await outsider.rows("SELECT FROM dead_letters"), "no message was parked")
    outsider.require("Traceback" not in worker.log.read_text(), "the log has no traceback")


def ask(port: int) -> int:
    """The status of a probe; 0 if there is no answer within a second, a kubelet's timeout."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/livez", timeout=1) as answer:
            return int(answer.status)
    except OSError:
        return 0


if __name__ == "__main__":
    repeat(attack)
