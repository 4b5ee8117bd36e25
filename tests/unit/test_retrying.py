"""Log lines of a batch that is retried."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

import pytest
from structlog.testing import capture_logs

from marketplace_worker.errors import Unavailable
from marketplace_worker.record import EPOCH, Record
from marketplace_worker.streams.retrying import RetryDelays, RetryingHandler


async def test_a_batch_is_logged_as_abandoned_though_one_attempt_took_all_the_time() -> None:
    """A server that stands still makes each attempt longer than a delivery: no pause is taken."""

    async def hangs(_: Sequence[Record]) -> AbstractSet[str]:
        raise Unavailable("no answer in time")

    patient = RetryingHandler(
        "facts", hangs, RetryDelays(first_s=0.1, longest_s=0.1, delivery_s=0.0)
    )

    with capture_logs() as lines, pytest.raises(Unavailable):
        await patient.handle([Record("t", 0, 0, EPOCH, None, b"")])

    (line,) = lines
    assert (line["event"], line["reason"], line["failures"]) == (
        "batch_given_back",
        "no answer in time",
        1,
    )


@pytest.mark.parametrize(
    ("failures", "longest_pause_s"),
    [(1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (5, 5.0), (100, 5.0)],
)
def test_pauses_double_up_to_a_bound(failures: int, longest_pause_s: float) -> None:
    """With up to half of it off, so that workers do not come back all at once."""
    delays = RetryDelays(first_s=0.5, longest_s=60.0, delivery_s=20.0)
    drawn = [delays.after(failures) for _ in range(200)]
    assert longest_pause_s / 2 <= min(drawn) < 0.75 * longest_pause_s
    assert 0.75 * longest_pause_s < max(drawn) <= longest_pause_s


async def test_failures_in_a_row_are_counted_over_deliveries_and_forgotten_with_a_success() -> None:
    """The log says how often it failed, and why."""
    fails = True

    async def handle(_: Sequence[Record]) -> AbstractSet[str]:
        if fails:
            raise Unavailable("Postgres is away")
        return frozenset({"t"})

    delays = RetryDelays(first_s=0.001, longest_s=0.001, delivery_s=0.0)
    handler = RetryingHandler("facts", handle, delays)
    records = [Record("t", 0, 0, EPOCH, None, b"")]
    with capture_logs() as lines:
        for _ in range(3):
            with pytest.raises(Unavailable):
                await handler.handle(records)
    assert [line["failures"] for line in lines if line["event"] == "batch_given_back"] == [1, 2, 3]
    assert {line["reason"] for line in lines} == {"Postgres is away"}
    assert handler.failures == 3
    fails = False
    assert await handler.handle(records) == {"t"}
    assert handler.failures == 0
