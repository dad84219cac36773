"""Run a plan in this process on the wall clock: drivers own their connections, histories are paced.

A driver's `run()` is stepped by the host: before each step the clock is set, after it what the step has sent is
delivered. So a driver sees one time from one `await` to the next, as a handler does, and its messages leave in order.
"""

from __future__ import annotations

import asyncio
import heapq
import time
import types
from collections.abc import Coroutine, Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from engine.clock import NS_PER_S, Clock
from engine.errors import Disconnected, EndOfData, NodeFailed, PipelineError, RetryAfter
from engine.message import Message
from engine.node import Node
from engine.run.build import build
from engine.run.host import Host
from engine.run.port import Port
from engine.run.recording import Recorder, RecordingHost
from engine.topology.plan import Plan

FIRST_BACKOFF_S = 0.1
LONGEST_BACKOFF_S = 30.0
STEADY_S = 60.0
"""A driver that ran so long before it lost its connection begins again with the first back-off."""


class LiveRun:
    """One run of a plan in this process.

    `speed` is how many seconds of a history pass in one second; histories begin at the moment of the start, their own
    times kept in the messages. `stop()` ends the run in order from a signal handler or another task.
    """

    def __init__(self, plan: Plan, out: Path, *, seed: int = 0, record: bool = False, speed: float = 1.0) -> None:
        if not speed > 0:
            raise ValueError(f"speed must be above 0, got {speed}")
        out.mkdir(parents=True, exist_ok=True)
        self.plan = plan
        self.speed = speed
        self.recorder = Recorder(out / "recordings") if record else None
        clock = Clock(time.time_ns())
        self.host = (
            RecordingHost(clock, self.recorder, seed, str(out)) if self.recorder else Host(clock, seed, str(out))
        )
        build(plan, self.host)
        self._ended = asyncio.Event()
        self._wake = asyncio.Event()

    def stop(self) -> None:
        """End the run: drivers are cancelled, then every node is stopped along the graph."""
        self._ended.set()

    async def run(self) -> None:
        """Run until `stop()`, or until every driver and history has come to its end.

        Raises NodeFailed when a node fails; the others have then put their work away.
        """
        host = self.host
        error: BaseException | None = None
        try:
            self._tick()
            host.start()
            sources = [asyncio.ensure_future(self._drive(node)) for node in self._nodes("is_driver")]
            histories = self._nodes("is_history")
            if histories:
                sources.append(asyncio.ensure_future(self._pace(histories)))
            await self._until_ended(sources, asyncio.ensure_future(self._timers()))
        except BaseException as raised:
            error = raised
            raise
        finally:
            try:
                self._stop_nodes(error)
            finally:
                if self.recorder:
                    self.recorder.close()

    async def _until_ended(self, sources: list[asyncio.Task[None]], timers: asyncio.Task[None]) -> None:
        ended = asyncio.ensure_future(self._ended.wait())
        waiting: set[asyncio.Task[Any]] = {ended, timers, *sources}
        try:
            while not self._ended.is_set() and (not sources or any(not task.done() for task in sources)):
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            for task in (ended, timers, *sources):
                task.cancel()
            await asyncio.gather(ended, timers, *sources, return_exceptions=True)

    def _nodes(self, kind: str) -> list[Node]:
        return [node for node in self.host.nodes.values() if getattr(node.spec, kind)]

    def _tick(self) -> None:
        # The wall clock may be set back; a node's never is.
        clock = self.host.clock
        clock.now_ns = max(clock.now_ns, time.time_ns())

    # --- drivers ----------------------------------------------------------------------------------------------

    async def _drive(self, node: Node) -> None:
        """Call `run()` again and again, as its errors instruct, until it ends or fails."""
        backoff_s = FIRST_BACKOFF_S
        while True:
            began = time.monotonic()
            try:
                await _stepped(self, node.run())  # type: ignore[attr-defined]
                break
            except EndOfData:
                break
            except RetryAfter as wait:
                await asyncio.sleep(wait.seconds)
            except Disconnected:
                if time.monotonic() - began > STEADY_S:
                    backoff_s = FIRST_BACKOFF_S
                await asyncio.sleep(backoff_s * (0.5 + node.random.random()))
                backoff_s = min(LONGEST_BACKOFF_S, backoff_s * 2)
            except NodeFailed:
                raise
            except Exception as error:
                raise self.host.failure(error, node, "run") from error
        self.host.close(node.id)

    # --- histories and timers ---------------------------------------------------------------------------------

    async def _pace(self, nodes: list[Node]) -> None:
        """Send the rows of all histories, merged by time, `speed` times as fast as they came."""
        rows = heapq.merge(*(_rows(self.host, rank, node) for rank, node in enumerate(nodes)), key=lambda row: row[:2])
        first_ns, began = None, time.monotonic()
        for now_ns, _, port, message in rows:
            first_ns = now_ns if first_ns is None else first_ns
            ahead_s = (now_ns - first_ns) / NS_PER_S / self.speed - (time.monotonic() - began)
            if ahead_s > 0:
                await asyncio.sleep(ahead_s)
            self._tick()
            self.host.inject(port, message)
            self._wake.set()
        for node in nodes:
            self.host.close(node.id)

    async def _timers(self) -> None:
        """Make the calls that are due, each when its time has come."""
        calls = self.host.calls
        while True:
            self._wake.clear()
            now_ns = time.time_ns()
            self.host.call_due(now_ns)
            self._tick()
            delay_s = (calls[0][0] - now_ns) / NS_PER_S if calls else None
            with suppress(TimeoutError):
                async with asyncio.timeout(None if delay_s is None else max(delay_s, 0.0)):
                    await self._wake.wait()

    def _stop_nodes(self, error: BaseException | None) -> None:
        """Stop every node along the graph. What fails then is noted on `error`, or raised where there is none."""
        self._tick()
        first = error
        for planned in self.plan.nodes:
            try:
                self.host.call(self.host.nodes[planned.id], "stop", ())
                self.host.close(planned.id)
            except PipelineError as failure:
                if first is None:
                    first = failure
                else:
                    first.add_note(f"then node {planned.id!r} could not be stopped: {failure}")
        if error is None and first is not None:
            raise first


def _rows(host: Host, rank: int, node: Node) -> Iterator[tuple[int, int, Port, Message]]:
    ports = {port.message: port for port in host.ports.values() if port.node == node.id}
    for now_ns, message in node.history():  # type: ignore[attr-defined]
        yield now_ns, rank, ports[type(message)], message


@types.coroutine
def _stepped(run: LiveRun, coroutine: Coroutine[Any, Any, None]) -> Generator[Any, Any, None]:
    """Drive a coroutine from one suspension to the next, with the clock set before and the outbox emptied after."""
    host = run.host
    value: Any = None
    error: BaseException | None = None
    try:
        while True:
            run._tick()
            try:
                future = coroutine.send(value) if error is None else coroutine.throw(error)
            except StopIteration:
                return
            finally:
                host.deliver()  # also when the driver ends or fails: what it has sent before was true
                run._wake.set()
            try:
                value, error = (yield future), None
            except BaseException as raised:  # noqa: BLE001  (the driver decides what to do with it)
                value, error = None, raised
    finally:
        coroutine.close()
