"""The logs of a run: one file per process, one JSON object a line.

Keys: time (UTC), level, process, message; where there is something to say also node, error (a traceback), fields
(what a call gave as `extra`), and output (true for what was printed). Whatever is or looks like a secret is hidden.
"""

from __future__ import annotations

import logging
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from engine.process.log_file import LogFile, Rate
from engine.topology.disguise import PUBLIC_NAME, disguise, without_secrets
from engine.topology.model import LogOptions

FOLDER = "logs"
CRASHES = "crashes"
LONGEST_TEXT = 16 << 10
DEEPEST = 6
STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def log_path(folder: Path, process: str) -> Path:
    """Return the log of a process (or of "supervisor") in a run folder."""
    return folder / FOLDER / f"{process}.jsonl"


def open_log(folder: Path, process: str, options: LogOptions) -> LogFile:
    """Return the log file of a process, its folder made."""
    path = log_path(folder, process)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    return LogFile(path, options.size_bytes, options.keep)


def line(level: str, process: str, message: str, at_s: float, **more: Any) -> bytes:
    """Return one line of a log; what is None is left out."""
    row = {
        "time": datetime.fromtimestamp(at_s, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "level": level,
        "process": process,
        **{key: safe(value, key) for key, value in more.items() if value is not None and key != "fields"},
        "message": safe(message, ""),
    }
    if more.get("fields"):
        row["fields"] = safe(more["fields"], "")
    return msgspec.json.encode(row) + b"\n"


def safe(value: Any, name: str, depth: int = 0) -> Any:
    """Return a value as it may stand in a log: plain, not too long, no secret in it.

    A private key cannot be told from a hash: what has the name of one (`tx_hash`, `order_id`) is left as it is.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        text = without_secrets(value[:LONGEST_TEXT])
        return text if PUBLIC_NAME.search(name) else disguise(text)
    if depth < DEEPEST:
        if isinstance(value, dict):
            return {str(key): safe(item, str(key), depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [safe(item, name, depth + 1) for item in value]
    return safe(str(value), name)


class JsonHandler(logging.Handler):
    """Write log records to a log file, at most so many a second; those above are counted in a line of their own."""

    def __init__(self, file: LogFile, process: str, lines_per_s: float) -> None:
        super().__init__()
        self.file = file
        self.process = process
        self.rate = Rate(lines_per_s)

    def emit(self, record: logging.LogRecord) -> None:
        if not self.rate.admit(time.monotonic()) and record.levelno < logging.ERROR:
            return
        if refused := self.rate.take_refused():
            text = f"{refused} lines were left out: this process logs too much"
            self.file.write(line("warning", self.process, text, record.created))
        try:
            message = record.getMessage()
        except Exception as error:  # noqa: BLE001  (a log call with wrong arguments must not end a node)
            message = f"{record.msg!r} cannot be filled in: {error}"
        more = {key: value for key, value in vars(record).items() if key not in STANDARD}
        node = more.pop("node", None)
        trace = "".join(traceback.format_exception(record.exc_info[1])) if record.exc_info else None
        self.file.write(
            line(record.levelname.lower(), self.process, message, record.created, node=node, error=trace, fields=more)
        )

    def close(self) -> None:
        self.file.close()
        super().close()


def log_to_file(folder: Path, process: str, options: LogOptions, lines_per_s: float) -> JsonHandler:
    """Send everything that this process logs to its file, and to nowhere else."""
    handler = JsonHandler(open_log(folder, process, options), process, lines_per_s)
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(options.level.upper())
    logging.captureWarnings(True)
    return handler


def keep_crash(folder: Path, process: str, epoch: int, error: BaseException, keep: int) -> Path:
    """Write the traceback of what ended a process into a file of its own; only the last `keep` files stay."""
    crashes = folder / CRASHES
    crashes.mkdir(mode=0o700, exist_ok=True)
    path = crashes / f"{process}-{epoch}.txt"
    path.write_text(disguise(without_secrets("".join(traceback.format_exception(error)))), encoding="utf-8")
    for old in sorted(crashes.glob("*.txt"), key=lambda each: each.stat().st_mtime_ns)[:-keep]:
        old.unlink(missing_ok=True)
    return path
