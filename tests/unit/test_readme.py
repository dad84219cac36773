"""What the README shows is true: its code runs, its commands exist, its files are there."""

from __future__ import annotations

import re
import shutil
import sys
import types
from pathlib import Path

import pytest

from engine.cli import main
from engine.cli._progress import ProgressLine
from engine.run.session import run_backtest
from engine.testing import run_node
from engine.topology.check import check
from engine.topology.load import load_topology
from nodes.messages import PoolState, Value

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert len(found) == 1
    return found[0]


def test_the_node_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("nodes.models.mean_price")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(block("python"), "README.md", "exec"), module.__dict__)
    mean = run_node(module.MeanPrice, weight=0.5)
    state = PoolState("ETH-USDC-5", 7, 0, 2000.0, 2000.0, 2000.0, 0, 0, 0, 0, 0)
    assert mean.on_pool(state) == [("mean", Value(event_time_ns=7, value=2000.0))]


def test_the_include_is_a_topology(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "topologies", tmp_path / "topologies")
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "data").symlink_to(ROOT / "data")
    file = tmp_path / "topologies" / "backtest" / "asymmetric_lp.yaml"
    written = file.read_text(encoding="utf-8")
    include = written[written.index("include:\n") : written.index("  - file: ../parts/")]
    file.write_text(written.replace(include, block("yaml")), encoding="utf-8")
    assert not [problem for problem in check(load_topology([file])) if problem.severity == "error"]


def test_the_demo_prints_what_the_readme_shows(tmp_path: Path) -> None:
    topology = ROOT / "topologies" / "backtest" / "asymmetric_lp.yaml"
    page = run_backtest([topology], [], out=tmp_path / "run", record=False, progress=ProgressLine(quiet=True)).page
    shown = re.search(r"From what it prints:\n\n```\n(.*?)```", README, re.DOTALL)
    assert shown
    printed = page.splitlines()
    assert [line for line in shown[1].splitlines() if line and line not in printed] == []


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`pipeline ([a-z]+)", README))))
def test_the_commands_exist(name: str) -> None:
    assert main.get_command(main.make_context("pipeline", [], resilient_parsing=True), name) is not None


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([\w./-]+)\)", README))))
def test_the_links_lead_somewhere(target: str) -> None:
    assert (ROOT / target).exists()
