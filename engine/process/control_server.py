"""The supervisor's end of the control connections: who speaks, whether it may, and what it says."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from collections import Counter
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, Protocol

from engine.process.control import LONGEST_ASK, LONGEST_LINE, Malformed, decode, encode
from engine.process.log_file import Rate

HELLO_S = 5.0
MOST_CLIENTS = 64
URGENT = ("halt", "stop")
"""What is heard from whoever comes when there are as many clients already: the kill switch is not to be crowded out."""
MOST_CONNECTIONS = 256
"""Of all kinds, with those that have not said yet what they are: without descriptors a supervisor cannot work."""
EVENTS_PER_S = 500.0
UNREAD_BYTES = 4 << 20
"""A peer that leaves so much unread is cut off."""
EVENTS = frozenset(("joined", "ready", "beat", "ended", "stopped", "failed", "broken", "halted", "rearmed"))


class Refused(Exception):
    """The peer may not, or does not know how to, speak here."""


class Listener(Protocol):
    """Who answers."""

    async def admit(self, name: str, epoch: int, pid: int) -> bool:
        """Tell whether this is the process that was started under that name and start count."""

    def arrived(self, name: str, connection: Connection) -> None:
        """Take note that a process is connected."""

    def heard(self, name: str, event: str, message: dict[str, Any]) -> None:
        """Act on an event of a process; raise ValueError, KeyError or TypeError when it is not well formed."""

    def hung_up(self, name: str, connection: Connection, reason: str | None) -> None:
        """Take note that a process's connection is over; with a reason, that we ended it."""

    def asked(
        self, question: str, message: dict[str, Any], connection: Connection
    ) -> dict[str, Any] | Awaitable[dict[str, Any]]:
        """Answer a client, now or later; raise Refused with the reason not to."""

    def left(self, connection: Connection) -> None:
        """Take note that a client is gone."""


class Connection:
    """One peer. Once it is `over`, what it may still have said is not listened to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        peer = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        self.pid, self.uid, _ = struct.unpack("3i", peer)
        self.over = False

    def send(self, message: dict[str, Any]) -> None:
        """Send one message; a peer that does not read is cut off."""
        if self.writer.is_closing():
            return
        self.writer.write(encode(message))
        if self.writer.transport.get_write_buffer_size() > UNREAD_BYTES:
            self.writer.transport.abort()

    async def receive(self, longest: int, timeout_s: float | None = None) -> dict[str, Any] | None:
        """Return the next message, None at the end; raise Malformed or TimeoutError."""
        async with asyncio.timeout(timeout_s):
            try:
                line = await self.reader.readuntil(b"\n")
            except asyncio.IncompleteReadError as error:
                if error.partial:
                    raise Malformed("the last line is not complete") from None
                return None
            except asyncio.LimitOverrunError:
                raise Malformed(f"a line of more than {longest} bytes") from None
        if len(line) > longest:
            raise Malformed(f"a line of more than {longest} bytes")
        return decode(line)

    def close(self) -> None:
        """Hang up."""
        self.over = True
        self.writer.close()


class ControlServer:
    """Listen on the control socket. `refused` counts, by reason, what was not let in."""

    def __init__(self, path: Path, desk: Listener) -> None:
        self.path = path
        self.desk = desk
        self.refused: Counter[str] = Counter()
        self._server: asyncio.Server | None = None
        self._open: set[Connection] = set()
        self._clients = 0

    async def listen(self) -> None:
        """Open the socket, for this user alone."""
        before = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._serve, self.path, limit=LONGEST_LINE)
        finally:
            os.umask(before)

    async def close(self) -> None:
        """Hang up on everybody."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._open):
            connection.close()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer)
        if len(self._open) >= MOST_CONNECTIONS:
            self.refused["too many connections"] += 1
            connection.close()
            return
        self._open.add(connection)
        try:
            await self._greet(connection)
        except (Malformed, Refused) as error:
            self._refuse(connection, error)
        except TimeoutError:
            self.refused["no hello"] += 1
        except ConnectionError:
            pass  # the peer is gone, which is all that there is to know
        finally:
            self._open.discard(connection)
            connection.close()

    def _refuse(self, connection: Connection, error: Exception) -> None:
        self.refused["malformed" if isinstance(error, Malformed) else "refused"] += 1
        connection.send({"ok": False, "error": str(error)})

    async def _greet(self, connection: Connection) -> None:
        if connection.uid != os.geteuid():
            raise Refused("this run belongs to another user")
        message = await connection.receive(LONGEST_ASK, HELLO_S)
        match message:
            case None:
                return
            case {"hello": "process", "name": str(name), "epoch": int(epoch), "pid": int(pid)}:
                if pid != connection.pid or not await self.desk.admit(name, epoch, pid):
                    raise Refused(f"no process {name!r} was started as number {epoch} under id {connection.pid}")
                await self._listen_to(name, connection)
            case {"hello": "client"}:
                self._clients += 1
                try:
                    await self._answer(connection, crowded=self._clients > MOST_CLIENTS)
                finally:
                    self._clients -= 1
                    self.desk.left(connection)
            case _:
                raise Malformed("the first line must say hello")

    async def _listen_to(self, name: str, connection: Connection) -> None:
        rate = Rate(EVENTS_PER_S)
        reason: str | None = None
        self.desk.arrived(name, connection)
        try:
            while not connection.over and (message := await connection.receive(LONGEST_LINE)) is not None:
                if not rate.admit(time.monotonic()):
                    raise Malformed(f"more than {EVENTS_PER_S:g} lines a second")
                event = message.get("event")
                if event not in EVENTS:
                    raise Malformed(f"no event {event!r}")
                try:
                    self.desk.heard(name, event, message)
                except (ValueError, KeyError, TypeError) as error:
                    raise Malformed(f"event {event!r} is not well formed: {error!r}") from error
        except Malformed as error:
            reason = str(error)
            raise
        finally:
            self.desk.hung_up(name, connection, reason)

    async def _answer(self, connection: Connection, *, crowded: bool) -> None:
        while (message := await connection.receive(LONGEST_ASK, HELLO_S if crowded else None)) is not None:
            question = message.get("ask")
            if not isinstance(question, str):
                raise Malformed("a line must ask something")
            if crowded and question not in URGENT:
                raise Refused(f"{MOST_CLIENTS} others are connected already; only {' and '.join(URGENT)} are heard")
            try:
                answer = self.desk.asked(question, message, connection)
                connection.send({"ok": True, **(answer if isinstance(answer, dict) else await answer)})
            except Refused as error:
                self.refused["asked in vain"] += 1
                connection.send({"ok": False, "error": str(error)})
            await connection.writer.drain()
