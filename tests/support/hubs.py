"""Hubs in a process of their own, with a stand-in for the supervisor."""

from __future__ import annotations

import json
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq

from engine.process.places import CONTROL
from engine.topology.listeners import is_free
from engine.topology.load import load_topology
from engine.wire.hub_client import Endpoints, HubPublisher, HubSubscriber

SCRIPT = Path(__file__).with_name("hub_process.py")
PATIENCE_S = 15.0


def free_offset(*ports: int) -> int:
    """Return by how much to shift ports so that all of them are free now."""
    for _ in range(1000):
        offset = random.randrange(4_000, 50_000)
        if all(is_free(port + offset) for port in ports):
            return offset
    raise RuntimeError("no free ports")


def until(condition: Callable[[], Any], what: str) -> Any:
    """Return what `condition` returns once it is true; fail when it never is."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if result := condition():
            return result
        time.sleep(0.002)
    raise AssertionError(f"waited {PATIENCE_S:g} s for {what}")


class HubProcess:
    """The hubs of a topology file, started, killed and started again on the same ports."""

    def __init__(self, file: Path, folder: Path, *packages: str) -> None:
        self.file = file
        self.folder = folder
        self.packages = packages
        hubs = load_topology([file]).hubs
        self.offset = free_offset(*(port for hub in hubs.values() for port in (*hub.publish, hub.subscribe)))
        self.endpoints = Endpoints(hubs, self.offset)
        self.context: zmq.Context[Any] = zmq.Context()
        self.epoch = 0
        self.events: list[dict[str, Any]] = []
        self._rest = b""
        self.process: subprocess.Popen[str] | None = None
        self._control: socket.socket | None = None
        self._clients: list[HubPublisher | HubSubscriber] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(folder / CONTROL))
        self._listener.listen()
        self._listener.settimeout(PATIENCE_S)

    def start(self) -> HubProcess:
        """Start the process and wait until its ports are open."""
        self.launch()
        until(lambda: self.told("joined"), "the hubs to join")
        self.tell("go", pace=None, halted=None)
        return self

    def launch(self) -> None:
        self.epoch += 1
        self.events, self._rest = [], b""
        arguments = [self.file, self.folder, self.offset, self.epoch, *self.packages]
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), *map(str, arguments)], stderr=subprocess.PIPE, text=True
        )
        try:
            self._control, _ = self._listener.accept()
        except TimeoutError:
            self.process.kill()
            raise AssertionError(f"the hubs did not start: {self.process.communicate()[1]}") from None
        self._control.setblocking(False)

    def tell(self, what: str, **fields: Any) -> None:
        self._control.send(json.dumps({"do": what, **fields}).encode() + b"\n")

    def told(self, event: str) -> dict[str, Any] | None:
        """Return the last event of this name, or None."""
        try:
            while data := self._control.recv(1 << 16):
                *lines, self._rest = (self._rest + data).split(b"\n")
                self.events += map(json.loads, lines)
        except BlockingIOError:
            pass
        return next((each for each in reversed(self.events) if each.get("event") == event), None)

    def stats(self, hub: str) -> dict[str, Any]:
        """Return what the next beat says of a hub."""
        self.told("beat")
        self.events.clear()
        return until(lambda: self.told("beat"), "a beat")["stats"]["hubs"][hub]

    def publisher(self, hub: str) -> HubPublisher:
        """Return a publisher that the hub knows of."""
        publisher = HubPublisher(self.context, self.endpoints.publish(hub))
        self._clients.append(publisher)
        until(lambda: publisher.service() or publisher.connected, "the hub to take a publisher")
        return publisher

    def subscriber(self, hub: str, *topics: str) -> HubSubscriber:
        """Return a subscriber that the hub knows of."""
        before = self.stats(hub)["readers"]
        subscriber = HubSubscriber(self.context, self.endpoints.subscribe(hub), topics)
        self._clients.append(subscriber)
        until(lambda: self.stats(hub)["readers"] >= before + len(topics), "the hub to take a subscriber")
        return subscriber

    def kill(self) -> None:
        """End the process as a crash would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()
        self._control.close()

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self.context.destroy(0)
        self._listener.close()
        if self._control is not None:
            self._control.close()
        if self.process is not None:
            self.process.kill()
            self.process.communicate()


def take(subscriber: HubSubscriber, count: int) -> list[tuple[str, bytes]]:
    """Return the next frames of a subscriber; fail when they do not come."""
    found: list[tuple[str, bytes]] = []
    until(lambda: found.extend(subscriber.receive(count - len(found))) or len(found) >= count, f"{count} frames")
    return found
