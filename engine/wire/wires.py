"""All wires of one process to and from the others of its run."""

from __future__ import annotations

import asyncio
import heapq
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import zmq

from engine.errors import PipelineError
from engine.run.calls import Watch
from engine.run.host import Host
from engine.run.port import OUTSIDE, Port
from engine.topology.plan import PlannedWire
from engine.wire.codec import UNDECODABLE
from engine.wire.frame import (
    ACK,
    END,
    MOST_PORTS,
    PORT_SHIFT,
    REPEAT,
    SEQUENCE_MASK,
    WITHIN_PORT_MASK,
    Greeting,
    PortGreeting,
    at_port,
    decode_greeting,
    hello,
    id_base,
    pack,
    parts,
    tail,
    unpack,
)
from engine.wire.hub_client import Endpoints
from engine.wire.hub_wires import HubWires
from engine.wire.inbox import KEEP_WHEN_PAUSED, TAKE_AT_ONCE, Inbox
from engine.wire.link import FIRST_PATIENCE_S, End, Flow, Lane, Link
from engine.wire.reliable import SentState
from engine.wire.route import ALL, Route
from engine.wire.security import Access, Door
from engine.wire.sender import make_sender
from engine.wire.table import WireTable, wire_name

GREET_EVERY_S = 0.02
TICK_S = 0.05
ASK_AGAIN_S = 0.05
REPAIR_WITHIN_S = 5.0
"""A gap of a reliable wire that is still there after so long, its writer alive, is reported as broken."""
LONGEST_PATIENCE_S = 8.0
SOCKET_FRAMES = 4_000
"""High-water mark of each socket. It is no policy: what does not fit waits in a link's backlog."""
HUB_LINGER_MS = 100
log = logging.getLogger("wires")


class StartTimeout(PipelineError):
    """Not every process that shares a wire with this one has answered in time."""


class WiresState(msgspec.Struct, array_like=True):
    """What is journaled: of each remote port the last id applied and the business ids; of each lane what it owes."""

    incoming: dict[str, tuple[int, bytes]]
    outgoing: dict[str, SentState]


