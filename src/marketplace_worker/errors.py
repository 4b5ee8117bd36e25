"""The worker's exceptions, one for each way of handling an error.

Any other exception is a bug: the transaction is rolled back and the loop logs it.
docs/exceptions.md lists what each exception of a library becomes.
"""

from collections.abc import Iterator
from contextlib import contextmanager


class Malformed(Exception):
    """This input can never be read: it becomes a dead letter with this reason.

    Args:
        reason: one sentence for an operator, without values of the input (they may be personal).
        field: path of the invalid field, such as `detail.agreement.id`; empty for the whole value.
    """

    def __init__(self, reason: str, *, field: str = "") -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.reason = reason
        self.field = field


class Unavailable(Exception):
    """A server did not answer, or refused temporarily: wait and retry."""


class MessageRefused(Exception):
    """Kafka refuses this message and would refuse it again: hold it and send the others."""


class TookTooLong(Unavailable):
    """Postgres cancelled a statement that took too long; a smaller batch may be fast enough."""


class Misconfigured(Exception):
    """The settings, the database or Kafka do not allow a start; the message says what to do."""


class CannotGoOn(Exception):
    """Neither waiting nor a retry helps: the process must end and be restarted."""


@contextmanager
def machine_refusals_named() -> Iterator[None]:
    """Raise errors for lack of memory, file descriptors or threads as `Unavailable`.

    Such an error can occur anywhere, and never means that the input is invalid.
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
"""The message by which Python's error for a failed thread start is recognized."""
