"""The example of docs/lp.md runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

from engine.run.backtest import backtest
from engine.topology.check import check
from engine.topology.load import load_topology
from engine.topology.plan import make_plan

ROOT = Path(__file__).parents[3]


def test_the_example_runs_on_the_real_morning(tmp_path):
    (example,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "lp.md").read_text(), re.DOTALL)
    file = tmp_path / "lp_alone.yaml"
    file.write_text(example.replace("../data/", f"{ROOT}/data/"))
    topology = load_topology([file])
    assert [problem for problem in check(topology) if problem.severity == "error"] == []
    summary = backtest(make_plan(topology, tmp_path / "run"), tmp_path / "run", record=False)
    assert summary.rows == 2_842
    assert summary.sent["lp_gate.verdict"] == summary.sent["rebalancer.command"]
    assert 1 <= summary.sent["lp_gate.approved"] <= 20
    assert summary.sent["lp.verdict"] == 0
    # At every block's end at which the price has moved.
    assert 1_800 < summary.sent["lp.state"] < 2_000
    assert summary.sent["inventory.delta"] > 1_500
