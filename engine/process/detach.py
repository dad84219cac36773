"""Go on in the background: a child of its own session does the work, and tells its parent how it begins."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

Word = dict[str, Any]


class Detached:
    """The child in the background, as its parent sees it."""

    def __init__(self, pid: int, reading: int) -> None:
        self.pid = pid
        self._reading = reading

    def words(self) -> Iterator[Word]:
        """Yield what the child says, until it has nothing more to say: because it is over, or wants no listener."""
        with os.fdopen(self._reading, encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)

    def exit_code(self) -> int:
        """Wait for the child's end; return its exit code, or 128 + the signal that killed it."""
        _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code


def detach(life: Callable[[Callable[[Word], None]], int], output: Path) -> Detached:
    """Run `life` in a child in the background, and return at once.

    What the child prints goes to the file `output`. `life` gets a function by which it can say something to the parent,
    in an object of plain values; its result is the child's exit code. To be called without threads and loops.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return Detached(pid, reading)
    code = 1
    try:
        os.close(reading)
        os.setsid()
        _print_to(output)

        def say(word: Word) -> None:
            with suppress(BrokenPipeError):  # the parent does not listen any more
                os.write(writing, json.dumps(word).encode() + b"\n")

        code = life(say)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _print_to(path: Path) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    printed = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for descriptor, source in ((0, nothing), (1, printed), (2, printed)):
        os.dup2(source, descriptor)
    os.close(nothing)
    os.close(printed)
