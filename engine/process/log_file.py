"""A log file that several processes append to, rotated by size, and the limit on how fast it may grow."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path


class LogFile:
    """Append lines to `path`; when it is full it becomes `path.1`, the one before it `path.2`, up to `keep`.

    Several processes may write: each line is one write, and whoever finds the file full rotates it under a lock. A
    line that cannot be written, because the disk is full or the folder gone, is counted in `lost`: a log must not
    bring down what it tells about.
    """

    def __init__(self, path: Path, size_bytes: int, keep: int) -> None:
        self.path = path
        self.size_bytes = size_bytes
        self.keep = keep
        self.lost = 0
        self._file = -1
        self._inode = -1

    def write(self, line: bytes) -> None:
        """Append one line, which brings its own line end."""
        try:
            room = self._room()
            if room < min(len(line), self.size_bytes):  # a line longer than a whole file gets one of its own
                self._rotate(min(len(line), self.size_bytes))
            if os.write(self._file, line) < len(line):
                self.lost += 1  # the disk has filled up in the middle of it
                with suppress(OSError):
                    os.write(self._file, b"\n")
        except OSError:
            self.lost += 1

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = self._inode = -1

    def _room(self) -> int:
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            found = None
        if found is None or found.st_ino != self._inode:
            self.close()
            self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            found = os.fstat(self._file)
            self._inode = found.st_ino
        return self.size_bytes - found.st_size

    def _rotate(self, wanted: int) -> None:
        guard = os.open(self.path.parent / ".rotate", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(guard, fcntl.LOCK_EX)
            if self._room() >= wanted:
                return  # another process was faster
            for number in range(self.keep - 1, 0, -1):
                with suppress(FileNotFoundError):
                    os.replace(self._old(number), self._old(number + 1))
            if self.keep:
                os.replace(self.path, self._old(1))
            else:
                os.unlink(self.path)
            self._room()
        finally:
            os.close(guard)

    def _old(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")


class Rate:
    """Let so many things pass in a second, in bursts of at most that many; count the others."""

    def __init__(self, per_s: float) -> None:
        self.per_s = per_s
        self.refused = 0
        self._left = per_s
        self._last_s = 0.0

    def admit(self, now_s: float) -> bool:
        """Tell whether one more may pass now."""
        self._left = min(self.per_s, self._left + (now_s - self._last_s) * self.per_s)
        self._last_s = now_s
        if self._left < 1.0:
            self.refused += 1
            return False
        self._left -= 1.0
        return True

    def take_refused(self) -> int:
        """Return how many were refused since the last call."""
        refused, self.refused = self.refused, 0
        return refused
