"""A secret in a file, which can be renewed while the worker runs.

The file is read on each access and its content is not stored, so each new connection uses the
current secret.
"""

from pathlib import Path

from pydantic import SecretStr

from marketplace_worker.errors import Unavailable


class SecretFile(SecretStr):
    """A `SecretStr` whose value is read from a file."""

    def __init__(self, path: Path) -> None:
        super().__init__("")
        self.path = path

    def get_secret_value(self) -> str:
        """The current content of the file, without trailing newlines.

        Raises:
            Unavailable: the file cannot be read, or is empty (it may be being written).
        """
        try:
            secret = self.path.read_text(encoding="utf-8").rstrip("\r\n")
        except OSError as error:
            raise Unavailable(f"{self.path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise Unavailable(f"{self.path} is not UTF-8 text") from error
        if not secret:
            raise Unavailable(f"{self.path} is empty")
        return secret

    def __len__(self) -> int:
        return len(self.get_secret_value())

    def _display(self) -> str:
        return f"the secret in {self.path}"
