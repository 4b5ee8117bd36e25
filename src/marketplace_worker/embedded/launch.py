"""Prepares a child process and executes a server in it.

Changes the user if asked to and, on Linux, has the kernel send SIGNAL to the server when the parent
dies, for whatever reason.

    launch.py PARENT_PID SIGNAL [--user UID GID] [--pass-closed-folders] -- PROGRAM ARGUMENT...

Run as a script by `process.start`, never imported.  It uses the standard library only: it runs
isolated (`-I -S`) and, when started by root, must load its files before the user changes.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1
PR_SET_SECUREBITS, NO_SETUID_FIXUP = 28, 1 << 2
PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 47, 2
CAP_DAC_OVERRIDE = 1
CAPABILITY_VERSION_3 = 0x20080522
CLOSED = (
    "root may not run this server, and the user that it would run as cannot reach its files: "
    "start as an ordinary user, or move the environment and the data out of the closed folder"
)


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Sets(ctypes.Structure):
    _fields_ = [
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    ]


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _become(uid: int, gid: int) -> None:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def _become_passing_closed_folders(libc: ctypes.CDLL, uid: int, gid: int) -> None:
    """Change the user, but keep one of root's rights: to search folders closed to the new user."""
    # Without this bit access(2), which initdb calls, ignores the right.
    _checked(libc.prctl(PR_SET_SECUREBITS, NO_SETUID_FIXUP, 0, 0, 0))
    _become(uid, gid)
    header = _Header(CAPABILITY_VERSION_3, 0)
    one = 1 << CAP_DAC_OVERRIDE
    sets = (_Sets * 2)(_Sets(one, one, one), _Sets(0, 0, 0))
    _checked(libc.capset(ctypes.byref(header), sets))
    _checked(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0))


def main(arguments: list[str]) -> None:
    """Run the server in place of this process; returns only by an exception."""
    split = arguments.index("--")
    options, command = arguments[:split], arguments[split + 1 :]
    parent, death_signal = int(options[0]), int(options[1])
    linux = sys.platform == "linux"
    libc = ctypes.CDLL(None, use_errno=True)
    match options[2:]:
        case ["--user", uid, gid]:
            _become(int(uid), int(gid))
        case ["--user", uid, gid, "--pass-closed-folders"] if linux:
            try:
                _become_passing_closed_folders(libc, int(uid), int(gid))
            except OSError as problem:
                sys.exit(f"{CLOSED} ({problem.strerror})")
        case []:
            pass
        case _:
            sys.exit(CLOSED)
    if linux:
        # After the change of user, which clears this setting.
        _checked(libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0))
    if os.getppid() != parent:
        sys.exit(1)  # the parent died before the line above
    os.execv(command[0], command)  # noqa: S606 - a shell is what we do not want


if __name__ == "__main__":
    main(sys.argv[1:])
