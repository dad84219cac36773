"""The journal brings back timers, silence and causes, and refuses what does not belong to the graph."""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from support.weather import Alarm, Diary, Reading, Siren, Smoother, Thermometer, node, plan_of, wire

from engine import Node, Out, state
from engine.clock import Clock, seconds_to_ns
from engine.errors import NodeFailed
from engine.process.ending import Ending
from engine.run.build import build
from engine.run.following import CannotKeep
from engine.run.host import Host
from engine.run.journal import VERSION, Journal, JournalDamaged, JournalFailed, QueueNews
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
            assert journal.restore(other.host) == ({}, b"")
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


def test_timers_of_a_node_that_is_gone_go_with_it(tmp_path: Path) -> None:
    run = started(station(None))
    run.host.schedule(run.host.nodes["diary"], "stop", 5.0, 0.0, None)
    without = replace(station(None), nodes=station(None).nodes[:2], wires=station(None).wires[:1])
    other = run.moved_to(without, tmp_path)
    assert [call.node.id for *_, call in other.host.calls] == ["siren"]


def test_state_that_a_node_can_no_longer_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = started(station(None))
    monkeypatch.setattr(run.host.nodes["siren"], "raised", "often")
    with pytest.raises(
        JournalDamaged, match=r"state of node 'siren' \(version 1\) that .* cannot read: Expected `int`"
    ):
        run.moved_to(station(None), tmp_path)


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


