"""Help for whoever writes nodes: run one node by hand and see what it sends."""

from __future__ import annotations

from typing import Any

from engine.clock import Clock, seconds_to_ns
from engine.message import Message
from engine.node import Node
from engine.run.host import Host


class NodeUnderTest:
    """One node in a host of its own. `on_<input>(message)` and the other handlers return what the node sent.

    What it sent is a list of (output name, message), in order. `at(seconds)` moves the clock and makes the calls that
    are due. `node` is the node itself.
    """

    def __init__(self, host: Host, node: Node) -> None:
        self.host = host
        self.node = node
        self.sent: list[tuple[str, Message]] = []
        for source in host.ports:
            host.tap(source, self._collector(source[1]))
        self.started = self._after(host.start)

    def _collector(self, name: str) -> Any:
        return lambda message: self.sent.append((name, message))

    def _after(self, action: Any, *arguments: Any) -> list[tuple[str, Message]]:
        self.sent = []
        action(*arguments)
        return self.sent

    def at(self, seconds: float) -> list[tuple[str, Message]]:
        """Move the clock to `seconds` since 1970, making the calls due up to then; return what was sent."""
        now_ns = seconds_to_ns(seconds)

        def move() -> None:
            self.host.call_due(now_ns + 1)
            self.host.clock.now_ns = now_ns

        return self._after(move)

    def __getattr__(self, name: str) -> Any:
        handler = getattr(self.node, name)
        if not callable(handler):
            return handler
        return lambda *arguments: self._after(self.host.call, self.node, name, arguments)


def run_node(cls: type[Node], *, now_s: float = 0.0, seed: int = 0, run_dir: str = ".", **params: Any) -> NodeUnderTest:
    """Make and start one node with these parameters, converted and checked as a topology's are.

    Raises ValueError for a parameter that is missing, unknown or does not fit.
    """
    unknown = set(params) - set(cls.spec.params)
    if unknown:
        raise ValueError(f"{cls.__name__} has no parameter {', '.join(sorted(unknown))}")
    values = {}
    for name, spec in cls.spec.params.items():
        if name in params:
            values[name] = spec.convert(params[name])
        elif spec.required:
            raise ValueError(f"{cls.__name__} needs the parameter {name!r}: {spec.doc}")
    host = Host(Clock(seconds_to_ns(now_s)), seed=seed, run_dir=run_dir)
    return NodeUnderTest(host, host.add("node", cls, values))
