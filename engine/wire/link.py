"""The way to one peer process: a PUSH socket, and what waits while the peer is slow or gone."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Literal

import zmq

from engine.topology.plan import PlannedWire
from engine.wire.frame import LAST_VALUE, REPEAT, SKIPPED, flagged, parts, unpack
from engine.wire.reliable import Unacknowledged
from engine.wire.table import TablePort

PAUSE_ABOVE = 64
"""A process pauses once so many frames that must not be dropped have found no room in a peer's socket, until it has."""
MOST_UNACKNOWLEDGED = 4_096
"""It also pauses while a peer owes so many acknowledgements on one port; it goes on at half of them."""

FIRST_PATIENCE_S = 1.0
"""What is not acknowledged in this time is sent again; then the time doubles."""

Kind = Literal["block", "conflate", "drop_oldest", "reliable"]
_RENEWED = ("reliable", "conflate")
"""Kinds of lanes whose frames a peer is sent again when it comes back, so that they need not wait for it."""
_KEPT = ("reliable", "block")
_END = object()


class Flow:
    """What the links of a process share: whether sends are held back until a commit, and whether it is paused.

    While it is `gathering`, frames that could leave are kept for a moment and leave together: a socket that is given
    frames one by one wakes its thread, and the reader's, for each of them.
    """

    __slots__ = ("full", "gathering", "held", "holding", "links", "paused", "soon", "wake")

    def __init__(self) -> None:
        self.holding = False
        self.held: list[tuple[Any, Any, int, bytes, Any]] = []  # (link or topic, lane or topic, sequence, frame, key)
        self.full: set[Link] = set()
        self.links: list[Link] = []
        self.gathering = False
        self.paused = False
        self.wake: Callable[[], None] = _nothing
        self.soon: Callable[[], None] = _nothing
        """Have `wake` called in a turn of its own: from within a batch it would let later frames pass earlier ones."""

    def pour(self) -> None:
        """Send what has been gathered."""
        for link in self.links:
            if link.gathered:
                link.pour()

    def mark(self, link: Link, full: bool) -> None:
        """Note that a link is full, or no longer; wake the process when the last one has room again."""
        if full:
            self.full.add(link)
        else:
            self.full.discard(link)
        was, self.paused = self.paused, bool(self.full)
        if was and not self.paused:
            self.soon()


def _nothing() -> None:
    pass


class Lane:
    """One port on its way to one peer, under the policies of the wires that read it there.

    Where these wires agree the frames that wait obey their policy; where they differ all are kept, as with `block`.
    `key` reads what a conflated message is the newest of.
    """

    __slots__ = (
        "caught_up",
        "dropped",
        "end",
        "held_from",
        "key",
        "kind",
        "link",
        "most",
        "newest",
        "next",
        "patience_s",
        "port",
        "progress_at",
        "queued",
        "superseded",
        "unacknowledged",
        "waiting",
        "wires",
    )

    def __init__(self, port: TablePort, link: Link, wires: list[PlannedWire]) -> None:
        self.port = port
        self.link = link
        self.wires = wires
        self.kind, self.most = _common(wires)
        fields = tuple({wire.policy.by: None for wire in wires if wire.policy.by is not None})
        self.key: Callable[[Any], Any] | None = attrgetter(*fields) if fields else None
        self.newest: dict[Any, bytes] = {}
        self.caught_up = 0
        self.queued = 0
        self.next = 0
        self.waiting: deque[Any] = deque()
        self.superseded = 0
        self.dropped = 0
        self.unacknowledged = Unacknowledged() if self.kind == "reliable" else None
        self.held_from: int | None = None
        self.progress_at = 0.0
        self.patience_s = FIRST_PATIENCE_S
        self.end: End | None = None


class End:
    """The end of a lane: its frame, and whether the peer has acknowledged it."""

    __slots__ = ("acknowledged", "frame", "sequence")

    def __init__(self, sequence: int, frame: bytes) -> None:
        self.sequence = sequence
        self.frame = frame
        self.acknowledged = False


def _common(wires: list[PlannedWire]) -> tuple[Kind, int]:
    kinds = {wire.policy.kind for wire in wires}
    if "reliable" in kinds:
        return "reliable", 0
    if kinds == {"conflate"}:
        return "conflate", 0
    if kinds == {"drop_oldest"}:
        return "drop_oldest", max(wire.policy.n or 1 for wire in wires)
    return "block", 0


