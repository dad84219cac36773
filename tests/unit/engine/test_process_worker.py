"""What a process puts on disk, and when it no longer may."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from support.weather import HERE, Diary, Siren, Thermometer, node, plan_of, wire

from engine import Node
from engine.clock import Clock
from engine.errors import NodeFailed
from engine.process.run import Run
from engine.process.worker import _Worker
from engine.run.build import build
from engine.run.host import Host
from engine.run.journal import Journal
from engine.topology.model import NodeDecl, ProcessDecl


class Station:
    """A worker that has built its nodes and has not met anybody."""

    def __init__(self, folder: Path, *, going: bool = True, record: bool = False) -> None:
        nodes = [node("sensor", Thermometer, values=[]), node("siren", Siren), node("diary", Diary)]
        plan = plan_of(nodes, [wire("sensor.reading", "siren.reading"), wire("siren.alarm", "diary.alarm")])
        declared = {each.id: NodeDecl(each.id, each.use, {}, HERE, HERE) for each in nodes}
        processes = {"house": ProcessDecl("house", tuple(declared), HERE)}
        self.plan = replace(plan, topology=replace(plan.topology, nodes=declared, processes=processes))
        self.path = folder / "state" / "house.sqlite"
        self.worker = _Worker(Run("station-1", self.plan, folder, folder, record=record), "house", 1)
        self.worker.over = asyncio.get_running_loop().create_future()
        self.worker.going = asyncio.get_running_loop().create_future() if going else None
        build(self.plan, self.worker.host)
        if going:
            self.worker.host.start()

    def kept(self) -> Host | None:
        """Return a host with what is on disk, None where that is nothing."""
        self.worker.journal.close()
        host = Host(Clock())
        build(self.plan, host)
        with closing(Journal(self.path)) as journal:
            return host if journal.restore(host) is not None else None


@pytest.fixture
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def test_nothing_is_kept_once_a_node_has_failed(
    loop: asyncio.Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        monkeypatch.setattr(Diary, "on_alarm", lambda self, alarm: 1 / 0)
        station = Station(tmp_path)
        worker = station.worker
        worker._commit()
        siren = worker.host.nodes["siren"]
        with pytest.raises(NodeFailed):
            worker.host.call(siren, "remind", ())
        worker.host.call(siren, "sound", (31.0,))  # what the failed node misses
        worker.wires.flow.holding = True  # as when something reliable has been sent
        worker.settle()
        worker._commit()
        assert worker.wires.uncommitted, "what followed is still held back"
        kept = station.kept()
        assert kept is not None
        assert not kept.failed
        assert kept.nodes["siren"].raised == 0

    loop.run(scenario())


def test_drivers_are_put_away_before_what_they_need(loop: asyncio.Runner, tmp_path: Path) -> None:
    ended: list[bool] = []

    async def scenario() -> None:
        station = Station(tmp_path)
        worker = station.worker

        class Pump(Node):
            async def run(self) -> None:
                try:
                    await asyncio.sleep(60)
                finally:
                    await asyncio.sleep(0)
                    worker.journal.save(worker.host, {})  # fails once it is closed
                    ended.append(True)

        worker.host.add("pump", Pump, {})
        worker.going = asyncio.gather(worker._live(), worker._tend())
        await asyncio.sleep(0.01)
        worker.over.set_result(0)
        await worker._put_away()
        assert ended == [True]

    loop.run(scenario())


def test_sigterm_leaves_a_process_that_can_go_on(loop: asyncio.Runner, tmp_path: Path) -> None:
    async def scenario() -> None:
        station = Station(tmp_path)
        station.worker._end_at_once()
        assert station.worker.over.result() == 0
        kept = station.kept()
        assert kept is not None
        assert [call.handler for *_, call in kept.calls] == ["remind"]
        assert not any(port.closed for port in kept.ports.values())

    loop.run(scenario())


def test_sigterm_before_the_start_leaves_nothing_to_go_on_from(loop: asyncio.Runner, tmp_path: Path) -> None:
    async def scenario() -> None:
        station = Station(tmp_path, going=False)
        station.worker._end_at_once()
        assert station.worker.over.result() == 0
        assert station.kept() is None, "its nodes would be taken for started, and never get their timers"

    loop.run(scenario())


def test_a_process_that_can_no_longer_record_goes_on_and_says_so(
    loop: asyncio.Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: int, data: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async def scenario() -> None:
        station = Station(tmp_path, record=True)
        worker = station.worker
        worker._commit()
        monkeypatch.setattr("engine.run.recording.os.write", full)
        worker.host.call(worker.host.nodes["siren"], "sound", (31.0,))
        worker._commit()
        assert not worker.over.done()
        assert "No space left on device" in worker._stats()["recording"]["stopped"]
        worker.over.set_result(0)
        await worker._put_away()
        kept = station.kept()
        assert kept is not None
        assert kept.nodes["siren"].raised == 1

    loop.run(scenario())


def test_a_process_that_cannot_begin_to_record_begins_all_the_same(loop: asyncio.Runner, tmp_path: Path) -> None:
    async def scenario() -> None:
        (tmp_path / "recordings").write_text("in the way")
        worker = Station(tmp_path, record=True).worker
        worker._commit()
        assert "cannot be made" in worker._stats()["recording"]["stopped"]

    loop.run(scenario())
