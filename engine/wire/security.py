"""Wires between machines: TCP under CURVE, and only the keys of processes that the topology joins are let in.

Each process that speaks to another machine listens on one PULL of its own for that. Who connects shows, by its key,
which process it is; a ZAP handler admits exactly the peers of the plan (RFC 27), and the name that it gives a peer goes
with each of its frames. A frame that speaks for another process is refused. ipc needs none of this: the folder of the
sockets belongs to one user.
"""

from __future__ import annotations

import logging
import os
import socket as sockets_of_system
import struct
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import msgspec
import zmq

from engine.errors import PipelineError
from engine.process.places import socket_path
from engine.topology.listeners import holder_of
from engine.topology.machines import hubs_key, open_hubs, users_of
from engine.topology.model import ProcessDecl, TcpAddress
from engine.wire.frame import (
    ACK,
    FLAGS_AT,
    HEADER_BYTES,
    HELLO,
    MOST_PORTS,
    PORT_SHIFT,
    Greeting,
    decode_greeting,
    parts,
    unpack,
)
from engine.wire.keys import KeyFolder, KeyUnusable
from engine.wire.table import WireTable

ZAP_ADDRESS = "inproc://zeromq.zap.01"
ZAP_VERSION = b"1.0"
HIGH_WATER = 1_000
MAX_FRAME_BYTES = 64 << 20
HEARTBEAT_MS = 1_000
SILENT_MS = 5_000
"""A connection that is silent for so long has been cut; a peer that comes back connects anew."""
HANDSHAKE_MS = 5_000
MOST_ADDRESSES = 1_024
"""Refused addresses that are counted each; further ones are counted together."""
IPV4_IN_IPV6 = "::ffff:"
FURTHER = "further addresses"
UNKNOWN = "unknown address"
"""Of a connection that was over before its address could be asked for: strangers without a key fail that fast."""

_FAILED = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
_WATCHED = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED | _FAILED
_event = struct.Struct("=hi").unpack
log = logging.getLogger("security")


class CannotListen(PipelineError):
    """A process cannot open the address on which other machines reach it."""


class Access:
    """How one process reaches its peers, and who may reach it.

    Raises KeyUnusable when it speaks to another machine or an open hub, and a key is missing or unfit.
    """

    def __init__(self, table: WireTable, process: str, sockets: Path, port_offset: int = 0) -> None:
        self.table = table
        self.process = process
        self._sockets = sockets
        self._offset = port_offset
        topology = table.plan.topology
        own = topology.processes.get(process)
        self._own = own
        self.distant: dict[str, ProcessDecl] = {}
        if own is not None:
            peers = (topology.processes[peer] for peer in table.peers(process))
            self.distant = {peer.name: peer for peer in peers if peer.machine != own.machine}
        self._allowed: dict[bytes, str] = {}
        self._hubs = {
            name: hubs_key(hub.machine)
            for name, hub in open_hubs(topology).items()
            if process in users_of(topology, name)
        }
        if self.distant or self._hubs:
            if topology.run.keys is None:
                raise KeyUnusable(f"process {process!r} speaks over TCP, and the topology names no keys")
            keys = KeyFolder(Path(topology.run.keys))
            self._secret, self._public = keys.secret(process), keys.public(process)
            self._publics = {name: keys.public(name) for name in (*self.distant, *self._hubs.values())}
            self._allowed = keys.allowed(list(self.distant))

    def address(self, process: str) -> str:
        """Return where a process is reached from here."""
        peer = self.distant.get(process)
        if peer is None:
            return f"ipc://{socket_path(self._sockets, process)}"
        return str(self._shifted(peer))

    def prepare(self, socket: zmq.Socket[bytes], peer: str) -> None:
        """Give a socket that is to connect to a peer what it needs for that; nothing on the same machine."""
        if peer in self.distant:
            self._identify(socket, peer)

    def prepare_hub(self, hub: str) -> Callable[[zmq.Socket[bytes]], None] | None:
        """Return what prepares a socket that is to connect to a hub; None for one that asks for no keys."""
        if hub not in self._hubs:
            return None
        return partial(self._identify, server=self._hubs[hub])

    def _identify(self, socket: zmq.Socket[bytes], server: str) -> None:
        keep_alive(socket)
        socket.curve_publickey, socket.curve_secretkey = self._public, self._secret
        socket.curve_serverkey = self._publics[server]

    def door(self, context: zmq.Context[zmq.Socket[bytes]]) -> Door | None:
        """Open the door for peers of other machines; None where there are none. Raises CannotListen."""
        if not self.distant or self._own is None:
            return None
        owners: list[str | None] = [None] * MOST_PORTS
        for number, port in self.table.by_number.items():
            owners[number] = port.process
        address = self._shifted(self._own)
        door = Door(context, self.process, self._allowed, owners, tuple(self.table.processes))
        try:
            door.open(self._secret, address)
        except BaseException:
            door.close()
            raise
        return door

    def _shifted(self, process: ProcessDecl) -> TcpAddress:
        if process.listen is None:
            raise CannotListen(f"process {process.name!r} is on another machine, and says nowhere where it is reached")
        port = process.listen.port + self._offset
        if not 0 < port < 1 << 16:
            raise CannotListen(f"--port-offset {self._offset} makes {port} of the port of process {process.name!r}")
        return TcpAddress(process.listen.host, port)


