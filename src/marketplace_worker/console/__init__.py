"""The console: pages that show the fleet, in a process of its own.

It reads one database and writes nothing: no page changes the database or Kafka.  Each module of a
page has its `ROUTES`, listed in `application.py`; `page.py` is what they share.
"""

from marketplace_worker.console.serving import serve

__all__ = ["serve"]