def spied(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the ids of nodes whose state is encoded from now on."""
    encoded: list[str] = []

    def encode(node: Node) -> bytes:
        encoded.append(node.id)
        return encode_state({name: getattr(node, name) for name in node.spec.state})

    monkeypatch.setattr("engine.run.journal.encode_fields", encode)
    return encoded


def test_a_commit_looks_only_at_nodes_that_have_handled_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(
        [node("sensor", Thermometer, values=[]), node("smoother", Smoother), node("siren", Siren)],
        [wire("sensor.reading", "smoother.reading"), wire("smoother.smooth", "siren.reading")],
    )
    run = started(plan)
    with closing(Journal(tmp_path / "state.sqlite")) as journal:
        encoded = spied(journal, monkeypatch)
        journal.save(run.host, {})
        assert sorted(encoded) == ["siren", "smoother"]
        encoded.clear()
        journal.save(run.host, {})
        assert encoded == []
        run.host.call(run.host.nodes["siren"], "remind", ())
        journal.save(run.host, {})
        assert encoded == ["siren"]
        encoded.clear()
        run.at(1, 20.0)
        journal.save(run.host, {})
        assert sorted(encoded) == ["siren", "smoother"]


def test_a_message_that_comes_twice_under_one_number_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host(Clock())
    smoother = host.add("smoother", Smoother, {})
    port = host.add_remote("sensor", "reading", Reading)
    host.wire(("sensor", "reading"), ("smoother", "reading"))
    with closing(Journal(tmp_path / "state.sqlite")) as journal:
        journal.save(host, {})
        encoded = spied(journal, monkeypatch)
        for celsius in (10.0, 30.0):
            port.sent = 6
            host.inject(port, Reading(celsius, 1))
            journal.save(host, {})
        assert encoded == ["smoother", "smoother"]
        mean, again = smoother.mean, Host(Clock())  # type: ignore[attr-defined]
        restored = again.add("smoother", Smoother, {})
        again.add_remote("sensor", "reading", Reading)
        journal.restore(again)
        assert (restored.mean, again.ports["sensor", "reading"].sent) == (mean, 7)  # type: ignore[attr-defined]


def test_chance_is_written_only_after_it_was_drawn_from_and_comes_back(tmp_path: Path) -> None:
    host, other = Host(Clock(), seed=5), Host(Clock(), seed=5)
    for each in (host, other):
        each.add("smoother", Smoother, {})
    chance = host.nodes["smoother"].random
    with closing(Journal(tmp_path / "state.sqlite")) as journal:
        journal.save(host, {})
        idle = journal.bytes
        chance.gauss(0.0, 1.0)
        journal.save(host, {})
        assert journal.bytes - idle > 2_000
        drawn = journal.bytes
        journal.save(host, {})
        assert journal.bytes - drawn < 200
        chance.randrange(10**30)
        journal.save(host, {})
        assert journal.bytes - drawn > 2_000
        journal.restore(other)
    draws = [lambda each: each.gauss(0.0, 1.0), lambda each: each.random(), lambda each: each.sample(range(99), 5)]
    assert [draw(chance) for draw in draws] == [draw(other.nodes["smoother"].random) for draw in draws]


def test_timers_are_written_when_they_change(tmp_path: Path) -> None:
    run = started(station(None))
    with closing(Journal(tmp_path / "state.sqlite")) as journal:

        def written() -> bool:
            before = journal._written.get("calls")
            journal.save(run.host, {})
            return journal._written["calls"] != before

        assert written()
        assert not written()
        timer = run.host.schedule(run.host.nodes["siren"], "remind", 5.0, 0.0, None)
        assert written()
        timer.cancel()
        assert written()
        assert not written()


def test_the_wires_and_what_has_ended_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Diary, "on_alarm", lambda self, alarm: 1 / 0)
    run = started(station(None))
    run.host.close("sensor")
    with pytest.raises(NodeFailed):
        run.host.call(run.host.nodes["siren"], "remind", ())
    other = Run(station(None))
    with closing(Journal(tmp_path / "state.sqlite")) as journal:
        journal.save(run.host, {"sensor": 3}, b"owed")
        assert journal.restore(other.host) == ({"sensor": 3}, b"owed")
    assert other.host.ports["sensor", "reading"].closed
    assert not other.host.ports["siren", "alarm"].closed
    assert other.host.failed == {"diary"}
    other.host.resume()
    other.host.call(other.host.nodes["siren"], "remind", ())
    assert len(other.alarms) == 1, "the failed node is not called again"


@pytest.mark.parametrize("at_once", [False, True])
def test_a_run_that_was_stopped_goes_on_with_its_timers_and_its_watches(tmp_path: Path, at_once: bool) -> None:
    ended: list[str] = []
    run = started(station())
    run.at(5, 31.0)
    ending = Ending(run.host, station(), ["sensor", "siren", "diary"], ended.append)
    if at_once:
        ending.stop_rest()
    else:
        ending.begin()
    assert ended == ([] if at_once else ["sensor", "siren", "diary"]), "who comes back has not ended"
    run.host.call_due(seconds_to_ns(100))
    assert run.alarms == [], "what is stopped is not called"
    other = run.moved_to(station(), tmp_path)
    assert not any(port.closed for port in other.host.ports.values())
    assert other.at(6) == ["6 31.000"]
    assert other.at(16) == ["15 reading is silent: warn"]
    assert other.at(61) == ["60 1 so far"]


def test_periods_that_have_passed_meanwhile_are_not_made_up_for(tmp_path: Path) -> None:
    other = started(station(None)).moved_to(station(None), tmp_path)
    day = 24 * 3600
    other.host.clock.now_ns = seconds_to_ns(day + 10)
    assert other.at(day + 10) == [f"{day + 10} 0 so far"]
    assert other.at(day + 60) == [f"{day + 60} 0 so far"]


def test_a_timer_that_a_stopped_node_has_cancelled_does_not_come_back(tmp_path: Path) -> None:
    run = started(station(None))
    run.host.silence(run.host.nodes["siren"])
    run.host.cancel(run.host.nodes["siren"], "remind")
    assert run.moved_to(station(None), tmp_path).at(200) == []


def test_a_full_disk_fails_the_commit_and_keeps_the_one_before(tmp_path: Path) -> None:
    run = started(station(None))
    with closing(Journal(tmp_path / "state.sqlite")) as journal:
        journal.save(run.host, {}, b"small")
        pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
        journal._db.execute(f"PRAGMA max_page_count = {pages}")
        run.at(5, 31.0)
        run.at(7)
        with pytest.raises(JournalFailed, match=r"state\.sqlite cannot be written: database or disk is full"):
            journal.save(run.host, {}, b"large" * 10_000)
    other = Run(station(None))
    with closing(Journal(tmp_path / "state.sqlite")) as journal:
        assert journal.restore(other.host) == ({}, b"small")
    assert other.host.nodes["siren"].raised == 0  # type: ignore[attr-defined]


def test_a_commit_that_failed_is_made_whole_by_the_next(tmp_path: Path) -> None:
    run = started(station(None))
    other = Run(station(None))
    with closing(Journal(tmp_path / "state.sqlite")) as journal:
        journal.save(run.host, {})
        pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
        journal._db.execute(f"PRAGMA max_page_count = {pages}")
        run.at(5, 31.0)
        run.at(7)
        with pytest.raises(JournalFailed):
            journal.save(run.host, {}, b"large" * 10_000)
        journal._db.execute("PRAGMA max_page_count = 100000")
        journal.save(run.host, {}, b"now")
        journal.restore(other.host)
    assert other.host.nodes["siren"].raised == 1  # type: ignore[attr-defined]


def test_queues_grow_at_one_end_and_are_forgotten_at_the_other(tmp_path: Path) -> None:
    host = started(station(None)).host
    with closing(Journal(tmp_path / "state.sqlite")) as journal:
        journal.save(host, {}, b"", [QueueNews("a", 0, [(9, b"nine"), (10, b"ten")]), QueueNews("b", 0, [(1, b"one")])])
        journal.save(host, {}, b"", [QueueNews("a", 10, [(11, b"eleven")])])
    with closing(Journal(tmp_path / "state.sqlite")) as journal:
        assert journal.queues() == {"a": [(10, b"ten"), (11, b"eleven")], "b": [(1, b"one")]}
        journal.save(host, {}, b"", [QueueNews("b", 2, [])])
        assert list(journal.queues()) == ["a"]


def test_a_commit_that_fails_leaves_queues_as_they_were(tmp_path: Path) -> None:
    host = started(station(None)).host
    with closing(Journal(tmp_path / "state.sqlite")) as journal:
        journal.save(host, {}, b"", [QueueNews("a", 0, [(1, b"one")])])
        journal._db.execute("PRAGMA max_page_count = 12")
        with pytest.raises(JournalFailed):
            journal.save(host, {}, b"", [QueueNews("a", 2, [(2, b"x" * 1_000_000)])])
        assert journal.queues() == {"a": [(1, b"one")]}


def test_journals_of_others_are_refused(tmp_path: Path) -> None:
    old, foreign, torn = (tmp_path / f"{name}.sqlite" for name in ("old", "foreign", "torn"))
    with closing(sqlite3.connect(old)) as db:
        db.executescript("CREATE TABLE node (id); PRAGMA user_version = 1;")
    with closing(sqlite3.connect(foreign)) as db:
        db.executescript(f"CREATE TABLE customers (id); PRAGMA user_version = {VERSION};")
    with closing(Journal(torn)) as journal:
        journal.save(started(station(None)).host, {}, b"x" * 100_000)
    data = bytearray(torn.read_bytes())
    data[4096:] = b"\x07" * (len(data) - 4096)
    torn.write_bytes(data)
    with pytest.raises(JournalDamaged, match="written by journal version 1; this is version 4"):
        Journal(old)
    with pytest.raises(JournalDamaged, match="is a database of something else"):
        Journal(foreign)
    with pytest.raises(JournalDamaged, match=r"torn\.sqlite (is damaged|cannot be used as a journal)"):
        Journal(torn)


def test_values_that_are_gone_are_damage(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "state.sqlite")) as journal:
        journal.save(started(station(None)).host, {})
        journal._db.execute("DELETE FROM host WHERE name = 'calls'")
        with pytest.raises(JournalDamaged, match="is damaged"):
            journal.restore(Run(station(None)).host)


def test_a_journal_belongs_to_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.run.journal.LOCK_WAIT_S", 0.05)
    with (
        closing(Journal(tmp_path / "state.sqlite")),
        pytest.raises(JournalDamaged, match="is in use by another process"),
    ):
        Journal(tmp_path / "state.sqlite")


@pytest.mark.parametrize("data", [object(), math.inf, [1.0, {"price": math.nan}], {1: "a"}])
def test_a_timer_with_what_cannot_be_written_down_is_refused(tmp_path: Path, data: object) -> None:
    run = started(station(None))
    run.host.schedule(run.host.nodes["siren"], "sound", 1.0, 0.0, data)
    with (
        closing(Journal(tmp_path / "state.sqlite")) as journal,
        pytest.raises(CannotKeep, match="node 'siren' waits for sound with"),
    ):
        journal.save(run.host, {})
