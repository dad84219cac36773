"""A run in processes, with crashes, is replayed: every start from the state it began with."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.halves import Half, Station, station
from support.weather import Alarm, Reading, Siren, Smoother

from engine import In, Node, Out
from engine.clock import Clock
from engine.errors import NodeFailed, PipelineError, UsageError
from engine.run.recording import Recorder
from engine.run.replay import Replayed, replay


def recorded(run: Path) -> Path:
    """Return the recording of a run in which both processes have crashed once."""
    both = Station(run)
    for second in range(1, 40):
        both.read(second, 25.0 + second % 10)
        if second == 11:
            both.crash("field")
        if second == 23:
            both.crash("house")
    both.close()
    return run / "recordings"


def replayed(run: Path, **options: object) -> Replayed:
    return replay(station(), run / "recordings", run / "again", seed=3, **options)


def test_every_start_is_replayed_from_its_state(tmp_path: Path) -> None:
    recorded(tmp_path)
    result = replayed(tmp_path)
    assert result.same, result.differences
    assert result.nodes == 4
    assert result.by_node["smoother"].messages == 39
    assert [(each.process, each.start, each.end.partition(":")[0]) for each in result.segments] == [
        ("field", 1, "cut"),
        ("house", 1, "cut"),
        ("field", 2, ""),
        ("house", 2, ""),
    ]
    assert result.same_on("siren.alarm")
    with pytest.raises(UsageError, match=r"no message of siren\.noise was compared"):
        result.same_on("siren.noise")


def test_state_and_chance_are_needed_for_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("engine.run.replay.unpack_chance", lambda chance, data: None)
        result = replayed(tmp_path)
        assert result.by_node["smoother"].differing == 28
        assert not result.same_on("smoother.smooth")
    monkeypatch.setattr("engine.run.replay.give_back", lambda node, version, data: None)
    assert not replayed(tmp_path).same


def test_one_node_of_a_process_is_replayed_alone(tmp_path: Path) -> None:
    recorded(tmp_path)
    result = replayed(tmp_path, only=frozenset({"siren"}))
    assert (result.same, result.nodes) == (True, 1)


def test_another_code_is_found_where_it_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded(tmp_path)
    monkeypatch.setattr(Siren, "sound", lambda self, celsius: None)
    result = replayed(tmp_path)
    assert result.by_node["siren"].differing > 3
    assert result.by_node["smoother"].differing == 0
    assert not result.same_on("siren.alarm")
    assert result.same_on("smoother.smooth")


def test_a_failure_is_replayed_and_a_new_one_is_a_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def frail(self: Smoother, reading: Reading) -> None:
        self.smooth(celsius=reading.celsius, event_time_ns=reading.event_time_ns)
        if reading.celsius > 40:
            raise ValueError("too hot")

    sane = Smoother.on_reading
    both = Station(tmp_path)
    both.read(1, 20.0)
    both.close()
    monkeypatch.setattr(Smoother, "on_reading", frail)
    half = Half(station(), tmp_path, "field", 2)
    with pytest.raises(NodeFailed, match="too hot"):
        half.host.inject(half.host.ports["sensor", "reading"], Reading(41.0, 5))
    half.recorder.abandon()
    half.journal.close()
    result = replayed(tmp_path, only=frozenset({"smoother"}))
    assert result.segments[-1].failed == {"smoother": "ValueError"}
    assert result.differing == 1, "the first start was run by the code before"
    monkeypatch.setattr(Smoother, "on_reading", sane)
    result = replayed(tmp_path, only=frozenset({"smoother"}))
    assert [(each.recorded, each.replayed) for each in result.differences] == [
        ("failed: ValueError", "failed: nothing")
    ]


def test_a_node_that_fails_only_in_the_replay_is_a_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded(tmp_path)
    monkeypatch.setattr(Siren, "sound", lambda self, celsius: 1 / 0)
    result = replayed(tmp_path)
    assert any(each.replayed == "failed: ZeroDivisionError" for each in result.differences)


def test_a_recording_that_was_stopped_says_so(tmp_path: Path) -> None:
    both = Station(tmp_path)
    both.read(1, 31.0)
    both.house.recorder.stop("the disk is nearly full", both.house.host.clock.now_ns)
    both.read(2, 31.0)
    both.close()
    result = replayed(tmp_path)
    assert result.same
    assert [each.end for each in result.segments] == ["", "recording stopped: the disk is nearly full"]


class Radio(Node):
    """Talks to the world."""

    alarm = In(Alarm, doc="What to tell.")
    heard = Out(Reading, doc="What was heard.")

    async def run(self) -> None:
        """Nothing comes."""

    def on_alarm(self, alarm: Alarm) -> None:
        self.heard(celsius=1.0, event_time_ns=1)


def test_what_talks_to_the_world_is_not_replayed(tmp_path: Path) -> None:
    from support.weather import node, plan_of, wire

    from engine.run.build import build
    from engine.run.recording import RecordingHost

    plan = plan_of([node("siren", Siren), node("radio", Radio)], [wire("siren.alarm", "radio.alarm")])
    recorder = Recorder(tmp_path / "recordings")
    host = RecordingHost(Clock(), recorder)
    build(plan, host)
    host.start()
    host.call_due(61 * 10**9)
    recorder.close()
    result = replay(plan, tmp_path / "recordings", tmp_path / "again")
    assert (result.same, result.outputs, result.drivers) == (True, 1, ["radio"])
    with pytest.raises(UsageError, match="'radio' owns a connection to the world"):
        replay(plan, tmp_path / "recordings", tmp_path / "again", only=frozenset({"radio"}))


def test_a_row_that_does_not_fit_its_node_is_an_error(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "recordings")
    recorder.add((1, "in", "siren", "reading", "smoother.smooth", 1, 1, "", 0, b"\xc1"))
    recorder.close()
    with pytest.raises(PipelineError, match=r"does not fit node 'siren' at in 'reading', smoother\.smooth#1"):
        replayed(tmp_path)


class Alarm2(Alarm):
    """An alarm of a later version."""

    place: str = ""


def test_messages_that_have_other_fields_now_are_named(tmp_path: Path) -> None:
    recorded(tmp_path)
    assert replayed(tmp_path).changed == []
    siren = Siren.spec.outputs["alarm"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(siren, "message", Alarm2)
        assert replayed(tmp_path).changed == ["siren.alarm"]
