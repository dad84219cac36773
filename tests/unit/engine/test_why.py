"""Why a message was sent: its causes, through processes, timers and restarts, back to what came from outside."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.halves import Half, Station, station
from support.weather import Alarm, Reading

from engine import In, Message, Node, Out
from engine.cli import main
from engine.clock import Clock, seconds_to_ns
from engine.errors import UsageError
from engine.run.lookup import Records
from engine.run.recording import Recorder, RecordingHost
from engine.run.segment import Segment
from engine.run.why import Reason, why


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Make a run in two processes, the first of which is still running."""
    both = Station(tmp_path)
    for second in range(1, 30):
        both.read(second, 25.0 + second % 10)
        if second == 11:
            both.crash("field")
        if second == 14:
            both.crash("house")
    both.house.close()
    return tmp_path


def chain(reason: Reason) -> list[str]:
    """Return the ids along the causes."""
    found = [reason.id]
    while causes := [child for child in reason.reasons if child.role == "cause"]:
        (reason,) = causes
        found.append(reason.id)
    return [*found, reason.note]


def of(run: Path) -> Records:
    return Records(run / "recordings")


def test_causes_lead_through_a_timer_and_another_process_to_what_came_from_outside(run: Path) -> None:
    story = why(of(run), "siren.alarm#2")
    assert chain(story.reason) == ["siren.alarm#2", "smoother.smooth#7", "sensor.reading#7", "from outside"]
    smooth, newer = story.reason.reasons
    assert (story.reason.process, smooth.process, smooth.type) == ("house", "field", "Reading")
    assert smooth.through == ["sound"]
    assert smooth.before_ns == seconds_to_ns(1)
    assert smooth.wire_ns == 0
    assert story.reason.fields["level"] == 1
    assert (newer.role, newer.id) == ("known", "smoother.smooth#8")


def test_causes_lead_through_restarts_of_both_processes(run: Path) -> None:
    # The reading of second 14 was the last thing the house got before it died; its timer outlived it.
    reason = why(of(run), "siren.alarm#9@2").reason
    ids = chain(reason)
    assert ids[1].endswith("@2")
    assert ids[2].endswith("@2")
    assert ids[3] == "from outside"
    first = next(
        alarm
        for number in range(1, 20)
        if (alarm := _tried(of(run), f"siren.alarm#{number}@2")) is not None and alarm.time_ns > seconds_to_ns(14)
    )
    assert (first.start, first.reasons[0].time_ns) == (2, first.time_ns - seconds_to_ns(1))


def _tried(records: Records, asked: str) -> Reason | None:
    try:
        return why(records, asked).reason
    except UsageError:
        return None


def test_a_number_that_two_starts_have_given_is_told_apart(tmp_path: Path) -> None:
    both = Station(tmp_path)
    both.read(1, 20.0)
    for half in (both.field, both.house):
        half.host.clock.now_ns = seconds_to_ns(2)
    both.field.host.inject(both.field.host.ports["sensor", "reading"], Reading(21.0, 2))
    both.field.recorder.flush()
    both.house.commit()
    both.crash("field")
    both.read(3, 25.0)
    both.close()
    records = of(tmp_path)
    by_start = {text: why(records, text).reason for text in ("sensor.reading#2@1", "sensor.reading#2@2")}
    assert [each.fields["celsius"] for each in by_start.values()] == [21.0, 25.0]
    assert why(records, "sensor.reading#2").reason.start == 2
    smooth = why(records, "smoother.smooth#2@1").reason
    assert [each.id for each in smooth.reasons] == ["sensor.reading#2"]


def test_a_call_is_told_as_well(run: Path) -> None:
    reason = why(of(run), "siren.#1").reason
    assert (reason.type, reason.reasons) == ("start()", [])


