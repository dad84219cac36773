"""One execution of a topology in processes: what every process of it has to know."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.topology.plan import Plan


@dataclass(frozen=True, slots=True)
class Run:
    """A run: its plan, where it writes, where its sockets are, and how it was asked to run.

    `id` names the run for people and logs. `folder` is the run folder, `sockets` a private folder for its sockets.
    With `speed` histories and every clock pass that many seconds in one; None is the wall clock. `port_offset` is
    added to every port that is fixed. Only the processes and hubs of `machine` belong to this run; those of the others
    are reached over TCP.
    """

    id: str
    plan: Plan
    folder: Path
    sockets: Path
    seed: int = 0
    speed: float | None = None
    record: bool = True
    port_offset: int = 0
    machine: str | None = None
