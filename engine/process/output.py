"""What processes print: read from a pipe each, and written to their logs line by line."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from engine.process.log_file import LogFile, Rate
from engine.process.logs import line, open_log
from engine.process.settings import Settings

CHUNK_BYTES = 1 << 16
LONGEST_LINE = 4096
PAUSE_S = 0.1
BYTES_PER_PAUSE = 1 << 20
"""A process that prints more than this in a tenth of a second has to wait for the next."""
KEPT_LINES = 100


@dataclass
class _Pipe:
    descriptor: int
    process: str
    file: LogFile
    rate: Rate
    rest: bytes = b""
    taken: int = 0
    last: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT_LINES))


class Outputs:
    """The pipes that the processes of a run print into."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder = folder
        self.settings = settings
        self._pipes: dict[str, _Pipe] = {}

    def open(self, process: str) -> int:
        """Return the descriptor that a newborn process is to print into; the caller passes it on and closes it."""
        self.close(process)
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        file = open_log(self.folder, process, self.settings.log)
        pipe = _Pipe(reading, process, file, Rate(self.settings.log_lines_per_s))
        self._pipes[process] = pipe
        asyncio.get_running_loop().add_reader(reading, self._read, pipe)
        return writing

    def close(self, process: str) -> str:
        """Take what is left of a process's output; return its last lines, which often say why it ended."""
        pipe = self._pipes.pop(process, None)
        if pipe is None:
            return ""
        pipe.taken = 0
        while self._take(pipe) and pipe.taken < BYTES_PER_PAUSE:
            pass
        if pipe.rest:
            self._write(pipe, pipe.rest)
        asyncio.get_running_loop().remove_reader(pipe.descriptor)
        os.close(pipe.descriptor)
        pipe.file.close()
        return "\n".join(pipe.last)

    def close_all(self) -> None:
        for process in list(self._pipes):
            self.close(process)

    def _read(self, pipe: _Pipe) -> None:
        loop = asyncio.get_running_loop()
        if not self._take(pipe):
            loop.remove_reader(pipe.descriptor)  # closed by the process, or paused below
        elif pipe.taken > BYTES_PER_PAUSE:
            loop.remove_reader(pipe.descriptor)
            loop.call_later(PAUSE_S, self._go_on, pipe)

    def _go_on(self, pipe: _Pipe) -> None:
        if self._pipes.get(pipe.process) is pipe:
            pipe.taken = 0
            asyncio.get_running_loop().add_reader(pipe.descriptor, self._read, pipe)

    def _take(self, pipe: _Pipe) -> bool:
        """Read once; False when there is nothing more and never will be, or nothing now."""
        try:
            data = os.read(pipe.descriptor, CHUNK_BYTES)
        except BlockingIOError:
            return False
        pipe.taken += len(data)
        *lines, pipe.rest = (pipe.rest + data).split(b"\n")
        while len(pipe.rest) > LONGEST_LINE:
            lines.append(pipe.rest[:LONGEST_LINE])
            pipe.rest = pipe.rest[LONGEST_LINE:]
        for text in lines:
            self._write(pipe, text)
        return bool(data)

    def _write(self, pipe: _Pipe, data: bytes) -> None:
        text = data[:LONGEST_LINE].decode("utf-8", "replace").rstrip()
        if not text:
            return
        pipe.last.append(text)
        if not pipe.rate.admit(time.monotonic()):
            return
        now_s = time.time()
        if refused := pipe.rate.take_refused():
            message = f"{refused} printed lines were left out: this process prints too much"
            pipe.file.write(line("warning", pipe.process, message, now_s))
        pipe.file.write(line("info", pipe.process, text, now_s, output=True))
