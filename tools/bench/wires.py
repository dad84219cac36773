"""What a wire between two processes costs, against raw pyzmq, in one run.

Throughput: frames of 256 bytes in all, one message per frame, PUSH to PULL over ipc, until every one has been handled.
Ours goes through the production host on both sides: a node sends, the message is encoded, taken, decoded and handled.
Round trip: paced at 1,000 a second, there and back through a node in another process. Raw pyzmq blocks in both.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import socket as socket_of_system
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import msgspec
import zmq

from engine import In, Message, Node, Out
from engine.clock import Clock
from engine.errors import Place
from engine.process.control import BEAT_S
from engine.process.tap import Taps
from engine.run.host import Host
from engine.topology.model import HubDecl, Origin, Policy, PortRef, ProcessDecl, RunOptions, TcpAddress, Topology, Wire
from engine.topology.plan import Plan, PlannedNode, PlannedWire
from engine.wire.frame import HEADER_BYTES
from engine.wire.hub_client import Endpoints
from engine.wire.hub_relay import Relay
from engine.wire.hub_topics import topics_of
from engine.wire.keys import KeyFolder
from engine.wire.table import WireTable
from engine.wire.wires import Wires

FRAME_BYTES = 256
PACE_HZ = 1_000
SLICE = 256
"""Messages that the sender sends before it lets its loop look at its sockets."""
_HERE = Origin(Place("bench", 1, 1))


class Parcel(Message):
    """A message whose frame is 256 bytes."""

    number: int
    price: float
    size: float
    text: str


def parcel(number: int) -> Parcel:
    """Return a message that makes a frame of 256 bytes."""
    return Parcel(number, 1.5, 2.5, "x" * (FRAME_BYTES - HEADER_BYTES - 26))


class Source(Node):
    """Sends parcels, and hears what comes back."""

    back = In(Parcel, doc="Parcels that come back.", optional=True)
    out = Out(Parcel, doc="Parcels.")

    def start(self) -> None:
        self.returned: list[int] = []

    def on_back(self, message: Parcel) -> None:
        self.returned.append(time.perf_counter_ns())


class Sink(Node):
    """Counts parcels, and notes when the first one came."""

    into = In(Parcel, doc="Parcels.")

    def start(self) -> None:
        self.count = 0
        self.began = 0.0

    def on_into(self, message: Parcel) -> None:
        if not self.count:
            self.began = time.perf_counter()
        self.count += 1


class Echo(Node):
    """Sends every parcel back as a new one."""

    into = In(Parcel, doc="Parcels.")
    out = Out(Parcel, doc="The same again.")

    def on_into(self, message: Parcel) -> None:
        self.out(number=message.number, price=message.price, size=message.size, text=message.text)


@dataclass(frozen=True, slots=True)
class Watching:
    """Who looks on while messages pass: beats with statistics, as metrics need them, and a tap at so many a second."""

    beats: bool = False
    tap: bool = False
    tap_per_s: float | None = None


UNWATCHED = Watching()


@dataclass(frozen=True, slots=True)
class Measured:
    """One round. Rates per second; times of a round trip in µs."""

    raw_per_s: float
    wire_per_s: float
    conflate_per_s: float
    hub_per_s: float
    curve_per_s: float
    beats_per_s: float
    sampled_per_s: float
    tapped_per_s: float
    raw_p50_us: float
    raw_p99_us: float
    wire_p50_us: float
    wire_p99_us: float

    @property
    def share(self) -> float:
        return self.wire_per_s / self.raw_per_s

    @property
    def p50_ratio(self) -> float:
        return self.wire_p50_us / self.raw_p50_us


def plan(far: type[Node], policy: str, *, back: bool, hub: str | None = None) -> Plan:
    """Return two nodes in two processes, joined by a wire (and one back)."""
    nodes = [PlannedNode("near", "near", Source, {}), PlannedNode("far", "far", far, {})]
    wires = [PlannedWire(("near", "out"), ("far", "into"), Policy(policy), False, hub)]  # type: ignore[arg-type]
    if back:
        wires.append(PlannedWire(("far", "out"), ("near", "back"), Policy("block"), False))
    processes = {name: ProcessDecl(name, (name,), _HERE) for name in ("near", "far")}
    return Plan("bench", Topology("bench", "", _HERE, {}, {}, (), {}, processes, ()), tuple(nodes), tuple(wires))


def apart(plan: Plan, folder: Path) -> Plan:
    """Return the same plan with its processes on two machines, which are this one, and keys for both."""
    keys = KeyFolder(folder / "keys")
    placed = {}
    for name, process in plan.topology.processes.items():
        keys.make(name)
        with socket_of_system.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = TcpAddress("127.0.0.1", probe.getsockname()[1])
        placed[name] = replace(process, machine=name, listen=address)
    run = RunOptions(keys=str(keys.folder))
    return replace(plan, topology=replace(plan.topology, processes=placed, run=run))


class Process:
    """One process of a plan as a worker runs it, without journal and supervisor."""

    def __init__(self, plan: Plan, name: str, sockets: Path) -> None:
        self.host = Host(Clock(time.time_ns()))
        for node in plan.nodes:
            if node.id == name:
                self.node: Any = self.host.add(node.id, node.cls, node.params)
        self.wires = Wires(WireTable(plan), name, 1, sockets, self.host)
        self.wires.open()
        for wire in plan.wires:
            if wire.target[0] == name:
                self.host.wire(wire.source, wire.target)
        self.host.start()

    async def join(self) -> None:
        self.wires.attach(asyncio.get_running_loop(), self.on_wires)
        await self.wires.join(10.0)

    def on_wires(self) -> None:
        self.host.clock.now_ns = time.time_ns()
        self.wires.drain()


def run_async(main: Callable[[], Any]) -> Any:
    """Run a coroutine as a worker does: on uvloop where it is installed."""
    new_event_loop: Callable[[], asyncio.AbstractEventLoop] | None = None
    with suppress(ModuleNotFoundError):
        import uvloop

        new_event_loop = uvloop.new_event_loop
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)  # as a worker has it
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main())


def forked(child: Callable[[], None], parent: Callable[[], Any]) -> Any:
    """Run `child` in a fork beside `parent`; return what the parent returns."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            child()
            code = 0
        finally:
            sys.stdout.flush()
            os._exit(code)
    try:
        return parent()
    finally:
        _, status = os.waitpid(pid, 0)
        if status:
            raise RuntimeError(f"the child of the benchmark ended with status {status}")


