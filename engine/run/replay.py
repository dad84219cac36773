"""Replay a recording: give every node what its handlers received and compare what it sends, byte for byte."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from engine.clock import Clock
from engine.errors import Instruction, PipelineError, UsageError
from engine.message import Message
from engine.node import Node
from engine.run.calls import PendingCall
from engine.run.chance import unpack_chance
from engine.run.host import Host
from engine.run.kept import Kept, give_back
from engine.run.segment import Row, Segment, segments
from engine.topology.plan import Plan, PlannedNode
from engine.wire.codec import decoder, encoder

_decode_state = msgspec.msgpack.Decoder(Kept).decode


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where a replay did something else than the run did."""

    event: str
    node: str
    recorded: str
    replayed: str


@dataclass(slots=True)
class Compared:
    """How many messages of a node or a port were compared, and how many of them differ."""

    messages: int = 0
    differing: int = 0


@dataclass(slots=True)
class ReplayedSegment:
    """One start of a process: how many events were replayed, and how its recording ends.

    `end` is empty for a process that closed its recording in order. `failed` are the nodes that failed in the run.
    """

    process: str
    start: int
    inputs: int = 0
    end: str = ""
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Replayed:
    """Result of a replay: how many messages were compared, and the first differences.

    `drivers` are the nodes that were not replayed: what they say comes from the world, and is taken as it came.
    """

    nodes: int = 0
    inputs: int = 0
    outputs: int = 0
    differing: int = 0
    differences: list[Difference] = field(default_factory=list)
    by_node: dict[str, Compared] = field(default_factory=dict)
    by_port: dict[str, Compared] = field(default_factory=dict)
    segments: list[ReplayedSegment] = field(default_factory=list)
    drivers: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    """Ports whose messages have other fields now than they had in the run."""

    @property
    def same(self) -> bool:
        return self.differing == 0

    def same_on(self, port: str) -> bool:
        """Whether all messages of one port (`node.port`) were the same; raise UsageError when none was compared."""
        if port not in self.by_port:
            raise UsageError(f"no message of {port} was compared; there are some of {', '.join(sorted(self.by_port))}")
        return self.by_port[port].differing == 0

    def count(self, node_id: str, port: str) -> None:
        """Count a recorded message that is compared."""
        self.outputs += 1
        self.by_node.setdefault(node_id, Compared()).messages += 1
        self.by_port.setdefault(port, Compared()).messages += 1

    def note(self, difference: Difference, ports: set[str], keep: int) -> None:
        """Count a difference on these ports, and keep its description while there are few."""
        self.differing += 1
        self.by_node.setdefault(difference.node, Compared()).differing += 1
        for port in ports:
            self.by_port.setdefault(port, Compared()).differing += 1
        if len(self.differences) < keep:
            self.differences.append(difference)


class ReplayHost(Host):
    """A host that never delivers and never fires a timer: both come from the recording."""

    def schedule(self, node: Node, handler: str, delay_s: float, period_s: float, data: Any) -> PendingCall:
        return PendingCall(node, handler, 0, 0, data, 0)

    def take(self) -> list[tuple[str, bytes]]:
        """Return and forget what was sent: (output, encoded message), in order."""
        sent = [(port.name, encoder(port.message)(message)) for port, message, _, _ in self.outbox]
        self.outbox.clear()
        return sent

    def deliver(self) -> None:
        """Leave the outbox to `take`."""


