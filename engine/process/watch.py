"""The watch over what a run uses: memory and processors of its processes, room on its disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from engine.process.limits import Reading, cpu_share, read
from engine.process.logs import CRASHES
from engine.process.logs import FOLDER as LOGS
from engine.process.places import is_locked
from engine.process.settings import Settings
from engine.process.state import FILE as STATE

RECORDINGS = "recordings"
HALT_FRACTION = 4
"""The run is halted when the free room is below this part of the declared floor."""


@dataclass
class Use:
    """What one process has been seen to use."""

    pid: int
    last: Reading
    cpu: float = 0.0
    looks_above: int = 0


@dataclass
class ProcessWatch:
    """Look at processes one after the other; `look` returns why a process is to be killed, or None.

    `base_bytes` is the memory of the zygote, which every process shares when it is born and is not charged for.
    """

    settings: Settings
    base_bytes: int = 0
    uses: dict[str, Use] = field(default_factory=dict)

    def look(self, name: str, pid: int, memory_bytes: int | None, now_s: float) -> str | None:
        """Look at a process now."""
        now = read(pid, now_s)
        if now is None:
            self.uses.pop(name, None)
            return None
        use = self.uses.get(name)
        if use is None or use.pid != pid:
            use = self.uses[name] = Use(pid, now)
        use.cpu = cpu_share(use.last, now) if use.last is not now else use.cpu
        use.last = now
        own = now.anon_bytes - self.base_bytes
        if memory_bytes is None or own <= memory_bytes:
            use.looks_above = 0
            return None
        use.looks_above += 1
        if use.looks_above < self.settings.memory_looks:
            return None
        return f"uses {own >> 20} MiB of memory, its limit is {memory_bytes >> 20} MiB"


class Room(IntEnum):
    """What the disk still allows."""

    ENOUGH = 0
    LOW = 1
    """Recordings stop."""
    NONE = 2
    """The run is halted too; what is left belongs to the ledger."""


@dataclass(frozen=True, slots=True)
class Disk:
    """How things stand on the disk of a run folder, and why."""

    room: Room
    free_bytes: int
    folder_bytes: int | None
    reason: str = ""


def look_at_disk(folder: Path, settings: Settings, free: Callable[[Path], int] | None = None) -> Disk:
    """Judge the room on a run folder's disk, and the folder's own size where it is limited."""
    left = (free or free_bytes)(folder)
    size = size_of(folder) if settings.disk_bytes is not None else None
    floor = settings.free_disk_bytes
    if left < floor // HALT_FRACTION:
        return Disk(Room.NONE, left, size, f"only {left >> 20} MiB are free on the disk of {folder}")
    if left < floor:
        return Disk(Room.LOW, left, size, f"{left >> 20} MiB are free on the disk of {folder}, fewer than declared")
    if size is not None and settings.disk_bytes is not None and size > settings.disk_bytes:
        return Disk(Room.LOW, left, size, f"{folder} holds {size >> 20} MiB, more than declared")
    return Disk(Room.ENOUGH, left, size)


def free_bytes(folder: Path) -> int:
    """Return the room that is left on a folder's disk for this user."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def size_of(folder: Path) -> int:
    """Return the bytes on disk of all files in a folder; links are not followed."""
    total = 0
    for root, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.lstat(os.path.join(root, name)).st_blocks * 512
            except FileNotFoundError:
                continue  # it was moved or removed meanwhile
    return total


def prune(runs: Path, keep: Path, limit_bytes: int) -> list[Path]:
    """Remove logs, crashes and recordings of the oldest runs in a folder until it is within its limit.

    The run `keep` and those that are alive stay as they are, and of all others what may still be needed: their state,
    ledgers and reports. Returns what was removed.
    """
    others = [state.parent for state in runs.glob(f"*/{STATE}") if state.parent.resolve() != keep.resolve()]
    removed: list[Path] = []
    total = size_of(runs)
    for run in sorted(others, key=lambda each: (each / STATE).stat().st_mtime_ns):
        if total <= limit_bytes:
            break
        if run.is_symlink() or is_locked(run):
            continue
        for folder in (run / RECORDINGS, run / LOGS, run / CRASHES):
            if folder.is_dir() and not folder.is_symlink():
                total -= size_of(folder)
                shutil.rmtree(folder)
                removed.append(folder)
    return removed
