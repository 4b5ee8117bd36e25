"""Runs uv with the index and the certificates that pip is configured with on this machine.

A company's mirror and its own certificate authority are told to pip once, by its file or its
variables; uv reads neither.  What is set for uv itself counts before.
"""

import ast
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

VARIABLES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "cert": "SSL_CERT_FILE",
}
"""What uv calls what pip is configured with."""

SECTIONS = ("global", "install", ":env:")
"""Where pip looks, the last first."""


def as_uv_has_it(listed: str) -> Mapping[str, str]:
    """The variables for uv, of the lines of `pip config list`: `SECTION.NAME='VALUE'`."""
    found: dict[str, str] = {}
    for section in SECTIONS:
        for line in listed.splitlines():
            key, _, value = line.partition("=")
            where, _, name = key.rpartition(".")
            if where == section and name in VARIABLES:
                # Several stand one a line, or with blanks between.
                found[VARIABLES[name]] = " ".join(str(ast.literal_eval(value)).split())
    return found


if __name__ == "__main__":
    pip = (sys.executable, "-m", "pip", "config", "list")
    listed = subprocess.run(pip, check=True, capture_output=True, text=True).stdout
    uv = Path(sys.executable).parent / "uv"
    # The machine's own certificates beside those that uv brings.
    environment = {"UV_SYSTEM_CERTS": "1", **as_uv_has_it(listed), **os.environ}
    os.execve(uv, [str(uv), *sys.argv[1:]], environment)
