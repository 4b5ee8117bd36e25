"""The command that serves the console."""

import sys

from marketplace_worker.cli.grammar import Config
from marketplace_worker.cli.options import run_async
from marketplace_worker.errors import Misconfigured
from marketplace_worker.operations.line_writer import never_waiting
from marketplace_worker.operations.logs import set_up_logs
from marketplace_worker.policy_reading import read_policy
from marketplace_worker.settings import load_console_settings


def console_command(config: Config = None) -> None:
    """Serve pages that show the fleet, until SIGTERM or Ctrl-C.

    Needs only the database, and writes nothing to it.  Listens on http://127.0.0.1:8600 by default.
    """
    try:
        from marketplace_worker.console import serve  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise Misconfigured(
            f"the console needs {error.name}: pip install 'marketplace-worker[console]'"
        ) from error
    settings = load_console_settings(config)
    policy = read_policy(settings.policy_file)
    with never_waiting(sys.stdout) as lines:
        set_up_logs(lines, settings.log_level)
        run_async(serve(settings, policy))