class Link:
    """Send to one peer, in order; keep what it cannot take yet.

    A peer is sent messages once it has been `greeted`; before that, and again after it is gone, the frames of reliable
    lanes wait as unacknowledged, the newest of conflated lanes as state, the rest in the backlog. `direct` says that
    nothing stands between a sender and the socket.
    """

    __slots__ = (
        "backlog",
        "blocked",
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
        "sent",
        "socket",
        "urgent",
    )

    def __init__(self, peer: str, flow: Flow) -> None:
        self.peer = peer
        self.flow = flow
        flow.links.append(self)
        self.gathered: list[tuple[Lane, int, bytes, Any]] = []
        self.lanes: dict[int, Lane] = {}
        self.owing: list[Unacknowledged] = []
        self.socket: zmq.Socket[bytes] | None = None
        self.push: Callable[[bytes, int], Any] = _closed
        self.backlog: OrderedDict[Any, tuple[Lane, int, bytes]] = OrderedDict()
        self.urgent: deque[bytes] = deque()
        self.kept = 0
        self.direct = False
        self.blocked = False
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
        return self.socket is not None and bool(int(self.socket.getsockopt(zmq.EVENTS)) & zmq.POLLOUT)

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
        """Give a frame to the socket, while the link is `direct`."""
        try:
            self.push(frame, zmq.NOBLOCK)
        except zmq.Again:
            self.refuse(lane, sequence, frame, key)
        else:
            self.sent += 1
            self.bytes += len(frame)

    def pour(self) -> None:
        """Send what has been gathered, in order."""
        gathered, self.gathered = self.gathered, []
        rest = iter(gathered)
        if self.direct:
            push, nowait = self.push, int(zmq.NOBLOCK)
            try:
                for lane, sequence, frame, key in rest:  # noqa: B007  (used when the socket is full)
                    push(frame, nowait)
            except zmq.Again:
                self.direct = False
                self._queue(lane, sequence, frame, key)
            else:
                self._count(gathered)
                return
        waiting = list(rest)
        self._count(gathered[: len(gathered) - len(waiting) - 1])
        for lane, sequence, frame, key in waiting:
            self._queue(lane, sequence, frame, key)
        if not self.blocked:
            self.flush()

    def _count(self, sent: list[tuple[Lane, int, bytes, Any]]) -> None:
        self.sent += len(sent)
        self.bytes += sum(len(each[2]) for each in sent)

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
                    push(urgent[0], zmq.NOBLOCK)
                    urgent.popleft()
                if not self.greeted or self.fresh:
                    break
                while backlog:
                    at = next(iter(backlog))
                    lane, sequence, frame = backlog[at]
                    push(self._marked(lane, sequence, frame), zmq.NOBLOCK)
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
        owed = max((len(each) for each in self.owing), default=0)
        if self in self.flow.full:
            if not self.kept and owed <= MOST_UNACKNOWLEDGED // 2:
                self.flow.mark(self, False)
        elif (self.kept > PAUSE_ABOVE or owed > MOST_UNACKNOWLEDGED) and not self.final:
            self.flow.mark(self, True)

    # --- the peer's life --------------------------------------------------------------------------------------

    def greet(self, epoch: int) -> None:
        """The peer is there, in this epoch: what it may lack goes first, then what waits."""
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
        """The peer is gone. When it comes back it greets; after `final` it never does, and nothing is kept for it."""
        self.greeted = self.heard_us = self.direct = False
        self.urgent.clear()
        if final:
            self.final = True
            self.backlog.clear()
            self.kept = 0
            for lane in self.lanes.values():
                lane.queued = 0
                lane.waiting.clear()
                if lane.unacknowledged is not None:
                    lane.unacknowledged.frames.clear()
                if lane.end is not None:
                    lane.end.acknowledged = True
        self.weigh()

    @property
    def idle(self) -> bool:
        """Whether nothing waits here, all is acknowledged, and every end that was sent has been heard."""
        return not self.backlog and not any(
            lane.unacknowledged or (lane.end is not None and not lane.end.acknowledged) for lane in self.lanes.values()
        )


def _sequence(frame: bytes) -> int:
    return parts(unpack(frame)[0])[2]


def _closed(frame: bytes, flags: int) -> Any:
    raise zmq.Again
