"""The way to one peer process: a PUSH socket, and what waits while the peer is slow or gone."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

import zmq

from engine.topology.plan import PlannedWire
from engine.wire.codec import decoder
from engine.wire.frame import HEADER_BYTES, LAST_VALUE, REPEAT, SKIPPED, flagged, parts, unpack
from engine.wire.lane import End, Flow, Lane
from engine.wire.reliable import Unacknowledged
from engine.wire.table import TablePort

PAUSE_ABOVE = 64
"""A process pauses once so many frames that must not be dropped have found no room in a peer's socket, until it has."""
MOST_UNACKNOWLEDGED = 4_096
"""It also pauses while a peer owes so many acknowledgements on one port; it goes on at half of them. Meanwhile it still
delivers what may have to come first, see `Flow`."""
MOST_WHILE_PAUSED = 16 * MOST_UNACKNOWLEDGED
"""With so many unacknowledged it delivers nothing: each message that comes has more than one answer, without end."""
TOGETHER = 64
_NOWAIT, _HAS_ROOM = int(zmq.NOBLOCK), int(zmq.POLLOUT)
"""As plain numbers: a flag of pyzmq takes longer to combine than a frame takes to send."""
_RENEWED = ("reliable", "conflate")
"""Kinds of lanes whose frames a peer is sent again when it comes back, so that they need not wait for it."""
_KEPT = ("reliable", "block")
_END = object()


