"""The host: it holds nodes, delivers what they send, and calls them when time has come.

A message that a node sends goes to the host's outbox and is delivered, first in, first out, after the handler has
returned; what a failing handler has sent is dropped. A graph with loops therefore never re-enters a node.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from random import Random
from types import CodeType
from typing import Any, NamedTuple

from engine.clock import Clock, seconds_to_ns
from engine.errors import Instruction, NodeFailed, PipelineError
from engine.message import Message
from engine.node import Node

Reader = Callable[[Any], None]


MAX_CASCADE = 1_000_000


class EndlessLoop(PipelineError):
    """One event has set off a loop of messages that does not end."""


def _end_loop(outbox: list[tuple[Port, Message, Port, int]]) -> None:
    busiest = Counter(f"{port.node}.{port.name}" for port, *_ in outbox).most_common(3)
    outbox.clear()
    raise EndlessLoop(
        f"{MAX_CASCADE:,} messages followed from one event and more were to come; most are of "
        f"{', '.join(name for name, _ in busiest)}. A loop in the graph never comes to rest"
    )


class Port:
    """One output of one node while it runs: who reads it, and how much has gone through.

    (`node`, `name`, sequence) is the id of a message, and `sent` the sequence of the last one delivered. A node's
    timers and other calls are counted the same way, on a port of their own that nobody reads.
    """

    __slots__ = ("closed", "joined", "message", "name", "node", "read", "sent", "targets")

    def __init__(self, node: str, name: str, message: type[Message]) -> None:
        self.node = node
        self.name = name
        self.message = message
        self.targets: tuple[tuple[Node, str], ...] = ()
        self.joined: tuple[Joined, ...] = ()
        self.read: Reader = _nobody
        self.sent = 0
        self.closed = False

    def join(
        self,
        reader: Reader,
        owner: Node | None,
        watch: Watch | None = None,
        outbox: list[Any] | None = None,
    ) -> None:
        """Add a reader: an input's handler of `owner`, or a tap.

        `watch` is told of each message before the reader; `outbox` is looked at for a loop that does not end.
        """
        self.joined = (*self.joined, Joined(reader, owner, watch, outbox))
        self.read = straight(self.joined)

    def after(self, owner: Node) -> Reader:
        """Return one reader for all those that come after those of `owner`."""
        last = max((index for index, each in enumerate(self.joined) if each.owner is owner), default=len(self.joined))
        return straight(self.joined[last + 1 :])

    def part(self, owner: Node) -> None:
        """Take away the readers of `owner`."""
        self.targets = tuple(target for target in self.targets if target[0] is not owner)
        self.joined = tuple(each for each in self.joined if each.owner is not owner)
        self.read = straight(self.joined)


class Joined(NamedTuple):
    """A reader of a port; see `Port.join`."""

    reader: Reader
    owner: Node | None
    watch: Watch | None
    outbox: list[Any] | None


def _nobody(message: Message) -> None:
    pass


def straight(joined: tuple[Joined, ...]) -> Reader:
    """Return one function that hands a message to these readers in turn.

    It is compiled as one line per call: a loop over readers, and a frame around each that is watched, would cost as
    much as the readers themselves. A single plain reader is called directly.
    """
    if not joined:
        return _nobody
    if len(joined) == 1 and joined[0].watch is None and joined[0].outbox is None:
        return joined[0].reader
    lines: list[str] = []
    scope: dict[str, Any] = {"most": MAX_CASCADE, "end_loop": _end_loop}
    for number, each in enumerate(joined):
        if each.outbox is not None:
            scope["outbox"] = each.outbox
            lines += [" if len(outbox) > most: end_loop(outbox)"]
        if each.watch is not None:
            scope["clock"], scope[f"watch{number}"] = each.watch.clock, each.watch
            lines += [f" watch{number}.last_ns = clock.now_ns", f" if watch{number}.stale: watch{number}.recover()"]
        scope[f"read{number}"] = each.reader
        lines += [f" read{number}(message)"]
    exec(_compiled("\n".join(["def read(message):", *lines])), scope)
    read: Reader = scope["read"]
    return read


@lru_cache(maxsize=256)
def _compiled(source: str) -> CodeType:
    return compile(source, "<readers>", "exec")


OUTSIDE = Port("", "", Message)
"""The cause of what comes from outside: a history's row, a start, a stop."""


class PendingCall:
    """A timer of a node: calls `handler` at `due_ns`, and again each `period_ns` when that is above 0."""

    __slots__ = ("cancelled", "cause", "cause_number", "data", "due_ns", "handler", "node", "period_ns", "serial")

    def __init__(  # noqa: PLR0917
        self, node: Node, handler: str, due_ns: int, period_ns: int, data: Any, serial: int
    ) -> None:
        self.node = node
        self.handler = handler
        self.due_ns = due_ns
        self.period_ns = period_ns
        self.data = data
        self.serial = serial
        self.cause: Port = OUTSIDE
        self.cause_number = 0
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True

    def fire(self, host: Host) -> None:
        if self.period_ns:
            host.push(self, self.due_ns + self.period_ns)
        arguments = () if self.data is None else (self.data,)
        host.call(self.node, self.handler, arguments, self.cause, self.cause_number)


