"""What a host has to call when its time has come: timers, and the watch over inputs that fall silent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.node import Node
from engine.run.port import OUTSIDE, Port

if TYPE_CHECKING:
    from engine.run.host import Host


class PendingCall:
    """A timer of a node: calls `handler` at `due_ns`, and again each `period_ns` when that is above 0.

    Periods that have gone by unnoticed, as while a process was down, are not made up for.
    """

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
            gone_by = (host.clock.now_ns - self.due_ns) // self.period_ns
            host.push(self, self.due_ns + (gone_by + 1) * self.period_ns)
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
