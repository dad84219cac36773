"""Replay a recording: give every node what its handlers received and compare what it sends, byte for byte."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from engine.clock import Clock
from engine.errors import PipelineError, UsageError
from engine.message import Message
from engine.node import Node
from engine.run.calls import PendingCall
from engine.run.host import Host
from engine.run.recording import Row, read_recording
from engine.topology.plan import Plan
from engine.wire.codec import decoder, encoder


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where a replay sent something else than the run did."""

    event: str
    node: str
    recorded: str
    replayed: str


@dataclass(slots=True)
class Replayed:
    """Result of a replay: how many messages were compared, and the first differences."""

    nodes: int = 0
    inputs: int = 0
    outputs: int = 0
    differing: int = 0
    differences: list[Difference] = field(default_factory=list)

    @property
    def same(self) -> bool:
        return self.differing == 0

    def note(self, difference: Difference, keep: int) -> None:
        """Count a difference, and keep its description while there are few."""
        self.differing += 1
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

    What the nodes write goes under `out`. At most `keep` differences are described. Raises PipelineError when the
    recording does not fit the plan.
    """
    host = ReplayHost(Clock(), seed, str(out))
    out.mkdir(parents=True, exist_ok=True)
    known = {planned.id for planned in plan.nodes}
    if strangers := only - known:
        raise UsageError(f"no node {', '.join(sorted(strangers))} in the topology; it has {', '.join(sorted(known))}")
    for planned in plan.nodes:
        if not only or planned.id in only:
            host.add(planned.id, planned.cls, planned.params)
    result = Replayed(nodes=len(host.nodes))
    messages = {cls.__name__: cls for planned in plan.nodes for cls in _message_types(planned.cls)}
    waiting: dict[tuple[str, str, int], deque[tuple[str, bytes]]] = {}
    for row in read_recording(recordings):
        if row.node not in host.nodes:
            if row.node in known:
                continue
            raise PipelineError(f"the recording has a node {row.node!r} that is not in the topology")
        if row.kind != "out":
            result.inputs += 1
            feed(host, row, messages)
            if sent := host.take():
                waiting.setdefault((row.node, row.writer, row.number), deque()).extend(sent)
        elif row.cause:
            result.outputs += 1
            key = (row.node, row.cause, row.cause_number)
            replayed = waiting.get(key)
            now = replayed.popleft() if replayed else None
            if not replayed:
                waiting.pop(key, None)
            if now != (row.name, row.payload):
                event = f"{row.cause}#{row.cause_number}"
                result.note(Difference(event, row.node, _shown((row.name, row.payload)), _shown(now)), keep)
    for (node_id, writer, number), extra in waiting.items():
        for sent_now in extra:
            result.note(Difference(f"{writer}#{number}", node_id, _shown(None), _shown(sent_now)), keep)
    return result


def feed(host: ReplayHost, row: Row, messages: dict[str, type[Message]]) -> None:
    """Give one row's message or call to its node; `messages` are the types that a call may carry, by name."""
    node = host.nodes[row.node]
    host.clock.now_ns = row.time_ns
    if row.kind == "in":
        getattr(node, f"on_{row.name}")(decoder(node.spec.inputs[row.name].message)(row.payload))
    elif row.kind == "recovered":
        node.input_recovered(row.name)
    elif row.kind == "call":
        getattr(node, row.name)(*_arguments(row.payload, messages))
    else:
        raise PipelineError(
            f"the recording has a row of kind {row.kind!r}; this version knows in, out, call, recovered"
        )


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
