"""One process of a run: it hosts its nodes, joins them to those of other processes, and keeps what must survive."""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import signal
import time
from typing import Any

from engine.clock import Clock
from engine.errors import ExitCode, NodeFailed, PipelineError
from engine.process.control import ProcessLink
from engine.process.ending import Ending
from engine.process.run import Run
from engine.process.tap import Taps
from engine.run.host import Host
from engine.run.journal import Journal
from engine.run.live import Live
from engine.run.pace import Pace
from engine.run.recording import CONVERTED_BYTES, Recorder, RecordingHost
from engine.run.segment import RecordingFailed
from engine.topology.plan import PlannedNode
from engine.wire.table import WireTable, wire_name
from engine.wire.wires import Wires

CHECKPOINT_S = 1.0
log = logging.getLogger("process")


def run_worker(run: Run, name: str, epoch: int) -> int:
    """Run process `name` until the supervisor tells it to exit; return its exit code. Called in the forked child."""
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_Worker(run, name, epoch).main())


def _loop_factory() -> Any:
    try:
        import uvloop
    except ModuleNotFoundError:
        return None
    return uvloop.new_event_loop


class _Worker:
    """The parts of one process, and the order in which they are brought up and down."""

    def __init__(self, run: Run, name: str, epoch: int) -> None:
        self.run = run
        self.name = name
        self.epoch = epoch
        self.nodes = _nodes_of(run, name)
        self.unrecorded = ""  # why nothing is recorded although it was asked for
        self.recorder = self._make_recorder() if run.record else None
        self.host = self._make_host()
        self.journal = Journal(run.folder / "state" / f"{name}.sqlite")
        self.wires = Wires(WireTable(run.plan), name, epoch, run.sockets, self.host, port_offset=run.port_offset)
        self.live = Live(self.host, self.settle)
        self.ending = Ending(self.host, run.plan, [node.id for node in self.nodes], self.wires.end)
        self.wires.on_broken = self._on_broken
        self.taps = Taps(self.host)
        self.link = ProcessLink(run.sockets, name, epoch, self._on_command, self._cut_off)
        self.commit_s = 0.0
        self.restored = False
        self._lag_s = 0.0
        self._told_stopped = False

    def _make_recorder(self) -> Recorder | None:
        # A recording is not the ledger: a process that cannot keep one does its work all the same.
        try:
            return Recorder(self.run.folder / "recordings" / self.name, self.epoch, self._on_unrecorded)
        except RecordingFailed as error:
            self._on_unrecorded(error)
            return None

    def _on_unrecorded(self, error: RecordingFailed) -> None:
        self.unrecorded = str(error)
        log.critical("this process is no longer recorded, and goes on: %s", error)

    def _make_host(self) -> Host:
        run = self.run
        clock = Clock(time.time_ns())
        if self.recorder:
            return RecordingHost(clock, self.recorder, run.seed, str(run.folder))
        return Host(clock, run.seed, str(run.folder))

    # --- life -------------------------------------------------------------------------------------------------

    async def main(self) -> int:
        """Bring everything up, wait for the end, and put everything away."""
        loop = asyncio.get_running_loop()
        self.over: asyncio.Future[int] = loop.create_future()
        self.going: asyncio.Future[Any] | None = None
        loop.add_signal_handler(signal.SIGTERM, self._end_at_once)
        loop.add_signal_handler(signal.SIGINT, lambda: None)  # the supervisor decides
        try:
            await self.link.open()
            await self._join()
            return await self.over
        except PipelineError as error:
            self._fail(error)
            return await self.over
        finally:
            await self._put_away()

    async def _join(self) -> None:
        """Build the nodes, get their state back, and meet the other processes."""
        host, plan = self.host, self.run.plan
        for node in self.nodes:
            host.add(node.id, node.cls, node.params)
        for port in (*host.ports.values(), *host.called.values()):
            port.epoch = self.epoch
        self.wires.open()
        for wire in (*plan.wires, *plan.outside):
            if wire.target[0] in host.nodes and wire.source in host.ports:
                stale = wire.policy.on_stale
                on_stale = (stale.after_s, stale.action) if stale else None
                host.wire(wire.source, wire.target, on_stale, feedback=wire.feedback)
        positions: dict[str, int] = {}
        if (kept := self.journal.restore(host)) is not None:
            self.restored = True
            positions, wired = kept
            self.wires.restore(wired, self.journal.queues())
        first_ns = self.live.open_histories(positions)
        self.wires.attach(asyncio.get_running_loop(), self._on_wires)
        await self.wires.join()
        self.link.send("joined", first_ns=first_ns)

    def _go(self, pace: dict[str, Any] | None, halted: str | None) -> None:
        """Start the nodes, or let them go on after a restart, and begin to send what comes from here."""
        if pace is not None:
            self.live.pace = Pace(pace["data_ns"], pace["wall_ns"], pace["speed"])
        host = self.host
        if not self.restored:
            host.clock.now_ns = self.live.pace.now_ns()
            host.start()
        else:
            if self.run.speed is None:  # the time of recorded data is told anew each time
                self.live.pace.go_on_from(host.clock.now_ns)
            self.live.tick()
            host.resume()
        if halted is not None:
            self._tell_all("halt", halted)
        elif self.restored:  # the switch may have been released while this process was down
            self._tell_all("rearm")
        self.wires.resend()
        self.settle()
        self.going = asyncio.gather(self._live(), self._tend())
        self.link.send("ready")
        self.link.beat(self._stats)
        self._on_wires()

    async def _live(self) -> None:
        try:
            await self.live.run()
            if any(node.cls.spec.is_driver or node.cls.spec.is_history for node in self.nodes):
                self.link.send("ended")
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  (whatever it is, this process cannot go on)
            self._fail(error)

    async def _stop(self) -> None:
        """End what comes from here, then every node as the graph runs dry."""
        try:
            await self.live.end_sources()
            self.live.tick()
            self.ending.begin()
            self.settle()
        except Exception as error:  # noqa: BLE001
            self._fail(error)

    def _end_at_once(self) -> None:
        """Stop every node now, waiting for nobody; what the wires still owe is in the journal."""
        if self.over.done():
            return
        if self.going is None:  # nothing has begun: what is on disk stands
            self.over.set_result(ExitCode.DONE)
            return
        try:
            self.live.tick()
            self.ending.stop_rest()
            self._commit()
        except Exception as error:  # noqa: BLE001
            self._fail(error)
        else:
            self.over.set_result(ExitCode.DONE)

    def _fail(self, error: BaseException) -> None:
        """End this process because of `error`; what was committed stands, what came after it is done again."""
        if self.over.done():
            return
        node = error.node if isinstance(error, NodeFailed) else None
        log.error("%s", error, exc_info=error, extra={"node": node})
        self.link.send("failed", error=f"{type(error).__name__}: {error}", node=node)
        self.over.set_result(ExitCode.FAILED)

    def _on_broken(self, wire: str) -> None:
        self.link.send("broken", wire=wire)

    def _cut_off(self) -> None:
        # Nobody is left who could restart, halt or stop this process.
        if not self.over.done():
            log.error("the supervisor is gone")
            self.over.set_result(ExitCode.FAILED)

    async def _put_away(self) -> None:
        if self.going is not None:
            self.going.cancel()
            await asyncio.gather(self.going, return_exceptions=True)
        try:
            await self.live.close()  # drivers put away what they own while all that they may need is still there
        except Exception as error:  # noqa: BLE001  (how this process ends has been decided)
            log.info("what was under way has ended with %s: %s", type(error).__name__, error)
        self.taps.close()
        self.wires.close()
        self.journal.close()
        if self.recorder:
            try:
                if self.over.done() and self.over.result() == ExitCode.DONE:
                    self.recorder.close(CONVERTED_BYTES)
                else:
                    self.recorder.abandon()
            except RecordingFailed as error:
                log.critical("the recording lacks its end: %s", error)
        self.link.close()

    # --- events -----------------------------------------------------------------------------------------------

    def _on_wires(self) -> None:
        """Take what has come from other processes, and do all that follows from it."""
        if not self._sound or self.going is None:  # before it begins, `join` itself takes what comes
            return
        try:
            self.live.tick()
            self.wires.drain()
            self.settle()
        except Exception as error:  # noqa: BLE001
            self._fail(error)

    def settle(self) -> None:
        """After an event: commit what others rely on, release what waited for it, and see whether the end has come."""
        wires = self.wires
        if not self._sound:
            return
        if self.ending.begun:
            self.ending.advance()
        if wires.uncommitted:
            self._commit()
        self.live.hold(wires.paused)
        self.live.wake()
        if self.ending.begun and self.ending.done and wires.drained and not self._told_stopped:
            self._told_stopped = True
            self._commit()
            self.link.send("stopped")

    @property
    def _sound(self) -> bool:
        """Whether what is held here may be kept: no node has failed, and the end has not come.

        Others may still be called in the few turns of the loop until a failure ends this process. What they handle
        then the failed node has missed: it is to come again, after the restart.
        """
        return not (self.host.failed or self.over.done())

    def _commit(self) -> None:
        """Put state, timers, positions and what the wires owe on disk as one; then let go what was held back."""
        if not self._sound:
            return
        began = time.perf_counter()
        self.journal.checkpoint(self.host)
        if self.recorder:
            self.recorder.flush()
        self.journal.save(self.host, self.live.positions, *self.wires.journal_state())
        self.wires.committed()
        self.commit_s = time.perf_counter() - began

    # --- what the supervisor says -----------------------------------------------------------------------------

    def _on_command(self, command: dict[str, Any]) -> None:
        try:
            match command["do"]:
                case "go":
                    self._go(command["pace"], command["halted"])
                case "gone":
                    self.wires.peer_gone(command["process"], command["final"], command["epoch"])
                    self.settle()
                case "halt":
                    self._tell_all("halt", command["reason"])
                    self.link.send("halted")
                case "rearm":
                    self.wires.peers.report_again()
                    self._tell_all("rearm")
                    self.link.send("rearmed")
                case "stop":
                    self._stopping = asyncio.ensure_future(self._stop())
                case "exit":
                    if not self.over.done():
                        self.over.set_result(ExitCode.DONE)
                case "record":
                    if self.recorder and not command["on"]:
                        self.recorder.stop(command["reason"], self.host.clock.now_ns)
                        self.unrecorded = self.recorder.stopped
                case "tap":
                    self.taps.attach(command["id"], command["ports"], command["per_s"], command["to"])
                case "untap":
                    self.taps.detach(command["id"])
                case other:
                    log.warning("the supervisor asks for %r, which this version does not know", other)
        except Exception as error:  # noqa: BLE001
            self._fail(error)

    def _tell_all(self, handler: str, *arguments: str) -> None:
        self.live.tick()
        for node in self.host.nodes.values():
            self.host.call(node, handler, arguments)
        self.settle()

    # --- signs of life ----------------------------------------------------------------------------------------

    async def _tend(self) -> None:
        """Write a checkpoint now and then, and see how late the loop is."""
        while True:
            due = time.monotonic() + CHECKPOINT_S
            await asyncio.sleep(CHECKPOINT_S)
            self._lag_s = max(0.0, time.monotonic() - due)
            try:
                self._commit()
                self.settle()
            except Exception as error:  # noqa: BLE001
                self._fail(error)

    def _stats(self) -> dict[str, Any]:
        host, wired = self.host, self.wires.stats()
        nodes = {}
        for node in self.nodes:
            live = host.nodes[node.id]
            sent = {name: host.ports[node.id, name].sent for name in node.cls.spec.outputs}
            shown = {name: _number(getattr(live, name)) for name in node.cls.spec.metrics}
            gauges = {name: value for name, value in shown.items() if value is not None}
            nodes[node.id] = {
                "events": self._events(node.id, wired["wires"]),
                "sent": sum(sent.values()),
                "ports": sent,
                "failed": node.id in host.failed,
                "metrics": gauges,
            }
        return {
            "now_ns": host.clock.now_ns,
            "lag_s": self._lag_s,
            "paused": self.wires.paused,
            "nodes": nodes,
            **wired,
            "journal": {"commits": self.journal.commits, "bytes": self.journal.bytes, "last_s": self.commit_s},
            "recording": {"rows": self.recorder.rows if self.recorder else 0, "stopped": self.unrecorded or None},
            "taps": self.taps.stats(),
        }

    def _events(self, node_id: str, wired: dict[str, Any]) -> int:
        """Return how many messages and calls a node has handled."""
        host = self.host
        received = sum(
            host.ports[wire.source].sent if wire.source[0] in host.nodes else wired[wire_name(wire)]["delivered"]
            for wire in self.run.plan.wires
            if wire.target[0] == node_id
        )
        return host.called[node_id].sent + received


def _number(value: Any) -> float | None:
    """Return what a node shows as a finite number, None where it is none: a gauge must never end its process."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _nodes_of(run: Run, name: str) -> list[PlannedNode]:
    mine = set(run.plan.topology.processes[name].nodes)
    return [node for node in run.plan.nodes if node.id in mine]