# --- throughput ---------------------------------------------------------------------------------------------------


def raw_per_s(sockets: Path, messages: int) -> float:
    """Return how many frames a second raw pyzmq passes, both sides blocking."""
    address = f"ipc://{sockets}/raw.sock"
    read_fd, write_fd = os.pipe()

    def receive() -> None:
        with zmq.Context() as context, context.socket(zmq.PULL) as socket:
            socket.setsockopt(zmq.RCVHWM, 10_000)
            socket.bind(address)
            take = socket.recv
            take()
            began = time.perf_counter()
            for _ in range(messages):
                take()
            os.write(write_fd, json.dumps(messages / (time.perf_counter() - began)).encode())

    def send() -> float:
        with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
            socket.setsockopt(zmq.SNDHWM, 10_000)
            socket.connect(address)
            put, frame = socket.send, b"x" * FRAME_BYTES
            for _ in range(messages + 1):
                put(frame)
            return float(os.read(read_fd, 100))

    try:
        return float(forked(receive, send))
    finally:
        os.close(read_fd)
        os.close(write_fd)


async def beat(process: Process) -> None:
    """Gather and encode what a worker tells its supervisor, as often as it does."""
    while True:
        msgspec.json.encode(process.wires.stats())
        await asyncio.sleep(BEAT_S)


