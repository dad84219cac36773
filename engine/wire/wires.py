"""All wires of one process to and from the others of its run."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import zmq

from engine.errors import PipelineError
from engine.run.host import Host
from engine.run.journal import QueueNews
from engine.run.port import OUTSIDE, Port
from engine.topology.plan import PlannedWire
from engine.wire.frame import (
    END,
    MOST_EPOCHS,
    id_base,
    pack,
    tail,
)
from engine.wire.hub_client import Endpoints
from engine.wire.hub_wires import HubWires
from engine.wire.inbox import CHUNK, KEEP_WHEN_PAUSED, TAKE_AT_ONCE, TRICKLE, Inbox
from engine.wire.lane import End, Flow
from engine.wire.peers import Peers
from engine.wire.reliable import Books
from engine.wire.route import ALL, Route
from engine.wire.security import Access, Door
from engine.wire.sender import make_sender
from engine.wire.table import WireTable

GREET_EVERY_S = 0.02
TICK_S = 0.05
SOCKET_FRAMES = 4_000
"""High-water mark of each socket. It is no policy: what does not fit waits in a link's backlog."""
HUB_LINGER_MS = 100
_NOWAIT, _HAS_FRAMES = int(zmq.NOBLOCK), int(zmq.POLLIN)
log = logging.getLogger("wires")


class StartTimeout(PipelineError):
    """Not every process that shares a wire with this one has answered in time."""


