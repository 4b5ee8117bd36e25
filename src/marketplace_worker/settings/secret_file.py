"""A secret that stands in a file, where whoever keeps secrets can renew it under a running worker.

It is read whenever it is asked for, and nowhere kept: who connects asks anew each time.
"""

from pathlib import Path

from pydantic import SecretStr

from marketplace_worker.errors import Unavailable


class SecretFile(SecretStr):
    """In the place of a secret that is given itself."""

    def __init__(self, path: Path) -> None:
        super().__init__("")
        self.path = path

    def get_secret_value(self) -> str:
        """What the file holds now, without the line's end.

        Raises:
            Unavailable: it cannot be read, or is empty: it may be just being written.
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
