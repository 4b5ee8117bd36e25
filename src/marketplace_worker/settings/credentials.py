"""Detects that credentials of a server have changed on disk while the worker runs."""

import hashlib
from pathlib import Path

from pydantic import BaseModel, SecretStr

from marketplace_worker.errors import Unavailable


class Credentials:
    """The secrets and certificates of one server, as last used."""

    def __init__(self, group: BaseModel) -> None:
        self._group = group
        self._used = _digest(group)

    @property
    def changed(self) -> bool:
        """Whether any of them has changed; False while one cannot be read."""
        try:
            return _digest(self._group) != self._used
        except Unavailable:
            return False  # being written, or removed: what was read before stays in use

    def use(self) -> None:
        """Record the current ones as used.  Raises `Unavailable` as `SecretFile` does."""
        self._used = _digest(self._group)


def _digest(group: BaseModel) -> bytes:
    digest = hashlib.sha256()
    for name in type(group).model_fields:
        match getattr(group, name):
            case SecretStr() as secret:
                _add(digest, secret.get_secret_value().encode())
            case Path() as file:
                try:
                    _add(digest, file.read_bytes())
                except OSError as error:
                    raise Unavailable(f"{file}: {error.strerror}") from error
            case _:
                pass
    return digest.digest()


def _add(digest: "hashlib._Hash", value: bytes) -> None:
    digest.update(hashlib.sha256(value).digest())