def keep_alive(socket: zmq.Socket[bytes]) -> None:
    """Prepare a TCP socket to find out that the other end is gone, also where the network says nothing."""
    socket.setsockopt(zmq.IPV6, 1)
    socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, SILENT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TTL, SILENT_MS)
    socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)


class Gatekeeper:
    """The ZAP handler of a context: says by its key which name a connection has, or that it is refused.

    `allowed` has for each domain the names by public key. `turn()` answers what waits; call it whenever `socket` is
    readable. `refused` counts those that were not let in, by address.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], allowed: Mapping[str, Mapping[bytes, str]]) -> None:
        self.refused: Counter[str] = Counter()
        self._allowed = {domain.encode(): names for domain, names in allowed.items()}
        self.socket = context.socket(zmq.ROUTER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind(ZAP_ADDRESS)

    def turn(self) -> None:
        """Answer every request that waits."""
        while int(self.socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            route, _, *request = self.socket.recv_multipart(zmq.NOBLOCK)
            name = self._name(request)
            number = request[1] if len(request) > 1 else b""
            verdict = [b"200", b"", name.encode()] if name else [b"400", b"not a declared peer", b""]
            self.socket.send_multipart([route, b"", ZAP_VERSION, number, *verdict, b""], zmq.NOBLOCK)

    def _name(self, request: list[bytes]) -> str:
        """Return the name of who asks to come in, empty for a stranger."""
        if len(request) != 7 or request[0] != ZAP_VERSION:
            return ""
        _, _, domain, address, _, mechanism, key = request
        name = self._allowed.get(domain, {}).get(key, "") if mechanism == b"CURVE" else ""
        if not name:
            self.refuse(address.decode("ascii", "replace"), "its key is not one of a declared peer")
        return name

    def refuse(self, address: str, reason: str) -> None:
        """Count one that was not let in; the first of each address is logged."""
        address = address.removeprefix(IPV4_IN_IPV6)
        if address not in self.refused and len(self.refused) >= MOST_ADDRESSES:
            address = FURTHER
        self.refused[address] += 1
        if self.refused[address] == 1:
            log.warning("refused a connection from %s: %s; more from there are only counted", address, reason)

    def close(self) -> None:
        self.socket.close(0)


class Strangers:
    """Who fails before the gatekeeper is asked: without CURVE, with another server's key, or before saying anything.

    Read from a socket's monitor, which tells of a failure first and then which connection has ended. What does not
    speak ZeroMQ at all is cut off without a word.
    """

    def __init__(self, socket: zmq.Socket[bytes], refuse: Callable[[str, str], None]) -> None:
        self.socket = socket.get_monitor_socket(_WATCHED)
        self._refuse = refuse
        self._addresses: dict[int, str] = {}
        self._failed = False

    def turn(self) -> None:
        """Take note of all that has happened."""
        while int(self.socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            head, *_ = self.socket.recv_multipart(zmq.NOBLOCK)
            event, value = _event(head)
            event &= 0xFFFF
            if event == zmq.EVENT_ACCEPTED:
                self._addresses[value] = _peer_address(value)
            elif event & _FAILED:
                self._failed = True
            else:
                address = self._addresses.pop(value, UNKNOWN)
                if self._failed:
                    self._failed = False
                    self._refuse(address, "it does not speak with our key")


def _peer_address(descriptor: int) -> str:
    """Return the address at the other end of a connection, which may be gone already."""
    try:
        with sockets_of_system.socket(fileno=os.dup(descriptor)) as connection:
            return str(connection.getpeername()[0])
    except (OSError, IndexError):
        return UNKNOWN


class Door:
    """The PULL through which frames come from other machines.

    `sockets` are to be watched; on any of them call `turn()` and `receive()`.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        process: str,
        allowed: Mapping[bytes, str],
        owners: list[str | None],
        processes: tuple[str, ...],
    ) -> None:
        self.process = process
        self.domain = f"wires.{process}"
        self._owners = owners
        self._processes = processes
        self._pull = context.socket(zmq.PULL)
        # Bound before anybody can knock: a door without a gatekeeper would let nobody in, but say nothing either.
        self._keeper = Gatekeeper(context, {self.domain: allowed})
        self._strangers = Strangers(self._pull, self._keeper.refuse)

    def open(self, secret: bytes, address: TcpAddress) -> None:
        """Listen; raise CannotListen."""
        pull = self._pull
        pull.setsockopt(zmq.LINGER, 0)
        pull.setsockopt(zmq.RCVHWM, HIGH_WATER)
        pull.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME_BYTES)
        keep_alive(pull)
        pull.curve_server = True
        pull.curve_secretkey = secret
        pull.zap_domain = self.domain.encode()
        pull.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        try:
            pull.bind(str(address))
        except zmq.ZMQError as error:
            reason = error.strerror
            if error.errno == zmq.EADDRINUSE:
                reason = f"it is held by {holder_of(address.port) or 'another program'}"
            elif error.errno == zmq.EADDRNOTAVAIL:
                reason = "this machine has no such address; is it the right --machine?"
            raise CannotListen(f"process {self.process!r} cannot listen on {address}: {reason}") from error

    @property
    def closed(self) -> bool:
        return bool(self._pull.closed)

    @property
    def sockets(self) -> tuple[zmq.Socket[bytes], ...]:
        return self._pull, self._keeper.socket, self._strangers.socket

    @property
    def refused(self) -> dict[str, int]:
        """How many connections were refused, by address."""
        return dict(self._keeper.refused)

    def turn(self) -> None:
        """Let in who may come in, and count who may not."""
        self._keeper.turn()
        self._strangers.turn()

    def receive(self, most: int, refuse: Callable[[str, str], None]) -> tuple[list[bytes], bool]:
        """Return frames that speak for the process that sent them, and whether more may wait.

        `refuse` is told reason and detail of those that speak for another process.
        """
        frames: list[bytes] = []
        receive = self._pull.recv
        for _ in range(most):
            try:
                whole = receive(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return frames, False
            peer, frame = whole.get("User-Id"), whole.bytes
            sender = self._sender(frame)
            if sender is not None and sender != peer:
                refuse("peer", f"process {peer!r} sends what only {sender!r} may")
            else:
                frames.append(frame)
        self._pull.getsockopt(zmq.EVENTS)  # or the descriptor would go on telling of what there is no room for
        return frames, True

    def _sender(self, frame: bytes) -> str | None:
        """Return for which process a frame speaks; None where it says nothing that anybody would act on."""
        if len(frame) < HEADER_BYTES:
            return None
        message_id = unpack(frame)[0]
        flags = frame[FLAGS_AT]
        if flags == HELLO:
            try:
                greeting: Greeting = decode_greeting(frame[HEADER_BYTES:])
            except (msgspec.MsgspecError, ValueError):
                return None
            return greeting.process
        if flags & ACK:
            index = parts(message_id)[1]
            return self._processes[index] if index < len(self._processes) else None
        owner: str | None = self._owners[message_id >> PORT_SHIFT]
        return owner

    def close(self) -> None:
        """Close the door first, and only then send the gatekeeper away."""
        self._pull.disable_monitor()
        self._pull.close(0)
        self._strangers.socket.close(0)
        self._keeper.close()
