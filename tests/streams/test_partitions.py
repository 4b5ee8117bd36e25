"""A key has the same partition as with every other client: another one would break the order of its
messages.
"""

from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from marketplace_worker.streams.producer import KEPT_KEY_BYTES_MAX, partition_of


@given(st.binary(max_size=2 * KEPT_KEY_BYTES_MAX), st.integers(1, 200))
def test_a_key_has_the_partition_that_aiokafka_gives_it(key: bytes, partitions: int) -> None:
    """Computed, and again from the cache."""
    every = list(range(partitions))
    expected = DefaultPartitioner()(key, every, every)
    assert [partition_of(key, every, every) for _ in range(2)] == [expected, expected]


def test_without_a_key_an_available_partition_is_chosen() -> None:
    """Any of them."""
    assert partition_of(None, [0, 1, 2], [1]) == 1
