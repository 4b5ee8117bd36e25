"""The personal data of a deactivated organization can be erased, and the journal stays valid."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from acceptance.scenario import at, created, event, eventbridge
from acceptance.stage import MovableClock
from marketplace_worker.contract.inbound_data import SUPPORT_DATA
from marketplace_worker.errors import Misconfigured, Unavailable
from marketplace_worker.inspection.fleet_view import Inspector
from marketplace_worker.inspection.history import LineKind, history
from marketplace_worker.inspection.organizations import report
from marketplace_worker.inspection.replaying import as_of
from marketplace_worker.lifecycle.decide import Outcome
from marketplace_worker.lifecycle.facts import Erased
from marketplace_worker.lifecycle.vocabulary import (
    Identity,
    OrganizationId,
    SupportRequestKind,
)
from marketplace_worker.record import Record
from marketplace_worker.runtime.worker import Worker
from marketplace_worker.steps.erasing import erase
from marketplace_worker.steps.ingest import ingest
from marketplace_worker.store.database import Pool
from marketplace_worker.store.working_set import WorkingSet
from steps.story_beginnings import (
    bought,
    canceled,
    day_of,
    ended,
    events_of,
    ingest_lines,
    kinds,
    linked,
    login,
    states,
    support,
    use,
    wait,
)
from steps.test_replaying import differences

ACME = OrganizationId("acme")


def erased(number: int = 1, organization: OrganizationId = ACME) -> Erased:
    """An erasure requested by the operator Olga."""
    return Erased(Identity("operator", f"e-{number}"), at(200), organization, "Olga", "asked to")


async def closed(worker: Worker, clock: MovableClock) -> None:
    """Acme is deactivated; globex shares one of its billing accounts, and is active."""
    lines = [
        *canceled("acme"),
        created(0.1, "globex"),
        bought(0.2, "another", "account of acme"),
        event(0.3, "organization.subscription_linked", "globex",
              {"marketplace": "aws", "subscription_id": "another", "plan_type": "payg"}),
        support(1.2, "place_hold", "acme", kind="legal", reason="Jo Doe of the court"),
        support(1.3, "release_hold", "acme", kind="legal"),
        login(2, "acme"),
    ]  # fmt: skip
    await ingest_lines(worker, clock, *sorted(lines, key=day_of))
    await wait(worker, clock, until=100)
    assert await states(worker) == {"acme": "deactivated", "globex": "active"}


async def everything_of(worker: Worker, organization: str) -> str:
    """All rows that mention an organization, except outgoing messages."""
    rows = []
    for table, column in (
        ("organizations", "organization_id"), ("activity", "organization_id"),
        ("login_days", "organization_id"),
        ("journal", "organization_id"), ("decisions", "organization_id"),
        ("checkpoints", "id"),
    ):  # fmt: skip
        query = f"SELECT each::text AS row FROM {table} AS each WHERE {column} = $1"
        rows += [row["row"] for row in await worker.pool.fetch(query, organization)]
    return "\n".join(rows)


async def test_an_erasure_that_is_not_committed_is_not_published(
    worker: Worker, clock: MovableClock, owner: Pool
) -> None:
    """Nor counted: the email counts as unlocked only after the commit."""
    await closed(worker, clock)
    await owner.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE 'no commit' USING ERRCODE = 'serialization_failure'; END $$;"
        "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON journal"
        " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    relay = asyncio.Event()
    worker.relay_wakeups.append(relay)
    with pytest.raises(Unavailable, match="no commit"):
        await erase(erased(), worker)
    assert not relay.is_set()


async def test_nothing_personal_is_left_of_who_was_erased(
    worker: Worker, clock: MovableClock
) -> None:
    """Neither in documents, nor in the journal, the history or any other table."""
    await closed(worker, clock)
    (locked,) = [each for each in await events_of(worker, "acme") if "email.locked" in each["type"]]
    email = locked["data"]["email_hash"]
    before = await everything_of(worker, "acme")
    assert email in before
    assert "Jo Doe" in before

    assert await erase(erased(), worker) is Outcome.APPLIED

    left = await everything_of(worker, "acme")
    assert email not in left
    assert "Jo Doe" not in left
    accounts = await worker.pool.fetch("SELECT * FROM billing_accounts ORDER BY subscription_id")
    assert [row["subscription_id"] for row in accounts] == ["another"]
    registers = await worker.pool.fetchval(
        "SELECT document::text FROM subscriptions WHERE subscription_id = 'first of acme'"
    )
    assert "account of acme" not in registers
    news = "SELECT count(fact) FROM journal WHERE subscription_id = 'first of acme'"
    assert await worker.pool.fetchval(news) == 0
    for table in ("activity", "login_days"):
        used = f"SELECT count(*) FROM {table} WHERE organization_id = 'acme'"
        assert await worker.pool.fetchval(used) == 0


async def test_the_journal_folds_and_its_chain_is_whole_after_an_erasure(
    worker: Worker, clock: MovableClock, inspector: Inspector
) -> None:
    """Also for one that shares a billing account with it, and after further messages."""
    await closed(worker, clock)
    await erase(erased(), worker)

    assert await differences(inspector) == []

    await ingest_lines(
        worker, clock, login(201, "acme"), support(202, "extend_grace", "acme", days=1)
    )
    await ingest_lines(
        worker, clock, event(203, "organization.tier_changed", "globex", {"tier": "plus"})
    )
    assert await differences(inspector) == []


async def test_an_erasure_is_published_and_recorded_with_who_and_why(
    worker: Worker, clock: MovableClock, inspector: Inspector
) -> None:
    """The lock on its email is released, and its snapshot is deleted by a tombstone."""
    await closed(worker, clock)

    await erase(erased(), worker)

    assert (await kinds(worker, "acme"))[-2:] == ["email.unlocked", "organization.erased"]
    (last_event,) = (await events_of(worker, "acme"))[-1:]
    assert last_event["data"] == {"organization_id": "acme"}
    assert last_event["time"] == "2026-04-11T00:00:00Z"
    newest = await worker.pool.fetchval(
        "SELECT value FROM outbox WHERE topic = $1 AND key = 'acme' ORDER BY id DESC LIMIT 1",
        worker.topics.state,
    )
    assert newest is None
    entries = await history(inspector, ACME)
    assert [each.actor for each in entries if each.what == "organization.erased"] == [
        "operator Olga"
    ]
    assert {each.what for each in entries} >= {"organization.created", "organization.erased"}
    (found,) = [await report(inspector, ACME)]
    assert found.organization.erased_at == clock.now
    assert not found.organization.recoverable


async def test_who_is_erased_cannot_come_back_and_its_email_is_free(
    worker: Worker, clock: MovableClock
) -> None:
    """Support's request is refused, even though Support had deactivated the organization."""
    await ingest_lines(
        worker, clock, created(0, "acme"), support(1, "deactivate_organization", "acme")
    )
    await erase(erased(), worker)

    await ingest_lines(
        worker, clock, support(2, "reactivate_organization", "acme"), created(3, "another")
    )

    assert await states(worker) == {"acme": "deactivated", "another": "active"}
    answer = (await events_of(worker, "acme"))[-1]
    assert answer["data"]["code"] == "unknown_organization"
    assert "email.lock_violated" not in json.dumps(await events_of(worker, "acme"))


