"""Sends a workload piece by piece, so that there is work during each fault."""

from collections.abc import AsyncIterator
from datetime import datetime
from functools import partial

from faults.workers import FaultStage, eventually, retry_while_down, send
from faults.workload import Workload


async def send_in_pieces(stage: FaultStage, workload: Workload, *, of: int) -> AsyncIterator[None]:
    """Each step sends the next piece when all before it is decided and published: up to `of`
    messages of a wave, or a deadline's moment.  After the last one everything is published.

    Within a wave the pieces do not wait for one another (`settled` does).
    """
    for wave in workload.waves:
        async for _ in _moments(stage, wave.at):
            yield
        stage.clock_file.move(wave.at)
        for begin in range(0, len(wave.messages), of):
            await send(stage, wave.messages[begin : begin + of], at=wave.at)
            yield
        await until_settled(stage)
    async for _ in _moments(stage, workload.until):
        yield
    stage.clock_file.move(workload.until)
    await until_settled(stage)


async def _moments(stage: FaultStage, until: datetime) -> AsyncIterator[None]:
    """Move the clock to every deadline before a moment, one after another."""
    while (due_at := await retry_while_down(stage.next_due_at)) is not None and due_at < until:
        stage.clock_file.move(max(due_at, stage.clock_file.now))
        yield
        await eventually(partial(_is_decided, stage), pause_s=0.05)


async def until_settled(stage: FaultStage) -> None:
    """Wait until all messages sent so far are ingested, decided and published."""
    await eventually(stage.all_committed, pause_s=0.05)
    await eventually(partial(_is_decided, stage), pause_s=0.05)


async def _is_decided(stage: FaultStage) -> bool:
    return await stage.nothing_due(stage.clock_file.now) and await stage.everything_sent()


async def advance(story: AsyncIterator[None], count: int | None = None) -> None:
    """Send this many more pieces, or all that are left."""
    async for _ in story:
        if count is not None:
            count -= 1
            if count <= 0:
                return