@contextmanager
def tap_reader(address: str) -> Iterator[None]:
    """Read a tap in a process of its own, as `pipeline tap` does."""
    pid = os.fork()
    if pid == 0:
        with zmq.Context() as context, context.socket(zmq.PULL) as socket:
            socket.bind(address)
            while True:
                socket.recv()
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def wire_per_s(
    sockets: Path,
    messages: int,
    policy: str = "block",
    *,
    curve: bool = False,
    watching: Watching = UNWATCHED,
) -> float:
    """Return how many messages a second a wire passes, from node to node; with `curve` as between two machines.

    What a conflated wire passes over is counted too: it has been taken note of.
    """
    graph = plan(Sink, policy, back=False)
    if curve:
        graph = apart(graph, sockets)
    read_fd, write_fd = os.pipe()

    tap_address = f"ipc://{sockets}/tap.sock"

    async def receive() -> None:
        process = Process(graph, "far", sockets)
        await process.join()
        beats = asyncio.ensure_future(beat(process)) if watching.beats else None
        node, wires = process.node, process.wires
        route = wires.routes[0]
        while (route.received + route.skipped if policy == "conflate" else node.count) < messages:
            await asyncio.sleep(0.001)
        took = time.perf_counter() - node.began
        os.write(write_fd, json.dumps(messages / took).encode())
        while not wires.drained:
            await asyncio.sleep(0.001)
        if beats is not None:
            beats.cancel()
        wires.close()

    async def send() -> float:
        process = Process(graph, "near", sockets)
        await process.join()
        taps = Taps(process.host)
        if watching.tap:
            taps.attach("bench", ["near.out"], watching.tap_per_s, tap_address)
        beats = asyncio.ensure_future(beat(process)) if watching.beats else None
        wires, inject, port = process.wires, process.host.inject, process.host.ports["near", "out"]
        message = parcel(1)
        left = messages
        while left:
            for _ in range(min(left, SLICE)):
                inject(port, message)
            left -= min(left, SLICE)
            await asyncio.sleep(0)
            while wires.paused:
                await asyncio.sleep(0.001)
        loop = asyncio.get_running_loop()
        result = float(await loop.run_in_executor(None, os.read, read_fd, 100))
        if beats is not None:
            beats.cancel()
        taps.close()
        wires.close()
        return result

    try:
        with tap_reader(tap_address) if watching.tap else nullcontext():
            return float(forked(lambda: run_async(receive), lambda: run_async(send)))
    finally:
        os.close(read_fd)
        os.close(write_fd)


def hub_per_s(sockets: Path, messages: int) -> float:
    """Return how many messages a second come from node to node by way of a hub, in a process of its own."""
    with socket_of_system.socket() as one, socket_of_system.socket() as other:
        for each in (one, other):
            each.bind(("127.0.0.1", 0))
        publish, subscribe = one.getsockname()[1], other.getsockname()[1]
    hub = HubDecl("bench", (publish,), subscribe, "msgpack", _HERE)
    written = Wire(PortRef("near", "out"), PortRef("bench", "parcels", hub=True), Policy(), 0, _HERE)
    graph = plan(Sink, "block", back=False, hub="bench/parcels")
    graph = replace(graph, topology=replace(graph.topology, hubs={"bench": hub}, wires=(written,)))
    read_fd, write_fd = os.pipe()

    def forward() -> None:
        with zmq.Context() as context:
            relay = Relay(context, "bench", topics_of(graph, "bench"), Endpoints({"bench": hub}))
            poller = zmq.Poller()
            for socket in (relay.writers, relay.readers):
                poller.register(socket, zmq.POLLIN)
            while True:
                poller.poll()
                relay.subscriptions()
                relay.forward(2_048)

    async def receive() -> None:
        process = Process(graph, "far", sockets)
        await process.join()
        node, seen, since = process.node, 0, time.perf_counter()
        while node.count < messages and time.perf_counter() - since < 2.0:  # a hub may lose what is too much for it
            await asyncio.sleep(0.001)
            if node.count > seen or not seen:
                seen, since = node.count, time.perf_counter()
        os.write(write_fd, json.dumps(node.count / (since - node.began)).encode())
        process.wires.close()

    async def send() -> float:
        process = Process(graph, "near", sockets)
        await process.join()
        publisher = process.wires.hubs.publishers["bench"]
        while not publisher.connected:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.3)  # the hub hears of its reader
        message, port = parcel(1), process.host.ports["near", "out"]
        for sent in range(messages):
            process.host.inject(port, message)
            if not sent % SLICE:
                await asyncio.sleep(0)
                while publisher.backlog:
                    await asyncio.sleep(0.001)
        result = float(await asyncio.get_running_loop().run_in_executor(None, os.read, read_fd, 100))
        process.wires.close()
        return result

    relay_pid = os.fork()
    if relay_pid == 0:
        forward()
    try:
        return float(forked(lambda: run_async(receive), lambda: run_async(send)))
    finally:
        os.kill(relay_pid, signal.SIGKILL)
        os.waitpid(relay_pid, 0)
        os.close(read_fd)
        os.close(write_fd)