async def test_only_who_is_closed_can_be_erased(
    worker: Worker, clock: MovableClock, inspector: Inspector
) -> None:
    """Otherwise refused, without any change; also under a legal hold, not a commercial one."""
    await ingest_lines(worker, clock, *canceled("acme"))

    assert await erase(erased(1), worker) is Outcome.REFUSED
    assert await erase(erased(2, OrganizationId("nobody")), worker) is Outcome.REFUSED
    await wait(worker, clock, until=100)
    await ingest_lines(worker, clock, support(101, "place_hold", "acme", kind="legal"))
    await ingest_lines(worker, clock, support(102, "place_hold", "acme", kind="commercial"))
    assert await erase(erased(3), worker) is Outcome.REFUSED
    await ingest_lines(worker, clock, support(103, "release_hold", "acme", kind="legal"))
    assert await erase(erased(4), worker) is Outcome.APPLIED
    assert await erase(erased(5), worker) is Outcome.REFUSED

    assert await differences(inspector) == []


async def test_an_erasure_may_be_repeated(
    worker: Worker, clock: MovableClock, inspector: Inspector
) -> None:
    """It changes no state and publishes nothing, and removes data that arrived since."""
    await closed(worker, clock)
    await erase(erased(1), worker)
    document, before = await stored(worker, "acme"), await outgoing(worker)
    clock.now = at(201)
    letter = Record("organizations.changes", 0, 900, clock.now, b"acme", b"no JSON of Jo Doe")
    await ingest([letter], worker)
    await worker.pool.execute("INSERT INTO activity VALUES ('acme', now(), NULL, 1, 0)")

    again = replace(erased(2), repeatable=True)
    assert await erase(again, worker) is Outcome.NO_CHANGE

    assert await stored(worker, "acme") == document
    assert await outgoing(worker) == before
    for table in ("activity", "dead_letters"):
        assert await worker.pool.fetchval(f"SELECT count(*) FROM {table}") == (table == "activity")
    assert await differences(inspector) == []
    entries = [
        each for each in await history(inspector, ACME) if each.what == "organization.erased"
    ]
    assert [each.actor for each in entries if each.line is LineKind.FACT] == ["operator Olga"] * 2


