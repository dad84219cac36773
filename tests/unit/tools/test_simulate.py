from __future__ import annotations

from click.testing import CliRunner

from tools import simulate as tool
from tools.simulation.world import Failed


def run(*arguments: str):
    return CliRunner().invoke(tool.main, arguments)


def test_it_plays_the_worlds_asked_for_and_sums_up():
    result = run("--seeds", "1..2", "--world", "trader")
    assert result.exit_code == 0, result.output
    assert "2 worlds" in result.output
    assert "0 failed" in result.output


def test_a_failing_world_is_named_and_the_others_are_played(monkeypatch):
    real = tool.simulate

    def one_breaks(seed, world, show):
        if seed == 1:
            raise Failed(f"world {world}, seed {seed}: broken")
        return real(seed, world, show)

    monkeypatch.setattr(tool, "simulate", one_breaks)
    result = run("--seeds", "1..2", "--world", "trader")
    assert result.exit_code == 1
    assert "world trader, seed 1: broken" in result.output
    assert "2 worlds" in result.output and "1 failed" in result.output


def test_what_is_no_range_of_seeds_is_said():
    result = run("--seeds", "one..2")
    assert result.exit_code == 2
    assert "neither a seed nor a range" in result.output
