"""Outputs while they run: who reads each, how much has gone through, and the function by which a node sends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from types import CodeType
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.errors import PipelineError
from engine.message import Message
from engine.node import Node

if TYPE_CHECKING:
    from engine.run.calls import Watch
    from engine.run.host import Host

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
    timers and other calls are counted the same way, on a port of their own that nobody reads. `epoch` tells which start
    of its process a number belongs to.
    """

    __slots__ = ("closed", "epoch", "joined", "message", "name", "node", "read", "sent", "targets")

    def __init__(self, node: str, name: str, message: type[Message]) -> None:
        self.node = node
        self.name = name
        self.message = message
        self.targets: tuple[tuple[Node, str], ...] = ()
        self.joined: tuple[Joined, ...] = ()
        self.read: Reader = _nobody
        self.sent = 0
        self.epoch = 1
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

    def leave(self, reader: Reader) -> None:
        """Take away one reader."""
        self.joined = tuple(each for each in self.joined if each.reader is not reader)
        self.read = straight(self.joined)

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
