"""Lanes: one port on its way to one peer process; and the flow that all links of a process share."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal

from engine.topology.plan import PlannedWire
from engine.wire.reliable import Unacknowledged
from engine.wire.table import TablePort

if TYPE_CHECKING:
    from engine.wire.link import Link

FIRST_PATIENCE_S = 1.0
"""What is not acknowledged in this time is sent again; then the time doubles."""

Kind = Literal["block", "conflate", "drop_oldest", "reliable"]


class Flow:
    """What the links of a process share: whether sends are held back until a commit, and whether it is paused.

    While it is `paused` no source is stepped and no timer made. It is `shut` as well, and delivers nothing, while a
    peer's socket has no room. While it only waits for acknowledgements it delivers what comes from the processes in
    `open_to` (None: all): the owing peers, and all that these reach over wires that drop nothing. One of them may be
    waiting for this process in turn, round a circle in which nobody would deliver and nobody acknowledge. What comes
    from others waits, so that a slow reader still holds up those before it.

    In one turn of the loop a link sends its first frame at once; the rest leave together, some at a time and at the end
    of the turn. A socket that is given frames one by one wakes its thread, and the reader's, for each of them.
    """

    __slots__ = (
        "call_soon",
        "full",
        "held",
        "holding",
        "links",
        "open_to",
        "paused",
        "shut",
        "shut_by",
        "soon",
        "turning",
        "wake",
    )

    def __init__(self) -> None:
        self.holding = False
        self.held: list[tuple[Any, Any, int, bytes, Any]] = []  # (link or topic, lane or topic, sequence, frame, key)
        self.full: set[Link] = set()
        self.shut_by: set[Link] = set()
        self.open_to: frozenset[Link] | None = None
        self.links: list[Link] = []
        self.turning = False
        self.call_soon: Callable[[Callable[[], None]], Any] | None = None
        """Of the loop; without one every frame is sent at once."""
        self.paused = self.shut = False
        self.wake: Callable[[], None] = _nothing
        self.soon: Callable[[], None] = _nothing
        """Have `wake` called in a turn of its own: from within a batch it would let later frames pass earlier ones."""

    def turn(self) -> bool:
        """Note that a link has sent in this turn of the loop; return whether there will be an end of it."""
        if self.call_soon is None:
            return False
        if not self.turning:
            self.turning = True
            self.call_soon(self._turn_over)
        return True

    def _turn_over(self) -> None:
        self.turning = False
        for link in self.links:
            link.busy = False
        self.pour()

    def pour(self) -> None:
        """Send what has been gathered."""
        for link in self.links:
            if link.gathered:
                link.pour()

    def mark(self, link: Link, full: bool, shut: bool = True) -> None:
        """Note that a link is full, and whether its socket is, or no longer; wake the process when it may go on."""
        for marked, found in ((full, self.full), (full and shut, self.shut_by)):
            if marked:
                found.add(link)
            else:
                found.discard(link)
        before = self.paused + self.shut
        self.paused, self.shut = bool(self.full), bool(self.shut_by)
        self.open_to = frozenset().union(*(each.returns for each in self.full)) if self.full else None
        if self.paused + self.shut < before:
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
