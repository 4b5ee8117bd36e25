"""Sends messages about an erased organization: none of their content is kept.

python tests/attacks/late_messages.py
"""

from outsider import Outsider, example, repeat, until

CHANGES, SUPPORT = "organizations.facts_left", "support.requests"
ERASE = ("org", "erase", "gone", "--by", "Olga", "--reason", "asked to", "--yes")


async def attack(outsider: Outsider) -> None:
    """Deactivate and erase it; then send its owner, an account and a Support request again."""
    async with outsider.worker() as worker:
        await _send(outsider, CHANGES, "organization.created", owner_email="first@gone.example")
        await _send(outsider, SUPPORT, "support.deactivate_organization")
        await until(lambda: sum(each["records"] for each in worker.lines("batch_ingested")) == 2)
        await outsider.succeed(*ERASE)

        await _send(outsider, CHANGES, "organization.created", owner_email="late@gone.example")
        late = {"subscription_id": "late-subscription", "billing_account": "late-account"}
        await _send(outsider, CHANGES, "organization.subscription_linked", **late)
        words = {"requested_by": "Late Doe", "reason": "late words"}
        await _send(outsider, SUPPORT, "support.reactivate_organization", **words)
        await outsider.send(CHANGES, b"late and unreadable", key=b"gone")
        await until(lambda: sum(each["records"] for each in worker.lines("batch_ingested")) == 6)

        facts = await outsider.rows(
            "SELECT kind, outcome, fact::text FROM journal WHERE organization_id = 'gone'"
        )
        for row in facts:
            print(tuple(row.values()))
        facts_left = [row["fact"] for row in facts if row["kind"] != "organization.erased"]
        outsider.require(
            len(facts_left) == 5 and not any(facts_left), "only identity and outcome are kept"
        )
        events = await outsider.rows("SELECT events::text FROM decisions")
        outsider.require(
            not [e for (e,) in events if "Late Doe" in e], "nor is the requester's name"
        )
        await outsider.succeed(*ERASE)
        outsider.require(True, "the erasure can be repeated")
        (letters,) = (await outsider.rows("SELECT count(*) FROM dead_letters"))[0].values()
        outsider.require(letters == 0, "and removes the unreadable messages received since")
        await outsider.succeed("replay", "--verify")


async def _send(outsider: Outsider, topic: str, event: str, **data: object) -> None:
    await outsider.send(topic, example(event, "gone", **data), key=b"gone")


if __name__ == "__main__":
    repeat(attack)