def replay(
    plan: Plan, recordings: Path, out: Path, *, seed: int = 0, only: frozenset[str] = frozenset(), keep: int = 20
) -> Replayed:
    """Feed the recording to new nodes (all, or those in `only`) and compare their outputs, byte for byte.

    Every start of every process is replayed, each node from the state that it had then; processes are merged by time.
    What the nodes write goes under `out`. At most `keep` differences are described. Raises PipelineError when the
    recording does not fit the plan.
    """
    out.mkdir(parents=True, exist_ok=True)
    known = {planned.id: planned for planned in plan.nodes}
    if strangers := only - known.keys():
        raise UsageError(f"no node {', '.join(sorted(strangers))} in the topology; it has {', '.join(sorted(known))}")
    if drivers := [node_id for node_id in sorted(only) if known[node_id].cls.spec.is_driver]:
        raise UsageError(
            f"node {drivers[0]!r} owns a connection to the world; a recording cannot take the world's place"
        )
    result = Replayed(drivers=[node.id for node in plan.nodes if node.cls.spec.is_driver and not only])
    replayed = {
        node_id: node
        for node_id, node in known.items()
        if not node.cls.spec.is_driver and (not only or node_id in only)
    }
    world = _World(plan, known, replayed, str(out), seed, keep, result)
    by_process: dict[str, list[Segment]] = {}
    for segment in segments(recordings):
        by_process.setdefault(segment.process, []).append(segment)
    result.changed = _changed(plan, by_process)
    steps = (_steps(world, own) for own in by_process.values())
    for _, replaying, row in heapq.merge(*steps, key=lambda step: step[0]):
        if row is None:
            replaying.finish()
        else:
            replaying.take(row)
    result.nodes = len(world.seen)
    return result


def _changed(plan: Plan, by_process: dict[str, list[Segment]]) -> list[str]:
    fields = {
        f"{node.id}.{name}": out.message.__struct_fields__
        for node in plan.nodes
        for name, out in node.cls.spec.outputs.items()
    }
    recorded = [segment.ports() for own in by_process.values() for segment in own]
    return sorted(
        {port for ports in recorded for port, facts in ports.items() if port in fields and facts.fields != fields[port]}
    )


@dataclass(frozen=True, slots=True)
class _World:
    """What all segments of a replay share."""

    plan: Plan
    known: dict[str, PlannedNode]
    replayed: dict[str, PlannedNode]
    out: str
    seed: int
    keep: int
    result: Replayed
    seen: set[str] = field(default_factory=set)


def _steps(world: _World, own: list[Segment]) -> Iterator[tuple[int, _Replaying, Row | None]]:
    """Yield (time, segment, row) of the starts of one process, one after the other; at the end of each a None."""
    now_ns = 0
    for segment in own:
        replaying = _Replaying(world, segment)
        for row in segment.rows():
            now_ns = row.time_ns
            yield now_ns, replaying, row
        yield now_ns, replaying, None


class _Replaying:
    """One start of one process, with nodes of its own."""

    def __init__(self, world: _World, segment: Segment) -> None:
        self.world = world
        self.result = world.result
        self.host = ReplayHost(Clock(), world.seed, world.out)
        end = "" if segment.closed else "cut: the process did not end in order, or still runs"
        self.summary = ReplayedSegment(segment.process, segment.epoch or 1, end=end)
        self.result.segments.append(self.summary)
        self.messages = {kind.__name__: kind for node in world.plan.nodes for kind in _message_types(node.cls)}
        self.waiting: dict[tuple[str, str, int], _Sent] = {}
        self.raised: dict[str, tuple[str, str]] = {}
        self.failed_ns: set[int] = set()

    def take(self, row: Row) -> None:
        """Replay one row: feed what came in, compare what went out."""
        if row.kind == "stopped":
            self.summary.end = f"recording stopped: {row.payload.decode()}"
            return
        if row.node not in self.world.replayed:
            if row.node not in self.world.known:
                raise PipelineError(f"the recording has a node {row.node!r} that is not in the topology")
            return
        if row.node not in self.host.nodes:
            planned = self.world.replayed[row.node]
            self.host.add(planned.id, planned.cls, planned.params)
            self.world.seen.add(row.node)
        if row.kind == "out":
            if row.cause:
                self._compare(row)
        elif row.kind == "failed":
            self._compare_failure(row)
        else:
            self._feed(row)

    def _feed(self, row: Row) -> None:
        if row.kind != "state":
            self.result.inputs += 1
            self.summary.inputs += 1
        handle = event(self.host, row, self.messages)
        try:
            handle()
        except Exception as error:  # noqa: BLE001  (the run may have seen the same; its next row tells)
            self.host.outbox.clear()
            if not isinstance(error, Instruction):
                self.raised[row.node] = (f"{row.writer}#{row.number}", type(error).__name__)
        if sent := self.host.take():
            self.waiting.setdefault((row.node, row.writer, row.number), _Sent(row.time_ns)).messages.extend(sent)

    def _compare(self, row: Row) -> None:
        key = (row.node, row.cause, row.cause_number)
        self.result.count(row.node, row.writer)
        sent = self.waiting.get(key)
        now = sent.messages.popleft() if sent else None
        if sent and not sent.messages:
            del self.waiting[key]
        if now != (row.name, row.payload):
            ports = {row.writer} | ({f"{row.node}.{now[0]}"} if now else set())
            self._note(f"{row.cause}#{row.cause_number}", row.node, _shown((row.name, row.payload)), _shown(now), ports)

    def _compare_failure(self, row: Row) -> None:
        recorded = row.payload.decode()
        self.summary.failed[row.node] = recorded
        self.failed_ns.add(row.time_ns)
        if row.writer:  # otherwise it failed before it was given anything
            _, now = self.raised.pop(row.node, ("", "nothing"))
            if now != recorded:
                self._note(f"{row.writer}#{row.number}", row.node, f"failed: {recorded}", f"failed: {now}", set())

    def finish(self) -> None:
        """Note what the nodes have sent, or raised, that the recording does not have."""
        for node_id, (name, error) in self.raised.items():
            self._note(name, node_id, "no failure", f"failed: {error}", set())
        for (node_id, writer, number), sent in self.waiting.items():
            # What stood in the outbox when a node failed was never delivered, and so is not in the recording.
            for message in () if sent.time_ns in self.failed_ns else sent.messages:
                ports = {f"{node_id}.{message[0]}"}
                self._note(f"{writer}#{number}", node_id, _shown(None), _shown(message), ports)

    def _note(self, name: str, node_id: str, recorded: str, replayed: str, ports: set[str]) -> None:
        self.result.note(Difference(name, node_id, recorded, replayed), ports, self.world.keep)


