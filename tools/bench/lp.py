"""How fast the whole LP graph runs in a backtest: real pool minutes in, orders, fills and positions in the ledger.

The five Polygon days are repeated until there are enough rows. A row is one pool minute; every node of the topology
handles it, and the ledger is the real one (SQLite, full sync). Recording is off and named apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from engine.run.backtest import Summary, backtest
from engine.run.session import load_plan

TOPOLOGY = Path(__file__).parents[2] / "topologies" / "backtest" / "polygon_days.yaml"
ROWS_PER_PASS = 7_200


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of the graph."""

    summary: Summary
    orders: int
    fills: int

    @property
    def minutes(self) -> int:
        return self.summary.sent["pool.state"]

    @property
    def minutes_per_s(self) -> float:
        return self.minutes / self.summary.wall_s


def run_once(minutes: int, *, record: bool = False) -> Measured:
    """Run the topology over at least `minutes` pool minutes."""
    repeat = -(-minutes // ROWS_PER_PASS)
    with TemporaryDirectory() as folder:
        plan = load_plan([TOPOLOGY], [f"repeat={repeat}"], Path(folder))
        summary = backtest(plan, Path(folder), record=record)
    return Measured(summary, summary.sent["gate.approved"], summary.sent["venue.fill"])
