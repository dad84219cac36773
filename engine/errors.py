"""Errors: what went wrong, where, and what to do; and the exit code each one ends a command with."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any


class ExitCode(IntEnum):
    """Exit codes of every `pipeline` command."""

    DONE = 0
    FAILED = 1
    """The run started and failed."""
    USAGE = 2
    """The topology or the command line is wrong; nothing was started."""
    BUG = 3
    """A mistake of ours; the traceback is in a file whose path is printed."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A position in a file; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding about a topology.

    `code` is stable (documented and tested). `message` says what is wrong, `fix` what to do. `notes` are further
    places that explain it, such as the include through which the place came to be used.
    """

    code: str
    message: str
    place: Place | None = None
    fix: str = ""
    notes: tuple[tuple[str, Place], ...] = ()
    severity: str = "error"

    def as_dict(self) -> dict[str, Any]:
        """Return the problem as plain values, for `--json`."""
        place = self.place
        return {
            "severity": self.severity,
            "code": self.code,
            "file": place.file if place else None,
            "line": place.line if place else None,
            "column": place.column if place else None,
            "message": self.message,
            "fix": self.fix,
            "notes": [{"text": text, "file": at.file, "line": at.line, "column": at.column} for text, at in self.notes],
        }


class PipelineError(Exception):
    """Root of all errors that this project raises on purpose."""

    exit_code: ExitCode = ExitCode.FAILED


class TopologyError(PipelineError):
    """The topology cannot run. Carries every problem that was found, not only the first."""

    exit_code = ExitCode.USAGE

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(f"{p.place}: {p.severity}[{p.code}]: {p.message}" for p in problems))


class UsageError(PipelineError):
    """The command was given something that it cannot use."""

    exit_code = ExitCode.USAGE


@dataclass
class NodeFailed(PipelineError):
    """A node's handler raised; the run cannot go on."""

    node: str
    handler: str
    cause: BaseException
    exit_code: ExitCode = field(default=ExitCode.FAILED, init=False)

    def __post_init__(self) -> None:
        super().__init__(str(self))

    def __str__(self) -> str:
        return (
            f"node {self.node!r} failed in {self.handler}: {type(self.cause).__name__}: {self.cause}. "
            "Nothing that this handler was about to send has left it"
        )


class Instruction(PipelineError):
    """An error by which a node tells its host what to do next."""


class Disconnected(Instruction):
    """The other side is gone: back off with jitter, then call `run()` again."""


class EndOfData(Instruction):
    """Nothing more will come: let the graph drain, then stop."""


class RetryAfter(Instruction):
    """Call again after `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(f"retry after {seconds} s")


class Rejected(Instruction):
    """The other side refused for good; `reason` is its own word."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)
