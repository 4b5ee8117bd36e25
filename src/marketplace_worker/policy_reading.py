"""Reads the policy file that the settings or a command name."""

from pathlib import Path

from marketplace_worker.contract.policy_file import load_policy
from marketplace_worker.errors import Misconfigured
from marketplace_worker.lifecycle.policy import Policy


def read_policy(file: Path | None) -> Policy:
    """Read a policy file; None for the default policy.

    Raises:
        Misconfigured: it is invalid; the message names field and line.
    """
    if file is None:
        return Policy()
    try:
        return load_policy(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, Misconfigured) as error:
        raise Misconfigured(f"{file}: {error}") from error
