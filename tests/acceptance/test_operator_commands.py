"""The operator's commands on a database with organizations in every state.

They run in this process, with the clock of the scenario.
"""

import asyncio
import io
import json
import shlex
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

import servers
from acceptance.operator_scenario import (
    FAILED_ON,
    FLEET,
    FLOOD,
    LATER,
    SLOWER,
    TODAY,
    UNREADABLE,
    same,
    shown_on_the_page,
)
from acceptance.scenario import at, created
from acceptance.stage import MovableClock, command, environment
from command_line import every_command, takes
from marketplace_worker.cli import inspecting, main, operating, redriving
from marketplace_worker.contract.policy_file import load_policy
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.lifecycle.vocabulary import EmailHash
from marketplace_worker.record import Record
from marketplace_worker.runtime.worker import Worker, worker_of
from marketplace_worker.settings import Settings
from marketplace_worker.steps.deadlines import fire_due
from marketplace_worker.steps.ingest import ingest
from marketplace_worker.store import policies
from marketplace_worker.store.database import connecting, transaction
from marketplace_worker.store.dsn import name_of_database
from steps.story_beginnings import (
    canceled,
    day_of,
    ingest_lines,
    kinds,
    linked,
    states,
    support,
    wait,
)

Run = Callable[..., Awaitable[tuple[int, str, str]]]

NOBODY = "127.0.0.1:1"
"""No broker runs there: no operator's command needs one."""


@pytest.fixture
def postgres_template(request: pytest.FixtureRequest, schema_template: str) -> str:
    """The fleet, for tests that request it; otherwise the schema alone."""
    if "fleet" not in request.fixturenames:
        return schema_template
    name: str = request.getfixturevalue("fleet_template")
    return name


@pytest.fixture
def settings(pytestconfig: pytest.Config, postgres_dsn: str) -> Settings:
    """A database for each test."""
    return servers.settings(pytestconfig.stash[servers.CHOICE], NOBODY, postgres_dsn, "")


@pytest.fixture
def clock() -> MovableClock:
    """The clock of the worker and of the commands."""
    return MovableClock()


@pytest.fixture
async def worker(settings: Settings, clock: MovableClock) -> AsyncIterator[Worker]:
    """The worker that fills the database."""
    async with _working(settings, clock) as worker:
        yield worker


@asynccontextmanager
async def _working(settings: Settings, clock: MovableClock) -> AsyncIterator[Worker]:
    async with connecting(settings.postgres) as pool:
        async with transaction(pool) as conn:
            await policies.register(conn, Policy(), now=at(0))
        yield worker_of(settings, Policy(), pool, clock, clock.of_machine)


