"""What can go wrong, named by what is done about it.

Anything else that is raised is a bug of ours: the transaction rolls back and the loop says so.
docs/exceptions.md has what each exception of a library becomes.
"""

from collections.abc import Iterator
from contextlib import contextmanager


class Malformed(Exception):
    """This input cannot be read, now or ever: it goes to the dead letters with this reason.

    Args:
        reason: one sentence for an operator; names no value of the input (it may be personal).
        field: the path of the field at fault, such as `detail.agreement.id`; empty for the whole.
    """

    def __init__(self, reason: str, *, field: str = "") -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.reason = reason
        self.field = field


class Unavailable(Exception):
    """A server did not answer or refused for now: wait and try the same again."""


class MessageRefused(Exception):
    """Kafka refuses this one message and would refuse it again: hold it, and send the others."""


class TookTooLong(Unavailable):
    """Postgres gave a statement up that took too long; less of the same may be done in time."""


class Misconfigured(Exception):
    """The settings or the database do not allow a start; the message says what to do."""


class CannotGoOn(Exception):
    """Neither waiting nor trying again helps: the process must end, and be started anew."""


@contextmanager
def machine_refusals_named() -> Iterator[None]:
    """Raise what the machine refuses (memory, files, threads) as `Unavailable`.

    It comes up wherever the code stands then, and never means that the input is at fault.
    """
    try:
        yield
    except (OSError, MemoryError) as error:
        raise Unavailable(f"this machine: {type(error).__name__}: {error}") from error
    except RuntimeError as error:
        if str(error) != _NO_THREAD:
            raise
        raise Unavailable(f"this machine: {error}") from error


_NO_THREAD = "can't start new thread"
"""All that tells Python's error for this from others."""
