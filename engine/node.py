"""The base class of every node."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, ClassVar, Protocol

from engine.clock import Clock
from engine.spec import NodeSpec, read_spec, take_off


class Timer(Protocol):
    """A pending call; `cancel()` may be called at any time, also twice."""

    def cancel(self) -> None: ...


class Timers(Protocol):
    """What a host offers to its nodes for calling themselves later."""

    def schedule(self, node: Node, handler: str, delay_s: float, period_s: float, data: Any) -> Timer: ...

    def cancel(self, node: Node, handler: str) -> None: ...


class NodeLog(logging.LoggerAdapter[logging.Logger]):
    """A node's log: `self.log.info("order %s refused", order_id)`; a process writes it as JSON with the node's id."""


class Node:
    """A unit of logic: declared parameters, inputs, outputs and state, and one handler per input.

    Handlers (`on_<input>(self, message)`) are synchronous. Calling an output puts a message in the host's outbox; it is
    delivered after the handler has returned, and dropped if the handler raises. A subclass may also define

    - `start(self)`, called once before the first message, and `stop(self)`, once after the last; after a restart
      declared state is back before `start`, which leaves it as it is, and `resume(self)` is called when the world has
      gone on meanwhile;
    - `input_stale(self, name, action)`, `input_recovered(self, name)`, `input_closed(self, name)`;
    - `async def run(self)`, which makes it a driver: it owns one connection to the outside;
    - `def history(self)`, which makes it a history: an iterator of (time_ns, message), in order of time; and with it
      `def history_end_ns(self)`, its last time, by which a run knows how far it has come.

    `__init__` is not overridden: what a node needs is declared, or set up in `start`.
    """

    spec: ClassVar[NodeSpec]
    state_version: ClassVar[int] = 1
    stale_actions: ClassVar[Mapping[str, str]] = {}
    """Actions that `on_stale` may name for this node's inputs, each with its meaning."""
    simulated: ClassVar[str] = ""
    """What stands in for what where a node only pretends, in one line; empty for what acts on the real world."""

    id: str
    clock: Clock
    random: Random
    run_dir: str
    log: logging.LoggerAdapter[logging.Logger]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.spec = read_spec(cls)
        take_off(cls)

    def __init__(  # noqa: PLR0917
        self, id: str, params: Mapping[str, Any], clock: Clock, random: Random, timers: Timers, run_dir: str = "."
    ) -> None:
        self.id = id
        self.clock = clock
        self.random = random
        self.run_dir = run_dir
        self._timers = timers
        self.log = NodeLog(logging.getLogger(f"node.{id}"), {"node": id})
        for name, param in self.spec.params.items():
            setattr(self, name, params.get(name, param.default))
        for name, field in self.spec.state.items():
            setattr(self, name, field.fresh())
        for name in self.spec.metrics:
            setattr(self, name, None)

    def start(self) -> None:
        """Prepare for the first message."""

    def resume(self) -> None:
        """Take note that the run was interrupted: state and timers are back, what happened meanwhile is not known."""

    def checkpoint(self) -> None:
        """Put on disk what this node keeps in files of its own; called before its state is, and before what it took in
        is acknowledged.
        """

    def stop(self) -> None:
        """Send and release what is left; called once, after the last message."""

    def input_stale(self, name: str, action: str) -> None:
        """Take note that input `name` has been silent for its declared time; `action` is what the topology asks for."""

    def input_recovered(self, name: str) -> None:
        """Take note that input `name` speaks again; called before the handler of its message."""

    def input_closed(self, name: str) -> None:
        """Take note that nothing more will come on input `name`."""

    def halt(self, reason: str) -> None:
        """Stop whatever acts on the outside world, and start nothing more until `rearm()`.

        It is the run's kill switch: every node is told, also after each restart while the run is halted.
        """

    def rearm(self) -> None:
        """Take note that the kill switch is released."""

    def every(self, seconds: float, handler: Callable[[], None]) -> Timer:
        """Call `handler`, a method of this node, each `seconds`, first after one period.

        Periods in which the process was down, or too busy, are left out; the next call comes when it would have.
        """
        return self._timers.schedule(self, handler.__name__, seconds, seconds, None)

    def after(self, seconds: float, handler: Callable[..., None], data: Any = None) -> Timer:
        """Call `handler`, a method of this node, once in `seconds`; with `data` as its argument unless that is None."""
        return self._timers.schedule(self, handler.__name__, seconds, 0.0, data)

    def cancel(self, handler: Callable[..., None]) -> None:
        """Cancel every pending call of `handler`, a method of this node; also those from before a restart."""
        self._timers.cancel(self, handler.__name__)

    def migrate(self, version: int, fields: dict[str, Any]) -> dict[str, Any]:
        """Return journaled `fields` of an older `state_version` in today's form; refuse by raising ValueError."""
        raise ValueError(
            f"state of {self.id!r} was written by version {version}, this is version {self.state_version}, and "
            f"{type(self).__name__} has no migrate()"
        )

    @property
    def now_ns(self) -> int:
        """The clock's time in ns, constant within a handler."""
        return self.clock.now_ns
