"""The sizes of a batch's parts when Postgres takes too long over it."""

import pytest
from structlog.testing import capture_logs

from marketplace_worker.record import EPOCH, Record
from marketplace_worker.runtime import batch_sizing
from marketplace_worker.runtime.batch_sizing import BatchSizer


def records(count: int) -> list[Record]:
    """Records of one partition."""
    return [Record("t", 0, number, EPOCH, None, b"") for number in range(count)]


def test_a_batch_is_split_after_three_timeouts_and_then_whole_again() -> None:
    """Each part has an eighth of the records; the log says how many, and where they begin."""
    sizer, batch = BatchSizer(), records(64)
    assert sizer.begin(batch) == batch
    with capture_logs() as logged:
        assert [sizer.record_timeout(batch) for _ in range(3)] == [False] * 3
    assert logged == [
        {"event": "batch_taken_in_parts", "log_level": "warning", "first": "t/0/0", "rows": 8}
    ]
    assert sizer.rows == 8
    with capture_logs() as logged:
        assert not sizer.record_timeout(batch[:8])
    assert [(line["first"], line["rows"]) for line in logged] == [("t/0/0", 1)]
    sizer.record_applied(batch[:40])
    assert sizer.begin(batch) == batch[40:], "what was taken is not taken again"
    for rows in (2, 4, 8, 16, 32):
        sizer.end()
        assert sizer.rows == rows
        assert sizer.begin(batch) == batch
    sizer.end()
    assert sizer.rows > 1_000_000


def test_one_record_is_parked_after_three_timeouts_of_its_own() -> None:
    """Time-outs of other records in between reset the count."""
    sizer, (first, second) = BatchSizer(), records(2)
    assert [sizer.record_timeout([first]) for _ in range(2)] == [False] * 2
    timeouts = [first, second, first, first, first]
    assert [sizer.record_timeout([each]) for each in timeouts] == [*[False] * 4, True]


def test_a_turn_is_over_after_twenty_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the consumer must give a sign of life."""
    now = [1_000.0]
    monkeypatch.setattr(batch_sizing, "monotonic", lambda: now[0])
    sizer = BatchSizer()
    sizer.begin(records(1))
    for passed_s, is_spent in ((0.0, False), (20.0, False), (0.5, True)):
        now[0] += passed_s
        assert sizer.is_spent is is_spent
