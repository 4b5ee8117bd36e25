"""Uses the worker, clock and database of the tests of steps."""

from steps.conftest import clock, owner, postgres_template, worker

__all__ = ["clock", "owner", "postgres_template", "worker"]