class Watch(PendingCall):
    """Tells a node when one of its inputs has been silent for too long, and when it speaks again."""

    __slots__ = ("action", "after_ns", "clock", "host", "input", "last_ns", "stale")

    def __init__(self, host: Host, node: Node, input: str, after_ns: int, action: str) -> None:
        super().__init__(node, "input_stale", 0, 0, None, 0)
        self.host = host
        self.clock = host.clock
        self.input = input
        self.after_ns = after_ns
        self.action = action
        self.last_ns = 0
        self.stale = False

    def recover(self) -> None:
        """Tell the node that its input speaks again, and go on watching."""
        self.stale = False
        self.host.recovered(self.node, self.input)
        self.host.push(self, self.last_ns + self.after_ns)

    def fire(self, host: Host) -> None:
        deadline = self.last_ns + self.after_ns
        if deadline > self.due_ns:
            host.push(self, deadline)
            return
        self.stale = True
        host.call(self.node, "input_stale", (self.input, self.action))


class Host:
    """Run a set of nodes in this process.

    `port` is where the message being handled came from (or the calls of the node being called), and with its count
    names the cause of all that is sent meanwhile. Readers of a port are called in the order in which they were joined.
    """

    __slots__ = (
        "_serial",
        "called",
        "calls",
        "clock",
        "failed",
        "nodes",
        "outbox",
        "port",
        "ports",
        "run_dir",
        "seed",
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
        self.calls: list[tuple[int, int, PendingCall]] = []
        self.failed: set[str] = set()
        self._serial = 0

    # --- building ---------------------------------------------------------------------------------------------

    def add(self, node_id: str, cls: type[Node], params: dict[str, Any]) -> Node:
        """Make a node and its output ports. Its chance is a stream of its own, from the seed and its id."""
        node = cls(node_id, params, self.clock, Random(f"{self.seed}:{node_id}"), self, self.run_dir)
        self.nodes[node_id] = node
        self.called[node_id] = Port(node_id, "", Message)
        for name, out in cls.spec.outputs.items():
            port = Port(node_id, name, out.message)
            self.ports[node_id, name] = port
            setattr(node, name, make_sender(port, self.outbox.append, self))
        return node

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
        call.cause, call.cause_number = self.port, self.port.sent
        self.push(call, self.clock.now_ns + seconds_to_ns(delay_s))
        return call

    def push(self, call: PendingCall, due_ns: int) -> None:
        """Put a call on the list; calls of the same time are made in the order in which they were put there."""
        self._serial += 1
        call.serial = self._serial
        call.due_ns = due_ns
        heapq.heappush(self.calls, (due_ns, self._serial, call))

    def cancel(self, node: Node, handler: str) -> None:
        """Cancel all pending calls of this handler; see `Node.cancel`."""
        gone = False
        for _, _, call in self.calls:
            if call.node is node and call.handler == handler and not isinstance(call, Watch):
                call.cancelled = gone = True
        if gone:  # taken off the list, which would otherwise fill with calls that are not to be made
            self.calls[:] = [entry for entry in self.calls if not entry[2].cancelled]
            heapq.heapify(self.calls)

    def call_due(self, until_ns: int) -> None:
        """Make every call that is due before `until_ns`, in order of time, moving the clock along."""
        calls = self.calls
        while calls and calls[0][0] < until_ns:
            _, _, call = heapq.heappop(calls)
            if not call.cancelled and call.node.id not in self.failed:
                # A call that is late, as on a wall clock, is made now: time does not go back.
                self.clock.now_ns = max(self.clock.now_ns, call.due_ns)
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
            try:
                node.start()
            except Exception as error:
                raise self.failure(error, node, "start") from error
        self.outbox.clear()
        self.calls.clear()

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
        entries = iter(outbox)
        try:
            for port, message, _, _ in entries:
                port.sent += 1
                self.port = port
                read = port.read  # a local: looking up a method on a slot would cost as much as the call
                read(message)
        except Exception as error:
            cause, number = self.port, self.port.sent
            node, handler = self.culprit(error)
            # Only what the failing handler sent is dropped; what others sent before it is still to be delivered, and
            # the readers that come after it still get this message.
            outbox[:] = [sent for sent in entries if (sent[2], sent[3], sent[0].node) != (cause, number, node.id)]
            failure = self.failure(error, node, handler)
            port.after(node)(message)
            if node.id in self.failed:
                port.part(node)
            raise failure from error
        outbox.clear()

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


def make_sender(port: Port, append: Callable[[Any], None], host: Host) -> Callable[..., None]:
    """Compile the function that sends from a port: `send(field=...)`, or `send.whole(message)`.

    It is compiled for each port because a generic `**fields` costs more than all the rest of a hop.
    """
    message = port.message
    fields = message.__struct_fields__
    defaults = dict(zip(reversed(fields), reversed(message.__struct_defaults__), strict=False))
    for name, default in defaults.items():
        if type(default).__name__ == "Factory":
            raise TypeError(
                f"{message.__name__}.{name} has a changeable default; messages hold only what cannot change"
            )
    arguments = ", ".join(f"{name}=default_{name}" if name in defaults else name for name in fields)
    captured = "".join(f", default_{name}" for name in defaults)
    # The names that are ours begin with two underscores: a field may be called `port`, `cause` or `message`.
    source = (
        f"def make(__port, __append, __host, __message{captured}):\n"
        f"    def send({arguments}):\n"
        f"        __cause = __host.port\n"
        f"        __append((__port, __message({', '.join(fields)}), __cause, __cause.sent))\n"
        f"    def whole(message):\n"
        f"        __cause = __host.port\n"
        f"        __append((__port, message, __cause, __cause.sent))\n"
        f"    send.whole = whole\n"
        f"    return send\n"
    )
    scope: dict[str, Any] = {}
    exec(source, scope)
    send: Callable[..., None] = scope["make"](port, append, host, message, *defaults.values())
    return send
