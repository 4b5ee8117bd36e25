"""What is personal of an organization that is closed can be erased, and the journal stays whole."""

import json

import pytest

from acceptance.scenario import at, created, event
from acceptance.stage import MovableClock
from marketplace_worker.errors import Misconfigured, Unavailable
from marketplace_worker.inspection.history import history
from marketplace_worker.inspection.organizations import report
from marketplace_worker.inspection.replaying import as_of
from marketplace_worker.inspection.sight import Inspector
from marketplace_worker.lifecycle.decide import Outcome
from marketplace_worker.lifecycle.facts import Erased
from marketplace_worker.lifecycle.vocabulary import Identity, OrganizationId
from marketplace_worker.steps.deciding import Worker
from marketplace_worker.steps.erasing import erase
from marketplace_worker.store.database import Pool
from steps.stories import bought, canceled, day_of, kinds, login, said, states, support, tell, wait
from steps.test_replaying import differences

ACME = OrganizationId("acme")


def erased(number: int = 1, organization: OrganizationId = ACME) -> Erased:
    """Olga types it."""
    return Erased(Identity("operator", f"e-{number}"), at(200), organization, "Olga", "asked to")


async def closed(worker: Worker, clock: MovableClock) -> None:
    """Acme has gone all the way down; globex has one of its billing accounts, and is well."""
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
    await tell(worker, clock, *sorted(lines, key=day_of))
    await wait(worker, clock, until=100)
    assert await states(worker) == {"acme": "deactivated", "globex": "active"}


async def everything_of(worker: Worker, organization: str) -> str:
    """All rows that an organization is in, but for what is on its way out."""
    rows = []
    for table, column in (
        ("organizations", "organization_id"), ("activity", "organization_id"),
        ("journal", "organization_id"), ("decisions", "organization_id"),
        ("checkpoints", "id"),
    ):  # fmt: skip
        query = f"SELECT each::text AS row FROM {table} AS each WHERE {column} = $1"
        rows += [row["row"] for row in await worker.pool.fetch(query, organization)]
    return "\n".join(rows)


async def test_an_erasure_that_is_not_committed_is_not_told(
    worker: Worker, clock: MovableClock, owner: Pool
) -> None:
    """Nor counted: that an email was unlocked is true only once it is committed."""
    await closed(worker, clock)
    await owner.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE 'no commit'; END $$;"
        "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON journal"
        " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    worker.promised.clear()
    with pytest.raises(Unavailable, match="no commit"):
        await erase(erased(), worker)
    assert not worker.promised.is_set()


async def test_nothing_personal_is_left_of_who_was_erased(
    worker: Worker, clock: MovableClock
) -> None:
    """Neither in a document nor in the journal, the history, or beside them."""
    await closed(worker, clock)
    (locked,) = [each for each in await said(worker, "acme") if "email.locked" in each["type"]]
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
    used = "SELECT count(*) FROM activity WHERE organization_id = 'acme'"
    assert await worker.pool.fetchval(used) == 0


async def test_the_journal_folds_and_its_chain_is_whole_after_an_erasure(
    worker: Worker, clock: MovableClock, inspector: Inspector
) -> None:
    """Also of who shares a billing account with it, and after more has happened."""
    await closed(worker, clock)
    await erase(erased(), worker)

    assert await differences(inspector) == []

    await tell(worker, clock, login(201, "acme"), support(202, "extend_grace", "acme", days=1))
    await tell(worker, clock, event(203, "organization.tier_changed", "globex", {"tier": "plus"}))
    assert await differences(inspector) == []


async def test_an_erasure_is_told_and_kept_with_who_and_why(
    worker: Worker, clock: MovableClock, inspector: Inspector
) -> None:
    """The lock on its email is released; a late joiner is told that there is nothing."""
    await closed(worker, clock)

    await erase(erased(), worker)

    assert (await kinds(worker, "acme"))[-1] == "email.unlocked"
    newest = await worker.pool.fetchval(
        "SELECT value FROM outbox WHERE topic = $1 AND key = 'acme' ORDER BY id DESC LIMIT 1",
        worker.topics.state,
    )
    assert newest is None
    told = await history(inspector, ACME)
    assert [each.actor for each in told if each.what == "organization.erased"] == ["operator Olga"]
    assert {each.what for each in told} >= {"organization.created", "organization.erased"}
    (found,) = [await report(inspector, ACME)]
    assert found.organization.erased_at == clock.now
    assert not found.organization.recoverable


async def test_who_is_erased_cannot_come_back_and_its_email_is_free(
    worker: Worker, clock: MovableClock
) -> None:
    """Support is refused, though it had been a request of Support that closed it."""
    await tell(worker, clock, created(0, "acme"), support(1, "deactivate_organization", "acme"))
    await erase(erased(), worker)

    await tell(worker, clock, support(2, "reactivate_organization", "acme"), created(3, "another"))

    assert await states(worker) == {"acme": "deactivated", "another": "active"}
    answer = (await said(worker, "acme"))[-1]
    assert answer["data"]["code"] == "irreversible"
    assert "email.lock_violated" not in json.dumps(await said(worker, "acme"))


async def test_only_who_is_closed_can_be_erased_and_only_once(
    worker: Worker, clock: MovableClock, inspector: Inspector
) -> None:
    """Refused, and nothing is touched."""
    await tell(worker, clock, *canceled("acme"))

    assert await erase(erased(1), worker) is Outcome.REFUSED
    assert await erase(erased(2, OrganizationId("nobody")), worker) is Outcome.REFUSED
    await wait(worker, clock, until=100)
    assert await erase(erased(3), worker) is Outcome.APPLIED
    assert await erase(erased(4), worker) is Outcome.REFUSED

    assert await differences(inspector) == []


async def test_what_was_known_before_an_erasure_is_not_known_any_more(
    worker: Worker, clock: MovableClock, inspector: Inspector
) -> None:
    """It says so, instead of showing half of it."""
    await closed(worker, clock)
    await erase(erased(), worker)

    with pytest.raises(Misconfigured, match="folded away"):
        await as_of(inspector, ACME, at(50))