def test_what_is_not_there_is_an_error_that_helps(run: Path) -> None:
    records = of(run)
    with pytest.raises(UsageError, match=r"siren\.alarm#999 is not in the recording"):
        why(records, "siren.alarm#999")
    with pytest.raises(UsageError, match=r"no output 'siren\.alarn'.*did you mean 'siren\.alarm'"):
        why(records, "siren.alarn#1")
    with pytest.raises(UsageError, match=r"no message in [\d,]+ rows has the value '99\.99'"):
        why(records, "99.99")


class Ask(Message):
    """A request."""

    ask_id: str
    size: int


class Answer(Message):
    """What became of it."""

    identity = ("answer_id",)

    answer_id: str
    ask_id: str


class Desk(Node):
    """Asks when a reading comes, and remembers the alarms."""

    reading = In(Reading, doc="What it acts on.")
    alarm = In(Alarm, doc="What it knows besides.")
    ask = Out(Ask, doc="The request.")

    def on_reading(self, reading: Reading) -> None:
        self.ask(ask_id=f"ask-{reading.celsius:g}", size=1 << 80)

    def on_alarm(self, alarm: Alarm) -> None:
        """Nothing follows at once."""


class Market(Node):
    """Answers what was asked when the next tick comes."""

    ask = In(Ask, doc="Requests.")
    tick = In(Reading, doc="Ticks.")
    answer = Out(Answer, doc="Answers.")

    def start(self) -> None:
        self.open: list[str] = []

    def on_ask(self, ask: Ask) -> None:
        self.open.append(ask.ask_id)

    def on_tick(self, tick: Reading) -> None:
        for ask_id in self.open:
            self.answer(answer_id=f"{len(ask_id)}", ask_id=ask_id)
        self.open.clear()


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """Make a run in one process, in which an answer follows from a tick and from a request."""
    recorder = Recorder(tmp_path / "recordings")
    host = RecordingHost(Clock(), recorder)
    host.add("desk", Desk, {})
    host.add("market", Market, {})
    for name, message in (("reading", Reading), ("tick", Reading), ("alarm", Alarm)):
        host.add("world" if name == "reading" else name, type("World", (Node,), {name: Out(message, doc="x")}), {})
    host.wire(("world", "reading"), ("desk", "reading"))
    host.wire(("alarm", "alarm"), ("desk", "alarm"))
    host.wire(("desk", "ask"), ("market", "ask"))
    host.wire(("tick", "tick"), ("market", "tick"))
    host.start()
    steps: list[tuple[tuple[str, str], Message]] = [
        (("alarm", "alarm"), Alarm("old", 1)),
        (("alarm", "alarm"), Alarm("new", 1)),
        (("world", "reading"), Reading(7.0, 1)),
        (("tick", "tick"), Reading(1.0, 1)),
        (("world", "reading"), Reading(77.0, 1)),
        (("tick", "tick"), Reading(2.0, 1)),
    ]
    for second, (key, message) in enumerate(steps):
        host.clock.now_ns = seconds_to_ns(second)
        host.inject(host.ports[key], message)
    recorder.close()
    return tmp_path


def test_an_id_leads_to_the_first_message_that_carries_it(desk: Path) -> None:
    story = why(of(desk), "ask-7")
    assert chain(story.reason) == ["desk.ask#1", "world.reading#1", "from outside"]
    assert [each.id for each in story.carriers] == ["desk.ask#1", "market.answer#1"]
    assert story.reason.fields["size"] == 1 << 80


def test_what_a_node_knew_besides_is_told(desk: Path) -> None:
    reason = why(of(desk), "desk.ask#1").reason
    assert [(each.role, each.id, each.before_ns) for each in reason.reasons] == [
        ("cause", "world.reading#1", 0),
        ("known", "alarm.alarm#2", seconds_to_ns(1)),
    ]


