"""The first set-up, behind a company's index and authority, and after a move."""

import io
import os
import shutil
import ssl
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from runpy import run_path

import pytest
from pages import ROOT

from certificates import Authority

UV = ROOT / ".ci/uv.py"

WHEEL = "only_of_this_company-1.0-py3-none-any.whl"


def wheel() -> bytes:
    """A package that no public index has."""
    info, packed = "only_of_this_company-1.0.dist-info", io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: only-of-this-company\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return packed.getvalue()


@contextmanager
def company_index(folder: Path) -> Iterator[tuple[str, Path]]:
    """An index that only the company's authority vouches for: its URL, and the authority's file."""
    pages = folder / "pages/simple/only-of-this-company"
    pages.mkdir(parents=True)
    (pages / "index.html").write_text(f'<!DOCTYPE html><a href="{WHEEL}">{WHEEL}</a>')
    (pages / WHEEL).write_bytes(wheel())
    authority = Authority(folder / "authority")

    class Pages(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(folder / "pages"))  # type: ignore[arg-type]

        def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - its own name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority.issue("index", "localhost", "127.0.0.1").both)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"https://localhost:{server.server_address[1]}/simple", authority.certificate
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("configured_by", ["variables", "file"])
def test_uv_asks_the_index_that_pip_is_configured_with(configured_by: str, tmp_path: Path) -> None:
    """With the authority that pip trusts; nobody configures uv as well."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PIP_", "UV_", "SSL_CERT"))
    }
    environment |= {"NO_PROXY": "localhost", "UV_CACHE_DIR": str(tmp_path / "cache")}
    with company_index(tmp_path) as (url, certificate):
        if configured_by == "variables":
            environment |= {"PIP_INDEX_URL": url, "PIP_CERT": str(certificate)}
        else:
            file = tmp_path / "pip.conf"
            file.write_text(f"[global]\nindex-url = {url}\ncert = {certificate}\n")
            environment |= {"PIP_CONFIG_FILE": str(file)}
        done = subprocess.run(
            [sys.executable, str(UV), "pip", "compile", "--quiet", "-"],
            input="only-of-this-company", env=environment, check=False,
            capture_output=True, text=True,
        )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "only-of-this-company==1.0" in done.stdout


def test_a_variable_of_pip_counts_before_its_file_and_several_indexes_are_passed_on() -> None:
    """As pip itself has it."""
    as_uv_has_it = run_path(str(UV))["as_uv_has_it"]

    assert as_uv_has_it(
        ":env:.index-url='https://mirror/simple'\n"
        "global.extra-index-url='\\nhttps://a/simple\\nhttps://b/simple'\n"
        "global.index-url='https://other/simple'\n"
        "global.timeout='60'\n"
        "install.cert='/etc/ssl/company.pem'\n"
    ) == {
        "UV_DEFAULT_INDEX": "https://mirror/simple",
        "UV_INDEX": "https://a/simple https://b/simple",
        "SSL_CERT_FILE": "/etc/ssl/company.pem",
    }


def test_a_checkout_that_was_moved_sets_itself_up_again(tmp_path: Path) -> None:
    """The scripts of its environment would run the Python, and the code, of the former place."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).touch()
    environment = tmp_path / ".venv"
    environment.mkdir()
    (environment / ".ready").touch()

    def done(place: Path) -> str:
        (environment / "pyvenv.cfg").write_text(f"command = python3 -m venv {place}/.venv\n")
        return subprocess.run(
            ["make", "-n", ".venv/.ready"], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    assert "Installing what requirements.lock says" in done(tmp_path / "elsewhere")
    assert "is up to date" in done(tmp_path)
