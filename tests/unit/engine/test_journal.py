"""The journal brings back timers, silence and causes, and refuses what does not belong to the graph."""

from __future__ import annotations

import math
from contextlib import closing
from pathlib import Path

import pytest
from support.weather import Alarm, Diary, Reading, Siren, Smoother, Thermometer, node, plan_of, wire

from engine import Node, Out, state
from engine.clock import Clock, seconds_to_ns
from engine.errors import NodeFailed
from engine.run.build import build
from engine.run.host import Host
from engine.run.journal import Journal, JournalDamaged
from engine.topology.model import OnStale, Policy
from engine.topology.plan import Plan
from engine.wire.codec import decode_state, encode_state


def station(after_s: float | None = 10.0) -> Plan:
    policy = Policy("block", on_stale=OnStale(after_s, "warn")) if after_s else None
    return plan_of(
        [node("sensor", Thermometer, values=[]), node("siren", Siren), node("diary", Diary)],
        [wire("sensor.reading", "siren.reading", policy), wire("siren.alarm", "diary.alarm")],
    )


class Run:
    """A host with what its siren has sent since it was made."""

    def __init__(self, plan: Plan) -> None:
        self.host = Host(Clock())
        build(plan, self.host)
        self.alarms: list[str] = []
        self.host.tap(("siren", "alarm"), self._hear)

    def _hear(self, alarm: Alarm) -> None:
        self.alarms.append(f"{self.host.clock.now_s:g} {alarm.text}")

    def at(self, second: float, celsius: float | None = None) -> list[str]:
        """Move to a time, let the sensor speak, and return what the siren has sent meanwhile."""
        self.alarms.clear()
        self.host.call_due(seconds_to_ns(second) + 1)
        self.host.clock.now_ns = seconds_to_ns(second)
        if celsius is not None:
            self.host.inject(self.host.ports["sensor", "reading"], Reading(celsius, seconds_to_ns(second)))
        return list(self.alarms)

    def moved_to(self, plan: Plan, folder: Path) -> Run:
        """Return another run that goes on where this one stands."""
        other = Run(plan)
        with closing(Journal(folder / "state.sqlite")) as journal:
            journal.save(self.host, {})
            assert journal.restore(other.host) == {}
        return other


def started(plan: Plan) -> Run:
    run = Run(plan)
    run.host.start()
    return run


def test_a_pending_call_is_made_at_its_time_and_knows_its_cause(tmp_path: Path):
    run = started(station())
    run.at(5, 31.0)
    other = run.moved_to(station(), tmp_path)
    (call,) = [call for *_, call in other.host.calls if call.handler == "sound"]
    assert (call.cause, call.cause_number) == (other.host.ports["sensor", "reading"], 1)
    assert other.at(6) == ["6 31.000"]


def test_what_start_schedules_is_not_scheduled_twice(tmp_path: Path):
    run = started(station(None))
    run.at(30, 1.0)
    other = run.moved_to(station(None), tmp_path)
    assert other.at(125) == ["60 0 so far", "120 0 so far"]


def test_an_input_that_is_silent_stays_silent_until_it_speaks(tmp_path: Path):
    run = started(station())
    assert run.at(15) == ["10 reading is silent: warn"]
    other = run.moved_to(station(), tmp_path)
    assert other.at(25) == []
    assert other.at(26, 1.0) == ["26 reading is back"]
    assert other.at(36) == ["36 reading is silent: warn"]


def test_silence_that_began_before_counts_on(tmp_path: Path):
    run = started(station())
    run.at(4, 1.0)
    run.at(13)
    assert run.moved_to(station(), tmp_path).at(14) == ["14 reading is silent: warn"]


def test_an_input_that_is_newly_watched_is_watched_from_now_on(tmp_path: Path):
    run = started(station(None))
    run.at(4, 1.0)
    assert run.moved_to(station(), tmp_path).at(14) == ["14 reading is silent: warn"]


def test_an_input_that_is_no_longer_watched_is_left_alone(tmp_path: Path):
    run = started(station())
    run.at(4, 1.0)
    assert run.moved_to(station(None), tmp_path).at(30) == []


def test_a_node_that_the_journal_does_not_know_is_refused(tmp_path: Path):
    run = started(station())
    plan = station()
    more = plan_of([*plan.nodes, node("smoother", Smoother)], list(plan.wires))
    with pytest.raises(JournalDamaged, match=r"was written without node 'smoother'; start with a new run folder"):
        run.moved_to(more, tmp_path)


def test_a_node_that_cannot_start_again_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = started(station())
    monkeypatch.setattr(Siren, "start", lambda self: 1 / 0)
    with pytest.raises(NodeFailed, match=r"node 'siren' failed in start: ZeroDivisionError"):
        run.moved_to(station(), tmp_path)


def test_resume_is_a_call_of_its_own_and_may_send(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = started(station())
    other = run.moved_to(station(), tmp_path)
    monkeypatch.setattr(Siren, "resume", Siren.remind)
    assert other.alarms == []
    other.host.resume()
    assert other.alarms == ["0 0 so far"]


class Egg(Node):
    """Rings in a while, unless it is told otherwise."""

    ring = Out(Alarm, doc="Done.")

    def start(self) -> None:
        self.after(3.0, self.done, "soft")
        self.after(7.0, self.done, "hard")
        self.after(5.0, self.look)

    def done(self, how: str) -> None:
        self.ring(text=how, event_time_ns=self.now_ns)

    def look(self) -> None:
        self.ring(text="look", event_time_ns=self.now_ns)


def test_calls_of_a_handler_are_cancelled_by_name_also_after_a_restart(tmp_path: Path):
    plan = plan_of([node("egg", Egg), node("other", Egg)], [])
    before, after = Host(Clock()), Host(Clock())
    for host in (before, after):
        build(plan, host)
    before.start()
    with closing(Journal(tmp_path / "state.sqlite")) as journal:
        journal.save(before, {})
        journal.restore(after)
    sent: list[str] = []
    for name in ("egg", "other"):
        after.tap((name, "ring"), lambda alarm, name=name: sent.append(f"{name}: {alarm.text}"))
    egg = after.nodes["egg"]
    assert isinstance(egg, Egg)
    egg.cancel(egg.done)
    egg.cancel(egg.done)
    after.call_due(seconds_to_ns(10))
    assert sent == ["other: soft", "egg: look", "other: look", "other: hard"]


def test_state_of_any_plain_shape_comes_back():
    class Kept(Node):
        """Keeps things."""

        by_price: dict[float, tuple[int, str]] = state(factory=dict, doc="Keys are numbers.")
        names: set[str] = state(factory=set, doc="Order does not matter.")
        big: int = state(0, doc="Beyond 64 bits.")
        last: Alarm | None = state(None, doc="A message.")
        raw: bytes = state(b"", doc="Bytes.")

    fields = {"by_price": {1.5: (1, "a")}, "names": {"b", "a"}, "big": -(1 << 255), "last": Alarm("x", 1), "raw": b"\0"}
    types = {name: field.type for name, field in Kept.spec.state.items()}
    assert decode_state(encode_state(fields), types) == fields


def test_state_that_is_not_finite_comes_back():
    fields = {"price": math.inf, "none": None, "levels": [(1.0, -math.inf)], "reading": Reading(math.nan, 1)}
    types = {"price": float, "none": float | None, "levels": list[tuple[float, float]], "reading": Reading | None}
    again = decode_state(encode_state(fields), types)
    assert math.isnan(again.pop("reading").celsius)
    del fields["reading"]
    assert again == fields
