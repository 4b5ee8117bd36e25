"""Sends ids and headers that would clear the screen or reverse the text after them.

python tests/attacks/terminal_escapes.py
"""

import json

from outsider import Outsider, example, repeat, until

TOPIC = "organizations.changes"
ODD = "org\x1b[2J\x9b31m\u202e\u2028\x7f"


async def attack(outsider: Outsider) -> None:
    """An organization with such an id, and a dead letter with such a value."""
    async with outsider.worker() as worker:
        await outsider.send(TOPIC, example("organization.created", ODD), key=ODD.encode())
        await outsider.send(TOPIC, ODD.encode(), key=ODD.encode())
        await until(lambda: sum(each["records"] for each in worker.lines("batch_ingested")) == 2)
        for arguments in (
            ("org", "show", ODD),
            ("org", "history", ODD),
            ("org", "show", ODD + "nobody"),
            ("dead-letters", "list"),
            ("dead-letters", "groups"),
            ("dead-letters", "show", "1"),
        ):
            for more in ((), ("--json",)):
                status, output = await outsider.command(*arguments, *more)
                outsider.require(
                    status in {0, 2} and all(line.isprintable() for line in output.split("\n")),
                    f"{arguments[:2]} prints only printable characters",
                )
        document = json.loads(await outsider.succeed("org", "show", ODD, "--json"))
        outsider.require(ODD in document.values(), "JSON output parses to the unchanged id")
    log = worker.log.read_text().split("\n")
    outsider.require(all(line.isprintable() for line in log), "the log is printable")


if __name__ == "__main__":
    repeat(attack)
