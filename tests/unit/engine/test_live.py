"""The live run in one process: drivers, their instructions, paced histories, timers on the wall clock."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from support.live_run import LiveRun
from support.weather import Alarm, Diary, Reading, Siren, Smoother, Thermometer, node, plan_of, wire

from engine import Disconnected, EndOfData, In, Node, Out, RetryAfter, param
from engine.errors import NodeFailed
from engine.run.pace import Pace
from engine.run.replay import replay
from engine.run.segment import read_recording


class Station(Node):
    """Reads temperatures, one a line, from a server on this machine."""

    reading = Out(Reading, doc="One per line.")

    port: int = param(doc="Port of the server.", unit="port")

    async def run(self) -> None:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError as error:
            raise Disconnected(str(error)) from error
        try:
            while line := await reader.readline():
                if line.strip() == b"end":
                    raise EndOfData("the server says so")
                if line.strip() == b"later":
                    raise RetryAfter(0.01)
                self.reading(celsius=float(line), event_time_ns=self.now_ns)
                self.reading(celsius=float(line) + 1, event_time_ns=self.now_ns)
            raise Disconnected("closed by the server")
        finally:
            writer.close()


class Served:
    """A server that answers each connection with its next text."""

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)
        self.connections = 0

    async def __aenter__(self) -> Served:
        self.server = await asyncio.start_server(self.answer, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def answer(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.write(self.texts.pop(0).encode())
        await writer.drain()
        writer.close()

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        await self.server.wait_closed()


def station(port: int, out: Path, **run: object) -> LiveRun:
    plan = plan_of(
        [node("station", Station, port=port), node("diary", Diary)], [wire("station.reading", "diary.reading")]
    )
    return LiveRun(plan, out, **run)


def heard(run: LiveRun) -> list[str]:
    return [line.split(" ", 1)[1] for line in run.host.nodes["diary"].lines]


def test_a_driver_reconnects_waits_and_ends_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.run.live.FIRST_BACKOFF_S", 0.005)

    async def scene() -> tuple[list[str], int]:
        async with Served("1\n2\n", "3\nlater\n9\n", "4\nend\n9\n") as server:
            run = station(server.port, tmp_path)
            await asyncio.wait_for(run.run(), 10)
            return heard(run), server.connections

    lines, connections = asyncio.run(scene())
    assert lines == [*(f"{n}.000" for n in (1, 2, 2, 3, 3, 4, 4, 5)), "reading closed", "stop"]
    assert connections == 3


def test_a_driver_that_fails_is_named(tmp_path: Path) -> None:
    async def scene() -> LiveRun:
        async with Served("1\nnot a number\n") as server:
            run = station(server.port, tmp_path)
            with pytest.raises(NodeFailed, match=r"node 'station' failed in run: ValueError"):
                await asyncio.wait_for(run.run(), 10)
            return run

    run = asyncio.run(scene())
    assert heard(run) == ["1.000", "2.000"]


def test_a_reader_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Diary, "on_reading", lambda self, reading: 1 / 0)

    async def scene() -> None:
        async with Served("1\n2\n") as server:
            await asyncio.wait_for(station(server.port, tmp_path).run(), 10)

    with pytest.raises(NodeFailed, match=r"node 'diary' failed"):
        asyncio.run(scene())


def test_stop_ends_a_run_that_would_go_on(tmp_path: Path) -> None:
    plan = plan_of([node("siren", Siren), node("diary", Diary)], [wire("siren.alarm", "diary.alarm")])

    async def scene() -> LiveRun:
        run = LiveRun(plan, tmp_path)
        asyncio.get_running_loop().call_later(0.05, run.stop)
        await asyncio.wait_for(run.run(), 10)
        return run

    assert heard(asyncio.run(scene())) == ["alarm closed", "stop"]


def test_histories_are_paced_and_timers_are_made(tmp_path: Path) -> None:
    class Quick(Siren):
        """A siren that does not wait a second."""

        def on_reading(self, reading: Reading) -> None:
            if reading.celsius > self.limit:
                self.after(0.05, self.sound, reading.celsius)

    plan = plan_of(
        [
            node("sensor", Thermometer, values=[20.0, 31.0, 20.0], step_s=15.0),
            node("siren", Quick),
            node("diary", Diary),
        ],
        [wire("sensor.reading", "siren.reading"), wire("siren.alarm", "diary.alarm")],
    )

    async def scene() -> tuple[LiveRun, float]:
        run = LiveRun(plan, tmp_path, speed=100.0)
        began = asyncio.get_running_loop().time()
        await asyncio.wait_for(run.run(), 10)
        return run, asyncio.get_running_loop().time() - began

    run, took_s = asyncio.run(scene())
    assert heard(run) == ["31.000", "alarm closed", "stop"]
    assert took_s >= 0.3  # thirty seconds of history, a hundred times as fast


def test_a_live_recording_replays_byte_for_byte(tmp_path: Path) -> None:
    async def scene(port: int) -> None:
        await asyncio.wait_for(LiveRun(plan(port), tmp_path, seed=4, record=True).run(), 10)

    def plan(port: int):
        return plan_of(
            [node("station", Station, port=port), node("smoother", Smoother), node("siren", Siren, limit=1.5)],
            [wire("station.reading", "smoother.reading"), wire("smoother.smooth", "siren.reading")],
        )

    async def all_of_it() -> None:
        async with Served("1\n2\n3\nend\n") as server:
            await scene(server.port)

    asyncio.run(all_of_it())
    rows = list(read_recording(tmp_path / "recordings"))
    assert [row.name for row in rows if row.kind == "out" and row.node == "station"] == ["reading"] * 6
    result = replay(plan(1), tmp_path / "recordings", tmp_path / "again", seed=4, only=frozenset({"smoother", "siren"}))
    assert result.same
    assert result.outputs == 6


def test_a_speed_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="speed must be above 0"):
        Pace(speed=0)


def test_a_node_that_cannot_be_stopped_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Diary, "stop", lambda self: 1 / 0)

    async def scene() -> None:
        async with Served("1\nend\n") as server:
            await asyncio.wait_for(station(server.port, tmp_path).run(), 10)

    with pytest.raises(NodeFailed, match="node 'diary' failed in"):
        asyncio.run(scene())


def test_what_a_node_sends_after_its_end_goes_nowhere(tmp_path: Path) -> None:
    class Late(Node):
        """Answers with a reading although it has been stopped."""

        alarm = In(Alarm, doc="What comes back.")
        reading = Out(Reading, doc="Its answer.")

        def on_alarm(self, alarm: Alarm) -> None:
            self.reading(celsius=99.0, event_time_ns=alarm.event_time_ns)

    class Farewell(Siren):
        """Raises an alarm when it is stopped."""

        def stop(self) -> None:
            self.alarm(text="bye", event_time_ns=self.now_ns)

    plan = plan_of(
        [node("late", Late), node("farewell", Farewell), node("diary", Diary)],
        [
            wire("late.reading", "farewell.reading"),
            wire("late.reading", "diary.reading"),
            replace(wire("farewell.alarm", "late.alarm"), feedback=True),
        ],
    )

    async def scene() -> LiveRun:
        run = LiveRun(plan, tmp_path)
        asyncio.get_running_loop().call_later(0.05, run.stop)
        await asyncio.wait_for(run.run(), 10)
        return run

    assert heard(asyncio.run(scene())) == ["reading closed", "stop"]