def test_an_answer_follows_from_the_tick_and_from_the_request(desk: Path) -> None:
    reason = why(of(desk), "market.answer#2").reason
    assert [(each.role, each.id) for each in reason.reasons] == [("cause", "tick.tick#2"), ("first", "desk.ask#2")]
    first = reason.reasons[1]
    assert first.about == "ask_id ask-77"
    assert [(each.role, each.id) for each in first.reasons] == [
        ("cause", "world.reading#2"),
        ("known", "alarm.alarm#2"),
    ]


def test_the_message_whose_identity_it_is_comes_before_those_that_mention_it(desk: Path) -> None:
    assert why(of(desk), "6").reason.id == "market.answer#2"


def test_a_whole_value_is_looked_for(desk: Path) -> None:
    with pytest.raises(UsageError, match="has the value 'ask'"):
        why(of(desk), "ask")


def test_a_writer_that_was_not_recorded_is_said_to_be_missing(run: Path) -> None:
    for path in (run / "recordings" / "field").iterdir():
        path.unlink()
    reason = why(of(run), "siren.alarm#2").reason
    assert [(each.role, each.id, each.note) for each in reason.reasons] == [
        ("cause", "smoother.smooth#7", "its sending is not recorded"),
        ("known", "smoother.smooth#8", "its sending is not recorded"),
    ]
    assert reason.reasons[0].fields["celsius"] > 30


def test_a_segment_without_rows_holds_nothing(tmp_path: Path) -> None:
    Recorder(tmp_path / "recordings" / "a", 1).close()
    Recorder(tmp_path / "recordings" / "a", 2)
    records = of(tmp_path)
    assert records.rows == 0
    with pytest.raises(UsageError, match="no message in 0 rows"):
        why(records, "x")


def test_a_segment_that_is_closed_meanwhile_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    half = Half(station(), tmp_path, "field")
    half.host.inject(half.host.ports["sensor", "reading"], Reading(1.0, 1))
    half.commit()
    read_tail = Segment._tail

    def close_first(segment: Segment):
        monkeypatch.setattr(Segment, "_tail", read_tail)
        half.close()
        return read_tail(segment)

    monkeypatch.setattr(Segment, "_tail", close_first)
    assert why(of(tmp_path), "smoother.smooth#1").reason.reasons[0].id == "sensor.reading#1"


def test_the_command_prints_a_tree(run: Path) -> None:
    (run / "run.json").write_text("{}")
    done = CliRunner().invoke(main, ["why", "siren.alarm#2", str(run)])
    assert done.exit_code == 0
    first, cause, origin, known = done.output.splitlines()
    assert first == "siren.alarm#2 Alarm, 8 s, in house: text=31.016 level=1"
    assert cause.startswith(
        "├─ because of smoother.smooth#7 Reading, 1 s before, through sound(), in field: celsius=31."
    )
    assert origin == "│  └─ because of sensor.reading#7 Reading, 0 ns before, in field: celsius=32 [from outside]"
    assert known.startswith("└─ knowing smoother.smooth#8 Reading, 0 ns before, in field: celsius=32.")
    assert known.endswith(" ← sensor.reading#8 [from outside]")
    data = json.loads(CliRunner().invoke(main, ["why", "siren.alarm#2", str(run), "--json"]).output)
    assert data["reason"]["reasons"][0]["reasons"][0]["id"] == "sensor.reading#7"


def test_without_a_run_the_newest_is_meant(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    assert CliRunner().invoke(main, ["why", "x"]).exit_code == 2
    for age, name in ((100, "old"), (1, "new")):
        (desk / "runs" / name).mkdir(parents=True)
        (desk / "runs" / name / "run.json").write_text("{}")
        os.rename(desk / "recordings", recordings := desk / "runs" / name / "recordings") if name == "new" else (
            recordings := desk / "runs" / name / "recordings"
        ).mkdir()
        os.utime(recordings, (1_700_000_000 - age,) * 2)
    done = CliRunner().invoke(main, ["why", "ask-7"])
    assert done.exit_code == 0
    assert "2 messages carry ask-7:" in done.output
    assert "  market.answer#1  Answer  1 s after the first" in done.output
