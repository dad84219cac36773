"""The first and the last thing that a newborn process does: limits, log, and a record of what ended it."""

from __future__ import annotations

import faulthandler
import logging
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.errors import ExitCode, PipelineError
from engine.process import limits
from engine.process.logs import keep_crash, log_to_file
from engine.process.settings import Settings

log = logging.getLogger("process")

EXPLAIN = signal.SIGUSR2
"""On this signal a process writes to its log where each of its threads is."""


@dataclass(frozen=True, slots=True)
class Birth:
    """What a process is born with."""

    name: str
    epoch: int
    folder: Path
    settings: Settings
    memory_bytes: int | None = None
    open_files: int | None = None


def live(birth: Birth, life: Callable[[], int]) -> int:
    """Run `life` under the limits and with the log of its process; return its exit code.

    What it raises is written to the log and to a file of its own, and becomes an exit code.
    """
    handler = log_to_file(birth.folder, birth.name, birth.settings.log, birth.settings.log_lines_per_s)
    faulthandler.enable(sys.__stderr__ or 2)
    faulthandler.register(EXPLAIN, sys.__stderr__ or 2, all_threads=True, chain=False)
    try:
        limits.apply(birth.open_files or birth.settings.open_files, birth.memory_bytes)
        return int(life())
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else ExitCode.FAILED
    except BaseException as error:  # noqa: BLE001  (the one place where every exception of a process ends)
        _record(birth, error)
        return error.exit_code if isinstance(error, PipelineError) else ExitCode.BUG
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        handler.close()


def _record(birth: Birth, error: BaseException) -> None:
    log.critical("%s: %s", type(error).__name__, error, exc_info=error)
    print(f"{type(error).__name__}: {error}", file=sys.stderr)  # the supervisor shows the last line as the reason
    try:
        keep_crash(birth.folder, birth.name, birth.epoch, error, birth.settings.crash_files)
    except OSError as why:
        log.error("the traceback could not be kept in a file: %s", why)
