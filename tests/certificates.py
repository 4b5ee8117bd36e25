"""Authorities of a test's own, and certificates of theirs, as files."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)


@dataclass(frozen=True)
class Certificate:
    """A certificate, its key, and both in one, each as a file."""

    certificate: Path
    key: Path
    both: Path


class Authority:
    """Who signs; made in a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._ca = trustme.CA()
        self.certificate = folder / "authority.pem"
        self._ca.cert_pem.write_to_path(str(self.certificate))

    def issue(self, name: str, *hosts: str, expired: bool = False) -> Certificate:
        """A certificate for these hosts; where there is none, of a client of that name."""
        issued = self._ca.issue_cert(
            *(hosts or (f"{name}@clients",)),
            common_name=name,
            not_after=datetime(2020, 1, 1, tzinfo=UTC) if expired else None,
            not_before=datetime(2019, 1, 1, tzinfo=UTC) if expired else None,
        )
        files = Certificate(
            *(self._folder / f"{name}.{kind}.pem" for kind in ("crt", "key", "all"))
        )
        chain = b"".join(each.bytes() for each in issued.cert_chain_pems)
        # Java reads keys of this form only.
        key = load_pem_private_key(issued.private_key_pem.bytes(), None).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
        for file, content in (
            (files.certificate, chain),
            (files.key, key),
            (files.both, key + chain),
        ):
            file.touch(mode=0o600)
            file.write_bytes(content)
        return files
