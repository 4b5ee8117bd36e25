"""The main job, shown: real servers, a real worker, and what it says as it says it."""

from marketplace_worker.demo.runner import show

__all__ = ["show"]
