"""The whole trading loop in seeded worlds that go wrong; a failure prints the command that shows it again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.faulty_world import SABOTAGE, sabotaged

from engine.testing import run_node
from nodes.messages import VenuePosition
from tools.simulate import seeds_of
from tools.simulation.links import PositionLink
from tools.simulation.script import FAULTY_S, Fault, Say, script
from tools.simulation.world import WORLDS, Failed, command_for, simulate

ROOT = Path(__file__).parents[2]
BLOCK = 25


@pytest.mark.parametrize(("kind", "seed"), [*(("trader", seed) for seed in range(20)), *(("lp", n) for n in range(10))])
def test_the_loop_holds(kind, seed):
    outcome = simulate(seed, kind)
    assert outcome.messages > 1_000


@pytest.mark.long
@pytest.mark.parametrize("kind", WORLDS)
@pytest.mark.parametrize("first", range(1_001, 1_501, BLOCK))
def test_the_loop_holds_in_a_thousand_worlds(first, kind):
    failures = []
    for seed in range(first, first + BLOCK):
        try:
            simulate(seed, kind)
        except Failed as failure:
            failures.append(str(failure))
    assert not failures, "\n".join(failures)


def test_the_worlds_do_what_they_are_for():
    outcomes = [simulate(seed, "trader") for seed in range(4)]
    assert sum(outcome.fills for outcome in outcomes) > 50
    assert any(outcome.halted for outcome in outcomes)
    assert any(outcome.blocked for outcome in outcomes)
    assert simulate(1, "lp").commands > 3


@pytest.mark.parametrize("kind", WORLDS)
def test_a_seed_is_one_world_under_any_hash_seed(kind):
    here = simulate(3, kind).digest
    found = {
        subprocess.run(
            [sys.executable, "-m", "tools.simulate", "--seeds", "3", "--world", kind],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split("digest='")[1][:16]
        for hash_seed in ("1", "2")
    }
    assert found == {here}


def test_another_seed_is_another_world():
    assert simulate(3, "trader").digest != simulate(4, "trader").digest


@pytest.mark.parametrize("name", sorted(SABOTAGE))
def test_the_witness_notices(name, monkeypatch):
    expected, kind = sabotaged(name, monkeypatch)
    with pytest.raises(Failed, match=expected) as failed:
        for seed in range(1, 21):
            simulate(seed, kind)
    assert "python -m tools.simulate --world" in str(failed.value)


def test_a_script_is_in_order_and_ends_its_faults():
    acts = list(script(5, lp=False))
    times = [at for at, _ in acts]
    assert times == sorted(times)
    mends = [at for at, act in acts if isinstance(act, Fault) and act.kind == "mend"]
    assert len(mends) == 1 and mends[0] >= FAULTY_S
    assert not [act for at, act in acts if at > mends[0] and not isinstance(act, Say)]


def test_a_command_plays_one_world_again():
    assert command_for(7, "lp") == "python -m tools.simulate --world lp --seeds 7 --show"
    assert seeds_of("7") == range(7, 8)
    assert seeds_of("1..500") == range(1, 501)


# --- links ------------------------------------------------------------------------------------------------------------


def positions(count: int) -> list[VenuePosition]:
    return [VenuePosition("ETH-USDT-PERP", number, 0, 0, 0, 0, 0) for number in range(count)]


def passed_on(link, messages, cut_s: float = 0.0) -> list[int]:
    if cut_s:
        link.silence(cut_s)
    for message in messages:
        link.on_arriving(message)
    return [message.event_time_ns for _, message in link.at(1_000.0)]


def test_a_lossy_link_loses_repeats_and_reorders():
    link = run_node(PositionLink, mean_delay_s=1.0, drop=0.2, repeat=0.2)
    found = passed_on(link, positions(200))
    assert 0 < len(set(found)) < 200
    assert len(found) > len(set(found))
    assert found != sorted(found)


def test_a_reliable_link_keeps_all_in_order_beside_its_late_copies():
    link = run_node(PositionLink, mean_delay_s=1.0, repeat=0.5, in_order=True, lossless=True)
    found = passed_on(link, positions(200))
    assert list(dict.fromkeys(found)) == list(range(200))
    assert len(found) > 200


def test_a_cut_loses_on_a_lossy_link_and_delays_on_a_lossless_one():
    assert passed_on(run_node(PositionLink), positions(3), cut_s=5.0) == []
    link = run_node(PositionLink, mean_delay_s=0.0, in_order=True, lossless=True)
    link.silence(5.0)
    link.on_arriving(positions(1)[0])
    assert link.at(4.9) == []
    assert len(link.at(5.1)) == 1


def test_a_mended_link_is_a_good_wire():
    link = run_node(PositionLink, mean_delay_s=5.0, drop=0.9, repeat=0.9)
    link.mend()
    assert passed_on(link, positions(50)) == list(range(50))
