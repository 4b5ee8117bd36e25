"""Reads memory and processor times of processes from /proc (Linux only)."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

PROC = Path("/proc")
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def peak_memory_mb(pid: int) -> float:
    """A process's peak resident memory, in MB of 10^6 bytes."""
    for line in (PROC / str(pid) / "status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise ValueError(f"process {pid} has no memory of its own")


def cpu_s(pid: int) -> float:
    """Processor time of a process and of its children that have ended, in seconds."""
    _, _, fields = _stat(pid)
    return sum(int(each) for each in fields[11:15]) / TICKS_A_SECOND


def memory_mb() -> int:
    """The machine's memory, in MB of 2^20 bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20


def machine_cpu_s() -> float:
    """Busy time of all processors together since the machine started, in seconds."""
    user, nice, system, _idle, _waiting, *interrupts = (
        int(each) for each in (PROC / "stat").read_text().splitlines()[0].split()[1:9]
    )
    return (user + nice + system + sum(interrupts)) / TICKS_A_SECOND


def cpu_s_under(folder: Path) -> float:
    """Processor time, in seconds, of all processes with a path below `folder` on their command
    line, and of their descendants: of the server that keeps its data there.
    """
    processes = {pid: parent for pid, parent, _ in _all()}
    roots = {pid for pid in processes if _works_below(pid, folder)}
    total = 0.0
    for pid in processes:
        try:
            if _descends(pid, roots, processes):
                total += cpu_s(pid)
        except OSError:  # it has ended; its time is included in its parent's
            continue
    return total


def _works_below(pid: int, folder: Path) -> bool:
    try:
        words = (PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return pid != os.getpid() and any(each.startswith(os.fsencode(folder) + b"/") for each in words)


def _descends(pid: int, roots: set[int], parents: Mapping[int, int]) -> bool:
    while pid in parents:
        if pid in roots:
            return True
        pid = parents[pid]
    return False


def _all() -> Iterator[tuple[int, int, list[str]]]:
    for each in PROC.iterdir():
        if each.name.isdecimal():
            try:
                yield _stat(int(each.name))
            except OSError:
                continue


def _stat(pid: int) -> tuple[int, int, list[str]]:
    """Pid, parent's pid, and the fields from the state on: number in `proc_pid_stat(5)` less 3."""
    # The name may contain spaces and brackets, so the fields are counted from the last bracket.
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return pid, int(fields[1]), fields