async def test_of_late_messages_about_who_was_erased_only_identity_and_outcome_are_kept(
    worker: Worker, clock: MovableClock, inspector: Inspector, owner: Pool
) -> None:
    """No email hash, billing account, reason of Support or time of use is stored.  What it shares
    with others is processed normally.
    """
    await closed(worker, clock)
    await erase(erased(), worker)
    left = await everything(owner)
    late = [
        created(201, "acme", owner="late@acme.example"),
        linked(202, "acme", "first of acme", "late account"),
        bought(203, "first of acme", "late account"),
        ended(204, "first of acme", "late account"),
        login(205, "acme"),
        use(206, "acme"),
        support(207, "extend_grace", "acme", days=1, reason="late words", requested_by="Late Doe"),
        support(208, "unlock_email", "acme", email="late@acme.example", reason="late words"),
    ]
    for number, each in enumerate(late):
        if "source" in each["value"]:
            each["value"]["id"] = f"late-{number}"  # it has the data in it, else
    await ingest_lines(worker, clock, *late)

    kept = await everything(owner)
    hashed = worker.hash_email("late@acme.example")
    for personal in (hashed, "late account", "late words", "Late Doe", "late@"):
        assert personal not in kept, personal
    rows = await worker.pool.fetch(
        "SELECT kind, outcome, fact IS NULL AS gone FROM journal WHERE occurred_at > $1", at(200.5)
    )
    assert [tuple(row) for row in rows] == [
        ("organization.created", "no_change", True),
        ("organization.subscription_linked", "no_change", True),
        ("notified", "stale", True),
        ("notified", "stale", True),
        ("support_requested", "refused", True),
        ("support_requested", "refused", True),
    ]
    used = "SELECT count(*) FROM activity WHERE organization_id = 'acme' AND logins + requests > 0"
    assert await worker.pool.fetchval(used) == 0
    assert "login_days (acme" not in kept
    assert left.count("first of acme") < kept.count("first of acme")
    assert (await kinds(worker, "acme"))[-1] == "support_request.rejected"
    assert await differences(inspector) == []
    await ingest_lines(
        worker, clock, support(209, "extend_grace", "acme", days=1), login(210, "globex")
    )
    assert await differences(inspector) == []