class Wires:
    """The wires of one process.

    `open()` once all local nodes are in the host and before the wires of the plan are joined: it makes ports of remote
    writers, to which `host.wire` then joins the inputs. Then `restore`, `attach`, `join`. `wake`, given to `attach`, is
    called straight from the loop's own callback whenever something may have come: calling `drain()` right there costs
    no further turn of the loop.
    """

    def __init__(
        self, table: WireTable, process: str, epoch: int, sockets: Path, host: Host, *, port_offset: int = 0
    ) -> None:
        self.table = table
        self.process = process
        self.epoch = epoch
        self.sockets = sockets
        self.host = host
        self.port_offset = port_offset
        self.flow = Flow()
        self.peers = Peers(table, process, epoch, host, self.flow)
        self.links, self.routes, self.lanes = self.peers.links, self.peers.routes, self.peers.lanes
        self.inbox = Inbox(table, host, self.flow, self.peers)
        self.peers.refuse = self.inbox.refuse
        self.hubs = HubWires(process, epoch, self.flow, self.inbox)
        self.books = Books(self.routes, self.lanes)
        self.greeting = False
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._pull: zmq.Socket[bytes] | None = None
        self._door: Door | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tick_handle: asyncio.TimerHandle | None = None
        self._straight = False
        """Whether no message has to wait for those behind it, so that frames need not be sorted before delivery."""
        self._more = False
        self._taken = False
        self._again_due = False

    # --- opening ----------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Make the sockets, and join this process's outputs to them and remote writers' ports to the host.

        Raises KeyUnusable or CannotListen when peers of other machines cannot be let in.
        """
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        access = Access(self.table, self.process, self.sockets, self.port_offset)
        self.peers.address = access.address
        bases = self._join_ports()
        # Made here and not before: a context does not live through a fork.
        context = self._context = zmq.Context()
        context.linger = 0
        pull = self._pull = context.socket(zmq.PULL)
        pull.setsockopt(zmq.LINGER, 0)
        pull.setsockopt(zmq.RCVHWM, SOCKET_FRAMES)
        mask = os.umask(0o177)
        try:
            pull.bind(access.address(self.process))
        finally:
            os.umask(mask)
        self._door = access.door(context)
        for link in self.links.values():
            push = context.socket(zmq.PUSH)
            push.setsockopt(zmq.LINGER, 0)
            push.setsockopt(zmq.SNDHWM, SOCKET_FRAMES)
            push.setsockopt(zmq.IMMEDIATE, 1)  # what waits for a peer waits in the backlog, under its policy
            push.setsockopt(zmq.RECONNECT_IVL, 10)
            push.setsockopt(zmq.RECONNECT_IVL_MAX, 1_000)
            access.prepare(push, link.peer)
            push.connect(access.address(link.peer))
            link.connect(push)
        endpoints = Endpoints(self.table.plan.topology.hubs, self.port_offset)
        self.hubs.open(context, endpoints, access, bases)

    def _join_ports(self) -> dict[Port, int]:
        host, table = self.host, self.table
        local = {**host.ports, **{(node_id, ""): port for node_id, port in host.called.items()}}
        bases = {port: id_base(table.ports[key].number, self.epoch) for key, port in local.items()}
        bases[OUTSIDE] = 0
        for remote, wires in table.into(self.process).items():
            port = host.add_remote(remote.node, remote.name, remote.message)
            bases[port] = id_base(remote.number, 1)
            direct, through = _by_way(wires)
            for read in (direct, through):
                if read:
                    shared = bool(direct and through)
                    link = self.links[remote.process]
                    route = Route(remote, port, link, read, bases, hub=read is through, shared=shared)
                    self.peers.add(route)
                    self.inbox.add(route)
        for mine, wires in table.out_of(self.process).items():
            lanes = []
            for link in self.links.values():
                direct, through = _by_way([w for w in wires if table.process_of[w.target[0]] == link.peer])
                if direct:
                    lanes.append(link.add_lane(mine, direct))
                elif through:  # its messages come from the hub, its end from here
                    self.lanes.append(link.add_lane(mine, through))
            if lanes:
                self.lanes += lanes
                port = host.ports[mine.key]
                port.join(make_sender(host, port, lanes, bases, self.peers.hold), None)
        self.routes += self.hubs.join_outside(bases)
        return bases

    async def join(self, timeout_s: float | None = None) -> None:
        """Greet every peer until each has answered; raise StartTimeout naming those that have not in `timeout_s`."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self.greeting = True
        try:
            while missing := [link for link in self.links.values() if not (link.heard_us or link.final)]:
                if deadline is not None and time.monotonic() > deadline:
                    names = ", ".join(repr(link.peer) for link in missing)
                    raise StartTimeout(f"process {self.process!r} waited {timeout_s:g} s for {names}: no answer")
                for link in missing:
                    if not link.urgent:
                        self.peers.greet(link)
                    link.flush()
                self._take()
                await asyncio.sleep(GREET_EVERY_S / 10)
        finally:
            self.greeting = False
        self.peers.met = True
        if self.inbox.pending:
            self._soon()

    def attach(self, loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> None:
        """Watch the sockets from `loop`; `wake` is called when something may be waiting for `drain()`."""
        if self._pull is None:
            raise RuntimeError("open() comes before attach()")
        self._loop = loop
        self._straight = self.inbox.plain and not self.hubs.subscribers
        self.flow.wake = wake
        self.flow.call_soon = loop.call_soon
        self.flow.soon = self._soon
        loop.add_reader(self._pull.fileno(), self._on_readable)
        for socket in self._door.sockets if self._door is not None else ():
            loop.add_reader(socket.fileno(), self._on_door)
        for link in self.links.values():
            if link.socket is not None:
                loop.add_reader(link.socket.fileno(), link.on_ready)
        self.hubs.watch(loop.add_reader, self._on_readable)
        self._tick_handle = loop.call_later(TICK_S, self._tick)
        loop.call_soon(self._on_readable)

    def close(self) -> None:
        """Let go of all sockets; what has not been sent is in the journal, or was not promised to arrive."""
        if self._tick_handle is not None:
            self._tick_handle.cancel()
        for socket in (self._pull, *(link.socket for link in self.links.values())):
            if socket is not None and not socket.closed:
                self._unwatch(socket.fileno())
                socket.close(0)
        if self._door is not None and not self._door.closed:
            for each in self._door.sockets:
                self._unwatch(each.fileno())
            self._door.close()
        self.hubs.close(self._unwatch, HUB_LINGER_MS)
        if self._context is not None:
            self._context.term()
            self._context = None
        self.flow.call_soon = None
        for link in self.links.values():
            link.disconnected()

    def _unwatch(self, descriptor: int) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(descriptor)

    # --- receiving --------------------------------------------------------------------------------------------

    def _on_readable(self) -> None:
        self._taken = False
        if not self.greeting:
            self.flow.wake()
        if not self._taken:  # greetings are answered whatever the process is about, and a descriptor is read to its end
            self._take()

    def _on_door(self) -> None:
        if self._door is not None:
            self._door.turn()
        self._on_readable()

    def _take(self, room: int | None = None) -> None:
        """Take what the sockets hold into memory; words between processes take effect at once."""
        self.inbox.sort(self._fetch(room))
        if self.hubs.subscribers:
            self.inbox.sort(self.hubs.fetch(TAKE_AT_ONCE), hub=True)
            self._more = self._more or self.hubs.more
        self.peers.answer()

    def _fetch(self, room: int | None = None) -> list[bytes]:
        """Return what the sockets hold, as far as there is room for it."""
        self._taken = True
        pull = self._pull
        if pull is None or pull.closed:
            return []
        if room is None:
            room = min(TAKE_AT_ONCE, KEEP_WHEN_PAUSED - len(self.inbox))
        frames: list[bytes] = []
        append, receive = frames.append, pull.recv
        self._more = True
        try:
            if room > 0:
                append(receive(_NOWAIT))
            # Asking costs less than the exception that says that a socket is empty, and one frame is the usual case. It
            # also takes note of what the descriptor tells, which would otherwise go on telling.
            self._more = bool(int(pull.getsockopt(zmq.EVENTS)) & _HAS_FRAMES)
            while self._more and len(frames) < room:
                for _ in range(min(CHUNK, room - len(frames))):
                    append(receive(_NOWAIT))
        except zmq.Again:
            self._more = False
        if self._door is not None:
            from_afar, more = self._door.receive(room - len(frames), self.inbox.refuse)
            frames += from_afar
            self._more = self._more or more
        return frames

    def drain(self) -> int:
        """Take what is there, apply policies and deliver into the host; return how many messages were delivered.

        While the process greets nothing is delivered, while it is paused only what `Flow` tells. What a failing node
        raises goes through, and the rest stays queued. A long queue is delivered in slices: `wake` is then called
        again.
        """
        try:
            count = self._drain()
        finally:
            self.flow.pour()
        has_room = not self.flow.paused or len(self.inbox) < KEEP_WHEN_PAUSED
        if (self.inbox.pending and not self.flow.shut) or (self._more and has_room):
            self._soon()
        return count

    def _drain(self) -> int:
        inbox = self.inbox
        if self.greeting or self.flow.paused or inbox.pending or inbox.aside or not self._straight:
            self._take()
            count = 0 if self.greeting else inbox.deliver()
        else:
            count = inbox.deliver_straight(self._fetch())
            self.peers.answer()
        return count

    def _soon(self) -> None:
        if self._loop is not None and not self._again_due:
            self._again_due = True
            self._loop.call_soon(self._once_more)

    def _once_more(self) -> None:
        self._again_due = False
        self.flow.wake()

    @property
    def on_broken(self) -> Callable[[str], None]:
        """What is called with the name of a reliable wire that cannot be repaired; whoever runs a process sets it."""
        return self.peers.on_broken

    @on_broken.setter
    def on_broken(self, report: Callable[[str], None]) -> None:
        self.peers.on_broken = report

    @property
    def paused(self) -> bool:
        """Whether so much waits for a peer that no source is to be stepped and no timer made."""
        return self.flow.paused

    # --- reliable wires ---------------------------------------------------------------------------------------

    @property
    def uncommitted(self) -> bool:
        """Whether something reliable was received or sent since the last commit."""
        return self.flow.holding

    def journal_state(self) -> tuple[bytes, list[QueueNews]]:
        """Return what must be on disk before anything that is held back may leave, see `Journal.save`."""
        return self.books.news()

    def restore(self, data: bytes, queues: Mapping[str, list[tuple[int, bytes]]]) -> None:
        """Take up from a journaled state; called after `open()`, the ports' counts being restored already."""
        self.books.take_up(data, queues, lambda lane: self.host.ports[lane.port.key].sent)

    def committed(self) -> None:
        """Release what was held back, and acknowledge what has been applied.

        Called when what `journal_state` has returned is on disk, with nothing sent or received in between.
        """
        self.books.settle()
        flow = self.flow
        flow.holding = False
        held, flow.held = flow.held, []
        for link in self.links.values():
            link.catch_up()
        for _, lane, _, _, _ in held:
            lane.held_from = None
        for link, lane, sequence, frame, key in held:
            link.put(lane, sequence, frame, key)
        for link in self.links.values():
            link.flush()
        self.hubs.service()
        for route in self.routes:
            if route.applied != route.committed:
                route.committed = route.applied
                if route.reliable:
                    self.peers.acknowledge(route)

    def resend(self) -> None:
        """Send what peers may lack after a restart; what greetings have already set off is not sent twice."""
        if not self.flow.holding:
            for link in self.links.values():
                link.catch_up()

    # --- life -------------------------------------------------------------------------------------------------

    def peer_gone(self, process: str, final: bool, epoch: int = MOST_EPOCHS) -> None:
        """Take note that a peer has died. It comes back and greets, or never does (`final`): then its ports end.

        `epoch` is the one in which it died: a later one may have greeted before this is told.
        """
        link = self.links.get(process)
        if link is None or link.final or (link.greeted and link.epoch > epoch):
            return
        link.lose(final)
        if final:
            self.peers.gone.discard(process)
            self.inbox.pending.extend(
                (route, route.expected, 0, None, None, ALL) for route in self.routes if route.peer is link
            )
            self._soon()
        else:
            self.peers.gone.add(process)
            self.peers.tell_stale()

    def end(self, node_id: str) -> None:
        """Say to all who read a node of this process that it sends nothing more."""
        for lane in self.lanes:
            if lane.port.node == node_id and lane.end is None:
                sequence = self.host.ports[lane.port.key].sent
                base = id_base(lane.port.number, self.epoch)
                frame = pack(base | sequence, 0, time.time_ns(), tail(lane.port.schema, END))
                lane.link.put_end(lane, End(sequence, frame))

    @property
    def drained(self) -> bool:
        """Whether nothing is queued either way, all is acknowledged, and every end has been heard."""
        quiet = not (self.flow.held or len(self.inbox) or self.inbox.late_ends) and self.hubs.drained
        return quiet and all(link.idle for link in self.links.values())

    def _tick(self) -> None:
        """Do what is due when time has passed."""
        self.peers.repair()
        if self.flow.paused:
            if len(self.inbox) >= KEEP_WHEN_PAUSED:
                self.inbox.tidy()
                self._take(TRICKLE)
            if self.inbox.pending and not self.flow.shut:
                self._soon()
        self.peers.watch(len(self.inbox), 2 * KEEP_WHEN_PAUSED)
        self.hubs.service()
        if self.inbox.late_ends:
            self.inbox.bring_late_ends()
            self._soon()
        if self._loop is not None:
            self._tick_handle = self._loop.call_later(TICK_S, self._tick)

    def stats(self) -> dict[str, Any]:
        """Return what is told of wires, links and refused frames in each beat."""
        now_ns = time.time_ns()
        waiting: dict[Any, int] = {}
        for entry in self.inbox.waiting():
            waiting[entry[0]] = waiting.get(entry[0], 0) + 1
        wires: dict[str, Any] = {}
        for route in self.routes:
            wires.update(route.stats(now_ns, waiting.get(route, 0)))
        return {
            "wires": wires,
            "links": {
                link.peer: {"sent": link.sent, "backlog": len(link.backlog), "bytes": link.bytes}
                for link in self.links.values()
            }
            | self.hubs.stats(),
            "stalls": self.peers.stalls,
            "refused": dict(self.inbox.refused),
            "refused_peers": self._door.refused if self._door is not None else {},
        }


def _by_way(wires: list[PlannedWire]) -> tuple[list[PlannedWire], list[PlannedWire]]:
    """Return those of these wires that run directly, and those that run through a hub."""
    return [wire for wire in wires if wire.hub is None], [wire for wire in wires if wire.hub is not None]