@dataclass(slots=True)
class _Sent:
    """What a node has sent in answer to one event, and when."""

    time_ns: int
    messages: deque[tuple[str, bytes]] = field(default_factory=deque)


def feed(host: ReplayHost, row: Row, messages: dict[str, type[Message]]) -> None:
    """Give one row's message or call to its node; `messages` are the types that a call may carry, by name."""
    event(host, row, messages)()


def event(host: ReplayHost, row: Row, messages: dict[str, type[Message]]) -> Callable[[], None]:
    """Set the clock to one row and return what it does to its node; raise PipelineError when it cannot be read."""
    node = host.nodes[row.node]
    host.clock.now_ns = row.time_ns
    try:
        if row.kind == "in":
            message = decoder(node.spec.inputs[row.name].message)(row.payload)
            return partial(getattr(node, f"on_{row.name}"), message)
        if row.kind == "recovered":
            return partial(node.input_recovered, row.name)
        if row.kind == "call":
            return partial(getattr(node, row.name), *_arguments(row.payload, messages))
        if row.kind == "state":
            return partial(_restore, host, node, _decode_state(row.payload))
    except (msgspec.MsgspecError, KeyError, AttributeError) as error:
        name = f"{row.kind} {row.name!r}, {row.writer}#{row.number}"
        raise PipelineError(f"the recording does not fit node {row.node!r} at {name}: {error}") from error
    raise PipelineError(
        f"the recording has a row of kind {row.kind!r}; this version knows in, out, call, recovered, failed, state, "
        "stopped"
    )


def _restore(host: ReplayHost, node: Node, kept: Kept) -> None:
    """Bring a node to where it stood when its process came back, as the journal does."""
    give_back(node, kept.version, kept.fields)
    node.start()
    host.outbox.clear()
    unpack_chance(node.random, kept.chance)


def _arguments(payload: bytes, messages: dict[str, type[Message]]) -> Iterable[Any]:
    for value in msgspec.json.decode(payload) if payload else ():
        if isinstance(value, list) and len(value) == 2 and value[0] in messages:
            yield msgspec.convert(value[1], messages[value[0]])
        else:
            yield value


def _message_types(cls: type[Node]) -> Iterable[type[Message]]:
    yield from (port.message for port in cls.spec.inputs.values())
    yield from (port.message for port in cls.spec.outputs.values())


def _shown(sent: tuple[str, bytes] | None) -> str:
    return "nothing" if sent is None else f"{sent[0]}: {sent[1][:200]!r}"