_encode_state = msgspec.msgpack.Encoder().encode
_decode_state = msgspec.msgpack.Decoder(WiresState).decode


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
        self.inbox = Inbox(table, host, self.flow, self)
        self.links = {peer: Link(peer, self.flow) for peer in table.peers(process)}
        self.routes: list[Route] = []
        self.lanes: list[Lane] = []
        self.hubs = HubWires(process, epoch, self.flow, self.inbox)
        self.greeting = False
        self.on_broken: Callable[[str], None] = _log_broken
        self._broken: set[str] = set()
        self._gone: set[str] = set()
        self._answer: dict[Route, None] = {}
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._pull: zmq.Socket[bytes] | None = None
        self._access: Access | None = None
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
        access = self._access = Access(self.table, self.process, self.sockets, self.port_offset)
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
                    self.routes.append(route)
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
                port.join(make_sender(host, port, lanes, bases, self.hold), None)
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
                        self._greet(link)
                    link.flush()
                self._take()
                await asyncio.sleep(GREET_EVERY_S / 10)
        finally:
            self.greeting = False
        if self.inbox.pending:
            self._soon()

    def attach(self, loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> None:
        """Watch the sockets from `loop`; `wake` is called when something may be waiting for `drain()`."""
        if self._pull is None:
            raise RuntimeError("open() comes before attach()")
        self._loop = loop
        self._straight = self.inbox.plain and not self.hubs.subscribers
        self.flow.wake = wake
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

    def _take(self) -> None:
        """Take what the sockets hold into memory; words between processes take effect at once."""
        self.inbox.sort(self._fetch())
        if self.hubs.subscribers:
            self.inbox.sort(self.hubs.fetch(TAKE_AT_ONCE), hub=True)
            self._more = self._more or self.hubs.more
        self._answer_repeated()

    def _answer_repeated(self) -> None:
        for route in self._answer:
            self._acknowledge(route)
        self._answer.clear()

    def _fetch(self) -> list[bytes]:
        """Return what the sockets hold, as far as there is room for it."""
        self._taken = True
        pull = self._pull
        if pull is None or pull.closed:
            return []
        room = min(TAKE_AT_ONCE, KEEP_WHEN_PAUSED - len(self.inbox.pending))
        frames: list[bytes] = []
        append, receive, nowait = frames.append, pull.recv, int(zmq.NOBLOCK)
        self._more = True
        try:
            for _ in range(room):
                append(receive(nowait))
            pull.getsockopt(zmq.EVENTS)  # or the descriptor would go on telling of what there is no room for
        except zmq.Again:
            self._more = False
        if self._door is not None:
            from_afar, more = self._door.receive(room - len(frames), self.inbox.refuse)
            frames += from_afar
            self._more = self._more or more
        return frames

    def drain(self) -> int:
        """Take what is there, apply policies and deliver into the host; return how many messages were delivered.

        While the process greets or is paused nothing is delivered. What a failing node raises goes through, and the
        rest stays queued. A long queue is delivered in slices: `wake` is then called again.
        """
        with self.gathered():
            count = self._drain()
        if (self._more or self.inbox.pending) and not self.flow.paused:
            self._soon()
        return count

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Let what is sent meanwhile leave together at the end: for whoever handles many events in one go."""
        flow = self.flow
        if flow.gathering:
            yield
            return
        flow.gathering = True
        try:
            yield
        finally:
            flow.gathering = False
            flow.pour()

    def _drain(self) -> int:
        inbox = self.inbox
        if self.greeting or self.flow.paused or inbox.pending or not self._straight:
            self._take()
            count = 0 if self.greeting else inbox.deliver()
        else:
            count = inbox.deliver_straight(self._fetch())
            self._answer_repeated()
        return count

    def _soon(self) -> None:
        if self._loop is not None and not self._again_due:
            self._again_due = True
            self._loop.call_soon(self._once_more)

    def _once_more(self) -> None:
        self._again_due = False
        self.flow.wake()

    @property
    def paused(self) -> bool:
        """Whether so much waits for a peer that nothing is to be handled and no source stepped."""
        return self.flow.paused

    # --- what processes say to each other ---------------------------------------------------------------------

    def _greet(self, link: Link) -> None:
        ports = tuple(
            PortGreeting(
                lane.port.number,
                self.host.ports[lane.port.key].sent,
                lane.unacknowledged.start,
                lane.unacknowledged.acknowledged,
            )
            for lane in link.lanes.values()
            if lane.unacknowledged is not None
        )
        heard = link.epoch if link.greeted else 0
        link.say(hello(Greeting(self.process, self.epoch, heard, ports), time.time_ns()))

    def on_greeting(self, payload: bytes) -> None:
        """Answer a process that greets; one that is new here is sent what it may lack."""
        try:
            greeting = decode_greeting(payload)
        except UNDECODABLE as error:
            self.inbox.refuse("undecodable", f"a greeting: {error}")
            return
        link = self.links.get(greeting.process)
        if link is None or link.final:
            self.inbox.refuse("foreign", f"process {greeting.process!r} greets, with which no wire is shared")
            return
        if not max(link.epoch, 1) <= greeting.epoch < MOST_PORTS:
            self.inbox.refuse("epoch", f"process {link.peer!r} greets in epoch {greeting.epoch} after {link.epoch}")
            return
        news = not link.greeted or greeting.epoch > link.epoch
        if news:
            if link.epoch and self._access is not None:
                link.reconnect(self._access.address(link.peer))
            self._gone.discard(link.peer)
            self._expect(link, greeting)
            link.greet(greeting.epoch)
        link.heard_us |= greeting.heard == self.epoch
        if news or greeting.heard != self.epoch:
            self._greet(link)
        if news and not self.flow.holding:
            link.catch_up()

    def _expect(self, link: Link, greeting: Greeting) -> None:
        """Set what comes next on every port of a peer, by what it says and what has been applied here."""
        for route in self.routes:
            if (
                route.peer is link
                and not (route.expected or route.reliable or route.hub)
                and greeting.epoch == self.epoch == 1
            ):
                route.expected = id_base(route.table.number, 1) + 1
        for said in greeting.ports:
            route_or_none = self.inbox.routes[said.port] if 0 <= said.port < MOST_PORTS else None
            if route_or_none is None or route_or_none.peer is not link or not route_or_none.reliable:
                self.inbox.refuse("foreign", f"process {link.peer!r} greets for port {said.port}")
                continue
            route = route_or_none
            last = (route.expected - 1) & SEQUENCE_MASK if route.expected else None
            if last is None:
                last = said.start & SEQUENCE_MASK
                if said.acknowledged != said.start:
                    self._break(route, f"{said.acknowledged} were acknowledged here, but the journal knows of none")
            elif said.sent < last:
                self._break(route, f"{last} came, but the writer's journal knows of {said.sent}")
            elif said.acknowledged > last:
                self._break(route, f"{said.acknowledged} were acknowledged, but the journal here knows of {last}")
            route.expected = (id_base(route.table.number, greeting.epoch) | last) + 1
            route.gap_since = None

    def on_acknowledged(self, message_id: int, flags: int) -> None:
        """A peer has applied all of a port up to a sequence, or asks for what comes after it, or has heard its end."""
        number, epoch, sequence = parts(message_id)
        peer_number = epoch  # an acknowledgement says who sends it in the place of the epoch
        link = self._by_index(peer_number)
        lane = link.lanes.get(number) if link is not None else None
        if link is None or lane is None:
            self.inbox.refuse("foreign", f"port number {number} is acknowledged by a process that does not read it")
        elif flags & END:
            if lane.end is not None:
                lane.end.acknowledged = True
                self._soon()
        elif lane.unacknowledged is None:
            self.inbox.refuse("foreign", f"port {lane.port} is acknowledged, but is not reliable")
        elif flags & REPEAT:
            link.send_again(lane, sequence)
        elif lane.unacknowledged.acknowledge(sequence):
            lane.progress_at = time.monotonic()
            link.weigh()
            if not lane.unacknowledged:
                self._soon()

    def _by_index(self, index: int) -> Link | None:
        names = tuple(self.table.processes)
        return self.links.get(names[index]) if index < len(names) else None

    def _word(self, route: Route, sequence: int, flags: int) -> None:
        index = tuple(self.table.processes).index(self.process)
        message_id = id_base(route.table.number, index) | sequence
        route.peer.say(pack(message_id, 0, time.time_ns(), tail(route.table.schema, flags)))

    def _acknowledge(self, route: Route) -> None:
        self._word(route, route.committed & SEQUENCE_MASK, ACK)

    def on_repeated(self, route: Route) -> None:
        """Acknowledge once more what has been applied before."""
        self._answer[route] = None

    def on_gap(self, route: Route) -> None:
        """Ask for what is missing on a reliable wire."""
        now = time.monotonic()
        if route.gap_since is None:
            route.gap_since = now
        if now - route.asked_at >= ASK_AGAIN_S:
            route.asked_at = now
            self._word(route, (route.expected - 1) & SEQUENCE_MASK, ACK | REPEAT)

    def on_damaged(self, route: Route) -> None:
        """Report a reliable message that cannot be read: sending it again would not help."""
        self._break(route, "a message cannot be decoded")

    def on_end(self, route: Route) -> None:
        """Close a node's ports once all of them have ended, and tell the writer that its end has been heard."""
        node_id = route.table.node
        if all(other.ended for other in self.routes if other.table.node == node_id):
            self.host.close(node_id)
        self._word(route, route.applied & SEQUENCE_MASK, ACK | END)

    def _break(self, route: Route, reason: str) -> None:
        for wire in (wire for group in route.groups for wire in group.wires):
            name = wire_name(wire)
            if name not in self._broken:
                self._broken.add(name)
                log.error("wire %s is broken: %s", name, reason)
                self.on_broken(name)

    # --- reliable wires ---------------------------------------------------------------------------------------

    @property
    def uncommitted(self) -> bool:
        """Whether something reliable was received or sent since the last commit."""
        return self.flow.holding

    def hold(self) -> None:
        """Hold back all that is sent from now on until `committed()`."""
        if not self.flow.holding:
            self.flow.pour()  # what came before is no longer held back
            self.flow.holding = True
            for link in self.links.values():
                link.direct = False

    def journal_state(self) -> bytes:
        """Return what must be on disk before anything that is held back may leave."""
        return _encode_state(
            WiresState(
                {
                    str(route.table): (
                        route.applied & WITHIN_PORT_MASK,
                        route.identities.state() if route.identities is not None else b"",
                    )
                    for route in self.routes
                },
                {
                    _lane_name(lane): lane.unacknowledged.state()
                    for lane in self.lanes
                    if lane.unacknowledged is not None
                },
            )
        )

    def restore(self, data: bytes) -> None:
        """Take up from a journaled state; called after `open()`, the ports' counts being restored already."""
        state = _decode_state(data) if data else WiresState({}, {})
        for route in self.routes:
            applied, identities = state.incoming.get(str(route.table), (0, b""))
            if applied:
                route.applied = route.committed = route.table.number << PORT_SHIFT | applied
                route.expected = route.applied + 1
            if route.identities is not None:
                route.identities.restore(identities)
        for lane in self.lanes:
            if lane.unacknowledged is None:
                continue
            kept = state.outgoing.pop(_lane_name(lane), None)
            if kept is None:
                sent = self.host.ports[lane.port.key].sent
                kept = SentState(sent, sent, [])
            number = lane.port.number
            if kept.frames and unpack(kept.frames[0][1])[0] >> PORT_SHIFT != number:
                kept.frames = [(sequence, at_port(frame, number)) for sequence, frame in kept.frames]
            lane.unacknowledged.restore(kept)
        lost = [name for name, kept in state.outgoing.items() if kept.frames]
        if lost:
            raise PipelineError(
                f"the journal of process {self.process!r} holds messages that were not acknowledged for "
                f"{', '.join(lost)}, which this topology has not; start with a new run folder"
            )

    def committed(self) -> None:
        """Release what was held back, and acknowledge what has been applied; called when the state is on disk."""
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
                    self._acknowledge(route)

    def resend(self) -> None:
        """Send what peers may lack after a restart; what greetings have already set off is not sent twice."""
        if not self.flow.holding:
            for link in self.links.values():
                link.catch_up()

    # --- life -------------------------------------------------------------------------------------------------

    def peer_gone(self, process: str, final: bool) -> None:
        """Take note that a peer has died. It comes back and greets, or never does (`final`): then its ports end."""
        link = self.links.get(process)
        if link is None or link.final:
            return
        link.lose(final)
        if final:
            self._gone.discard(process)
            self.inbox.pending.extend(
                (route, route.expected, 0, None, None, ALL) for route in self.routes if route.peer is link
            )
            self._soon()
        else:
            self._gone.add(process)
            self._tell_stale()

    def _tell_stale(self) -> None:
        """Tell inputs with `on_stale` whose writers are all gone, without waiting for their time to pass."""
        host = self.host
        for watch in host.watches:
            if watch.stale or watch.cancelled:
                continue
            here = (watch.node, watch.input)
            writers = [port for port in host.ports.values() if here in port.targets and not port.closed]
            if writers and all(self.table.process_of[port.node] in self._gone for port in writers):
                self._silence(watch)

    def _silence(self, watch: Watch) -> None:
        host = self.host
        host.calls[:] = [entry for entry in host.calls if entry[2] is not watch]
        heapq.heapify(host.calls)
        watch.stale = True
        host.call(watch.node, "input_stale", (watch.input, watch.action))

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
        quiet = not (self.flow.held or self.inbox.pending or self.inbox.late_ends) and self.hubs.drained
        return quiet and all(link.idle for link in self.links.values())

    def _tick(self) -> None:
        """Repair: flush what waits, ask again for what is missing, send again what nobody acknowledges."""
        now = time.monotonic()
        for link in self.links.values():
            if link.backlog or link.urgent:
                link.flush()
            if link.greeted:
                for lane in link.lanes.values():
                    self._insist(lane, now)
        for route in self.routes:
            if route.gap_since is not None and route.peer.greeted:
                if now - route.gap_since > REPAIR_WITHIN_S:
                    missing = route.expected & SEQUENCE_MASK
                    self._break(route, f"number {missing} is missing and was not sent again in {REPAIR_WITHIN_S:g} s")
                self.on_gap(route)
        self.hubs.service()
        if self.inbox.late_ends:
            self.inbox.bring_late_ends()
            self._soon()
        if self._loop is not None:
            self._tick_handle = self._loop.call_later(TICK_S, self._tick)

    def _insist(self, lane: Lane, now: float) -> None:
        owed = lane.unacknowledged
        if lane.queued or lane.held_from is not None or now - lane.progress_at < lane.patience_s:
            return
        lane.progress_at = now
        if owed:
            lane.patience_s = min(lane.patience_s * 2, LONGEST_PATIENCE_S)
            lane.link.send_again(lane, owed.acknowledged)
        elif lane.end is not None and not lane.end.acknowledged:
            lane.link.put_end(lane, lane.end)
        else:
            lane.patience_s = FIRST_PATIENCE_S

    def stats(self) -> dict[str, Any]:
        """Return what is told of wires, links and refused frames in each beat."""
        now_ns = time.time_ns()
        waiting: dict[Any, int] = {}
        for entry in self.inbox.pending:
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
            "refused": dict(self.inbox.refused),
            "refused_peers": self._door.refused if self._door is not None else {},
        }


def _by_way(wires: list[PlannedWire]) -> tuple[list[PlannedWire], list[PlannedWire]]:
    """Return those of these wires that run directly, and those that run through a hub."""
    return [wire for wire in wires if wire.hub is None], [wire for wire in wires if wire.hub is not None]


def _lane_name(lane: Lane) -> str:
    return f"{lane.port} -> {lane.link.peer}"


def _log_broken(wire: str) -> None:
    log.error("wire %s cannot be repaired, and nobody is there to halt the run", wire)
