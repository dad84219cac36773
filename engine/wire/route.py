"""One port of another process as it is read here: its wires, what they want, and how far it has come."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from engine.clock import seconds_to_ns
from engine.message import Message
from engine.run.host import Host
from engine.run.port import Port, straight
from engine.topology.model import Policy
from engine.topology.plan import PlannedWire
from engine.wire.codec import decoder, fast_decoder
from engine.wire.frame import EPOCH_SHIFT, SEQUENCE_MASK, tail
from engine.wire.reliable import Identities, identity_of
from engine.wire.table import TablePort, wire_name

if TYPE_CHECKING:
    from engine.wire.link import Link

Entry = Any
"""[route, message id, time of sending, frame, message once decoded, bits of the groups of wires that want it].

A tuple for a plain route. The frame of an end is None, and that of a message that nobody wants any more.
"""
FRAME, MESSAGE, WANTED = 3, 4, 5
ALL = -1
SAMPLES = 512


class Latency:
    """Time from sending to delivery. Counted for the first message of each drain and of each further 64."""

    __slots__ = ("count", "newest", "sum_ns")

    def __init__(self) -> None:
        self.count = 0
        self.sum_ns = 0
        self.newest: deque[int] = deque(maxlen=SAMPLES)

    def add(self, ns: int) -> None:
        self.count += 1
        self.sum_ns += ns
        self.newest.append(ns)

    def stats(self) -> dict[str, float]:
        """Return count and sum over all, and quantiles over the newest; in seconds."""
        ordered = sorted(self.newest)
        last = len(ordered) - 1
        p50, p99 = (ordered[round(last * q)] / 1e9 if ordered else 0.0 for q in (0.5, 0.99))
        return {"count": self.count, "sum": self.sum_ns / 1e9, "p50": p50, "p99": p99}


class Group:
    """The wires of one route that have the same policy. `bit` stands for them in an entry."""

    __slots__ = (
        "bit",
        "dropped",
        "expired",
        "key",
        "kind",
        "latest",
        "most",
        "superseded",
        "ttl_ns",
        "waiting",
        "wires",
    )

    def __init__(self, policy: Policy, bit: int) -> None:
        self.kind = policy.kind
        self.key: Callable[[Any], Any] | None = attrgetter(policy.by) if policy.by is not None else None
        self.most = policy.n or 1
        self.ttl_ns = seconds_to_ns(policy.ttl_s) if policy.ttl_s is not None else None
        self.bit = bit
        self.wires: list[PlannedWire] = []
        self.latest: dict[Any, Entry] = {}
        self.waiting: deque[Entry] = deque()
        self.superseded = 0
        self.dropped = 0
        self.expired = 0

    def take(self, entry: Entry) -> Entry | None:
        """Note a new entry; return the one that these wires no longer want because of it."""
        if self.kind == "conflate":
            key = None if self.key is None else self.key(entry[MESSAGE])
            old = self.latest.get(key)
            self.latest[key] = entry
            self.superseded += old is not None
            return old
        if self.kind == "drop_oldest":
            self.waiting.append(entry)
            if len(self.waiting) > self.most:
                self.dropped += 1
                return self.waiting.popleft()
        return None

    def release(self, entry: Entry, now_ns: int | None = None) -> bool:
        """Note that an entry is about to be delivered; return whether it is still worth it."""
        if self.kind == "conflate":
            key = None if self.key is None else self.key(entry[MESSAGE])
            if self.latest.get(key) is entry:
                del self.latest[key]
        elif self.waiting and self.waiting[0] is entry:
            self.waiting.popleft()
        if now_ns is not None and self.ttl_ns is not None and now_ns - entry[2] > self.ttl_ns:
            self.expired += 1
            return False
        return True


class Route:
    """One port of a peer that is read here.

    `expected` is the id that comes next if none is missing, `applied` the last one delivered, `committed` the last one
    whose effect is on disk. `plain` routes deliver every message to every reader, in order. `live` says that something
    has come since this process began. A port may be read here both directly and through a hub (`hub`): it then has two
    routes, and each is `shared`.
    """

    __slots__ = (
        "_before",
        "applied",
        "asked_at",
        "base",
        "bases",
        "careful",
        "committed",
        "decode",
        "ended",
        "everyone",
        "expected",
        "fast",
        "gap_since",
        "groups",
        "hub",
        "identities",
        "is_state",
        "keyed",
        "latency",
        "live",
        "lost",
        "peer",
        "plain",
        "port",
        "reliable",
        "repeated",
        "sent_ns",
        "shared",
        "skipped",
        "table",
        "tail",
    )

    def __init__(
        self,
        table: TablePort,
        port: Port,
        peer: Link,
        wires: list[PlannedWire],
        bases: dict[Port, int],
        *,
        hub: bool = False,
        shared: bool = False,
    ) -> None:
        self.table = table
        self.port = port
        self.peer = peer
        self.bases = bases
        self.tail = tail(table.schema)
        self.decode: Callable[[bytes], Message] = decoder(table.message)
        self.fast: Callable[[bytes], Message] = fast_decoder(table.message)
        self.reliable = any(wire.policy.kind == "reliable" for wire in wires)
        self.identities = Identities(table.message) if identity_of(table.message) else None
        self.groups = _groups(wires)
        self.everyone = sum(group.bit for group in self.groups)
        lossless = all(group.kind in ("block", "reliable") and group.ttl_ns is None for group in self.groups)
        self.hub = hub
        self.shared = shared
        self.plain = lossless and self.identities is None and not shared
        self.careful = not self.plain or self.reliable
        self.is_state = all(group.kind == "conflate" for group in self.groups)
        self.keyed = any(group.key is not None for group in self.groups)
        self.latency = Latency()
        self.base = 0
        self.expected = 0
        self.applied = 0
        self.committed = 0
        self.live = False
        self.ended = False
        self.gap_since: float | None = None
        self.asked_at = 0.0
        self.sent_ns = 0
        self.lost = self.repeated = self.skipped = 0
        self._before = 0

    @property
    def received(self) -> int:
        """Messages taken. Not counted one by one: `expected` moves on with each."""
        return self.expected - self._before

    def expect(self, message_id: int) -> None:
        """Set what comes next, without having received anything."""
        received = self.received
        self.expected = message_id
        self._before = message_id - received

    def accept(self, message_id: int) -> None:
        """Note a message that is not simply the next one."""
        self.expect(message_id)
        self.expected += 1

    def rebase(self, message_id: int) -> int:
        """Note the epoch of a message that is about to be delivered; return its sequence."""
        base = message_id & ~SEQUENCE_MASK
        if base != self.base:
            self.base = self.bases[self.port] = base
            self.port.epoch = base >> EPOCH_SHIFT & 0xFFF
        return message_id & SEQUENCE_MASK

    def inject_some(self, host: Host, message: Message, wanted: int) -> None:
        """Deliver a message to the wires whose bits are set, and to those who only look on."""
        wanting = {wire.target for group in self.groups if wanted & group.bit for wire in group.wires}
        port = self.port
        targets = iter(port.targets)
        chosen = []
        for each in port.joined:
            if each.owner is not None:
                node, name = next(targets)
                if (node.id, name) not in wanting:
                    continue
            chosen.append(each)
        port.read = straight(tuple(chosen))
        try:
            host.inject(port, message)
        finally:
            port.read = straight(port.joined)

    def stats(self, now_ns: int, backlog: int) -> dict[str, dict[str, Any]]:
        """Return what is told of each wire of this route."""
        age_s = (now_ns - self.sent_ns) / 1e9 if self.sent_ns else None
        shared = {"lost": self.lost, "repeated": self.repeated, "age_s": age_s, "latency_s": self.latency.stats()}
        result = {}
        for group in self.groups:
            left_out = {
                "superseded": group.superseded + (self.skipped if group.kind == "conflate" else 0),
                "dropped": group.dropped + (self.skipped if group.kind != "conflate" else 0),
                "expired": group.expired,
            }
            kept = group.superseded + group.dropped + group.expired + backlog
            for wire in group.wires:
                result[wire_name(wire)] = {
                    "received": self.received,
                    "delivered": max(0, self.received - kept),
                    **left_out,
                    **shared,
                    "backlog": backlog,
                }
        return result


def _groups(wires: list[PlannedWire]) -> list[Group]:
    found: dict[Any, Group] = {}
    for wire in wires:
        policy = wire.policy
        # `reliable` and `block` differ on the way, not at the reader.
        kind = "block" if policy.kind == "reliable" else policy.kind
        key = (kind, policy.by, policy.n, policy.ttl_s)
        group = found.get(key)
        if group is None:
            group = found[key] = Group(policy, 1 << len(found))
        group.wires.append(wire)
    return list(found.values())
