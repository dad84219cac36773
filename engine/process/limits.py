"""What a process may use, and what it uses: limits of the kernel, and readings from /proc."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass

from engine.process.kernel import stat_fields

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def pin_threads() -> None:
    """Keep numeric libraries at one thread each. To be called before they are imported, in `pipeline up`.

    Processes are what runs side by side here; threads of libraries would only take the processors from each other.
    """
    for name in ONE_THREAD:
        os.environ[name] = "1"


def apply(open_files: int, memory_bytes: int | None) -> None:
    """Limit this process: open files, memory, and no core dump, which would hold its secrets.

    `memory_bytes` counts from what it had when it was forked, which is shared with all others. Above it an allocation
    raises MemoryError here, before the machine runs out.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files = open_files if hard == resource.RLIM_INFINITY else min(open_files, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    if memory_bytes is not None:
        ceiling = data_bytes() + memory_bytes
        resource.setrlimit(resource.RLIMIT_DATA, (ceiling, ceiling))


def data_bytes() -> int:
    """Return the size of this process's private writable memory, as RLIMIT_DATA counts it."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[5]) * _PAGE_BYTES


@dataclass(frozen=True, slots=True)
class Reading:
    """What a process uses at one time.

    `cpu_s` is its processor time since it began; `anon_bytes` is memory that is no file's, shared or not with the
    zygote that it was forked from.
    """

    at_s: float
    cpu_s: float
    rss_bytes: int
    anon_bytes: int
    threads: int
    fds: int


def read(pid: int, at_s: float) -> Reading | None:
    """Look at a process; None when it is gone or not ours to look at."""
    fields = stat_fields(pid)
    if fields is None or fields[0] == b"Z":
        return None
    try:
        fds = len(os.listdir(f"/proc/{pid}/fd"))
        with open(f"/proc/{pid}/statm", "rb") as file:
            _, resident, of_files, *_ = map(int, file.read().split())
    except OSError:
        return None
    return Reading(
        at_s=at_s,
        cpu_s=(int(fields[11]) + int(fields[12])) / _TICKS_PER_S,
        rss_bytes=resident * _PAGE_BYTES,
        anon_bytes=(resident - of_files) * _PAGE_BYTES,
        threads=int(fields[17]),
        fds=fds,
    )


def cpu_share(before: Reading, now: Reading) -> float:
    """Return how many processors a process has kept busy between two readings."""
    return (now.cpu_s - before.cpu_s) / (now.at_s - before.at_s) if now.at_s > before.at_s else 0.0