@pytest.fixture
def run(
    settings: Settings,
    clock: MovableClock,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Run a command; returns exit status, standard output and standard error.

    A question is answered by `answer`; without it, `--yes` is given where a command takes it.
    """
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    for connecting_ in (inspecting, operating):
        monkeypatch.setattr(connecting_, "database_clock", clock)
    monkeypatch.setattr("marketplace_worker.cli.status.system_clock", lambda: clock.now)

    async def run_(*arguments: str | Path, answer: str | None = None) -> tuple[int, str, str]:
        words = [*map(str, arguments)]
        if answer is None and takes(words, "--yes") and "--yes" not in words:
            words.append("--yes")
        monkeypatch.setattr("sys.argv", ["marketplace-worker", *words])
        monkeypatch.setattr("sys.stdin", io.StringIO(answer or ""))
        capsys.readouterr()
        status = 0
        try:
            await asyncio.to_thread(main)
        except SystemExit as ended:
            status = int(ended.code or 0)
        out, err = capsys.readouterr()
        return status, out, err

    return run_


async def printed(run: Run, *arguments: str | Path) -> str:
    """The output of a command that succeeds."""
    status, out, err = await run(*arguments)
    assert (status, err) == (0, "")
    assert "\x1b" not in out, "no colour without a terminal"
    return out


async def document(run: Run, *arguments: str | Path) -> Any:  # noqa: ANN401
    """The JSON document that a command prints."""
    status, out, err = await run(*arguments, "--json")
    assert (status, err) == (0, "")
    return json.loads(out)


async def everything(worker: Worker) -> list[tuple[str, str]]:
    """All rows of all tables."""
    tables = await worker.pool.fetch(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
    )
    return [
        (row["tablename"], each["row"])
        for row in tables
        for each in await worker.pool.fetch(
            f'SELECT each::text AS row FROM "{row["tablename"]}" AS each ORDER BY 1'
        )
    ]


# --- a fleet --------------------------------------------------------------------------------------


async def live(worker: Worker, clock: MovableClock, since: float, until: float) -> None:
    """Ingest the scenario between two days, and fire its deadlines."""
    for line in FLEET:
        if since <= day_of(line) < until:
            await wait(worker, clock, day_of(line))
            await ingest_lines(worker, clock, line)
    await wait(worker, clock, until)


@pytest.fixture(scope="session")
async def fleet_template(
    pytestconfig: pytest.Config, postgres_server: str, schema_template: str
) -> AsyncIterator[str]:
    """The name of a database with the fleet of today, all due steps taken."""
    name, clock = f"fleet_{uuid4().hex}", MovableClock()
    async with servers.fresh_database(postgres_server, name, schema_template) as dsn:
        settings = servers.settings(pytestconfig.stash[servers.CHOICE], NOBODY, dsn, "")
        async with _working(settings, clock) as worker:
            await live(worker, clock, 0, TODAY)
            await ingest_lines(worker, clock, *UNREADABLE)
            with capture_logs():
                await ingest_lines(replace(worker, hash_email=_bug), clock, *FAILED_ON)
                await worker.intake.stop(worker.pool, clock, [FLOOD])
        assert clock.now == at(TODAY)
        yield name


@pytest.fixture
def fleet(worker: Worker, clock: MovableClock) -> Worker:
    """A worker on a copy of `fleet_template`, today."""
    clock.now = at(TODAY)
    return worker


def _bug(_: str) -> EmailHash:
    raise KeyError("owner")


READING = [
    ("org", "list"),
    ("org", "show", "acme"),
    ("org", "history", "acme"),
    ("org", "explain", "acme"),
    ("due", "--within", "P30D"),
    ("guard", "status"),
    ("replay", "--verify"),
    ("replay", "acme", "--as-of", "2026-01-10T00:00:00Z"),
    ("dead-letters", "groups"),
    ("dead-letters", "list"),
    ("dead-letters", "show", "4"),
    ("dead-letters", "redrive", "--all", "--dry-run"),
    ("dead-letters", "discard", "3", "--dry-run"),
]

Write = Callable[[str], Path]


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a policy file, in the working directory."""
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> Path:
        file = Path("policy.toml")
        file.write_text(text)
        return file

    return write


_TERMINAL = {"TTY_COMPATIBLE": "1", "TERM": "dumb", "COLUMNS": "100", "LINES": "50"}


async def test_the_page_shows_the_real_output(
    run: Run,
    fleet: Worker,
    clock: MovableClock,
    policy: Write,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """docs/operating.md, command by command, as a terminal of 100 columns shows it; after the kill
    switch, some days pass.
    """
    policy(SLOWER)
    for name, value in _TERMINAL.items():
        monkeypatch.setenv(name, value)
    for arguments, shown in shown_on_the_page():
        _, out, _ = await run(*shlex.split(arguments))
        assert same(shown, out.splitlines()), f"{arguments} prints:\n{out}"
        if arguments.startswith("guard trip"):
            await live(fleet, clock, TODAY, LATER)
    assert clock.now == at(LATER)


# --- reading --------------------------------------------------------------------------------------


async def test_read_only_commands_write_nothing(run: Run, fleet: Worker, policy: Write) -> None:
    """In no table, with either output format."""
    before = await everything(fleet)
    for command_ in (*READING, ("policy", "diff", policy(SLOWER))):
        assert await printed(run, *command_)
        assert await document(run, *command_)
    assert await everything(fleet) == before


@pytest.mark.usefixtures("fleet")
async def test_status_tells_by_its_exit_status_whether_something_is_wrong(run: Run) -> None:
    """A stopped topic is wrong, and no worker runs here; dead letters only need attention."""
    status, out, _ = await run("status", "--json")
    found = json.loads(out)
    assert status == 3
    assert found["organizations"]["suspended"] == 1
    assert found["dead_letters"]["number"] == len(UNREADABLE) + len(FAILED_ON)
    assert [(each["severity"], each["subject"]) for each in found["findings"]] == [
        ("wrong", "outbox"),
        ("wrong", "intake"),
        ("wrong", "workers"),
        ("attention", "guard"),
        ("attention", "dead letters"),
    ]


@pytest.mark.usefixtures("fleet")
async def test_organizations_are_listed_by_filters_and_page_by_page(run: Run) -> None:
    """The table says how the list goes on, and a program finds it in the document."""
    page = await document(run, "org", "list", "--limit", "4")
    assert [each["organization_id"] for each in page["organizations"]] == [
        "acme", "globex", "hooli", "initech"
    ]  # fmt: skip
    assert page["organizations"][1] == {
        "organization_id": "globex",
        "state": "control_plane_loss",
        "since": "2026-01-24T00:00:00Z",
        "due_at": "2026-02-07T00:00:00Z",
        "marketplaces": ["azure"],
        "holds": [],
        "waits_for": "support",
    }
    table = await printed(run, "org", "list", "--after", page["after"])
    assert [line.split()[0] for line in table.splitlines()[2:]] == ["pied-piper", "umbrella"]

    for filters, names in {
        ("--subscription", "agmt-7k2"): ["acme"],
        ("--billing-account", "112233445566"): ["umbrella"],
        ("--email", " Owner@Hooli.example "): ["hooli"],
        ("--due-within", "P7D", "--marketplace", "aws"): ["hooli", "acme"],
        ("--waiting", "support", "--state", "control_plane_loss"): ["globex"],
    }.items():
        found = (await document(run, "org", "list", *filters))["organizations"]
        assert [each["organization_id"] for each in found] == names, filters


@pytest.mark.usefixtures("fleet")
async def test_a_list_without_organizations_is_no_failure_and_a_wrong_filter_is_one(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script can tell them apart."""
    assert await printed(run, "org", "list", "--state", "deactivated") == "no organizations\n"
    assert (await document(run, "org", "list", "--marketplace", "gcp"))["organizations"] == []
    assert await printed(run, "org", "list", "--marketplace", "gcp", "-o", "jsonl") == ""
    for filters, problem in {
        ("--state", "closed"): "is not one of 'active'",
        ("--marketplace", "ebay"): "is not one of 'aws'",
        ("--waiting", "godot"): "is not one of 'sign_in'",
        ("--due-within", "soon"): "--due-within: must be an ISO 8601 duration",
        ("--due-within", "P1D", "--after", "acme"): "no page of this list ended there",
        ("--email", "acme"): "--email: must be an address",
    }.items():
        status, _, err = await run("org", "list", *filters)
        assert (status, problem in err) == (2, True), (filters, err)
    monkeypatch.delenv("MARKETPLACE_WORKER_EMAIL_KEY")
    status, _, err = await run("org", "list", "--email", "owner@hooli.example")
    assert (status, "email_key is not set" in err) == (2, True)
    assert await printed(run, "org", "list", "--held")


@pytest.mark.usefixtures("fleet")
async def test_show_prints_an_organizations_state(run: Run) -> None:
    """State, capabilities, since when, why, plans, holds, notice, next step, tier and sequence."""
    shown = await printed(run, "org", "show", "acme")
    for line in (
        "state         suspended",
        "since         2026-01-12 00:00 UTC",
        "allowed       login",
        "not allowed   manage, data, api_keys",
        "next step     deactivated on 2026-02-11 00:00 UTC",
        "notice given  2026-02-04 00:00 UTC",
        "tier          free",
        "policy        default",
        "sequence      12",
        "Reason customer, initiator customer.",
        "aws:agmt-7k2  ended   no      payg       -",
    ):
        assert line in shown

    found = await document(run, "org", "show", "umbrella")
    assert found["state"] == "control_plane_loss"
    assert found["capabilities"] == {"manage": False, "data": True, "api_keys": True, "login": True}
    assert found["holds"] == [
        {"kind": "legal", "placed_at": "2026-01-07T00:00:00Z", "expires_at": None}
    ]
    assert found["next_step"] is None
    found = await document(run, "org", "show", "globex")
    assert found["pending"]["completed_by"] == "support"


@pytest.mark.usefixtures("fleet")
async def test_history_lists_facts_transitions_and_events_with_their_actors(run: Run) -> None:
    """In order; the table shows the same as the JSON."""
    history = (await document(run, "org", "history", "acme"))["history"]
    assert [(each["line"], each["what"], each["actor"]) for each in history[:6]] == [
        ("fact", "organization.created", "service /signup"),
        ("fact", "organization.subscription_linked", "service /signup"),
        ("fact", "Purchase Agreement Ended", "marketplace aws"),
        ("transition", "active -> canceled", "marketplace aws"),
        ("event", "organization.canceled", "marketplace aws"),
        ("event", "metering.final_report_due", "marketplace aws"),
    ]
    assert {each["actor"] for each in history[6:]} == {"system", "support Jo Doe"}
    assert {each["policy_version"] for each in history} == {"default"}
    assert {each["outcome"] for each in history} == {"applied"}
    assert [each["at"] for each in history] == sorted(each["at"] for each in history)
    sequences = [each["sequence"] for each in history if each["line"] == "event"]
    assert sequences == list(range(1, 13))
    assert all(each["cause"]["id"] for each in history)

    table = await printed(run, "org", "history", "acme")
    places = [table.index(each["what"]) for each in history]
    assert places[0] == min(places)
    assert "control_plane_loss -> suspended" in table


async def test_a_moved_subscription_is_named_in_history_and_explanation_of_both(
    run: Run, worker: Worker, clock: MovableClock
) -> None:
    """One organization lost it and the other received it; a wrong id is found from either."""
    await ingest_lines(
        worker,
        clock,
        *canceled("acme"),
        created(2, "other"),
        linked(3, "other", "first of acme", "account of other"),
    )

    for name in ("acme", "other"):
        history = (await document(run, "org", "history", name))["history"]
        (link,) = (each["about"] for each in history if each["about"].get("taken_from"))
        assert (link["organization"], link["taken_from"]) == ("other", "acme")
        assert link["attention"] == "billing_account_contradicts"
        assert "taken_from=acme" in await printed(run, "org", "history", name)
        found = await document(run, "org", "explain", name)
        (link,) = found["links"]
        assert (link["organization"], link["taken_from"]) == ("other", "acme")
        words = (await printed(run, "org", "explain", name)).split()
        assert "is not the expected one: check whose" in " ".join(words)


@pytest.mark.usefixtures("fleet")
async def test_explain_names_the_deciding_rule_and_the_remedies(run: Run) -> None:
    """For the operator and for the customer; also for an organization that does not exist."""
    printed_text = await printed(run, "org", "explain", "acme")
    for line in (
        "acme is suspended, as of 2026-02-06 00:00 UTC",
        "-> 2026-02-11 00:00 UTC  offset: canceled_at 2026-01-02 00:00 UTC + 37 days + 3 days ex",
        "What would stop it",
        "Support: support.extend_grace, by up to 87 days more.",
        "For the customer",
        "On 11 February 2026, 00:00 UTC, your organization will be closed",
    ):
        assert line in printed_text

    found = await document(run, "org", "explain", "acme")
    decides = [term["rule"] for term in found["next"]["deadline"]["terms"] if term["decides"]]
    assert (found["next"]["kind"], decides) == ("step", ["offset"])
    assert found["words"]["customer"]["stops"]

    assert "It was never created" in await printed(run, "org", "explain", "nobody")
    status, _, err = await run("org", "show", "nobody")
    assert (status, "no message about this organization was ever received" in err) == (2, True)


@pytest.mark.usefixtures("fleet")
async def test_due_lists_coming_steps_in_order(run: Run) -> None:
    """Steps, notices and ends of plans, up to the given moment."""
    coming = await document(run, "due", "--within", "P10D")
    assert [(each["organization_id"], each["what"], each["at"]) for each in coming["due"]] == [
        ("hooli", "suspended", "2026-02-07T00:00:00Z"),
        ("initech", "deactivated", "2026-02-09T09:36:00Z"),
        ("acme", "deactivated", "2026-02-11T00:00:00Z"),
        ("pied-piper", "plan_ends", "2026-02-12T00:00:00Z"),
        ("pied-piper", "canceled", "2026-02-12T00:00:00Z"),
        ("pied-piper", "control_plane_loss", "2026-02-15T00:00:00Z"),
    ]
    coming = await document(run, "due", "--within", "P1DT1S")
    assert [each["organization_id"] for each in coming["due"]] == ["hooli"]


async def test_due_lists_overdue_steps_and_when_the_guard_would_trip(
    run: Run, worker: Worker, clock: MovableClock
) -> None:
    """After a night without workers, everything is due at once."""
    for number in range(55):
        await ingest_lines(worker, clock, *canceled(f"org-{number}"))
    await wait(worker, clock, 3)
    coming = await document(run, "due")
    assert coming["guard"]["trip"] is not None
    release = ("guard", "release", "--by", "Olga", "--reason", "looked at", "--steps", "all")
    assert (await run(*release))[0] == 0
    await wait(worker, clock, 5)
    clock.now = at(12)
    coming = await document(run, "due")
    first = coming["due"][0]
    assert (first["at"], first["due_at"]) == ("2026-01-13T00:00:00Z", "2026-01-09T00:00:00Z")
    assert coming["guard"]["trips_at"] == "2026-01-13T00:00:00Z"
    printed_text = await printed(run, "due")
    assert "due since 2026-01-09 00:00 UTC" in printed_text
    assert "the guard would trip at 2026-01-13 00:00 UTC" in printed_text


# --- the guard ------------------------------------------------------------------------------------


async def test_the_kill_switch_withholds_steps_until_it_is_released(
    run: Run, fleet: Worker, clock: MovableClock
) -> None:
    """Tripped by hand, listed, released for some steps, released; each with an event and a log
    line.
    """
    status, out, err = await run("guard", "trip", "--by", "Olga", "--reason", "odd news")
    assert (status, out.startswith("tripped: ")) == (0, True)
    line = json.loads(err)
    assert (line["event"], line["by_operator"]) == ("guard_tripped", True)

    await live(fleet, clock, TODAY, LATER)
    assert (await states(fleet))["acme"] == "suspended"
    found = await document(run, "guard", "status")
    for side in ("steps", "requests"):
        trip = found[side]["trip"]
        printed_text = (trip["at"], trip["by"], trip["reason"], trip["allowance"])
        assert printed_text == ("2026-02-06T00:00:00Z", "Olga", "odd news", 0)
    assert [(each["organization_id"], each["step"]) for each in found["withheld"]] == [
        ("hooli", "suspended"),
        ("initech", "deactivated"),
        ("acme", "deactivated"),
    ]
    assert "The guard has withheld it since" in await printed(run, "org", "explain", "acme")
    due = (await document(run, "due"))["due"]
    assert [each["stopped_by"] for each in due[:4]] == ["guard"] * 4

    release = ("guard", "release", "--by", "Olga", "--reason", "looked at")
    status, out, _ = await run(*release, "--steps", "1")
    assert (status, out) == (0, "still tripped; steps let through: 1\n")
    await wait(fleet, clock, LATER)
    assert len((await document(run, "guard", "status"))["withheld"]) == 2
    status, out, err = await run(*release)
    assert (status, json.loads(err)["event"]) == (0, "guard_released")
    await wait(fleet, clock, LATER)
    assert (await states(fleet))["initech"] == "deactivated"
    found = await document(run, "guard", "status")
    assert (found["steps"]["tripped"], found["requests"]["tripped"]) == (False, False)
    assert found["withheld"] == []
    history = [each for each in await kinds(fleet, "worker") if each.startswith("guard.")]
    assert history == ["guard.tripped", "guard.released", "guard.released"]


async def test_the_guard_for_requests_is_released_separately(
    run: Run, worker: Worker, clock: MovableClock
) -> None:
    """One person makes eleven requests; no output shows the name."""
    names = [f"org-{number}" for number in range(12)]
    await ingest_lines(worker, clock, *(created(0, name) for name in names))
    await ingest_lines(
        worker, clock, *(support(1, "deactivate_organization", each) for each in names[:11])
    )

    found = (await document(run, "guard", "status"))["requests"]
    assert found["per_hour"] == {"counted": 10, "limit": 20}
    assert found["per_person"] == {"counted": 10, "limit": 10}
    assert found["trip"]["which"] == "per_person"
    assert found["trip"]["request_id"] == "deactivate_organization org-10 1"
    shown = await printed(run, "guard", "status")
    assert "its limit (per_person)" in shown
    assert "tripped: requested deactivations are refused" in shown
    assert "Jo Doe" not in shown

    release = ("guard", "release", "--by", "Olga", "--reason", "looked at")
    status, _, err = await run(*release, "--steps", "all")
    assert (status, "the guard for steps is not tripped" in err) == (2, True)
    status, out, _ = await run(*release, "--requests", "1")
    assert (status, out) == (0, "still tripped; requests let through: 1\n")
    again = (support(day, "deactivate_organization", names[10 + day - 2]) for day in (2, 3))
    await ingest_lines(worker, clock, *again)
    assert list((await states(worker)).values()).count("deactivated") == 11
    status, out, _ = await run(*release)
    assert (status, out) == (0, "released: requested deactivations are accepted again\n")


async def test_guard_status_counts_the_steps_of_the_last_hour_by_kind(
    run: Run, worker: Worker, clock: MovableClock
) -> None:
    """Entries into `control_plane_loss` are counted apart from destructive steps; after an hour,
    neither.
    """
    for name in ("a", "b", "c"):
        await ingest_lines(worker, clock, *canceled(name))
    await ingest_lines(worker, clock, created(1, "d", tier="plus"))

    async def counted() -> tuple[int, int, int]:
        found = await document(run, "guard", "status")
        steps = found["steps"]
        assert (steps["harmful"]["limit"], steps["control_plane_loss"]["limit"]) == (50, 50)
        assert found["organizations"] == 4
        loss, harmful = steps["control_plane_loss"]["counted"], steps["harmful"]["counted"]
        withheld = len(found["withheld"])
        return loss, harmful, withheld

    await wait(worker, clock, 2)
    assert set((await states(worker)).values()) == {"control_plane_loss", "active"}
    assert await counted() == (3, 0, 0)
    while "control_plane_loss" in (await states(worker)).values():
        await wait(worker, clock, (clock.now - at(0)) / timedelta(hours=1) / 24 + 0.5)
    clock.now = await worker.pool.fetchval("SELECT max(decided_at) FROM decisions")
    assert await counted() == (0, 3, 0)
    clock.now += timedelta(minutes=59)
    assert await counted() == (0, 3, 0)
    clock.now += timedelta(minutes=2)
    assert await counted() == (0, 0, 0)


async def test_a_guard_that_is_not_tripped_cannot_be_released(run: Run, worker: Worker) -> None:
    """Exit status 2 and a message; nothing is written."""
    status, out, err = await run("guard", "release", "--by", "Olga", "--reason", "?")
    assert (status, out) == (2, "")
    assert "the guard is not tripped: there is nothing to release" in err
    assert await worker.pool.fetch("SELECT FROM journal") == []


@pytest.mark.usefixtures("worker")
async def test_the_kill_switch_works_in_its_own_process(settings: Settings) -> None:
    """With settings from the environment, in real time."""
    trip = ("guard", "trip", "--by", "Olga", "--reason", "to be safe")
    for arguments, printed_text in ((trip, b"tripped"), (("guard", "status"), b"to be safe")):
        async with command(*arguments, settings=settings) as process:
            out, _ = await process.communicate()
        assert (process.returncode, printed_text in out) == (0, True)


# --- dead letters ---------------------------------------------------------------------------------

BECAUSE = ("--by", "Olga", "--reason", "mended")


@pytest.mark.usefixtures("fleet")
async def test_dead_letters_are_listed_by_group_and_page_by_page(run: Run) -> None:
    """Newest first; each group has the name that `groups` prints."""
    groups = (await document(run, "dead-letters", "groups"))["groups"]
    assert [(each["topic"], each["field"], each["reason"], each["letters"]) for each in groups] == [
        ("organizations.changes", "", "marketplace-worker failed on it: KeyError", 2),
        ("marketplace.aws.notifications", "detail.agreement.id", "is missing", 2),
        ("marketplace.azure.notifications", "action", "is missing", 1),
    ]
    listing = ("dead-letters", "list", "--limit", "2")
    newest = (await document(run, *listing))["dead_letters"]
    older = (await document(run, *listing, "--before", str(newest[-1]["id"])))["dead_letters"]
    assert [each["id"] for each in (*newest, *older)] == [5, 4, 3, 2]
    assert f"--before {newest[-1]['id']}" in await printed(run, *listing)
    of_group = await document(run, *listing, "--group", groups[1]["id"])
    assert [each["offset"] for each in of_group["dead_letters"]] == [1, 0]
    assert await printed(run, *listing, "--status", "discarded") == "no dead letters\n"


async def test_a_dead_letter_is_shown_without_control_characters(
    run: Run, worker: Worker, clock: MovableClock
) -> None:
    """Its bytes may be escapes, binary or null; the JSON output has them unchanged."""
    clock.now = at(1)
    value = '\x1b[2J{"a":\n"\x9b31m\u202e"}'.encode() + b"\xff\x00"
    topic = worker.topics.lifecycle.replace("organizations.lifecycle", "support.requests")
    headers = (("tr\x1bace", None), ("blob", b"\x00\xff"))
    await ingest([Record(topic, 0, 7, at(1), b"k\x1b", value, headers)], worker)

    shown = await printed(run, "dead-letters", "show", "1")
    found = await document(run, "dead-letters", "show", "1")

    for line in ("  k\\x1b", "  tr\\x1bace: null", "  blob: \\x00\\xff", '  \\x1b[2J{"a":'):
        assert line in shown.splitlines()
    assert '  "\\x9b31m\\u202e"}\\xff\\x00' in shown.splitlines()
    assert b64decode(found["value"]["base64"]) == value
    assert found["value_bytes"] == len(value)
    assert found["value"]["text"] == value.decode("utf-8", "backslashreplace")
    assert [each["name"] for each in found["headers"]] == ["tr\x1bace", "blob"]
    _, raw, _ = await run("dead-letters", "show", "1", "--json")
    assert not {"\x1b", "\x9b", "\u202e"} & set(shown + raw)


async def test_a_redrive_predicts_its_result_and_repeating_it_does_nothing(
    run: Run, fleet: Worker
) -> None:
    """The dry run predicts the result; operator and reason are stored in the row, not logged."""
    would = (await document(run, "dead-letters", "redrive", "--all", "--dry-run"))["would"]
    assert [(each["id"], each["would"], each["field"]) for each in would] == [
        (1, "refuse", "detail.agreement.id"),
        (2, "refuse", "detail.agreement.id"),
        (3, "refuse", "action"),
        (4, "take", None),
        (5, "take", None),
    ]
    assert would[3]["facts"] == [{"fact": "organization.created stark", "taken_before": False}]

    status, out, err = await run("dead-letters", "redrive", "--all", *BECAUSE, "--json")
    done = json.loads(out)
    assert (status, done["redriven"], done["refused"], done["outcomes"]) == (
        0,
        2,
        3,
        {"applied": 2},
    )
    assert [each["became"] for each in done["results"]] == [*["refused"] * 3, *["redriven"] * 2]
    assert "Olga" not in err
    assert [json.loads(line)["event"] for line in err.splitlines()] == [
        *["fact_decided"] * 2,
        "dead_letters_redriven",
    ]
    assert {"stark", "wayne"} <= (await states(fleet)).keys()
    listed = await document(run, "dead-letters", "list", "--status", "redriven")
    assert {(each["acted_by"], each["acted_because"]) for each in listed["dead_letters"]} == {
        ("Olga", "mended")
    }

    status, out, err = await run("dead-letters", "redrive", "4", *BECAUSE)
    assert (status, out, err) == (0, "nothing to do: none of these is waiting\n", "")
    status, out, _ = await run("dead-letters", "discard", "1", *BECAUSE)
    assert (status, out) == (0, "discarded: 1\n")
    status, out, _ = await run("dead-letters", "discard", "1", *BECAUSE)
    assert (status, out) == (0, "nothing to do: none of these is waiting\n")
    assert "no use" not in await printed(run, "dead-letters", "show", "1")
    status, out, _ = await run("dead-letters", "discard", "1", "--no-use", *BECAUSE)
    assert (status, out) == (0, "discarded: 1\n")
    assert "no use" in await printed(run, "dead-letters", "show", "1")


async def test_a_discarded_dead_letter_is_redriven_only_by_its_id(run: Run, fleet: Worker) -> None:
    """`--all` and `--group` include only waiting dead letters."""
    await run("dead-letters", "redrive", "1", *BECAUSE)
    assert "2        1 (50%)  " in await printed(run, "dead-letters", "groups")
    assert (await run("dead-letters", "discard", "4", *BECAUSE))[1] == "discarded: 1\n"
    done = json.loads((await run("dead-letters", "redrive", "--all", *BECAUSE, "--json"))[1])
    assert [each["id"] for each in done["results"]] == [1, 2, 3, 5]
    assert "stark" not in await states(fleet)

    would = (await document(run, "dead-letters", "redrive", "4", "--dry-run"))["would"]
    assert [(each["id"], each["would"]) for each in would] == [(4, "take")]
    status, out, _ = await run("dead-letters", "redrive", "4", *BECAUSE, "--json")
    done = json.loads(out)
    assert (status, done["redriven"], done["refused"], done["failed"]) == (0, 1, 0, 0)
    assert [(each["id"], each["became"]) for each in done["results"]] == [(4, "redriven")]
    assert "stark" in await states(fleet)
    again = json.loads((await run("dead-letters", "redrive", "4", *BECAUSE, "--json"))[1])
    assert (again["redriven"], again["results"]) == (0, [])


async def test_a_dry_run_lists_dead_letters_ingested_since_and_ones_that_would_fail(
    run: Run, worker: Worker, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that was redelivered after the fix is ingested, while its dead letter still
    waits.
    """
    with capture_logs():
        await ingest_lines(replace(worker, hash_email=_bug), clock, *FAILED_ON)
    await ingest_lines(worker, clock, FAILED_ON[0])
    would = (await document(run, "dead-letters", "redrive", "--all", "--dry-run"))["would"]
    assert [each["facts"][0]["taken_before"] for each in would] == [True, False]

    monkeypatch.setattr(redriving, "email_hasher", lambda _: _bug)
    would = (await document(run, "dead-letters", "redrive", "--all", "--dry-run"))["would"]
    assert [(each["would"], each["reason"]) for each in would] == [("fail", "KeyError")] * 2
    monkeypatch.setenv("MARKETPLACE_WORKER_TOPICS__ORGANIZATION_CHANGES", "another")
    would = (await document(run, "dead-letters", "redrive", "--all", "--dry-run"))["would"]
    assert [each["would"] for each in would] == ["leave"] * 2


async def test_a_redrive_works_in_its_own_process(fleet: Worker, settings: Settings) -> None:
    """With the rights of the worker's role."""
    redrive = ("dead-letters", "redrive", "4", "5", "--rate", "1000", "--yes", *BECAUSE)
    async with command(*redrive, settings=settings) as process:
        out, _ = await process.communicate()
    assert (process.returncode, b"redriven  2" in out) == (0, True), out
    assert {"stark", "wayne"} <= (await states(fleet)).keys()


# --- a policy -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("fleet")
async def test_diff_lists_the_deadlines_that_a_policy_would_move(run: Run, policy: Write) -> None:
    """Pinned organizations only move later; inactivity follows the new policy at once."""
    found = await document(run, "policy", "diff", policy(SLOWER))
    assert [
        (each["organization_id"], each["step"], each["then"], each["later_by"])
        for each in found["moved"]
    ] == [
        ("acme", "deactivated", "2026-02-24T00:00:00Z", "P13D"),
        ("hooli", "deactivated", "2026-03-22T00:00:00Z", "P13D"),
        ("initech", "deactivated", "2026-02-19T09:36:00Z", "P10D"),
    ]
    assert found["totals"] == {
        "earlier": 0, "later": 3, "no_longer": 0, "newly": 0, "unmoved": 3
    }  # fmt: skip


async def test_diff_marks_deadlines_that_would_be_earlier(
    run: Run, worker: Worker, clock: MovableClock, policy: Write
) -> None:
    """Inactivity is not pinned to a policy."""
    await ingest_lines(worker, clock, created(0, "tired"))
    clock.now = at(2)
    found = await document(
        run, "policy", "diff", policy('version = "f"\n[inactivity]\nno_login_for = "P20D"\n')
    )
    assert [(each["now"], each["then"], each["later_by"]) for each in found["moved"]] == [
        ("2026-01-31T00:00:00Z", "2026-01-21T00:00:00Z", "-P10D")
    ]
    same = await document(run, "policy", "diff", policy('version = "the same"\n'))
    assert (same["moved"], same["totals"]["unmoved"]) == ([], 1)


async def test_a_version_of_another_policy_is_refused(
    run: Run, worker: Worker, policy: Write
) -> None:
    """Organizations may be pinned to that policy."""
    async with transaction(worker.pool) as conn:
        await policies.register(conn, load_policy('version = "v1"'), now=at(0))
    changed = policy('version = "v1"\n[notice]\nsuspended = "P4D"\n')
    status, _, err = await run("policy", "diff", changed)
    assert (status, "set another `version`" in err) == (2, True)


# --- an operator's mistakes -----------------------------------------------------------------------


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize(
    ("arguments", "printed_text"),
    [
        (("due", "--within", "a week"), "--within: must be an ISO 8601 duration"),
        (("policy", "diff", "no-such-file"), "no-such-file"),
        (("guard", "trip", "--by", " ", "--reason", "x"), "--by: must be text on one line"),
        (
            ("guard", "trip", "--by", "x", "--reason", "\x1b[2J"),
            "--reason: must be text on one line",
        ),
        (("dead-letters", "show", "77"), "77: no such dead letter"),
        (("dead-letters", "redrive", "7", "8", *BECAUSE), "7, 8: no such dead letter"),
        (("dead-letters", "redrive", "--group", "x\x1b[2J", *BECAUSE), "no such group"),
        (("dead-letters", "discard", "--group", "x", *BECAUSE), "no such group"),
        (("dead-letters", "redrive", *BECAUSE), "choose dead letters by exactly one of"),
        (
            ("dead-letters", "redrive", "7", "--all", *BECAUSE),
            "choose dead letters by exactly one of",
        ),
        (("dead-letters", "discard", *BECAUSE), "choose dead letters by exactly one of"),
        (("dead-letters", "redrive", "--all"), "--by and --reason are required"),
        (("org", "history", "no\x1b[2Jbody"), "no\\x1b[2Jbody: no message about this"),
    ],
)
async def test_a_mistake_is_answered_with_its_correction(
    run: Run, arguments: tuple[str, ...], printed_text: str
) -> None:
    """Exit status 2, one sentence, no control characters."""
    status, out, err = await run(*arguments)
    assert (status, out) == (2, "")
    assert printed_text in err
    assert "\x1b" not in err


@pytest.mark.parametrize("postgres_template", [servers.EMPTY])
async def test_without_the_schema_the_message_names_migrate(run: Run) -> None:
    """With the same message as `run`."""
    for arguments in (("org", "show", "acme"), ("guard", "status"), ("due",)):
        status, _, err = await run(*arguments)
        assert (status, "marketplace-worker migrate" in err) == (2, True)


async def test_control_characters_of_others_are_escaped(
    run: Run, worker: Worker, clock: MovableClock
) -> None:
    """An id may contain any character of JSON."""
    odd = "acme\x1b[31m[bold]"
    await ingest_lines(worker, clock, created(0, odd))
    printed_text = await printed(run, "org", "show", odd)
    assert "organization  acme\\x1b[31m[bold]" in printed_text


# --- the journal ----------------------------------------------------------------------------------


async def test_verify_reports_differences_between_the_journal_and_the_stored_state(
    run: Run, fleet: Worker
) -> None:
    """With its own exit status, for scheduled runs."""
    assert "0 differences: " in await printed(run, "replay", "--verify")
    await fleet.pool.execute(
        "UPDATE organizations SET sequence = 99 WHERE organization_id = 'acme'"
    )

    status, out, _ = await run("replay", "acme", "--verify", "--json")

    assert status == 3
    (found,) = json.loads(out)["differences"]
    assert found == {
        "subject": "acme", "what": "column sequence", "stored": "99", "folded": "12"
    }  # fmt: skip


@pytest.mark.usefixtures("fleet")
async def test_as_of_shows_the_state_known_at_that_time(run: Run) -> None:
    """In the format of `org show`, with a note on what is missing."""
    found = await document(run, "replay", "acme", "--as-of", "2026-01-04T00:00:00Z")
    assert (found["state"], found["sequence"]) == ("control_plane_loss", 4)

    for wrong in (("--as-of", "2026-01-04T00:00:00Z"), ("acme", "--as-of", "yesterday"), ("acme",)):
        status, _, err = await run("replay", *wrong)
        assert status == 2
        assert err


async def test_erase_asks_and_refuses_an_open_organization(
    run: Run, worker: Worker, clock: MovableClock
) -> None:
    """An erasure cannot be undone."""
    words = ("--by", "Olga", "--reason", "she asked for it")
    await ingest_lines(worker, clock, *canceled("acme"))
    status, _, err = await run("org", "erase", "acme", *words, "--yes")
    assert (status, "is not deactivated" in err) == (2, True)

    await wait(worker, clock, 100)
    status, _, _ = await run("org", "erase", "acme", *words, answer="n\n")
    assert status == 1
    for _ in range(2):
        status, out, _ = await run("org", "erase", "acme", *words, "--yes")
        assert (status, out) == (0, "erased: acme\n")

    assert (await document(run, "org", "show", "acme"))["erased_at"] is not None
    assert "Olga" in await printed(run, "org", "history", "acme")
    assert "acme" in await printed(run, "org", "explain", "acme")
    assert "0 differences" in await printed(run, "replay", "--verify")


BY_OLGA = ("--by", "Olga", "--reason", "mended")
ASKED = {
    "guard release": ("--steps", "all"), "org erase": ("acme",), "dead-letters redrive": ("--all",),
    "dead-letters discard": ("1",), "intake resume": (FLOOD.topic,),
    "recover": ("--from-restore", "--execute"),
}  # fmt: skip
"""The commands that cannot be taken back, with what they must be given."""


def test_every_command_that_an_operator_answers_for_asks_first() -> None:
    """All but the kill switch, which must not wait."""
    operators = [name for name in every_command() if not name.startswith("send ")]
    by_somebody = {name for name in operators if takes(name.split(), "--by")}
    assert by_somebody == ASKED.keys() | {"guard trip"}
    assert all(takes(name.split(), "--yes") for name in ASKED)


@pytest.mark.parametrize("name", ASKED)
async def test_a_command_that_cannot_be_taken_back_names_the_database_and_asks(
    run: Run, fleet: Worker, settings: Settings, name: str
) -> None:
    """`n`, or no answer at all, changes nothing; wrong input is refused before the question."""
    await run("guard", "trip", *BY_OLGA)
    before = await everything(fleet)
    words = (*name.split(), *ASKED[name], *BY_OLGA)
    for answer in ("n\n", ""):
        status, out, err = await run(*words, answer=answer)
        assert (status, out) == (1, "")
        assert f"in database {name_of_database(settings.postgres)}? [y/N]" in err
    assert await everything(fleet) == before

    wrong = {"org erase": ("nobody",), "dead-letters discard": ("77",), "intake resume": ("x",)}
    if name in wrong:
        status, _, err = await run(*name.split(), *wrong[name], *BY_OLGA, answer="")
        assert (status, "[y/N]" in err) == (2, False)


async def test_recover_lists_decisions_of_a_wrong_clock_and_corrects_them_on_request(
    run: Run, worker: Worker, clock: MovableClock
) -> None:
    """It requires times, a correct clock, operator and reason; repeated, it finds nothing."""
    recover = ("recover", "--clock-ran-ahead")
    for span in (("x", "y"), ("2026-01-02", "2027-01-02"), (TO, FROM)):
        status, _, err = await run(*recover, *span)
        assert (status, "--clock-ran-ahead" in err) == (2, True)
    await ingest_lines(worker, clock, *canceled("acme"))
    clock.now = at(1.5) + timedelta(days=365)
    await fire_due(worker, limit=10)
    status, _, err = await run(*recover, FROM, TO)
    assert (status, "correct the clock first" in err) == (2, True)

    clock.now = at(1.6)
    status, _, err = await run(*recover, FROM, TO, "--execute")
    assert (status, "--by and --reason" in err) == (2, True)
    status, out, _ = await run(*recover, FROM, TO)
    assert (status, "acme" in out, "nothing was changed" in out) == (0, True, True)
    status, out, _ = await run(*recover, FROM, TO, "--json")
    (listed,) = json.loads(out)["corrections"]
    assert (listed["organization"], listed["stepped"]) == ("acme", True)

    words = ("--execute", "--by", "Olga", "--reason", "the clock was wrong")
    status, out, _ = await run(*recover, FROM, TO, *words)
    assert (status, "corrected" in out) == (0, True)
    status, out, _ = await run(*recover, FROM, TO, "--json")
    assert json.loads(out) == {"executed": False, "corrections": [], "ended_holds": []}
    status, out, _ = await run("org", "history", "acme")
    assert "clock_corrected" in out
    assert (await run("replay", "--verify"))[0] == 0


FROM, TO = at(1.5).isoformat(), (at(1.5) + timedelta(days=365)).isoformat()