async def everything(owner: Pool) -> str:
    """All rows of all tables, except outgoing messages."""
    names = await owner.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    rows: list[str] = []
    for name in sorted({row["tablename"] for row in names} - {"outbox"}):
        found = await owner.fetch(f"SELECT each::text AS row FROM {name} AS each")
        rows += [f"{name} {row['row']}" for row in found]
    return "\n".join(rows)


async def test_a_subscription_that_was_of_who_was_erased_is_kept_for_whoever_has_it_next(
    worker: Worker, clock: MovableClock, inspector: Inspector
) -> None:
    """Messages about it meanwhile count, without the account; later messages are stored in full."""
    await closed(worker, clock)
    await ingest_lines(worker, clock, created(100, "next"))
    await erase(erased(), worker)
    await ingest_lines(
        worker, clock,
        bought(201, "second of acme", "late account"),
        linked(202, "acme", "second of acme"),
        ended(203, "first of acme", "late account"),
        linked(204, "next", "first of acme", "account of next"),
    )  # fmt: skip
    assert (await states(worker))["next"] == "canceled"
    await ingest_lines(worker, clock, ended(205, "first of acme", "account of next"))
    facts = await worker.pool.fetch(
        "SELECT fact IS NOT NULL AS kept FROM journal WHERE occurred_at > $1 ORDER BY id", at(202.5)
    )
    assert [row["kept"] for row in facts] == [False, True, True]
    assert await differences(inspector) == []


async def test_what_late_news_of_an_erased_plan_makes_of_others_can_be_folded_again(
    worker: Worker, clock: MovableClock, inspector: Inspector
) -> None:
    """If another organization's plan succeeds it, messages are stored, but not the account."""
    renewal = {
        "id": "heir of acme", "intent": "RENEW", "previousAgreementId": "first of acme"
    }  # fmt: skip
    await ingest_lines(
        worker, clock,
        created(0, "acme"), created(0, "heir"),
        bought(0.1, "first of acme", "account of acme"),
        linked(0.2, "acme", "first of acme"),
        support(1, "deactivate_organization", "acme"),
    )  # fmt: skip
    await erase(erased(), worker)
    await ingest_lines(
        worker, clock,
        linked(201, "heir", "heir of acme", "account of heir"),
        eventbridge(202, "Purchase Agreement Created", renewal),
        ended(203, "first of acme", "late account"),
    )  # fmt: skip
    assert await differences(inspector) == []
    kept = await worker.pool.fetch("SELECT fact::text FROM journal WHERE fact IS NOT NULL")
    assert not [row["fact"] for row in kept if "late account" in row["fact"]]


