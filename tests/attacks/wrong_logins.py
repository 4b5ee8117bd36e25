"""Sets one wrong setting after another, as in a deployment: each is reported by its own message."""

import sys
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[1]))

from outsider import Outsider, repeat

from faults.pgbouncer import pgbouncer

KAFKA = "MARKETPLACE_WORKER_KAFKA__"
DSN = "MARKETPLACE_WORKER_POSTGRES__DSN"


async def attack(one: Outsider) -> None:
    """Start workers that cannot run; each must exit with status 2 and name the problem."""
    login = {
        f"{KAFKA}SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        f"{KAFKA}SASL_MECHANISM": "PLAIN",
        f"{KAFKA}SASL_USERNAME": "worker",
        f"{KAFKA}SASL_PASSWORD": "secret",
    }
    password = urlsplit(one.dsn).password or ""
    wrong = one.dsn.replace(password, "wrong")
    for message, variables in (
        (
            "expects PLAINTEXT, but kafka.security_protocol is SSL",
            {f"{KAFKA}SECURITY_PROTOCOL": "SSL"},
        ),
        ("expects PLAINTEXT, but kafka.security_protocol is SASL_PLAINTEXT", login),
        ("password authentication failed", {DSN: wrong}),
        ("does not support TLS", {DSN: f"{one.dsn}?sslmode=require"}),
        ("channel_binding=require is not supported", {DSN: f"{one.dsn}?channel_binding=require"}),
        ("no_such_parameter", {DSN: f"{one.dsn}?no_such_parameter=1"}),
        ("not a valid URL", {DSN: "postgresql://a:b@c:d/e"}),
    ):
        await _refused(one, message, variables)
    async with pgbouncer(one.folder / "transactions", one.dsn, "transaction") as pooled:
        await _refused(one, "pooler in transaction mode", {DSN: pooled})
    async with pgbouncer(one.folder / "sessions", one.dsn, "session") as pooled:
        status, _ = await one.command("guard", "status", **{DSN: pooled})
        one.require(status == 0, "commands work through a pooler in session mode")


async def _refused(one: Outsider, message: str, variables: dict[str, str]) -> None:
    status, output = await one.command("run", **variables)
    last = (output.strip().splitlines() or [""])[-1]
    print(last)
    one.require(status == 2 and message in last, f"exit status 2, and the last line has: {message}")


if __name__ == "__main__":
    repeat(attack)
