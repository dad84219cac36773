"""Run the nodes of a host as time passes: drivers own their connections, histories are paced, timers are made.

A driver's `run()` is stepped by the host: before each step the clock is set, after it what the step has sent is
delivered. So a driver sees one time from one `await` to the next, as a handler does, and its messages leave in order.
"""

from __future__ import annotations

import asyncio
import heapq
import time
import types
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import suppress
from typing import Any

from engine.errors import Disconnected, EndOfData, NodeFailed, RetryAfter
from engine.message import Message
from engine.node import Node
from engine.run.host import Host
from engine.run.pace import Pace
from engine.run.port import OUTSIDE, Port

FIRST_BACKOFF_S = 0.1
LONGEST_BACKOFF_S = 30.0
STEADY_S = 60.0
"""A driver that ran so long before it lost its connection begins again with the first back-off."""
ROWS_AT_ONCE = 64
"""Overdue rows of a history that are sent before others get their turn."""


class Live:
    """The sources and timers of one host while time passes.

    `settle` is called after every event, when all that follows from it has been delivered. `positions` counts the rows
    of each history that have been sent. While `hold()` is in force nothing is begun: no row, no timer, no step.
    """

    def __init__(self, host: Host, settle: Callable[[], None] = lambda: None) -> None:
        self.host = host
        self.pace = Pace()
        self.settle = settle
        self.positions: dict[str, int] = {}
        self._wake = asyncio.Event()
        self._free = asyncio.Event()
        self._free.set()
        self._tasks: list[asyncio.Task[None]] = []
        self._rows: list[tuple[tuple[int, int, Port, Message], Iterator[tuple[int, int, Port, Message]]]] = []

    # --- before the start -------------------------------------------------------------------------------------

    def open_histories(self, positions: dict[str, int]) -> int | None:
        """Read every history up to its position; return the time of the earliest row that is to come."""
        self.positions = {node.id: positions.get(node.id, 0) for node in self._nodes("is_history")}
        for rank, node in enumerate(self._nodes("is_history")):
            rows = _rows(self.host, rank, node)
            for _ in range(self.positions[node.id]):
                next(rows, None)
            if (head := next(rows, None)) is not None:
                self._rows.append((head, rows))
        return min((head[0] for head, _ in self._rows), default=None)

    # --- running ----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run until every driver and history has come to its end; without any, until cancelled.

        Timers go on being made until `close()`. Raises NodeFailed when a node fails.
        """
        sources = [asyncio.ensure_future(self._drive(node)) for node in self._nodes("is_driver")]
        if self._nodes("is_history"):
            sources.append(asyncio.ensure_future(self._send_rows()))
        timers = asyncio.ensure_future(self._timers())
        self._tasks = [*sources, timers]
        waiting: set[asyncio.Task[None]] = set(self._tasks)
        while not sources or any(not source.done() for source in sources):
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if not task.cancelled():  # as those are that `end_sources` ends
                    task.result()

    async def end_sources(self) -> None:
        """Cancel drivers and histories; what they were about to send has then been sent or will never be."""
        await self._cancel(self._tasks[:-1])

    async def close(self) -> None:
        """Cancel everything that is under way."""
        await self._cancel(self._tasks)

    async def _cancel(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result

    def hold(self, held: bool) -> None:
        """Begin nothing new while `held`."""
        if held:
            self._free.clear()
        else:
            self._free.set()

    def tick(self) -> None:
        """Set the clock. It never goes back: what little the wall clock is corrected by, it waits for."""
        clock = self.host.clock
        clock.now_ns = max(clock.now_ns, self.pace.now_ns())

    def wake(self) -> None:
        """Look again at what is due: an event may have asked for a call that comes before all others."""
        self._wake.set()

    def _nodes(self, kind: str) -> list[Node]:
        return [node for node in self.host.nodes.values() if getattr(node.spec, kind)]

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
            except Disconnected as error:
                if time.monotonic() - began > STEADY_S:
                    backoff_s = FIRST_BACKOFF_S
                wait_s = backoff_s * (0.5 + node.random.random())
                node.log.warning("disconnected: %s; trying again in %.1f s", error, wait_s)
                await asyncio.sleep(wait_s)
                backoff_s = min(LONGEST_BACKOFF_S, backoff_s * 2)
            except NodeFailed:
                raise
            except Exception as error:
                raise self.host.failure(error, node, "run") from error
        self.host.close(node.id)
        self.settle()

    # --- histories and timers ---------------------------------------------------------------------------------

    async def _send_rows(self) -> None:
        """Send the rows of all histories, merged by time, each when its time has come."""
        streams = (_with_head(head, rows) for head, rows in self._rows)
        at_once = 0
        for due_ns, _, port, message in heapq.merge(*streams, key=lambda row: row[:2]):
            wait_s = self.pace.wait_s(due_ns)
            if wait_s > 0 or at_once >= ROWS_AT_ONCE:
                at_once = 0
                await asyncio.sleep(max(wait_s, 0.0))
            await self._free.wait()
            at_once += 1
            self.tick()
            self.positions[port.node] += 1
            self.host.inject(port, message)
            self.settle()
            self._wake.set()
        for node in self._nodes("is_history"):
            self.host.close(node.id)
        self.settle()

    async def _timers(self) -> None:
        """Make the calls that are due, each when its time has come."""
        calls = self.host.calls
        while True:
            await self._free.wait()
            self._wake.clear()
            now_ns = self.pace.now_ns()
            if calls and calls[0][0] < now_ns:
                self.host.call_due(now_ns)
                self.tick()
                self.settle()
            wait_s = self.pace.wait_s(calls[0][0]) if calls else None
            with suppress(TimeoutError):
                async with asyncio.timeout(None if wait_s is None else max(wait_s, 0.0)):
                    await self._wake.wait()


def _with_head(
    head: tuple[int, int, Port, Message], rows: Iterator[tuple[int, int, Port, Message]]
) -> Iterator[tuple[int, int, Port, Message]]:
    yield head
    yield from rows


def _rows(host: Host, rank: int, node: Node) -> Iterator[tuple[int, int, Port, Message]]:
    ports = {port.message: port for port in host.ports.values() if port.node == node.id}
    for now_ns, message in node.history():  # type: ignore[attr-defined]
        yield now_ns, rank, ports[type(message)], message


@types.coroutine
def _stepped(live: Live, coroutine: Coroutine[Any, Any, None]) -> Generator[Any, Any, None]:
    """Drive a coroutine from one suspension to the next, with the clock set before and the outbox emptied after."""
    host = live.host
    value: Any = None
    error: BaseException | None = None
    try:
        while True:
            if not live._free.is_set():
                yield from live._free.wait().__await__()
            live.tick()
            host.port = OUTSIDE
            try:
                future = coroutine.send(value) if error is None else coroutine.throw(error)
            except StopIteration:
                return
            finally:
                host.deliver()  # also when the driver ends or fails: what it has sent before was true
                live.settle()
                live.wake()
            try:
                value, error = (yield future), None
            except BaseException as raised:  # noqa: BLE001  (the driver decides what to do with it)
                value, error = None, raised
    finally:
        coroutine.close()
