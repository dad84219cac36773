"""What a supervisor goes by: how long it waits, what it lets a process use, and what it keeps on disk."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.topology.model import LogOptions, RunOptions


@dataclass(frozen=True, slots=True)
class Settings:
    """Times in seconds, sizes in bytes. What a process declares for itself goes first."""

    start_s: float = 30.0
    """From a process's birth until it has joined, and again from go until it is ready."""
    liveness_s: float = 5.0
    """A process that was ready and has not beaten for so long is stopped or spins: it is killed."""
    stop_s: float = 10.0
    """From the order to stop until every node has stopped and every wire is drained."""
    exit_s: float = 2.0
    """From the order to exit until SIGTERM."""
    term_s: float = 2.0
    """From SIGTERM until SIGKILL, and what a second signal leaves to all of the stop."""
    zygote_s: float = 2.0
    """A zygote that has not answered for so long is continued, and after twice that killed."""

    first_backoff_s: float = 0.1
    longest_backoff_s: float = 30.0
    steady_s: float = 5.0
    """A process that lived for so long is started again as after its first failure."""
    jitter: float = 0.25
    """A back-off is up to this fraction shorter or longer, by chance, so that restarts do not fall in step."""

    open_files: int = 4096
    watch_s: float = 0.5
    """Between two looks at what the processes use."""
    memory_looks: int = 3
    """A process that is above its memory at so many looks in a row is killed."""

    disk_s: float = 1.0
    """Between two looks at the disk."""
    free_disk_bytes: int = 500 << 20
    """With less than this free, recordings stop; with less than a quarter of it the run is halted."""
    disk_bytes: int | None = None
    """Above this size of the run folder, recordings stop."""
    keep_runs_bytes: int | None = None
    """Above this size of all runs beside this one, the oldest lose their logs and recordings."""

    log: LogOptions = field(default_factory=LogOptions)
    log_lines_per_s: float = 1000.0
    """Lines of one process above this rate are counted, not written."""
    crash_files: int = 20
    """Tracebacks that are kept, whatever becomes of the logs."""

    @classmethod
    def of(cls, options: RunOptions) -> Settings:
        """Return the settings of a run whose topology has these options."""
        return cls(
            free_disk_bytes=options.free_disk_bytes,
            disk_bytes=options.disk_bytes,
            keep_runs_bytes=options.keep_runs_bytes,
            log=options.log,
        )
