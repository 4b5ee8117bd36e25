"""The clock of this machine.  No decision depends on it."""

from datetime import UTC, datetime


def system_clock() -> datetime:
    """The machine's current time (UTC)."""
    return datetime.now(UTC)  # noqa: TID251 - the one place
