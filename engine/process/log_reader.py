"""Read the logs of a run: those of several processes merged by time, what there is and what is still to come."""

from __future__ import annotations

import heapq
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from engine.process.logs import FOLDER

Line = dict[str, Any]
LEVELS = ("debug", "info", "warning", "error", "critical")
SUFFIX = ".jsonl"
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines are wanted: of these processes (all, when there are none), at least `level`, not before `since`."""

    processes: Collection[str] = ()
    level: str = "debug"
    since: str = ""

    def __contains__(self, line: Line) -> bool:
        rank = LEVELS.index(line["level"]) if line.get("level") in LEVELS else len(LEVELS)
        return rank >= LEVELS.index(self.level) and line["time"] >= self.since


def logged_processes(folder: Path) -> list[str]:
    """Return the names of the processes that have a log in a run folder."""
    return sorted(path.name.removesuffix(SUFFIX) for path in (folder / FOLDER).glob(f"*{SUFFIX}"))


def read_logs(folder: Path, wanted: Wanted) -> Iterator[Line]:
    """Yield the wanted lines of all logs of a run, in order of time, from the oldest file that is kept."""
    names = [name for name in logged_processes(folder) if not wanted.processes or name in wanted.processes]
    merged = heapq.merge(*(_read(folder / FOLDER, name) for name in names), key=lambda line: line["time"])
    return (line for line in merged if line in wanted)


def _read(folder: Path, process: str) -> Iterator[Line]:
    rotated = folder.glob(f"{process}{SUFFIX}.*")
    oldest_first = sorted(rotated, key=lambda path: int(path.suffix[1:]) if path.suffix[1:].isdigit() else 0)[::-1]
    time = ""
    for path in (*oldest_first, folder / f"{process}{SUFFIX}"):
        try:
            with path.open("rb") as file:
                for text in file:
                    if text.endswith(b"\n"):
                        line = parse(text, process, time)
                        time = line["time"]
                        yield line
        except FileNotFoundError:
            continue  # rotated away while others were read


def parse(text: bytes, process: str, time: str) -> Line:
    """Return a line of a log; one that is damaged is a warning with the text itself, at the time of the line before."""
    try:
        line = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        line = None
    if isinstance(line, dict) and isinstance(line.get("time"), str) and "message" in line:
        return {"level": "info", "process": process, **line}
    shown = text.decode("utf-8", "replace").rstrip("\n")
    return {"time": time, "level": "warning", "process": process, "message": shown, "damaged": True}


@dataclass
class _Open:
    """A log that is being followed."""

    descriptor: int
    inode: int
    rest: bytes = b""
    time: str = ""


@dataclass
class Follower:
    """Give the wanted lines that were written since the last call.

    The first call gives what was written after this was made, or `from_start` all that is in the newest files.
    """

    folder: Path
    wanted: Wanted
    from_start: bool = False
    _open: dict[str, _Open] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in () if self.from_start else self._names():
            log = self._reopen(name)
            if log is not None:
                os.lseek(log.descriptor, 0, os.SEEK_END)

    def poll(self) -> list[Line]:
        """Return the new lines in order of time."""
        lines: list[Line] = []
        for name in self._names():
            log = self._open.get(name) or self._reopen(name)
            if log is None:
                continue
            lines += self._take(name, log)
            if _inode(self._path(name)) not in (log.inode, None):  # it was rotated: the rest is in the new file
                os.close(log.descriptor)
                renewed = self._reopen(name)
                if renewed is not None:
                    lines += self._take(name, renewed)
        return sorted((line for line in lines if line in self.wanted), key=lambda line: line["time"])

    def close(self) -> None:
        """Close all files."""
        while self._open:
            os.close(self._open.popitem()[1].descriptor)

    def _names(self) -> list[str]:
        names = logged_processes(self.folder)
        return [name for name in names if not self.wanted.processes or name in self.wanted.processes]

    def _path(self, name: str) -> Path:
        return self.folder / FOLDER / f"{name}{SUFFIX}"

    def _reopen(self, name: str) -> _Open | None:
        try:
            descriptor = os.open(self._path(name), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None  # between two files; the next call finds it
        self._open[name] = _Open(descriptor, os.fstat(descriptor).st_ino)
        return self._open[name]

    @staticmethod
    def _take(name: str, log: _Open) -> list[Line]:
        lines = []
        while data := os.read(log.descriptor, CHUNK):
            *whole, log.rest = (log.rest + data).split(b"\n")
            for text in whole:
                line = parse(text, name, log.time)
                log.time = line["time"]
                lines.append(line)
        return lines


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None
