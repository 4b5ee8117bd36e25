"""bytewax: a source, a step that parses batches, and a sink that writes each batch.

Recovery as in its documentation: a recovery directory, in which it stores the read positions at the
end of each epoch; here once a second instead of every ten.
"""

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
import orjson
import psycopg
from bytewax.connectors.kafka import KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main

from benchmarks.peers.counting import ADD, Job, Totals, add_parsed, arrays, main


class Activity(StatelessSinkPartition):
    """Adds each batch in a transaction."""

    def __init__(self, dsn: str) -> None:
        self._connection = psycopg.connect(dsn, autocommit=True)

    def write_batch(self, items: list[dict[str, Any]]) -> None:
        """Add the events of a batch."""
        totals: Totals = {}
        for event in items:
            add_parsed(totals, event)
        self._connection.execute(ADD, arrays(totals))


class ActivitySink(DynamicSink):
    """The table of activity."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    def build(
        self,
        step_id: str,  # noqa: ARG002 - bytewax passes all three
        worker_index: int,  # noqa: ARG002
        worker_count: int,  # noqa: ARG002
    ) -> Activity:
        """Connect."""
        return Activity(self._dsn)


def parse(messages: list[KafkaSourceMessage]) -> Iterable[dict[str, Any]]:
    """Parse a batch."""
    return [orjson.loads(message.value) for message in messages]


def count(job: Job) -> None:
    """Run the dataflow."""
    recovery = Path(job.folder) / "recovery"
    if not recovery.exists():
        recovery.mkdir()
        init_db_dir(recovery, 1)
    flow = Dataflow("usage")
    messages = op.input("messages", flow, KafkaSource([job.kafka], [job.topic]))
    events = op.flat_map_batch("parse", messages, parse)
    op.output("activity", events, ActivitySink(job.dsn))
    cli_main(flow, epoch_interval=timedelta(seconds=1), recovery_config=RecoveryConfig(recovery))


if __name__ == "__main__":
    main(count)
