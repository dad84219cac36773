"""One hub: what is written to its publish ports goes out on its subscribe port, topic by topic."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

import zmq

from engine.errors import PipelineError
from engine.topology.listeners import holder_of
from engine.wire.codec import UNDECODABLE
from engine.wire.hub_client import HIGH_WATER, Endpoints
from engine.wire.hub_frame import MAX_FRAME_BYTES, MAX_TOPIC, as_last_value, framed, has_header, read_envelope
from engine.wire.hub_guard import HubGuard, Writers
from engine.wire.hub_topics import Topic

MOST_KEPT = 4_096
"""Last values of one hub; further keys are counted as refused, and still forwarded."""
BACKLOG = 1_024
log = logging.getLogger("hub")


class PortTaken(PipelineError):
    """A port of a hub cannot be opened."""


@dataclass(slots=True)
class _Flow:
    """A topic while it runs."""

    topic: Topic
    frames: int = 0
    size: int = 0
    readers: int = 0
    last: dict[Hashable, bytes] = field(default_factory=dict)


class Relay:
    """The sockets of one hub. `forward` and `subscriptions` are called when theirs are readable, and never wait.

    A reader that does not keep up loses the newest above 100,000 frames; it finds the gap in their sequence.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        name: str,
        topics: dict[str, Topic],
        endpoints: Endpoints,
        guard: HubGuard | None = None,
    ) -> None:
        self.name = name
        self.refused: Counter[str] = Counter()
        self._flows = {topic.encode(): _Flow(each) for topic, each in topics.items()}
        self._kept = 0
        self.writers, self.readers = context.socket(zmq.XSUB), context.socket(zmq.XPUB)
        for socket in (self.writers, self.readers):
            socket.setsockopt(zmq.SNDHWM, HIGH_WATER)
            socket.setsockopt(zmq.RCVHWM, HIGH_WATER)
            socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME_BYTES)
            socket.setsockopt(zmq.BACKLOG, BACKLOG)
            socket.setsockopt(zmq.IPV6, 1)
        self.readers.setsockopt(zmq.XPUB_VERBOSER, 1)
        self._receive: Callable[[int], bytes | None] = self.writers.recv
        if guard is not None and guard.protect(self.readers, name, "subscribe"):
            guard.protect(self.writers, name, "publish")
            self._receive = Writers(self.writers, name, guard, self._refuse).recv
        try:
            # Readers first: nothing is taken from writers before it can be passed on.
            self._bind(self.readers, endpoints.subscribe(name), "subscribe")
            for address in endpoints.every_publish(name):
                self._bind(self.writers, address, "publish")
        except BaseException:
            self.close()
            raise
        # Everything, not only what is declared: what is not is to be counted.
        self.writers.send(b"\x01")

    def _bind(self, socket: zmq.Socket[bytes], address: str, side: str) -> None:
        try:
            socket.bind(address)
        except zmq.ZMQError as error:
            port = int(address.rpartition(":")[2])
            reason = error.strerror
            if error.errno == zmq.EADDRINUSE:
                reason = f"it is held by {holder_of(port) or 'another program'}"
            raise PortTaken(
                f"hub {self.name!r} cannot open {address} ({side}): {reason}. "
                "Stop what holds it, or shift all ports of this run with --port-offset N"
            ) from error

    def forward(self, most: int) -> bool:
        """Pass on what writers have sent, at most that many frames; return whether more may be waiting."""
        receive, send, flows = self._receive, self.readers.send, self._flows
        try:
            for _ in range(most):
                frame = receive(zmq.NOBLOCK)
                if frame is None:
                    continue
                space = frame.find(b" ", 0, MAX_TOPIC + 1)
                flow = flows.get(frame[:space]) if space > 0 else None
                if flow is None:
                    self._refuse("topic", frame)
                    continue
                body = frame[space + 1 :]
                if flow.topic.kept:
                    if not self._keep(flow, body):
                        continue
                elif not has_header(body) and not _is_json(body):
                    self._refuse("body", frame)
                    continue
                flow.frames += 1
                flow.size += len(frame)
                send(frame, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def _keep(self, flow: _Flow, body: bytes) -> bool:
        """Keep a body as the last value of its key; return False when it is none that could be passed on."""
        try:
            key = flow.topic.key(body)
        except UNDECODABLE:
            self._refuse("body", framed(flow.topic.name, body))
            return False
        if key not in flow.last:
            if self._kept >= MOST_KEPT:
                self._refuse("last value", framed(flow.topic.name, body))
                return True
            self._kept += 1
        flow.last[key] = body
        return True

    def subscriptions(self) -> None:
        """Give the last values to those who have subscribed; readers that have them already leave them aside."""
        wanted: set[bytes] = set()
        while int(self.readers.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            notice = self.readers.recv(zmq.NOBLOCK)
            if notice[:1] not in (b"\x00", b"\x01"):
                self._refuse("upstream", notice)
                continue
            prefix = notice[1:]
            for topic, flow in self._flows.items():
                if (topic + b" ").startswith(prefix):
                    flow.readers += 1 if notice[0] else -1
            if notice[0]:
                wanted.add(prefix)
        for topic, flow in self._flows.items():
            if flow.last and any((topic + b" ").startswith(prefix) for prefix in wanted):
                for body in flow.last.values():
                    self.readers.send(framed(flow.topic.name, as_last_value(body)), zmq.NOBLOCK)

    def stats(self) -> dict[str, Any]:
        """Return frames, bytes, readers and kept values, in all and of each topic, and what was refused and why."""
        topics = {
            flow.topic.name: {
                "frames": flow.frames,
                "bytes": flow.size,
                "readers": flow.readers,
                "kept": len(flow.last),
            }
            for flow in self._flows.values()
        }
        totals = {word: sum(each[word] for each in topics.values()) for word in ("frames", "bytes", "readers", "kept")}
        return {**totals, "refused": self.refused.total(), "reasons": dict(self.refused), "topics": topics}

    def close(self) -> None:
        """Close the sockets; the ports are free at once."""
        self.writers.close(0)
        self.readers.close(0)

    def _refuse(self, reason: str, frame: bytes) -> None:
        self.refused[reason] += 1
        if self.refused[reason] == 1:
            log.warning("hub %r refuses a frame (%s), and counts all further ones: %r", self.name, reason, frame[:80])


def _is_json(body: bytes) -> bool:
    try:
        read_envelope(body)
    except UNDECODABLE:
        return False
    return True
