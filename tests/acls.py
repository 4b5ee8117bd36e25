"""The ACLs that docs/security.md shows, as text to type and as values."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "security.md"
WORKER = "marketplace-worker"
CREATOR = "topic-creator"
"""Who types `topics create`."""

_BLOCK = re.compile(r"```sh\n(KAFKA=.*?)```", re.DOTALL)


@dataclass(frozen=True, order=True)
class Acl:
    """What one user may do with one topic or group, each in Kafka's words."""

    user: str
    operation: str
    resource: str
    name: str

    def __str__(self) -> str:
        return f"{self.operation} {self.resource} {self.name}"


def block() -> str:
    """The shell commands of the page."""
    (found,) = _BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert isinstance(found, str)
    return found


def acls() -> Sequence[Acl]:
    """What the commands of the page grant, in their order."""
    found: list[Acl] = []
    for line in block().replace("\\\n", " ").splitlines():
        match shlex.split(line, comments=True):
            case ["acl", "--allow-principal", who, "--operation", operation, *resources]:
                user = who.removeprefix("User:")
                assert user != who
                found += [
                    Acl(user, operation, kind.removeprefix("--"), name)
                    for kind, name in zip(resources[::2], resources[1::2], strict=True)
                ]
            case ["acl", *_]:
                raise AssertionError(f"not understood: {line}")
            case _:
                pass
    assert len(found) == len(set(found))
    return found


def acls_of(user: str) -> Sequence[Acl]:
    """What the commands of the page grant to one user."""
    return [acl for acl in acls() if acl.user == user]


def users() -> Sequence[str]:
    """Everybody to whom the page grants something."""
    return list(dict.fromkeys(acl.user for acl in acls()))
