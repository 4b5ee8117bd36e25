"""What an email address, a password or a key in a line of the log leads to: the test fails."""

from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from marketplace_worker.settings import UNKEYED_EMAIL_KEY
from watched_log import take_found

log = structlog.get_logger(__name__)

FORBIDDEN = ["jo@vendor.example", "postgresql://worker:guess@host/db", UNKEYED_EMAIL_KEY]


@pytest.mark.parametrize("text", FORBIDDEN)
def test_a_line_of_this_process_is_searched(text: str) -> None:
    """In a field, a bound one, a traceback or a value within one, also where a test captures it."""
    log.warning("odd", reason=f"it was {text}.")
    log.bind(field=text).info("odd")
    with capture_logs():
        log.info("odd", fields={"names": [text]})
    try:
        int(text)
    except ValueError:
        log.exception("batch_failed")
    assert len(take_found()) == 4
    log.info("odd", reason="postgresql://host/db, worker@host: ids only")
    assert take_found() == []


@pytest.mark.parametrize("text", FORBIDDEN)
def test_the_log_of_another_process_is_searched(tmp_path: Path, text: str) -> None:
    """A file in the test's folder that has lines of JSON; other files may hold anything."""
    (tmp_path / "other").write_text(text)
    assert take_found(tmp_path) == []
    log_file = tmp_path / "log"
    log_file.write_text(f'starting\n{{"event": "odd", "level": "info", "reason": "{text}"}}\n')
    assert len(take_found(tmp_path)) == 1
    log_file.unlink()
