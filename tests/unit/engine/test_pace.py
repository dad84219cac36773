"""The time that nodes see, when somebody sets the wall clock."""

from __future__ import annotations

import logging

import pytest

from engine.clock import NS_PER_S, Clock
from engine.run import pace
from engine.run.host import Host
from engine.run.live import Live
from engine.run.pace import Pace


class Machine:
    """The clocks of a machine; `set_by` is what somebody does to the one on the wall."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall_ns = 1_000 * NS_PER_S
        self.elapsed_ns = 5 * NS_PER_S
        monkeypatch.setattr(pace.time, "time_ns", lambda: self.wall_ns)
        monkeypatch.setattr(pace, "elapsed_ns", lambda: self.elapsed_ns)

    def set_by(self, seconds: float) -> None:
        self.wall_ns += round(seconds * NS_PER_S)

    def wait(self, seconds: float) -> None:
        self.set_by(seconds)
        self.elapsed_ns += round(seconds * NS_PER_S)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def seconds(live: Live) -> float:
    live.tick()
    return live.host.clock.now_s


def test_time_goes_on_when_the_wall_clock_is_set_back(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    live = Live(Host(Clock()))
    assert seconds(live) == 1_000
    machine.wait(3)
    machine.set_by(-600)
    with caplog.at_level(logging.CRITICAL):
        assert seconds(live) == 1_003
    assert "set back by 600.0 s" in caplog.text
    machine.wait(5)
    assert seconds(live) == 1_008
    assert live.pace.wait_s(1_010 * NS_PER_S) == 2
    machine.set_by(600)
    assert seconds(live) == 1_008, "it was set right"
    machine.wait(1)
    assert seconds(live) == 1_009


def test_time_follows_a_wall_clock_that_is_set_forward(machine: Machine) -> None:
    live = Live(Host(Clock()))
    seconds(live)
    machine.set_by(600)
    assert seconds(live) == 1_600, "what was received before is old"
    machine.set_by(-600)
    machine.wait(1)
    assert seconds(live) == 1_601


def test_a_paced_run_keeps_its_speed(machine: Machine) -> None:
    paced = Pace(0, machine.wall_ns, 100.0)
    machine.wait(2)
    assert paced.now_ns() == 200 * NS_PER_S
    machine.set_by(-50)
    machine.wait(1)
    assert paced.now_ns() == 300 * NS_PER_S


def test_corrections_of_the_wall_clock_are_followed(machine: Machine) -> None:
    live = Live(Host(Clock()))
    for _ in range(100):
        machine.wait(100)
        machine.set_by(-0.05)
        live.tick()
    assert seconds(live) == 1_000 + 100 * 100 - 5


def test_a_process_that_comes_back_goes_on_from_where_it_was(machine: Machine) -> None:
    live = Live(Host(Clock(1_600 * NS_PER_S)))
    live.pace.go_on_from(live.host.clock.now_ns)
    machine.wait(1)
    assert seconds(live) == 1_601
    live = Live(Host(Clock(1_003 * NS_PER_S)))
    live.pace.go_on_from(live.host.clock.now_ns)
    assert live.pace.wall.shift_ns == 0, "the others will soon be there"


def test_the_clocks_of_this_machine_agree() -> None:
    wall = pace.Wall()
    first = wall.now_ns()
    assert 0 <= wall.now_ns() - first < NS_PER_S
    assert wall.shift_ns == 0
