"""The worker and its clock are those of the tests of steps."""

from steps.conftest import clock, owner, worker

__all__ = ["clock", "owner", "worker"]
