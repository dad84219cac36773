"""How fast the whole LP graph runs in a backtest: real pool minutes in, orders, fills and positions in the ledger.

The five Polygon days are repeated until there are enough rows. A row is one pool minute; every node of the topology is
in its path but the report, which is written once at the end; the ledger is the real one (SQLite, full sync, hash
chain). Recording is off and named apart.
"""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from engine.run.backtest import Summary, backtest
from engine.topology.load import load_topology
from engine.topology.model import Topology
from engine.topology.plan import make_plan
from nodes._lib.ledger_file import reading

TOPOLOGY = Path(__file__).parents[2] / "topologies" / "backtest" / "polygon_days.yaml"
ROWS_PER_PASS = 7_199


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of the graph: what it did, and its time from building the nodes to the closed ledger."""

    summary: Summary
    cpu_s: float
    ledger_rows: int

    @property
    def minutes(self) -> int:
        return self.summary.sent["pool.state"]

    @property
    def orders(self) -> int:
        """Orders and cancels that the gate has passed."""
        return self.summary.sent["gate.approved"]

    @property
    def fills(self) -> int:
        return self.summary.sent["venue.fill"]

    @property
    def per_wall_s(self) -> float:
        """Rows per second of the clock on the wall."""
        return self.minutes / self.summary.wall_s

    @property
    def per_cpu_s(self) -> float:
        """Rows per second of CPU: what a machine that does nothing else would show, disk apart."""
        return self.minutes / self.cpu_s


def run_once(minutes: int, *, record: bool = False) -> Measured:
    """Run the topology over at least `minutes` pool minutes."""
    repeat = -(-minutes // ROWS_PER_PASS)
    with TemporaryDirectory() as folder:
        plan = make_plan(_without_report(load_topology([TOPOLOGY], [f"repeat={repeat}"])), Path(folder))
        started = time.process_time()
        summary = backtest(plan, Path(folder), record=record)
        cpu_s = time.process_time() - started
        return Measured(summary, cpu_s, _rows(Path(folder, "ledger.sqlite")))


def _without_report(topology: Topology) -> Topology:
    nodes = {node_id: node for node_id, node in topology.nodes.items() if node.use != "sinks.report"}
    wires = tuple(wire for wire in topology.wires if wire.target.hub or wire.target.node in nodes)
    return replace(topology, nodes=nodes, wires=wires)


def peak_rss_mb() -> float:
    """Return the most memory that this process has held so far, MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def _rows(ledger: Path) -> int:
    with reading(ledger) as db:
        rows: int = db.execute("SELECT max(last_seq) FROM commits").fetchone()[0]
    return rows