class Link:
    """Send to one peer, in order; keep what it cannot take yet.

    A peer is sent messages once it has been `greeted`; before that, and again after it is gone, the frames of reliable
    lanes wait as unacknowledged, the newest of conflated lanes as state, the rest in the backlog. `direct` says that
    nothing stands between a sender and the socket, `busy` that it has sent in this turn of the loop.
    """

    __slots__ = (
        "backlog",
        "blocked",
        "busy",
        "bytes",
        "direct",
        "epoch",
        "final",
        "flow",
        "fresh",
        "gathered",
        "greeted",
        "heard_us",
        "kept",
        "lanes",
        "owing",
        "peer",
        "push",
        "returns",
        "sent",
        "socket",
        "urgent",
    )

    def __init__(self, peer: str, flow: Flow) -> None:
        self.peer = peer
        self.flow = flow
        flow.links.append(self)
        self.returns: frozenset[Link] = frozenset()
        """The peers whose messages this one may be waiting for, at however many removes, before it acknowledges."""
        self.gathered: list[bytes] = []
        self.lanes: dict[int, Lane] = {}
        self.owing: list[Unacknowledged] = []
        self.socket: zmq.Socket[bytes] | None = None
        self.push: Callable[[bytes, int], Any] = _closed
        self.backlog: OrderedDict[Any, tuple[Lane, int, bytes]] = OrderedDict()
        self.urgent: deque[bytes] = deque()
        self.kept = 0
        self.direct = False
        self.blocked = False
        self.busy = False
        self.greeted = False
        self.heard_us = False
        self.fresh = False
        self.final = False
        self.epoch = 0
        self.sent = 0
        self.bytes = 0

    def connect(self, socket: zmq.Socket[bytes]) -> None:
        """Use `socket`, which is connected to the peer."""
        self.socket = socket
        # `Socket.send` of pyzmq first looks for options that we never use; a third of its time goes there.
        self.push = super(zmq.Socket, socket).send

    def disconnected(self) -> None:
        """The socket is closed."""
        self.socket = None
        self.push = _closed
        self.direct = self.greeted = False

    def reconnect(self, address: str) -> None:
        """Try at once to reach a peer that has come back: the socket itself may wait for up to a second."""
        if self.socket is not None and not self.writable():
            self.socket.disconnect(address)
            self.socket.connect(address)

    def writable(self) -> bool:
        """Take note of what the descriptor tells, which otherwise goes on telling; return whether there is room."""
        return self.socket is not None and bool(int(self.socket.getsockopt(zmq.EVENTS)) & _HAS_ROOM)

    def on_ready(self) -> None:
        """The socket's descriptor tells that something has changed."""
        if self.writable() and (self.backlog or self.urgent):
            self.flush()

    def add_lane(self, port: TablePort, wires: list[PlannedWire]) -> Lane:
        """Make the lane of one port, which these wires read at the peer."""
        lane = self.lanes[port.number] = Lane(port, self, wires)
        if lane.unacknowledged is not None:
            self.owing.append(lane.unacknowledged)
        return lane

    # --- sending ----------------------------------------------------------------------------------------------

    def say(self, frame: bytes) -> None:
        """Send a word of the processes' own (greeting, acknowledgement) ahead of all messages."""
        if not self.final:
            self.urgent.append(frame)
            self.flush()

    def put(self, lane: Lane, sequence: int, frame: bytes, key: Any = None) -> None:
        """Send a frame of a lane, now or when it can be sent."""
        if self.gathered:
            self.pour()
        if self.flow.holding:
            if lane.held_from is None:
                lane.held_from = sequence
            self.flow.held.append((self, lane, sequence, frame, key))
        elif not self.final:
            if (lane.kind in _RENEWED or key is _END) and (not self.greeted or self.fresh):
                return  # `catch_up` sends it
            if lane.kind == "conflate" and sequence <= lane.caught_up and key is not _END:
                return  # `catch_up` has sent it
            if key is _END:
                self._queue_end(lane)
            else:
                self._queue(lane, sequence, frame, key)
            if not self.blocked:
                self.flush()

    def put_end(self, lane: Lane, end: End) -> None:
        """Say that a lane brings nothing more, after all that it has brought."""
        lane.end = end
        self.put(lane, end.sequence, end.frame, _END)

    def _queue_end(self, lane: Lane) -> None:
        if lane.end is not None:
            lane.queued += 1
            self.kept += lane.kind in _KEPT
            self.backlog["end", lane] = (lane, lane.end.sequence, lane.end.frame)

    def give(self, lane: Lane, sequence: int, frame: bytes, key: Any = None) -> None:
        """Give a frame to the socket, while the link is `direct` and not `busy`."""
        try:
            self.push(frame, _NOWAIT)
        except zmq.Again:
            self.refuse(lane, sequence, frame, key)
        else:
            self.sent += 1
            self.bytes += len(frame)
            self.busy = self.flow.turn()

    def gather(self, frame: bytes) -> None:
        """Keep a frame for a moment, while the link is `direct` and `busy`."""
        gathered = self.gathered
        gathered.append(frame)
        if len(gathered) >= TOGETHER:
            self.pour()

    def pour(self) -> None:
        """Send what has been gathered, in order."""
        gathered, self.gathered = self.gathered, []
        rest = iter(gathered)
        if self.direct:
            push, nowait, frame = self.push, _NOWAIT, b""
            try:
                for frame in rest:
                    push(frame, nowait)
            except zmq.Again:
                self.direct = False
                rest = iter([frame, *rest])
        waiting = list(rest)
        left = gathered[: len(gathered) - len(waiting)]
        self.sent += len(left)
        self.bytes += sum(map(len, left))
        for frame in waiting:
            self._queue(*self._lane_of(frame))
        if waiting and not self.blocked:
            self.flush()

    def _lane_of(self, frame: bytes) -> tuple[Lane, int, bytes, Any]:
        """Return what is known of a gathered frame beside its bytes."""
        number, _, sequence = parts(unpack(frame)[0])
        lane = self.lanes[number]
        key = None if lane.key is None else lane.key(decoder(lane.port.message)(frame[HEADER_BYTES:]))
        return lane, sequence, frame, key

    def refuse(self, lane: Lane, sequence: int, frame: bytes, key: Any = None) -> None:
        """Take a frame back that the socket had no room for."""
        self.direct = False
        self._queue(lane, sequence, frame, key)
        self.flush()

    def _queue(self, lane: Lane, sequence: int, frame: bytes, key: Any) -> None:
        at: Any = (lane.port.number, sequence)
        if not lane.queued:
            lane.next = sequence  # all that came before has been sent
        if lane.kind == "conflate":
            at = (lane, key)
            if self.backlog.pop(at, None) is not None:
                lane.superseded += 1
                lane.queued -= 1
        elif lane.kind == "drop_oldest":
            lane.waiting.append(at)
            if len(lane.waiting) > lane.most:
                del self.backlog[lane.waiting.popleft()]
                lane.dropped += 1
                lane.queued -= 1
        else:
            self.kept += 1
            if self.kept > PAUSE_ABOVE:
                self.weigh()
        lane.queued += 1
        self.backlog[at] = (lane, sequence, frame)

    def flush(self) -> None:
        """Send what waits until the socket takes no more."""
        push, urgent, backlog = self.push, self.urgent, self.backlog
        self.blocked = False
        while True:
            try:
                while urgent:
                    push(urgent[0], _NOWAIT)
                    urgent.popleft()
                if not self.greeted or self.fresh:
                    break
                while backlog:
                    at = next(iter(backlog))
                    lane, sequence, frame = backlog[at]
                    push(self._marked(lane, sequence, frame), _NOWAIT)
                    self._sent(at, lane, sequence, frame)
                break
            except zmq.Again:
                # What made room may have been noticed by the attempt itself: then the descriptor does not tell again.
                if not self.writable():
                    self.blocked = True
                    break
        self.direct = self.greeted and not (self.flow.holding or backlog or urgent or self.fresh)
        self.weigh()

    def _marked(self, lane: Lane, sequence: int, frame: bytes) -> bytes:
        if lane.kind not in _KEPT and sequence > lane.next:
            return flagged(frame, SKIPPED)
        return frame

    def _sent(self, at: Any, lane: Lane, sequence: int, frame: bytes) -> None:
        del self.backlog[at]
        lane.queued -= 1
        lane.next = sequence + 1
        if lane.kind in _KEPT:
            self.kept -= 1
        elif lane.waiting and lane.waiting[0] == at:
            lane.waiting.popleft()
        self.sent += 1
        self.bytes += len(frame)

    def weigh(self) -> None:
        """Pause the process when too much waits for this peer, and let it go on when that has gone."""
        flow = self.flow
        was_full, was_shut = self in flow.full, self in flow.shut_by
        full = shut = False
        if not self.final:
            owed = max((len(each) for each in self.owing), default=0)
            shut = self.kept > (0 if was_shut else PAUSE_ABOVE) or owed > MOST_WHILE_PAUSED
            full = shut or owed > (MOST_UNACKNOWLEDGED // 2 if was_full else MOST_UNACKNOWLEDGED)
        if full != was_full or shut != was_shut:
            flow.mark(self, full, shut)

    # --- the peer's life --------------------------------------------------------------------------------------

    def greet(self, epoch: int) -> None:
        """The peer is there, in this epoch: what it may lack goes first, then what waits."""
        self.pour()
        self.epoch = epoch
        self.greeted = True
        self.fresh = True
        for at, (lane, _, _) in list(self.backlog.items()):
            if lane.kind in _RENEWED or at == ("end", lane):
                del self.backlog[at]
                lane.queued -= 1
                self.kept -= lane.kind in _KEPT

    def catch_up(self) -> None:
        """Send a peer that has just been greeted the state of conflated lanes and what it has not acknowledged."""
        if not self.greeted or not self.fresh:
            return
        self.fresh = False
        later = list(self.backlog.items())
        self.backlog.clear()
        for lane in self.lanes.values():
            if lane.unacknowledged is not None:
                for sequence, frame in lane.unacknowledged.after(-1, lane.held_from):
                    self._again(lane, sequence, flagged(frame, REPEAT))
            for frame in sorted(lane.newest.values(), key=_sequence):
                lane.caught_up = _sequence(frame)
                self.backlog["newest", lane, lane.caught_up] = (lane, lane.caught_up, flagged(frame, LAST_VALUE))
                lane.queued += 1
                lane.next = lane.caught_up + 1
        self.backlog.update(later)
        for lane in self.lanes.values():
            if lane.end is not None:
                lane.end.acknowledged = False
                self._queue_end(lane)
        self.flush()

    def _again(self, lane: Lane, sequence: int, frame: bytes) -> None:
        at = (lane.port.number, sequence)
        if at not in self.backlog:
            self.backlog[at] = (lane, sequence, frame)
            lane.queued += 1
            self.kept += 1

    def send_again(self, lane: Lane, above: int) -> None:
        """Send the unacknowledged frames of a lane above a sequence once more."""
        if lane.unacknowledged is not None and self.greeted and not self.fresh:
            for sequence, frame in lane.unacknowledged.after(above, lane.held_from):
                self._again(lane, sequence, flagged(frame, REPEAT))
            self.flush()

    def lose(self, final: bool) -> None:
        """The peer is gone. When it comes back it greets; after `final` it does not before the run is resumed.

        Then only what is owed to it on reliable lanes is kept, and nobody waits for it any more.
        """
        self.pour()
        self.greeted = self.heard_us = self.direct = False
        self.urgent.clear()
        if final:
            self.final = True
            self.backlog.clear()
            self.kept = 0
            for lane in self.lanes.values():
                lane.queued = 0
                lane.waiting.clear()
        self.weigh()

    @property
    def idle(self) -> bool:
        """Whether nothing waits here, all is acknowledged and every end heard, or there is nobody left to do so."""
        if self.final:
            return True
        return not self.backlog and not any(
            lane.unacknowledged or (lane.end is not None and not lane.end.acknowledged) for lane in self.lanes.values()
        )


def _sequence(frame: bytes) -> int:
    return parts(unpack(frame)[0])[2]


def _closed(frame: bytes, flags: int) -> Any:
    raise zmq.Again