# --- round trip ---------------------------------------------------------------------------------------------------


def _quantiles_us(times_ns: list[int]) -> tuple[float, float]:
    settled = times_ns[len(times_ns) // 10 :]
    return median(settled) / 1e3, quantiles(settled, n=100)[98] / 1e3


def raw_round_trip_us(sockets: Path, messages: int) -> tuple[float, float]:
    """Return p50 and p99 of a round trip through raw pyzmq, both sides blocking."""
    there, back = f"ipc://{sockets}/there.sock", f"ipc://{sockets}/back.sock"

    def echo() -> None:
        with zmq.Context() as context, context.socket(zmq.PULL) as take, context.socket(zmq.PUSH) as put:
            take.bind(there)
            put.connect(back)
            for _ in range(messages):
                put.send(take.recv())

    def measure() -> list[int]:
        with zmq.Context() as context, context.socket(zmq.PULL) as take, context.socket(zmq.PUSH) as put:
            take.bind(back)
            put.connect(there)
            frame, found = b"x" * FRAME_BYTES, []
            due = time.perf_counter()
            for _ in range(messages):
                time.sleep(max(0.0, due - time.perf_counter()))
                began = time.perf_counter_ns()
                put.send(frame)
                take.recv()
                found.append(time.perf_counter_ns() - began)
                due += 1 / PACE_HZ
            return found

    return _quantiles_us(forked(echo, measure))


def wire_round_trip_us(sockets: Path, messages: int) -> tuple[float, float]:
    """Return p50 and p99 of a round trip from node to node and back."""
    graph = plan(Echo, "block", back=True)

    async def echo() -> None:
        process = Process(graph, "far", sockets)
        await process.join()
        while process.host.ports["far", "out"].sent < messages:
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.1)
        process.wires.close()

    async def measure() -> list[int]:
        process = Process(graph, "near", sockets)
        await process.join()
        host, node, port = process.host, process.node, process.host.ports["near", "out"]
        loop, sent = asyncio.get_running_loop(), []
        due = loop.time()
        for number in range(messages):
            due += 1 / PACE_HZ
            await asyncio.sleep(max(0.0, due - loop.time()))
            sent.append(time.perf_counter_ns())
            host.inject(port, parcel(number))
        while len(node.returned) < messages:
            await asyncio.sleep(0.01)
        process.wires.close()
        return [back - began for began, back in zip(sent, node.returned, strict=True)]

    return _quantiles_us(forked(lambda: run_async(echo), lambda: run_async(measure)))


def measure(messages: int = 300_000, trips: int = 2_000) -> Measured:
    """Return one round, all cases in turn."""
    with tempfile.TemporaryDirectory(prefix="wires") as folder:
        sockets = Path(folder)
        raw = raw_per_s(sockets, messages)
        wire = wire_per_s(sockets, messages)
        conflate = wire_per_s(sockets, messages, "conflate")
        hub = hub_per_s(sockets, messages // 4)
        curve = wire_per_s(sockets, messages, curve=True)
        beats = wire_per_s(sockets, messages, watching=Watching(beats=True))
        sampled = wire_per_s(sockets, messages, watching=Watching(tap=True, tap_per_s=1_000.0))
        tapped = wire_per_s(sockets, messages, watching=Watching(tap=True))
        raw_p50, raw_p99 = raw_round_trip_us(sockets, trips)
        wire_p50, wire_p99 = wire_round_trip_us(sockets, trips)
    watched = beats, sampled, tapped
    return Measured(raw, wire, conflate, hub, curve, *watched, raw_p50, raw_p99, wire_p50, wire_p99)


if __name__ == "__main__":
    for _ in range(3):
        print(measure())
