"""The deterministic run: merging, timers, silence, failure, recording, replay, journal."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from support.weather import Diary, Reading, Siren, Smoother, Thermometer, node, plan_of, wire

from engine import Node
from engine.clock import Clock
from engine.errors import NodeFailed, PipelineError, TopologyError
from engine.run.backtest import HistoryOutOfOrder, backtest
from engine.run.build import build
from engine.run.host import Host
from engine.run.journal import Journal, JournalDamaged
from engine.run.replay import replay
from engine.run.segment import CLOSED, RecordingFailed, read_recording
from engine.topology.model import OnStale, Policy
from engine.topology.plan import Plan

HOT = [20.0, 25.0, 31.0, 33.0, 20.0]


def station(values: list[float] = HOT, **smoother: object) -> Plan:
    return plan_of(
        [
            node("sensor", Thermometer, values=values),
            node("smoother", Smoother, weight=1.0, **smoother),
            node("siren", Siren),
            node("diary", Diary),
        ],
        [
            wire("sensor.reading", "smoother.reading"),
            wire("smoother.smooth", "siren.reading", Policy("block", on_stale=OnStale(10.0, "warn"))),
            wire("siren.alarm", "diary.alarm"),
        ],
    )


def run_in_memory(plan: Plan, monkeypatch: pytest.MonkeyPatch, out: Path) -> list[str]:
    """Return what the diary wrote."""
    found: list[list[str]] = []
    stop = Diary.stop

    def keep(self: Diary) -> None:
        stop(self)
        found.append(self.lines)

    monkeypatch.setattr(Diary, "stop", keep)
    backtest(plan, out, record=False)
    return found[0]


def test_timers_are_made_after_the_messages_of_their_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = run_in_memory(station(), monkeypatch, tmp_path)
    assert [line.split()[0] for line in lines[:2]] == ["3", "4"]  # read at 2 and 3, one second late
    assert lines[-2:] == ["4 alarm closed", "4 stop"]


def test_timers_between_two_rows_are_made_at_their_own_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(
        [node("a", Thermometer, values=[31.0, 0.0], step_s=125.0), node("siren", Siren), node("diary", Diary)],
        [wire("a.reading", "siren.reading"), wire("siren.alarm", "diary.alarm")],
    )
    lines = run_in_memory(plan, monkeypatch, tmp_path)
    assert lines[:3] == ["1 31.000", "60 1 so far", "120 1 so far"]


def test_a_silent_input_is_told_once_and_recovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(
        [node("a", Thermometer, values=[1.0, 1.0, 1.0], step_s=25.0), node("siren", Siren), node("diary", Diary)],
        [
            wire("a.reading", "siren.reading", Policy("block", on_stale=OnStale(10.0, "warn"))),
            wire("siren.alarm", "diary.alarm"),
        ],
    )
    lines = run_in_memory(plan, monkeypatch, tmp_path)
    assert lines[:4] == [
        "10 reading is silent: warn",
        "25 reading is back",
        "35 reading is silent: warn",
        "50 reading is back",
    ]


def test_histories_are_merged_by_time_and_ties_by_declared_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(
        [
            node("late", Thermometer, values=[1.0, 2.0], first_s=1.0),
            node("early", Thermometer, values=[3.0, 4.0], first_s=0.0),
            node("diary", Diary),
        ],
        [wire("late.reading", "diary.reading"), wire("early.reading", "diary.reading")],
    )
    lines = run_in_memory(plan, monkeypatch, tmp_path)
    assert lines[:4] == ["0 3.000", "1 1.000", "1 4.000", "2 2.000"]


def test_a_failing_node_ends_the_run_and_the_others_put_their_work_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[str] = []
    monkeypatch.setattr(Diary, "stop", lambda self: stopped.append(self.id))
    monkeypatch.setattr(Smoother, "on_reading", lambda self, reading: 1 / 0)
    with pytest.raises(NodeFailed, match=r"node 'smoother' failed in .*ZeroDivisionError"):
        backtest(station(), tmp_path, record=False)
    assert stopped == ["diary"]


def test_a_driver_is_refused(tmp_path: Path) -> None:
    class Live(Node):
        """Talks to the world."""

        async def run(self) -> None: ...

    plan = station()
    plan = plan_of([*plan.nodes, node("live", Live)], list(plan.wires))
    plan.topology.nodes["live"] = type("Declared", (), {"use_origin": plan.topology.origin})()
    with pytest.raises(TopologyError, match="driver-in-backtest"):
        backtest(plan, tmp_path, record=False)


def test_a_history_that_goes_back_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = list(Thermometer.history(node_of(HOT)))
    monkeypatch.setattr(Thermometer, "history", lambda self: iter([rows[1], rows[0]]))
    with pytest.raises(HistoryOutOfOrder, match="'sensor' goes back in time: 0 ns after 1000000000 ns"):
        backtest(station(), tmp_path, record=False)


def node_of(values: list[float]) -> Thermometer:
    made = Host(Clock()).add("sensor", Thermometer, {"values": values, "step_s": 1.0, "first_s": 0.0})
    assert isinstance(made, Thermometer)
    return made


def test_no_data_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="no history has any data"):
        backtest(station([]), tmp_path, record=False)


def test_two_runs_write_the_same_bytes_and_a_replay_repeats_them(tmp_path: Path) -> None:
    values = [20.0 + (index * 7919 % 17) for index in range(200)]
    for name in ("a", "b"):
        backtest(station(values), tmp_path / name, seed=5)
    first = (tmp_path / "a" / "recordings" / f"events{CLOSED}").read_bytes()
    assert first == (tmp_path / "b" / "recordings" / f"events{CLOSED}").read_bytes()
    result = replay(station(values), tmp_path / "a" / "recordings", tmp_path / "again", seed=5)
    assert result.same
    assert result.outputs > 200


def test_a_replay_finds_a_node_that_decides_differently(tmp_path: Path) -> None:
    backtest(station(), tmp_path, seed=5)
    other_seed = replay(station(), tmp_path / "recordings", tmp_path / "again", seed=6)
    assert not other_seed.same
    assert other_seed.differences[0].node == "smoother"
    quiet = station()
    quiet.nodes[2].params["limit"] = 99.0
    lost = replay(quiet, tmp_path / "recordings", tmp_path / "again", seed=5)
    assert lost.same  # the alarm is sent by a timer, which the recording repeats
    loud = station()
    loud.nodes[1].params["weight"] = 0.1
    assert replay(loud, tmp_path / "recordings", tmp_path / "again", seed=5).differing >= 3


def test_a_recording_tells_the_cause_of_every_message(tmp_path: Path) -> None:
    backtest(station(), tmp_path)
    rows = list(read_recording(tmp_path / "recordings"))
    alarm = next(row for row in rows if row.kind == "out" and row.name == "alarm")
    timer = next(
        row for row in rows if row.kind == "call" and (row.writer, row.number) == (alarm.cause, alarm.cause_number)
    )
    assert timer.name == "sound"
    smooth = next(
        row for row in rows if row.kind == "out" and (row.writer, row.number) == (timer.cause, timer.cause_number)
    )
    assert (smooth.writer, smooth.number) == ("smoother.smooth", 3)
    assert (smooth.cause, smooth.cause_number) == ("sensor.reading", 3)


def test_hash_seed_does_not_matter(tmp_path: Path) -> None:
    script = (
        "import sys; sys.path.insert(0, 'tests'); sys.path.insert(0, 'tests/unit/engine')\n"
        "from pathlib import Path; from test_backtest import station; from engine.run.backtest import backtest\n"
        "backtest(station([20.0 + i % 15 for i in range(50)]), Path(sys.argv[1]), seed=3)\n"
    )
    written = []
    for hash_seed in ("1", "2"):
        out = tmp_path / hash_seed
        subprocess.run(
            [sys.executable, "-c", script, str(out)], check=True, env={"PYTHONHASHSEED": hash_seed, "PATH": "/usr/bin"}
        )
        written.append((out / "recordings" / f"events{CLOSED}").read_bytes())
    assert written[0] == written[1]


def test_state_timers_and_chance_come_back_from_the_journal(tmp_path: Path) -> None:
    def feed(host: Host, rows: range) -> list[float]:
        sent: list[float] = []
        host.tap(("smoother", "smooth"), lambda message: sent.append(message.celsius))
        for second in rows:
            host.call_due(second * 10**9)
            host.clock.now_ns = second * 10**9
            port = host.ports["sensor", "reading"]
            host.inject(port, port.message(25.0 + second % 10, second * 10**9))
        return sent

    def fresh() -> Host:
        host = Host(Clock(), seed=9)
        build(station(), host)
        return host

    uncut, half = fresh(), fresh()
    uncut.start()
    whole = feed(uncut, range(1, 100))
    half.start()
    first = feed(half, range(1, 50))
    journal = Journal(tmp_path / "state.sqlite")
    journal.save(half, {"sensor": 49})
    journal.close()
    other = fresh()
    with closing(Journal(tmp_path / "state.sqlite")) as restored:
        assert restored.restore(other) == ({"sensor": 49}, b"")
    assert other.nodes["siren"].raised == half.nodes["siren"].raised > 0  # type: ignore[attr-defined]
    assert first + feed(other, range(50, 100)) == whole


def test_a_journal_of_other_nodes_or_not_a_journal_is_refused(tmp_path: Path) -> None:
    host = Host(Clock())
    build(station(), host)
    with closing(Journal(tmp_path / "state.sqlite")) as journal:
        assert journal.restore(host) is None
        journal.save(host, {})
        with pytest.raises(JournalDamaged, match="which this topology has not"):
            journal.restore(Host(Clock()))
    (tmp_path / "text.sqlite").write_text("no database at all, but long enough to look like a file" * 50)
    with pytest.raises(JournalDamaged, match="cannot be used as a journal"):
        Journal(tmp_path / "text.sqlite")


def test_state_of_an_older_version_is_migrated_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(Clock())
    build(station(), host)
    host.nodes["smoother"].mean = 7.0  # type: ignore[attr-defined]
    with closing(Journal(tmp_path / "state.sqlite")) as journal:
        journal.save(host, {})
        monkeypatch.setattr(Smoother, "spec", replace(Smoother.spec, state_version=2))
        with pytest.raises(JournalDamaged, match="written by version 1"):
            journal.restore(host)
        monkeypatch.setattr(Smoother, "migrate", lambda self, version, fields: {"mean": fields["mean"] * 2})
        journal.restore(host)
    assert host.nodes["smoother"].mean == 14.0  # type: ignore[attr-defined]


def test_one_node_is_recorded_and_replayed_alone(tmp_path: Path) -> None:
    backtest(station(), tmp_path, only=frozenset({"siren"}))
    rows = list(read_recording(tmp_path / "recordings"))
    assert {row.node for row in rows} == {"siren"}
    result = replay(station(), tmp_path / "recordings", tmp_path / "again", only=frozenset({"siren"}))
    assert result.same
    assert (result.nodes, result.outputs) == (1, 2)
    with pytest.raises(PipelineError, match="no node sirene in the topology"):
        replay(station(), tmp_path / "recordings", tmp_path / "again", only=frozenset({"sirene"}))


def test_a_history_that_raises_is_named_and_the_others_are_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Thermometer):
        yield 0, Reading(1.0, 0)
        yield 1, Reading(self.values["one"], 1)  # type: ignore[call-overload]

    stopped: list[str] = []
    monkeypatch.setattr(Diary, "stop", lambda self: stopped.append(self.id))
    monkeypatch.setattr(Thermometer, "history", broken)
    with pytest.raises(NodeFailed, match="node 'sensor' failed in broken: TypeError"):
        backtest(station(), tmp_path, record=False)
    assert stopped == ["diary"]


def test_a_damaged_recording_is_an_error_with_its_file(tmp_path: Path) -> None:
    backtest(station(), tmp_path)
    file = tmp_path / "recordings" / f"events{CLOSED}"
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(RecordingFailed, match=r"events\.parquet cannot be read as a recording"):
        list(read_recording(tmp_path / "recordings"))


def test_what_fails_while_stopping_is_noted_on_the_first_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Smoother, "on_reading", lambda self, reading: 1 / 0)
    monkeypatch.setattr(Diary, "stop", lambda self: 1 / 0)
    with pytest.raises(NodeFailed, match="node 'smoother' failed") as caught:
        backtest(station(), tmp_path, record=False)
    assert "then node 'diary' could not be stopped: node 'diary' failed in" in caught.value.__notes__[0]
