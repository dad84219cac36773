"""What has moved in a host since the last commit, and all of a host that is not in its nodes, as plain data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from engine.errors import PipelineError
from engine.message import Message
from engine.node import Node
from engine.run.calls import PendingCall, Watch
from engine.run.host import Host
from engine.run.port import OUTSIDE, Port

_encode = msgspec.json.encode


class CannotKeep(PipelineError):
    """A timer carries something that cannot be written down."""


class Following:
    """A host that has all its nodes and wires, and what of it was new at the last `settle`.

    Nothing is asked of the host while it runs: counts tell which nodes have handled something. Only what comes from
    another process is noted as it comes, since it may come twice under one number.
    """

    def __init__(self, host: Host) -> None:
        self.host = host
        self._ports = list(host.ports.values())
        self._called = list(host.called.values())
        self._counts: dict[Port, int] = {}
        self._calls: tuple[int, int, int] | None = None
        self._heard: set[Port] = set()
        self._always = [node for node in host.nodes.values() if node.spec.is_driver or node.spec.is_history]
        self._movers: list[tuple[Port, tuple[Node, ...]]] = [
            (port, (host.nodes[port.node],)) for port in self._called if host.nodes[port.node].spec.state
        ]
        for key, port in host.ports.items():
            readers = tuple({node.id: node for node, _ in port.targets if node.spec.state}.values())
            if readers and port.node in host.nodes:
                self._movers.append((port, readers))
            elif readers:
                host.tap(key, self._hearing(port))
        self.layout = _encode(
            {
                "called": [port.node for port in self._called],
                "ports": [[port.node, port.name] for port in self._ports],
                "watches": [[watch.node.id, watch.input] for watch in host.watches],
            }
        )

    def _hearing(self, port: Port) -> Callable[[Message], None]:
        note = self._heard.add
        return lambda message: note(port)

    def touched(self) -> Iterable[Node]:
        """Return the nodes that may have changed since the last `settle`: those that have handled something."""
        found = {node.id: node for node in self._always if node.spec.state}
        counts = self._counts
        for port, nodes in self._movers:
            if counts.get(port) != port.sent:
                for node in nodes:
                    found[node.id] = node
        for port in self._heard:
            for node, _ in port.targets:
                found[node.id] = node
        return found.values()

    def settle(self) -> None:
        """Note where everything stands now."""
        self._counts = {port: port.sent for port, _ in self._movers}
        self._calls = self._calls_mark()
        self._heard.clear()

    def world(self, positions: dict[str, int]) -> bytes:
        """Return the clock and all counts, in the order of `layout`."""
        host = self.host
        return _encode(
            {
                "now_ns": host.clock.now_ns,
                "called": [port.sent for port in self._called],
                "sent": [port.sent for port in self._ports],
                "closed": [index for index, port in enumerate(self._ports) if port.closed],
                "stopped": host.stopping,
                "failed": sorted(host.failed),
                "watches": [(watch.last_ns, watch.stale, watch.cancelled) for watch in host.watches],
                "positions": positions,
            }
        )

    def calls(self) -> bytes | None:
        """Return the pending timers in order, or None when they are those of the last `settle`."""
        if self._calls == self._calls_mark():
            return None
        pending = sorted((*self.host.calls, *self.host.asleep))
        return _encode([_call_as_data(call) for _, _, call in pending if not call.cancelled])

    def _calls_mark(self) -> tuple[int, int, int]:
        # Every call that is put on the list has a serial number; one that leaves it or is cancelled changes a count.
        calls = (*self.host.calls, *self.host.asleep)
        return self.host.serial, len(calls), sum(call.cancelled for _, _, call in calls)


def _call_as_data(call: PendingCall) -> dict[str, Any]:
    if isinstance(call, Watch):
        return {"node": call.node.id, "input": call.input, "due_ns": call.due_ns}
    if not _is_plain(call.data):
        raise CannotKeep(
            f"node {call.node.id!r} waits for {call.handler} with {call.data!r} ({type(call.data).__name__}), which "
            "cannot be journaled; pass plain data and finite numbers, and keep the rest in declared state"
        )
    return {
        "node": call.node.id,
        "handler": call.handler,
        "due_ns": call.due_ns,
        "period_ns": call.period_ns,
        "data": call.data,
        "cause": [call.cause.node, call.cause.name, call.cause_number],
    }


def _is_plain(data: Any) -> bool:
    if isinstance(data, float):
        return math.isfinite(data)
    if isinstance(data, dict):
        return all(isinstance(key, str) and _is_plain(value) for key, value in data.items())
    if isinstance(data, list):
        return all(map(_is_plain, data))
    return data is None or isinstance(data, str | int)


def restore_counts(host: Host, layout: dict[str, Any], world: dict[str, Any]) -> None:
    """Give a host its counts back, and what has come to its end; what was closed by a stop is open again."""
    for node_id, count in zip(layout["called"], world["called"], strict=True):
        if node_id in host.called:
            host.called[node_id].sent = count
    for index, (key, count) in enumerate(zip(layout["ports"], world["sent"], strict=True)):
        if port := host.ports.get(tuple(key)):
            port.sent = count
            port.closed = index in world["closed"] and not world["stopped"]


def restore_calls(host: Host, calls: list[dict[str, Any]], layout: dict[str, Any], world: dict[str, Any]) -> None:
    """Give a host its pending timers and watches back; inputs that are newly watched are watched from now on.

    A watch that has ended because the run was stopped goes on from the last message.
    """
    watches = {(watch.node.id, watch.input): watch for watch in host.watches}
    fresh = set(watches)
    for key, (last_ns, stale, cancelled) in zip(layout["watches"], world["watches"], strict=True):
        if watch := watches.get(tuple(key)):
            watch.last_ns, watch.stale, watch.cancelled = last_ns, stale, cancelled and not world["stopped"]
            fresh.discard(tuple(key))
            if cancelled and not watch.cancelled and not stale:
                host.push(watch, last_ns + watch.after_ns)
    for data in calls:
        if "input" not in data:
            node = host.nodes.get(data["node"])
            if node is None:
                continue  # it was taken out of the topology
            call = PendingCall(node, data["handler"], 0, data["period_ns"], data["data"], 0)
            writer, name, call.cause_number = data["cause"]
            origin = host.ports.get((writer, name)) if name else host.called.get(writer)
            call.cause = origin or OUTSIDE
            host.push(call, data["due_ns"])
        elif watch := watches.get((data["node"], data["input"])):
            host.push(watch, data["due_ns"])
    for key in sorted(fresh):
        watches[key].last_ns = host.clock.now_ns
        host.push(watches[key], host.clock.now_ns + watches[key].after_ns)
