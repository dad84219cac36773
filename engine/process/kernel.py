"""What the kernel does for a tree of processes and Python has no name for."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}, {value}): {os.strerror(number)}")


def signal_when_parent_dies(number: int, parent: int) -> bool:
    """Have the kernel send a signal to this process when its parent ends; False when the parent has already ended.

    It is the end of the parent's *thread* that counts: the parent forks from its main thread.
    """
    _prctl(PR_SET_PDEATHSIG, number)
    return os.getppid() == parent


def adopt_orphans(yes: bool) -> None:
    """Become the parent of descendants whose own parent ends, or no more."""
    _prctl(PR_SET_CHILD_SUBREAPER, int(yes))


def children(pid: int) -> set[int]:
    """Return the ids of a process's children, ended ones that nobody has waited for included."""
    found: set[int] = set()
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found.update(map(int, (task / "children").read_bytes().split()))
    except FileNotFoundError:
        return {child for child in _all_processes() if _parent(child) == pid}
    return found


def _all_processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def stat_fields(pid: int) -> list[bytes] | None:
    """Return the fields of /proc/PID/stat from the third on (state, parent, group, session, ...), None when gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text[text.rindex(b")") + 2 :].split()


def _parent(pid: int) -> int | None:
    fields = stat_fields(pid)
    return None if fields is None else int(fields[1])


def session_members(session: int) -> set[int]:
    """Return the ids of all processes of a session."""
    return {pid for pid in _all_processes() if (fields := stat_fields(pid)) is not None and int(fields[3]) == session}


def set_name(name: str) -> None:
    """Give this process the name that `ps` and `top` show (its first 15 bytes)."""
    buffer = ctypes.create_string_buffer(name.encode()[:15])
    _libc.prctl(PR_SET_NAME, buffer, 0, 0, 0)


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """Send a signal to a process; one that is gone has what was wanted."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def kill_group(group: int, number: int = signal.SIGKILL) -> None:
    """Send a signal to every process of a group; one that is gone has what was wanted."""
    with suppress(ProcessLookupError):
        os.killpg(group, number)


def kill_strays(keep: frozenset[int] | set[int]) -> int:
    """Kill every child of this process that is not in `keep`, and await those that have ended; return how many.

    A stray is what a process had started and left behind: its parent's end made it a child of ours.
    """
    strays = children(os.getpid()) - keep
    for pid in strays:
        kill(pid)
    for pid in strays:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    return len(strays)


def kill_all_children(keep: frozenset[int] | set[int] = frozenset(), within_s: float = 2.0) -> None:
    """Kill every child of this process, and theirs as they come to be ours, until only those to `keep` are left."""
    deadline = time.monotonic() + within_s
    while kill_strays(keep) and time.monotonic() < deadline:
        time.sleep(0.001)
