"""The embedded servers start, keep their data, and never outlive the process that runs them."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

import servers
from marketplace_worker.embedded import apache_kafka, kafka
from marketplace_worker.embedded.postgres import Durability, postgres
from marketplace_worker.errors import Misconfigured, Unavailable


def process_id(folder: Path) -> int:
    """The process id of the server that runs in a folder."""
    return int((folder / "pid").read_text())


def runs(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except ProcessLookupError:
        return False
    except OSError:
        return True


async def wait_until_ended(pid: int) -> None:
    """Fail if the process does not end in time."""
    async with asyncio.timeout(15):
        while runs(pid):  # noqa: ASYNC110 - no event: the process is not our child
            await asyncio.sleep(0.02)


def sleeper_like_owner_of(path: Path) -> subprocess.Popen[bytes]:
    """A process of the user to whom the file belongs."""
    status = path.stat()
    if status.st_uid == os.geteuid():
        return subprocess.Popen(["sleep", "60"])
    return subprocess.Popen(["sleep", "60"], user=status.st_uid, group=status.st_gid)


def runner_of_both(folder: Path) -> subprocess.Popen[bytes]:
    """`start_both_servers.py`, which runs the two servers."""
    program = Path(__file__).with_name("start_both_servers.py")
    return subprocess.Popen(
        [sys.executable, program, folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


async def count_of_rows(dsn: str) -> int:
    """Insert a row into a table, created if missing, and count the rows."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
        await connection.execute("INSERT INTO kept VALUES (1)")
        return int(await connection.fetchval("SELECT count(*) FROM kept"))
    finally:
        await connection.close()


@pytest.fixture(params=["open to all", "closed to others"])
def folder(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder as in /srv, and one as in root's home, which Postgres's user cannot enter."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as made:
        path = Path(made)
        path.chmod(0o755 if request.param == "open to all" else 0o700)
        yield path / "server"


async def test_postgres_keeps_its_data_over_a_restart(folder: Path) -> None:
    """`run --embedded` continues with its data, and a stopped server leaves no process."""
    for rows in (1, 2):
        async with postgres(folder, Durability.NONE) as dsn:
            pid = process_id(folder)
            assert await count_of_rows(dsn) == rows
        assert not runs(pid)


async def test_postgres_requires_its_password(tmp_path: Path) -> None:
    """Its port is open to every account of the machine."""
    async with postgres(tmp_path, Durability.NONE) as dsn:
        password = (tmp_path / "password").read_text().strip()
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(dsn.replace(password, "guess"))


@pytest.mark.parametrize("durability", Durability)
async def test_postgres_survives_a_kill(tmp_path: Path, durability: Durability) -> None:
    """Committed rows survive SIGKILL with either durability; only a power cut makes a
    difference.
    """
    async with postgres(tmp_path, durability) as dsn:
        assert await count_of_rows(dsn) == 1
        os.kill(process_id(tmp_path), signal.SIGKILL)
    async with postgres(tmp_path, durability) as dsn:
        assert await count_of_rows(dsn) == 2


async def test_a_stale_pid_file_does_not_prevent_the_start(
    tmp_path: Path,
) -> None:
    """Process ids are reused, above all in containers, where every start counts from 1."""
    async with postgres(tmp_path, Durability.NONE) as dsn:
        assert await count_of_rows(dsn) == 1
        pid_file = tmp_path / "data" / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
        os.kill(process_id(tmp_path), signal.SIGKILL)
    with sleeper_like_owner_of(tmp_path / "data") as other:
        try:
            pid_file.write_text("\n".join([str(other.pid), *lines[1:]]) + "\n")
            async with postgres(tmp_path, Durability.NONE) as dsn:
                assert await count_of_rows(dsn) == 2
            assert other.poll() is None
        finally:
            other.kill()


async def test_a_folder_is_used_by_one_server_at_a_time(tmp_path: Path) -> None:
    """Two servers would destroy the same files."""
    async with kafka.broker(tmp_path):
        with pytest.raises(Misconfigured, match="another process"):
            async with kafka.broker(tmp_path):
                pass


async def round_trip(bootstrap: str, *, idempotent: bool) -> list[bytes]:
    """Send two records, and read the first two of that topic, which is created if missing."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic("round-trip", 1, 1)])
    await admin.close()
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap, enable_idempotence=idempotent
    ) as producer:
        for value in (b"one", b"two"):
            await producer.send_and_wait("round-trip", value, key=b"one partition")
    async with AIOKafkaConsumer(
        "round-trip", bootstrap_servers=bootstrap, auto_offset_reset="earliest"
    ) as consumer:
        return [(await asyncio.wait_for(consumer.getone(), 10)).value for _ in range(2)]


async def test_tansu_returns_the_written_records(tmp_path: Path) -> None:
    """The demo and most tests depend on it."""
    async with kafka.broker(tmp_path) as bootstrap:
        pid = process_id(tmp_path)
        assert await round_trip(bootstrap, idempotent=False) == [b"one", b"two"]
    assert not runs(pid)


async def test_a_port_in_use_is_reported_with_the_log(tmp_path: Path) -> None:
    """The message alone must show the operator what to do."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with pytest.raises(Unavailable, match=r"Tansu (?s:.)*in use"):
            async with kafka.broker(tmp_path, port=listener.getsockname()[1]):
                pass


@pytest.mark.apache
async def test_apache_kafka_keeps_its_records_over_a_kill(tmp_path: Path) -> None:
    """It gets the same port, so that clients find it again."""
    if not servers.JARS.exists():
        pytest.skip("no Apache Kafka: `make test-kafka` fetches it")
    async with apache_kafka.broker(servers.JARS, tmp_path) as bootstrap:
        assert await round_trip(bootstrap, idempotent=True) == [b"one", b"two"]
        pid = process_id(tmp_path)
        os.kill(pid, signal.SIGKILL)
    port = int(bootstrap.rpartition(":")[2])
    async with apache_kafka.broker(servers.JARS, tmp_path, port=port) as again:
        assert again == bootstrap
        assert await round_trip(again, idempotent=True) == [b"one", b"two"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
async def test_servers_end_with_the_process_that_runs_them(
    tmp_path: Path, number: signal.Signals
) -> None:
    """Whether by leaving the blocks, or by the kernel."""
    with runner_of_both(tmp_path) as parent:
        assert parent.stdout is not None
        line = await asyncio.to_thread(parent.stdout.readline)
        pids = [int(word) for word in line.split()]
        assert len(pids) == 2
        assert all(map(runs, pids))
        os.killpg(parent.pid, number)
    for pid in pids:
        await wait_until_ended(pid)
