"""The host: it holds nodes, delivers what they send, and calls them when time has come.

A message that a node sends goes to the host's outbox and is delivered, first in, first out, after the handler has
returned; what a failing handler has sent is dropped. A graph with loops therefore never re-enters a node.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator
from operator import length_hint
from typing import Any

from engine.clock import NS_PER_S, Clock, seconds_to_ns
from engine.errors import Instruction, NodeFailed
from engine.message import Message
from engine.node import Node
from engine.run.calls import PendingCall, Watch
from engine.run.chance import Chance
from engine.run.port import OUTSIDE, Port, Reader, make_sender


class Host:
    """Run a set of nodes in this process.

    `port` is where the message being handled came from (or the calls of the node being called), and with its count
    names the cause of all that is sent meanwhile. Readers of a port are called in the order in which they were joined.
    `asleep` are the calls of nodes that have been silenced. `stopping` says that nodes are being stopped: what closes
    from then on is open again when the run goes on.
    """

    __slots__ = (
        "asleep",
        "called",
        "calls",
        "clock",
        "entries",
        "failed",
        "nodes",
        "outbox",
        "port",
        "ports",
        "run_dir",
        "seed",
        "serial",
        "stopping",
        "watches",
    )

    def __init__(self, clock: Clock, seed: int = 0, run_dir: str = ".") -> None:
        self.clock = clock
        self.seed = seed
        self.run_dir = run_dir
        self.nodes: dict[str, Node] = {}
        self.ports: dict[tuple[str, str], Port] = {}
        self.called: dict[str, Port] = {}
        self.watches: list[Watch] = []
        self.port = OUTSIDE
        self.outbox: list[tuple[Port, Message, Port, int]] = []
        self.entries: Iterator[tuple[Port, Message, Port, int]] = iter(())
        self.calls: list[tuple[int, int, PendingCall]] = []
        self.asleep: list[tuple[int, int, PendingCall]] = []
        self.stopping = False
        self.failed: set[str] = set()
        self.serial = 0

    # --- building ---------------------------------------------------------------------------------------------

    def add(self, node_id: str, cls: type[Node], params: dict[str, Any]) -> Node:
        """Make a node and its output ports. Its chance is a stream of its own, from the seed and its id."""
        node = cls(node_id, params, self.clock, Chance(f"{self.seed}:{node_id}"), self, self.run_dir)
        self.nodes[node_id] = node
        self.called[node_id] = Port(node_id, "", Message)
        for name, out in cls.spec.outputs.items():
            port = Port(node_id, name, out.message)
            self.ports[node_id, name] = port
            setattr(node, name, make_sender(port, self.outbox.append, self))
        return node

    def add_remote(self, node_id: str, name: str, message: type[Message]) -> Port:
        """Make the port of a node that lives in another process, so that inputs here can be wired to it."""
        port = self.ports[node_id, name] = Port(node_id, name, message)
        return port

    def wire(
        self,
        source: tuple[str, str],
        target: tuple[str, str],
        on_stale: tuple[float, str] | None = None,
        *,
        feedback: bool = False,
    ) -> None:
        """Join an output to an input.

        With `on_stale` = (seconds, action) the node is told when the input is silent. A wire that closes a loop is
        marked `feedback`; it ends a loop that never comes to rest.
        """
        node = self.nodes[target[0]]
        port = self.ports[source]
        watch = None if on_stale is None else self._watch(node, target[1], on_stale)
        port.targets = (*port.targets, (node, target[1]))
        port.join(self.reader(node, target[1]), node, watch, self.outbox if feedback else None)

    def reader(self, node: Node, input: str) -> Reader:
        """Return the function that hands a message to an input."""
        handler: Reader = getattr(node, f"on_{input}")
        return handler

    def tap(self, source: tuple[str, str], reader: Reader) -> None:
        """Show every message of an output to `reader`, which is no node and must not raise."""
        self.ports[source].join(reader, None)

    def untap(self, source: tuple[str, str], reader: Reader) -> None:
        """Take away what `tap` has added."""
        self.ports[source].leave(reader)

    def _watch(self, node: Node, input: str, on_stale: tuple[float, str]) -> Watch:
        # Several writers of one input share its watch: the input is silent when all of them are.
        for watch in self.watches:
            if watch.node is node and watch.input == input:
                return watch
        watch = Watch(self, node, input, seconds_to_ns(on_stale[0]), on_stale[1])
        self.watches.append(watch)
        return watch

    # --- timers -----------------------------------------------------------------------------------------------

    def schedule(self, node: Node, handler: str, delay_s: float, period_s: float, data: Any) -> PendingCall:
        """Call a method of `node` in `delay_s`; see `Node.after` and `Node.every`."""
        if not 0 <= delay_s < math.inf:
            raise ValueError(f"node {node.id!r} asks to be called in {delay_s} s; a delay is finite and not negative")
        period_ns = seconds_to_ns(period_s) if period_s else 0
        if period_s and period_ns < 1:
            raise ValueError(f"node {node.id!r} asks to be called every {period_s} s; the shortest period is 1 ns")
        call = PendingCall(node, handler, 0, period_ns, data, 0)
        call.cause = cause = self.port
        call.cause_number = cause.sent
        self.push(call, self.clock.now_ns + round(delay_s * NS_PER_S))
        return call

    def push(self, call: PendingCall, due_ns: int) -> None:
        """Put a call on the list; calls of the same time are made in the order in which they were put there."""
        self.serial += 1
        call.serial = self.serial
        call.due_ns = due_ns
        heapq.heappush(self.calls, (due_ns, self.serial, call))

    def cancel(self, node: Node, handler: str) -> None:
        """Cancel all pending calls of this handler; see `Node.cancel`."""
        gone = False
        for _, _, call in (*self.calls, *self.asleep):
            if call.node is node and call.handler == handler and not isinstance(call, Watch):
                call.cancelled = gone = True
        if gone:  # taken off the list, which would otherwise fill with calls that are not to be made
            self.calls[:] = [entry for entry in self.calls if not entry[2].cancelled]
            heapq.heapify(self.calls)

    def call_due(self, until_ns: int) -> None:
        """Make every call that is due before `until_ns`, in order of time, moving the clock along."""
        calls, clock, pop = self.calls, self.clock, heapq.heappop
        while calls and calls[0][0] < until_ns:
            due_ns, _, call = pop(calls)
            if not call.cancelled and call.node.id not in self.failed:
                # A call that is late, as on a wall clock, is made now: time does not go back.
                clock.now_ns = max(clock.now_ns, due_ns)
                call.fire(self)

    # --- running ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start every node in order, then deliver what they have sent: nothing reaches a node that has not started."""
        for watch in self.watches:
            watch.last_ns = self.clock.now_ns
            self.push(watch, self.clock.now_ns + watch.after_ns)
        for node in self.nodes.values():
            self.handle(node, "start", ())
        self.deliver()

    def start_restored(self) -> None:
        """Start nodes that have got their state back; what they send and schedule in `start` is dropped.

        It has happened before: the timers of the journal take its place.
        """
        for node in self.nodes.values():
            if node.id in self.failed:
                continue
            try:
                node.start()
            except Exception as error:
                raise self.failure(error, node, "start") from error
        self.outbox.clear()
        self.calls.clear()

    def restored(self) -> None:
        """Take note that state, counts and timers are back; called once by whoever has brought them."""

    def resume(self) -> None:
        """Tell every node that it goes on after an interruption, then deliver what they have sent."""
        for node in self.nodes.values():
            self.handle(node, "resume", ())
        self.deliver()

    def recovered(self, node: Node, input: str) -> None:
        """Tell a node that an input speaks again; part of the event whose message does it."""
        node.input_recovered(input)

    def inject(self, port: Port, message: Message) -> None:
        """Send `message` from `port` as an event without a cause, and deliver all that follows from it."""
        self.outbox.append((port, message, OUTSIDE, 0))
        self.deliver()

    def close(self, node_id: str) -> None:
        """Note that a node sends nothing more; tell each input whose last writer it was."""
        for port in self.ports.values():
            if port.node != node_id or port.closed:
                continue
            port.closed = True
            for node, input in port.targets:
                if all(other.closed for other in self.ports.values() if (node, input) in other.targets):
                    for watch in self.watches:
                        watch.cancelled |= watch.node is node and watch.input == input
                    self.call(node, "input_closed", (input,))

    def silence(self, node: Node) -> None:
        """Make no more calls of a node's own, and let what it still sends go nowhere.

        Its calls are not made here, but they are not lost: they are due when the run goes on.
        """
        self.asleep += [entry for entry in self.calls if entry[2].node is node]
        self.calls[:] = [entry for entry in self.calls if entry[2].node is not node]
        heapq.heapify(self.calls)
        for port in self.ports.values():
            if port.node == node.id:
                for reader, _ in port.targets:
                    port.part(reader)

    def call(
        self, node: Node, handler: str, arguments: tuple[Any, ...], cause: Port = OUTSIDE, cause_number: int = 0
    ) -> None:
        """Call one method of a node as an event of its own, then deliver all that follows from it."""
        self.handle(node, handler, arguments, cause, cause_number)
        self.deliver()

    def handle(
        self, node: Node, handler: str, arguments: tuple[Any, ...], cause: Port = OUTSIDE, cause_number: int = 0
    ) -> None:
        """Call one method of a node as an event of its own; what it sends waits in the outbox."""
        if node.id in self.failed:
            return
        self.port = port = self.called[node.id]
        port.sent += 1
        mark = len(self.outbox)
        try:
            getattr(node, handler)(*arguments)
        except Exception as error:
            del self.outbox[mark:]
            raise self.failure(error, node, handler) from error

    def deliver(self) -> None:
        """Deliver the outbox until nothing is left in it."""
        outbox = self.outbox
        entries = self.entries = iter(outbox)
        try:
            for port, message, _, _ in entries:
                port.sent += 1
                self.port = port
                read = port.read  # a local: looking up a method on a slot would cost as much as the call
                read(message)
        except Exception as error:
            raise self._unwound(error, port, message, entries) from error
        outbox.clear()

    def receive(self, arrivals: Iterable[tuple[Port, int, Message]]) -> int:
        """Deliver messages of other processes, each with all that follows from it; return how many.

        An arrival is (port, sequence, message). What is left of them when a node fails stays with the caller.
        """
        outbox = self.outbox
        count = 0
        for port, number, message in arrivals:
            port.sent = number
            self.port = port
            read = port.read
            try:
                read(message)
            except Exception as error:
                raise self._unwound(error, port, message, iter(outbox)) from error
            if outbox:
                self.deliver()
            count += 1
        return count

    def _unwound(self, error: Exception, port: Port, message: Message, entries: Iterable[Any]) -> Exception:
        """Put the outbox right after a reader of `message` has raised, and return what is to be raised for it.

        Only what the failing handler sent is dropped; what others sent before it (`entries`) is still to be delivered,
        and the readers that come after it still get this message.
        """
        cause, number = self.port, self.port.sent
        node, handler = self.culprit(error)
        self.outbox[:] = [sent for sent in entries if (sent[2], sent[3], sent[0].node) != (cause, number, node.id)]
        failure = self.failure(error, node, handler)
        port.after(node)(message)
        if node.id in self.failed:
            port.part(node)
        return failure

    def cause(self) -> tuple[Port, int]:
        """Return what the message that is being delivered was sent in answer to: a port and its count."""
        _, _, port, number = self.outbox[len(self.outbox) - length_hint(self.entries) - 1]
        return port, number

    def culprit(self, error: Exception) -> tuple[Node, str]:
        """Return the node whose handler raised, and the handler's name: the outermost node in the traceback."""
        trace = error.__traceback__
        while trace is not None:
            owner = trace.tb_frame.f_locals.get("self")
            if isinstance(owner, Node) and self.nodes.get(owner.id) is owner:
                return owner, trace.tb_frame.f_code.co_name
            trace = trace.tb_next
        raise error  # a tap or the host itself: a mistake of ours

    def failure(self, error: Exception, node: Node, handler: str) -> Exception:
        # An instruction is for whoever runs the host; anything else ends the node.
        if isinstance(error, Instruction | NodeFailed):
            return error
        self.failed.add(node.id)
        for port in self.ports.values():
            if port is not self.port:
                port.part(node)
        return NodeFailed(node.id, handler, error)
