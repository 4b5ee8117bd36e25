"""Shared by the peers: a batch's totals by organization, and the statement that adds them.

The modules of the peers run in environments without the worker, so this imports nothing of it.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

ADD = """
INSERT INTO activity AS known (organization_id, last_request_at, logins, requests)
SELECT organization_id, last_request_at, 0, requests
FROM unnest(%s::text[], %s::timestamptz[], %s::bigint[])
    AS new (organization_id, last_request_at, requests)
ON CONFLICT (organization_id) DO UPDATE
SET last_request_at = greatest(known.last_request_at, excluded.last_request_at),
    requests = known.requests + excluded.requests
"""


SESSION_TIMEOUT_MS = 10_000
"""The same as the worker's.  After this time, a killed group is taken over."""


@dataclass(frozen=True, slots=True)
class Job:
    """A peer's job: count the events of `topic` until it is killed.

    `folder` is its own, for its data on disk.
    """

    kafka: str
    topic: str
    group: str
    dsn: str
    folder: str


def main(work: Callable[[Job], None]) -> None:
    """Do the job of the command line."""
    work(Job(**json.loads(sys.argv[1])))


Totals = dict[str, tuple[str, int]]
"""By organization: the newest time, and the number of requests."""


def add_event(totals: Totals, value: bytes) -> None:
    """Add a usage event to the totals of a batch."""
    add_parsed(totals, orjson.loads(value))


def add_parsed(totals: Totals, event: dict[str, Any]) -> None:
    """Add a usage event that was parsed."""
    at, organization = event["time"], event["subject"]
    newest, requests = totals.get(organization, (at, 0))
    # All times are written alike, in UTC, so that their text sorts like the time.
    totals[organization] = (max(newest, at), requests + event["data"]["requests"])


def arrays(totals: Totals) -> tuple[list[str], list[datetime], list[int]]:
    """The parameters of `ADD`, sorted, so that two writers do not block each other."""
    ids = sorted(totals)
    return (
        ids,
        [datetime.fromisoformat(totals[each][0]) for each in ids],
        [totals[each][1] for each in ids],
    )
