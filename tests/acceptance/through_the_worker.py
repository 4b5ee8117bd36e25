"""`pytest --through-the-worker`: each story also runs through the worker, with the same result.

A plugin of tests/conftest.py; it selects the modules that run stories.  A story blocks its thread,
so the worker and the heartbeats of its clients have their own thread.  Property tests are left out:
they run no stories, and Hypothesis reports a draw as flaky when the worker's clients use `random`,
whose state is global, at the same moment.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Thread
from uuid import uuid4

import pytest
import stories
from hypothesis import is_hypothesis_test
from stories import Story

import servers
from acceptance.worker_driver import Ending, StoryRunner
from marketplace_worker.settings import Settings

RUN_BY_WORKER = pytest.StashKey[int]()
"""The number of stories that ran through the worker."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the modules without stories, and property tests."""
    selected = [each for each in items if _runs_stories(each)]
    config.hook.pytest_deselected(items=[each for each in items if not _runs_stories(each)])
    items[:] = selected


def _runs_stories(item: pytest.Item) -> bool:
    if not isinstance(item, pytest.Function) or is_hypothesis_test(item.obj):
        return False
    known = vars(item.module)
    runners = (stories.run_story, stories.check_story, stories.run_elsewhere)
    return any(known.get(each.__name__) is each for each in runners)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the number of stories, so that a run without any is noticed."""
    number = terminalreporter.config.stash.get(RUN_BY_WORKER, 0)
    terminalreporter.write_line(f"{number} stories ran through the worker as well")


@pytest.fixture(scope="session", autouse=True)
async def _run_through_worker(
    pytestconfig: pytest.Config, kafka_bootstrap: str, postgres_server: str
) -> AsyncIterator[None]:
    """Run every story of the session through the worker, too."""
    choice = pytestconfig.stash[servers.CHOICE]
    async with servers.fresh_database(postgres_server, f"stories_{uuid4().hex}") as dsn:
        prefix = f"stories-{uuid4().hex[:12]}."
        settings = servers.settings(choice, kafka_bootstrap, dsn, prefix)
        with _worker_thread(settings) as run:

            def compare(story: Story) -> None:
                pytestconfig.stash[RUN_BY_WORKER] = pytestconfig.stash.get(RUN_BY_WORKER, 0) + 1
                _compare(Ending.in_simulation(story), run(story))

            stories.OTHER_RUNNERS.append(compare)
            yield
            stories.OTHER_RUNNERS.remove(compare)


def _compare(want: Ending, came: Ending) -> None:
    """Fail if the worker's result differs from that of `simulate`."""
    differences = want.differences(came)
    if differences:
        lines = [
            "the worker has another result:",
            "- simulate, + worker",
            *differences,
        ]
        raise AssertionError("\n".join(lines))


@contextmanager
def _worker_thread(settings: Settings) -> Iterator[Callable[[Story], Ending]]:
    """A worker in its own thread; yields a function that runs a story."""
    started: Future[tuple[StoryRunner, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def work() -> None:
        stop = asyncio.Event()
        async with StoryRunner.ready(settings) as runner:
            started.set_result((runner, asyncio.get_running_loop(), stop))
            await stop.wait()

    def live() -> None:
        try:
            asyncio.run(work())
        except Exception as error:
            if started.done():
                raise
            started.set_exception(error)

    thread = Thread(target=live, name="the worker of the stories")
    thread.start()
    try:
        runner, loop, stop = started.result()

        def run(story: Story) -> Ending:
            return asyncio.run_coroutine_threadsafe(runner.run(story), loop).result()

        try:
            yield run
        finally:
            loop.call_soon_threadsafe(stop.set)
    finally:
        thread.join()
