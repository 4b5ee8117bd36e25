"""How the worker logs inside a test: a line of text, with a plain traceback.

Structlog's own default draws each traceback with `rich`, which takes half a second of processor
time.
"""

import structlog


def log_plainly() -> None:
    """Configure structlog for this process; a test that sets up the worker's log calls it again."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["event", "level"]),
        ]
    )