async def test_what_an_earlier_version_kept_of_late_messages_is_erased_by_a_second_erasure(
    worker: Worker, clock: MovableClock, inspector: Inspector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The replay gives the same result before and after, also with an erasure that was refused."""
    await closed(worker, clock)
    await erase(erased(1), worker)
    with monkeypatch.context() as earlier:
        earlier.setattr(WorkingSet, "is_about_erased", lambda *_: False)
        await ingest_lines(
            worker, clock,
            created(201, "acme", owner="late@acme.example"),
            bought(202, "first of acme", "late account"),
            support(203, "extend_grace", "acme", days=1, reason="late words"),
        )  # fmt: skip
    assert await erase(erased(2), worker) is Outcome.REFUSED
    assert await differences(inspector) == []

    assert await erase(replace(erased(3), repeatable=True), worker) is Outcome.NO_CHANGE

    kept = await worker.pool.fetch("SELECT fact::text FROM journal WHERE fact IS NOT NULL")
    texts = [row["fact"] for row in kept]
    assert not [each for each in texts if "late" in each.replace("related", "")]
    assert await differences(inspector) == []


async def test_nothing_is_published_of_who_was_erased_but_refusals(
    worker: Worker, clock: MovableClock, inspector: Inspector
) -> None:
    """All later messages about its id or its plans are journalled without their content, and have
    no effect.
    """
    await closed(worker, clock)
    await ingest_lines(
        worker, clock, created(101, "other"), support(102, "deactivate_organization", "other")
    )
    await erase(erased(), worker)
    document = await stored(worker, "acme")
    before = await outgoing(worker)
    journalled = await worker.pool.fetchval("SELECT count(*) FROM journal")
    owner = {"owner_email": "owner@other.example"}
    facts = [
        created(201, "acme", owner="owner@other.example"),
        event(202, "organization.owner_changed", "acme", owner),
        event(203, "organization.tier_changed", "acme", {"tier": "free"}),
        event(204, "organization.commitment_linked", "acme",
              {"commitment_id": "c", "starts_at": "2026-01-01T00:00:00Z",
               "ends_at": "2026-02-01T00:00:00Z"}),
        linked(205, "acme", "another", "account of acme"),
        linked(206, "acme", "first of acme"),
        linked(207, "acme", "never heard of"),
        bought(208, "first of acme", "paid anew"),
        ended(209, "first of acme", "paid anew"),
    ]  # fmt: skip
    await ingest_lines(worker, clock, *facts, login(210, "acme"), use(211, "acme"))
    await wait(worker, clock, until=300)

    assert await outgoing(worker) == before
    assert await stored(worker, "acme") == document
    assert (await states(worker))["globex"] == "active"
    now_journalled = await worker.pool.fetchval("SELECT count(*) FROM journal")
    assert now_journalled == journalled + len(facts)

    for number, (request, data) in enumerate(SUPPORT_DATA.items()):
        example = dict(data.EXAMPLE)
        if request is SupportRequestKind.UNLOCK_EMAIL:
            example["email"] = "owner@acme.example"
        asked = support(301 + number, request, "acme", **example)
        await ingest_lines(worker, clock, asked)
    answers = (await outgoing(worker))[len(before) :]
    assert [each["type"] for each in answers] == [
        "io.marketplace-worker.support_request.rejected.v1"
    ] * len(SupportRequestKind)
    of_acme = [each for each in answers if each["subject"] == "acme"]
    assert {each["data"]["code"] for each in of_acme} == {"unknown_organization"}
    assert {(each["data"]["state"], each["data"]["capabilities"]) for each in of_acme} == {
        (None, None)
    }
    (unlock,) = [each for each in answers if each["subject"] == "worker"]
    assert (unlock["data"]["request"], unlock["data"]["code"]) == (
        "unlock_email", "email_not_locked",
    )  # fmt: skip
    assert await differences(inspector) == []


async def stored(worker: Worker, organization: str) -> dict[str, object]:
    """An organization's document, without its counters and times of publishing."""
    query = "SELECT document::text FROM organizations WHERE organization_id = $1"
    document: dict[str, object] = json.loads(await worker.pool.fetchval(query, organization))
    return {k: v for k, v in document.items() if k not in {"sequence", "revision", "decided_at"}}


async def outgoing(worker: Worker) -> list[dict[str, Any]]:
    """The messages in the outbox, in order; for a tombstone its key."""
    rows = await worker.pool.fetch("SELECT topic, key, value FROM outbox ORDER BY id")
    return [
        json.loads(row["value"]) if row["value"] is not None else {"tombstone": row["key"].decode()}
        for row in rows
        if row["topic"] != worker.topics.dead_letters
    ]


async def test_after_an_erasure_the_earlier_state_cannot_be_shown(
    worker: Worker, clock: MovableClock, inspector: Inspector
) -> None:
    """The command reports this, instead of showing an incomplete state."""
    await closed(worker, clock)
    await erase(erased(), worker)

    with pytest.raises(Misconfigured, match="is known only from"):
        await as_of(inspector, ACME, at(50))
