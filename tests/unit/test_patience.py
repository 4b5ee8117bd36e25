"""What is said of a batch that has to wait."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

import pytest
from structlog.testing import capture_logs

from marketplace_worker.errors import Unavailable
from marketplace_worker.record import EPOCH, Record
from marketplace_worker.streams.retrying import RetryDelays, RetryingHandler


async def test_a_batch_is_said_to_be_given_back_though_one_attempt_took_all_the_time() -> None:
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
