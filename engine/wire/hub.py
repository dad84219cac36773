"""The process of all hubs of a run."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import zmq

from engine.errors import ExitCode, PipelineError, UsageError
from engine.process.control import ProcessLink
from engine.process.run import Run
from engine.topology.listeners import holder_of, is_free
from engine.topology.machines import open_hubs
from engine.topology.model import HubDecl
from engine.wire.hub_client import Endpoints, shifted
from engine.wire.hub_guard import HubGuard
from engine.wire.hub_relay import Relay
from engine.wire.hub_topics import topics_of, used_hubs
from engine.wire.table import WireTable

NAME = "hubs"
"""The name of this process; no process of a topology may have it."""
BURST = 512
"""Frames that one hub passes on before the others get their turn."""
log = logging.getLogger("hub")


def hubs_here(run: Run) -> dict[str, HubDecl]:
    """Return the hubs that this run opens: those of its machine that are used."""
    return {name: hub for name, hub in used_hubs(run.plan.topology).items() if hub.machine == run.machine}


def refuse_taken_ports(run: Run) -> None:
    """Raise UsageError when a port of a hub of this run is held by somebody, naming the holder of each."""
    held = [
        f"port {port} of hub {hub.name!r} is held by {holder_of(port) or 'another program'}"
        for hub in hubs_here(run).values()
        for port in (shifted(number, run.port_offset) for number in (*hub.publish, hub.subscribe))
        if not is_free(port)
    ]
    if held:
        raise UsageError(f"{'; '.join(held)}. Stop it, or shift all ports of this run with --port-offset N")


def run_hubs(run: Run, epoch: int) -> int:
    """Run the hubs of `run` until the supervisor tells them to exit; return the exit code. Called in the child."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_Hubs(run, epoch).main())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ModuleNotFoundError:
        return None
    return uvloop.new_event_loop


class _Hubs:
    """The relays of one process, and its line to the supervisor."""

    def __init__(self, run: Run, epoch: int) -> None:
        self.run = run
        self.endpoints = Endpoints(hubs_here(run), run.port_offset)
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.relays: list[Relay] = []
        self.guard: HubGuard | None = None
        self.link = ProcessLink(run.sockets, NAME, epoch, self._on_command, self._cut_off)

    async def main(self) -> int:
        """Open every hub, forward until told to exit, and close them."""
        self.loop = asyncio.get_running_loop()
        self.over: asyncio.Future[int] = self.loop.create_future()
        self.loop.add_signal_handler(signal.SIGTERM, self._end, ExitCode.DONE)
        try:
            await self.link.open()
            self._open()
            self.link.send("joined", first_ns=None)
            self.link.beat(self.stats)
            return await self.over
        except PipelineError as error:
            log.error("%s", error)
            self.link.send("failed", error=f"{type(error).__name__}: {error}", node=None)
            return ExitCode.FAILED
        finally:
            self._close()
            self.link.close()

    def _open(self) -> None:
        names = list(self.endpoints.hubs)
        if any(name in open_hubs(self.run.plan.topology) for name in names):
            self.guard = HubGuard(self.context, WireTable(self.run.plan), self.run.machine, names)
        for name in names:
            relay = Relay(self.context, name, topics_of(self.run.plan, name), self.endpoints, self.guard)
            self.relays.append(relay)
        for socket in self.guard.sockets if self.guard is not None else ():
            self.loop.add_reader(int(socket.getsockopt(zmq.FD)), self._on_guard)
        self._on_guard()
        for relay in self.relays:
            for socket in (relay.writers, relay.readers):
                self.loop.add_reader(int(socket.getsockopt(zmq.FD)), self._turn, relay)
            self._turn(relay)

    def _on_guard(self) -> None:
        if self.guard is not None:
            self.guard.turn()

    def _turn(self, relay: Relay) -> None:
        # A socket's descriptor speaks only once of what has happened, and any call may have taken its word.
        if self.over.done():
            return
        try:
            relay.subscriptions()
            more = relay.forward(BURST)
            relay.subscriptions()
        except Exception as error:
            log.exception("hub %r cannot go on", relay.name)
            self.link.send("failed", error=f"{type(error).__name__}: {error}", node=None)
            self._end(ExitCode.FAILED)
            return
        if more:
            self.loop.call_soon(self._turn, relay)

    def _close(self) -> None:
        for relay in self.relays:
            for socket in (relay.writers, relay.readers):
                self.loop.remove_reader(int(socket.getsockopt(zmq.FD)))
            relay.close()
        if self.guard is not None:
            for socket in self.guard.sockets:
                self.loop.remove_reader(int(socket.getsockopt(zmq.FD)))
            self.guard.close()
        self.context.term()

    def _on_command(self, command: dict[str, Any]) -> None:
        match command["do"]:
            case "go":
                self.link.send("ready")
            case "stop":
                # Others still have their ends to say: hubs go on until all are told to exit.
                self.link.send("stopped")
            case "halt" | "rearm":
                self.link.send("halted" if command["do"] == "halt" else "rearmed")
            case "exit":
                self._end(ExitCode.DONE)
            case "gone" | "tap" | "untap":
                pass  # hubs have no nodes, and whoever publishes or reads may come and go
            case other:
                log.warning("the supervisor asks for %r, which this version does not know", other)

    def _cut_off(self) -> None:
        if not self.over.done():
            log.error("the supervisor is gone")
        self._end(ExitCode.FAILED)

    def _end(self, code: ExitCode) -> None:
        if not self.over.done():
            self.over.set_result(code)

    def stats(self) -> dict[str, Any]:
        """Return what a beat says of this process."""
        hubs = {relay.name: relay.stats() for relay in self.relays}
        refused: Counter[str] = Counter()
        for relay in self.relays:
            refused += relay.refused
        peers = dict(self.guard.refused) if self.guard is not None else {}
        return {
            "now_ns": time.time_ns(),
            "paused": False,
            "hubs": hubs,
            "refused": dict(refused),
            "refused_peers": peers,
        }
