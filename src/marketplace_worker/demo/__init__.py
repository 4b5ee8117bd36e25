"""`make demo`: runs the worker on real servers and prints the events that it publishes."""

from marketplace_worker.demo.runner import show

__all__ = ["show"]
