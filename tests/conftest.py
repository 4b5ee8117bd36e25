"""The servers that tests ask for, and what the run says about them.

A server comes up when the first test asks for it and goes when the run ends.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Generator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

import examples
import progress
import servers
import watched_log
from marketplace_worker.errors import Misconfigured, Unavailable
from marketplace_worker.store.migrations import migrate
from plain_logs import log_plainly

examples.use_everyday_profile()
log_plainly()
watched_log.watch()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a person choose the servers."""
    group = parser.getgroup("marketplace-worker")
    group.addoption(
        "--broker",
        choices=[servers.AUTO, *servers.Broker],
        default=servers.AUTO,
        help="the Kafka broker to test with; auto: KAFKA=host:port, else Docker, else tansu",
    )
    group.addoption(
        "--database",
        choices=[servers.AUTO, *servers.Database],
        default=servers.AUTO,
        help="the Postgres to test with; auto: POSTGRES=dsn, else Docker, else embedded",
    )
    group.addoption(
        "--through-the-worker",
        action="store_true",
        help="tell each story to the worker as well, on Kafka and Postgres; it must end as there",
    )


@pytest.hookimpl(trylast=True)  # after the terminal reporter
def pytest_configure(config: pytest.Config) -> None:
    """Choose the servers before the first test, once for all processes of the run."""
    servers.clear_settings()
    choice = servers.choose(config.getoption("--broker"), config.getoption("--database"))
    config.stash[servers.CHOICE] = choice
    # xdist passes the options to its processes: those need not look for a Docker engine again.
    config.option.broker, config.option.database = choice.broker.value, choice.database.value
    if config.getoption("--through-the-worker"):
        config.pluginmanager.import_plugin("acceptance.through_the_worker")
    progress.install(config)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test in which an email address or a secret was logged."""
    try:
        result = yield
    finally:
        folder = getattr(item, "funcargs", {}).get("tmp_path")
        found = watched_log.take_found(folder)
    assert found == [], "the log must have no email address and no secret"
    return result


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say which servers this run talks to."""
    return config.stash[servers.CHOICE].header()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly what did not run: a skipped suite proves nothing."""
    skipped = terminalreporter.stats.get("skipped", [])
    if not skipped:
        return
    reasons: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for report in skipped:
        parts = Path(report.nodeid.split("::", 1)[0]).parts
        suite = parts[1] if len(parts) > 2 else parts[-1]
        text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons[suite][text.removeprefix("Skipped: ")] += 1
    terminalreporter.section("NOT TESTED", sep="!", red=True, bold=True)
    for suite, counts in sorted(reasons.items()):
        for reason, count in counts.items():
            terminalreporter.write_line(f"{suite}: {count} skipped: {reason}", red=True)


async def _started(stack: AsyncExitStack, server: AbstractAsyncContextManager[str]) -> str:
    """Bring a server up, or fail every test that needs it with a sentence."""
    try:
        return await stack.enter_async_context(server)
    except (Misconfigured, Unavailable, RuntimeError, OSError, asyncpg.PostgresError) as problem:
        reason = str(problem)
    pytest.fail(f"no server to test with: {reason}", pytrace=False)


@pytest.fixture(scope="session")
async def kafka_bootstrap(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[str]:
    """The `host:port` of the run's Kafka broker.  Tests share it: see `topic_prefix`."""
    async with AsyncExitStack() as stack:
        folder = await stack.enter_async_context(
            servers.own_folder(tmp_path_factory.mktemp("kafka"))
        )
        yield await _started(
            stack, servers.start_broker(pytestconfig.stash[servers.CHOICE], folder)
        )


@pytest.fixture(scope="session")
async def postgres_server(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[str]:
    """The DSN of the run's Postgres, of a user who may create databases."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(servers.postgres_folder(tmp_path_factory.mktemp("postgres")))
        yield await _started(
            stack, servers.start_postgres(pytestconfig.stash[servers.CHOICE], folder)
        )


@pytest.fixture(scope="session")
async def schema_template(postgres_server: str) -> AsyncIterator[str]:
    """The name of a database with the current schema and no rows; never written to."""
    name = f"schema_{uuid4().hex}"
    async with servers.fresh_database(postgres_server, name) as dsn:
        async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as owner:
            await migrate(owner)
        yield name


@pytest.fixture
def postgres_template() -> str:
    """What `postgres_dsn` is a copy of: empty, where a folder or a test says nothing else."""
    return servers.EMPTY


@pytest.fixture
async def postgres_dsn(postgres_server: str, postgres_template: str) -> AsyncIterator[str]:
    """The DSN of a database for this test alone, a copy of `postgres_template`."""
    name = f"test_{uuid4().hex}"
    async with servers.fresh_database(postgres_server, name, postgres_template) as dsn:
        yield dsn


@pytest.fixture(scope="session")
async def shared_postgres_dsn(postgres_server: str) -> AsyncIterator[str]:
    """The DSN of one database, at first empty, for all tests that ask for it by this name."""
    async with servers.fresh_database(postgres_server, f"shared_{uuid4().hex}") as dsn:
        yield dsn


@pytest.fixture
def topic_prefix() -> str:
    """A beginning for topic and group names that no other test has."""
    return f"t{uuid4().hex[:12]}."
