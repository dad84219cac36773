"""How long a run in processes takes to begin: from the call of the supervisor to the first message at the far end.

A history and a chain of relays, each in a process of its own, under the production supervisor and worker.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from engine import Node, Out
from engine.errors import Place
from engine.process.limits import pin_threads
from engine.process.run import Run
from engine.process.supervisor import supervise
from engine.process.worker import run_worker
from engine.topology.model import NodeDecl, Origin, Policy, ProcessDecl, Topology
from engine.topology.plan import Plan, PlannedNode, PlannedWire
from engine.wire.hub import run_hubs
from tools.bench.hop import Reading, Relay

PROCESSES = 12
HERE = Origin(Place("tools/bench/start.py", 1, 1))


def _stamp(folder: str, name: str) -> None:
    path = Path(folder, f"{name}.ns")
    if not path.exists():
        path.write_text(str(time.time_ns()))


class FirstRow(Node):
    """Send one reading."""

    result = Out(Reading, doc="The reading.")

    def start(self) -> None:
        _stamp(self.run_dir, "barrier")

    def history(self) -> Iterator[tuple[int, Reading]]:
        yield 1_000_000_000, Reading(value=1.0, event_time_ns=1_000_000_000)


class FarEnd(Relay):
    """Note when the reading arrives."""

    def on_source(self, message: Reading) -> None:
        _stamp(self.run_dir, "arrived")


@dataclass(frozen=True, slots=True)
class StartTimes:
    """Seconds from the call of the supervisor: until the barrier was passed, the first message came, all was over."""

    barrier_s: float
    first_message_s: float
    over_s: float


def chain(processes: int) -> Plan:
    """Return a plan of that many nodes in a row, each in a process of its own."""
    classes = [FirstRow, *[Relay] * (processes - 2), FarEnd]
    names = [f"n{index}" for index in range(processes)]
    policy = Policy(kind="block")
    return Plan(
        name="start",
        topology=Topology(
            name="start",
            about="",
            origin=HERE,
            params={},
            nodes={name: NodeDecl(name, "bench", {}, HERE, HERE) for name in names},
            wires=(),
            hubs={},
            processes={name: ProcessDecl(f"{name}", (name,), HERE) for name in names},
            feedback=(),
        ),
        nodes=tuple(PlannedNode(name, "bench", cls, {}) for name, cls in zip(names, classes, strict=True)),
        wires=tuple(
            PlannedWire((before, "result"), (after, "source"), policy, feedback=False)
            for before, after in pairwise(names)
        ),
    )


def run_once(processes: int = PROCESSES) -> StartTimes:
    """Start a chain, wait for its end, and return how long each part took."""
    with TemporaryDirectory(prefix="pipeline-bench-") as name:
        folder = Path(name)
        run = Run(id="start", plan=chain(processes), folder=folder, sockets=Path(), speed=1.0, record=False)
        began_ns = time.time_ns()
        supervise(run, worker=run_worker, hubs=run_hubs)
        over_ns = time.time_ns()
        barrier_ns, arrived_ns = (int((folder / f"{mark}.ns").read_text()) for mark in ("barrier", "arrived"))
    return StartTimes(*((at - began_ns) / 1e9 for at in (barrier_ns, arrived_ns, over_ns)))


def measure(repeats: int, processes: int = PROCESSES) -> StartTimes:
    """Return the median of several starts."""
    pin_threads()
    runs = [run_once(processes) for _ in range(repeats)]
    return StartTimes(
        median(run.barrier_s for run in runs),
        median(run.first_message_s for run in runs),
        median(run.over_s for run in runs),
    )
