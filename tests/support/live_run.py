"""One process that runs a whole plan as time passes: the pieces of a worker, without other processes."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from engine.clock import Clock
from engine.process.ending import Ending
from engine.run.build import build
from engine.run.host import Host
from engine.run.live import Live
from engine.run.pace import Pace
from engine.run.recording import Recorder, RecordingHost
from engine.topology.plan import Plan


class LiveRun:
    """A run that ends when its sources do, or at `stop()`."""

    def __init__(self, plan: Plan, out: Path, *, seed: int = 0, record: bool = False, speed: float | None = None):
        self.recorder = Recorder(out / "recordings") if record else None
        clock = Clock(time.time_ns())
        self.host = (
            RecordingHost(clock, self.recorder, seed, str(out)) if self.recorder else Host(clock, seed, str(out))
        )
        build(plan, self.host)
        self.speed = speed
        self.ending = Ending(self.host, plan, [node.id for node in plan.nodes], lambda _: None)
        self.stopped = asyncio.Event()

    def stop(self) -> None:
        self.stopped.set()

    async def run(self) -> None:
        live = Live(self.host)
        try:
            first_ns = live.open_histories({})
            if self.speed is not None:
                live.pace = Pace(first_ns or 0, time.time_ns(), self.speed)
                self.host.clock.now_ns = 0
            live.tick()
            self.host.start()
            running = asyncio.ensure_future(live.run())
            asked = asyncio.ensure_future(self.stopped.wait())
            await asyncio.wait({running, asked}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
            await live.end_sources()
            self.ending.begin()
            assert self.ending.done
            await live.close()
            running.cancel()
            asked.cancel()
        finally:
            if self.recorder:
                self.recorder.close()
