"""Whether what a connection logs in with is still what it was: files are renewed under a worker."""

import hashlib
from pathlib import Path

from pydantic import BaseModel, SecretStr

from marketplace_worker.errors import Unavailable


class Credentials:
    """The secrets and certificates of one server, as they were when they were used last."""

    def __init__(self, group: BaseModel) -> None:
        self._group = group
        self._used = _digest(group)

    @property
    def changed(self) -> bool:
        """Whether any of them is another by now; False while one cannot be read."""
        try:
            return _digest(self._group) != self._used
        except Unavailable:
            return False  # it is just being written, or removed: what was read still holds

    def use(self) -> None:
        """Keep them as those that are used from now on.  Raises `Unavailable` as `SecretFile`."""
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
