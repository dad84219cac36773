"""Taps: show what leaves an output to somebody outside the run, at any time and without getting in its way.

A tapped port has one more reader; a port that is not tapped has none, and costs what it always did. Each tap has a
socket of its own, which drops what does not fit; what is left out by the rate or dropped is counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import msgspec
import zmq

from engine.clock import NS_PER_S
from engine.message import Message
from engine.run.host import Host
from engine.run.port import OUTSIDE, Port, Reader
from engine.wire.codec import object_encoder

HIGH_WATER = 1_000
"""Messages that wait for the reader of a tap; above it they are dropped."""


class TokenBucket:
    """Let `per_s` pass in a second, at most a second's worth at once; None lets everything pass."""

    def __init__(self, per_s: float | None, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self.per_s = per_s
        self._now_ns = now_ns
        self._most = max(1.0, per_s or 0.0)
        self._tokens = self._most
        self._filled_ns = now_ns()

    def take(self) -> bool:
        """Return whether one more may pass now."""
        if self.per_s is None:
            return True
        now_ns = self._now_ns()
        self._tokens = min(self._most, self._tokens + (now_ns - self._filled_ns) / NS_PER_S * self.per_s)
        self._filled_ns = now_ns
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


class _Tap:
    """One reader outside: its socket, its rate, and what became of the messages."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], per_s: float | None, to: str) -> None:
        self.bucket = TokenBucket(per_s)
        self.sent = self.left_out = self.dropped = 0
        self.socket = context.socket(zmq.PUSH)
        self.socket.set(zmq.SNDHWM, HIGH_WATER)
        self.socket.set(zmq.LINGER, 0)
        self.socket.connect(to)

    def send(self, frame: bytes) -> None:
        try:
            self.socket.send(frame, zmq.NOBLOCK)
        except zmq.Again:
            self.dropped += 1
        else:
            self.sent += 1


class Taps:
    """The taps on the outputs of one process."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._taps: dict[str, _Tap] = {}
        self._on: dict[tuple[str, str], list[_Tap]] = {}
        self._hooks: dict[tuple[str, str], Reader] = {}

    def attach(self, id: str, ports: Iterable[str], per_s: float | None, to: str) -> None:
        """Show what leaves `ports` ("node.port", those of other processes are passed over) to a PULL bound at `to`.

        At most `per_s` messages in a second are shown; None shows all that the reader can take.
        """
        self.detach(id)
        mine = [port for port in map(_split, ports) if port in self.host.ports and port[0] in self.host.nodes]
        if not mine:
            return
        self._context = self._context or zmq.Context()
        tap = self._taps[id] = _Tap(self._context, per_s, to)
        for port in mine:
            if port not in self._on:
                self._on[port] = []
                self._hooks[port] = self._hook(port)
                self.host.tap(port, self._hooks[port])
            self._on[port].append(tap)

    def detach(self, id: str) -> None:
        """End a tap; of one that is not there, nothing is done."""
        tap = self._taps.pop(id, None)
        if tap is None:
            return
        tap.socket.close()
        for port, taps in list(self._on.items()):
            if tap in taps:
                taps.remove(tap)
            if not taps:
                del self._on[port]
                self.host.untap(port, self._hooks.pop(port))

    def stats(self) -> dict[str, dict[str, int]]:
        """Return by tap how many messages were sent, left out by the rate, and dropped since the reader was slow."""
        return {
            id: {"sent": tap.sent, "left_out": tap.left_out, "dropped": tap.dropped} for id, tap in self._taps.items()
        }

    def close(self) -> None:
        """End all taps."""
        for id in list(self._taps):
            self.detach(id)
        if self._context is not None:
            self._context.term()
            self._context = None

    def _hook(self, source: tuple[str, str]) -> Reader:
        taps, host, port = self._on[source], self.host, self.host.ports[source]

        def show(message: Message) -> None:
            frame = b""
            for tap in taps:
                if not tap.bucket.take():
                    tap.left_out += 1
                    continue
                frame = frame or encode(message, port, *host.cause(), host.clock.now_ns)
                tap.send(frame)

        return show


def encode(message: Message, port: Port, cause: Port, cause_number: int, now_ns: int) -> bytes:
    """Return a message as a line of JSON with its type, id, cause and the time that nodes see.

    Ids are those that `pipeline why` takes. `cause` is null for what comes from outside.
    """
    return msgspec.json.encode(
        {
            "port": f"{port.node}.{port.name}",
            "type": type(message).__name__,
            "id": message_id(port, port.sent),
            "cause": None if cause is OUTSIDE else message_id(cause, cause_number),
            "time_ns": now_ns,
            "message": msgspec.Raw(object_encoder(type(message))(message)),
        }
    )


def message_id(port: Port, number: int) -> str:
    """Return "node.port#number", for calls "node.#number"; what was sent after a restart ends in "@" and the start."""
    return f"{port.node}.{port.name}#{number}" + (f"@{port.epoch}" if port.epoch > 1 else "")


def _split(port: str) -> tuple[str, str]:
    node, _, name = port.rpartition(".")
    return node, name
