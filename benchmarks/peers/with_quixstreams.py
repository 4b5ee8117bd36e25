"""quixstreams: an application with its own sink, a `BatchingSink`, as in its documentation.

At each checkpoint it writes what the sink collected and then commits the offsets; here once a
second instead of every five.
"""

from typing import Any

import psycopg
from quixstreams import Application
from quixstreams.sinks import BatchingSink, SinkBatch

from benchmarks.peers.counting import ADD, SESSION_TIMEOUT_MS, Job, Totals, add_parsed, arrays, main


class ActivitySink(BatchingSink):
    """Adds the events of a checkpoint, a partition at a time."""

    def __init__(self, dsn: str) -> None:
        super().__init__()
        self._dsn = dsn

    def setup(self) -> None:
        """Connect."""
        self._connection = psycopg.connect(self._dsn, autocommit=True)

    def write(self, batch: SinkBatch) -> None:
        """Add the events of a partition."""
        totals: Totals = {}
        for item in batch:
            event: dict[str, Any] = item.value
            add_parsed(totals, event)
        self._connection.execute(ADD, arrays(totals))


def count(job: Job) -> None:
    """Run the application."""
    application = Application(
        broker_address=job.kafka,
        consumer_group=job.group,
        auto_offset_reset="earliest",
        commit_interval=1.0,
        consumer_extra_config={"session.timeout.ms": SESSION_TIMEOUT_MS},
        state_dir=job.folder,
        loglevel="ERROR",
    )
    topic = application.topic(job.topic, value_deserializer="json")
    application.dataframe(topic).sink(ActivitySink(job.dsn))
    application.run()


if __name__ == "__main__":
    main(count)
