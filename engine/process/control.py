"""The control connection: one JSON object a line, over a unix socket, between the supervisor and everybody else.

`ProcessLink` is a process's end of it, `Client` a command's. The supervisor's end is `control_server`.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import msgspec

from engine.errors import PipelineError
from engine.process.places import CONTROL, NotRunning, find_sockets

BEAT_S = 0.25
LONGEST_LINE = 4 << 20
LONGEST_ASK = 64 << 10
UNSENT_BEATS = 1 << 18
"""Bytes that wait for a supervisor which does not read; above it beats are left out, events never."""


class ControlError(PipelineError):
    """The supervisor refused what it was asked, or does not answer."""


class Malformed(ValueError):
    """A line that is no JSON object, or is too long."""


def encode(message: dict[str, Any]) -> bytes:
    """Return a message as one line."""
    return msgspec.json.encode(message) + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """Return the message of one line; raise Malformed."""
    try:
        message = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Malformed(f"not JSON: {error}") from None
    if not isinstance(message, dict):
        raise Malformed("not a JSON object")
    return message


class Lines:
    """Cut a stream of bytes into lines; raise Malformed for one above `longest` bytes."""

    def __init__(self, longest: int) -> None:
        self.longest = longest
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that `data` completes."""
        self._rest += data
        *lines, rest = self._rest.split(b"\n")
        if len(rest) > self.longest or any(len(line) > self.longest for line in lines):
            raise Malformed(f"a line of more than {self.longest} bytes")
        self._rest = rest
        return [bytes(line) for line in lines]


class ProcessLink(asyncio.Protocol):
    """A process's connection to its supervisor, in the process's own event loop.

    `on_command` gets each command as a dict with the key "do"; `on_lost` is called when the supervisor is gone, after
    which a process has nothing left to do but to end.
    """

    def __init__(
        self,
        sockets: Path,
        name: str,
        epoch: int,
        on_command: Callable[[dict[str, Any]], None],
        on_lost: Callable[[], None],
    ) -> None:
        self.path = sockets / CONTROL
        self.name = name
        self.epoch = epoch
        self.beats_left_out = 0
        self._on_command = on_command
        self._on_lost = on_lost
        self._lines = Lines(LONGEST_LINE)
        self._transport: asyncio.Transport | None = None
        self._next_beat: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        """Connect and say hello; raise ControlError where no supervisor listens."""
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: self, str(self.path))
        except OSError as error:
            raise ControlError(f"no supervisor listens on {self.path}: {error.strerror or error}") from error
        self._write({"hello": "process", "name": self.name, "epoch": self.epoch, "pid": os.getpid()})

    def send(self, event: str, **fields: Any) -> None:
        """Tell the supervisor; without effect once it is gone."""
        self._write({"event": event, **fields})

    def beat(self, stats: Callable[[], dict[str, Any]]) -> None:
        """Send `stats()` now and each 0.25 s from now on: the sign that this process's loop still turns.

        While much is waiting for a supervisor that does not read, beats are left out and counted.
        """
        if self._transport is None:
            return
        if self._transport.get_write_buffer_size() > UNSENT_BEATS:
            self.beats_left_out += 1
        else:
            self.send("beat", stats=stats())
        self._next_beat = asyncio.get_running_loop().call_later(BEAT_S, self.beat, stats)

    def close(self) -> None:
        """Hang up; what was sent has left, as far as the supervisor takes it. `on_lost` is not called."""
        self._on_lost = _nothing
        if self._next_beat is not None:
            self._next_beat.cancel()
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def _write(self, message: dict[str, Any]) -> None:
        if self._transport is not None:
            self._transport.write(encode(message))

    # --- called by the loop -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        for line in self._lines.feed(data):
            self._on_command(decode(line))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._next_beat is not None:
            self._next_beat.cancel()
        self._transport = None
        self._on_lost()


def _nothing() -> None:
    pass


class Client:
    """A command's connection to the supervisor of a run. Blocking; use it in a `with`."""

    def __init__(self, sockets: Path, timeout_s: float = 5.0) -> None:
        self._lines = Lines(LONGEST_LINE)
        self._waiting: list[bytes] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_s)
        try:
            self._socket.connect(str(sockets / CONTROL))
            self._socket.sendall(encode({"hello": "client"}))
        except OSError as error:
            self._socket.close()
            raise NotRunning(f"no supervisor listens on {sockets / CONTROL}: {error.strerror or error}") from error

    @classmethod
    def of(cls, folder: Path, timeout_s: float = 5.0) -> Self:
        """Connect to the supervisor of a run folder; raise NotRunning where there is none."""
        return cls(find_sockets(folder), timeout_s)

    def ask(self, question: str, **fields: Any) -> dict[str, Any]:
        """Ask and return the answer; raise ControlError with the supervisor's words when it refuses."""
        try:
            self._socket.sendall(encode({"ask": question, **fields}))
            answer = self._read()
        except TimeoutError:
            raise ControlError(f"the supervisor does not answer {question!r}") from None
        except OSError as error:
            raise ControlError(f"the supervisor hung up on {question!r}: {error.strerror or error}") from error
        if answer is None:
            raise ControlError(f"the supervisor ended before it answered {question!r}")
        if not answer.get("ok"):
            raise ControlError(str(answer.get("error", f"{question!r} was refused without a reason")))
        return answer

    def wait_for_end(self, timeout_s: float | None = None) -> bool:
        """Wait until the supervisor hangs up, which it does when the run is over; False when time ran out."""
        self._socket.settimeout(timeout_s)
        try:
            while self._read() is not None:
                pass
        except TimeoutError:
            return False
        except ConnectionError:
            return True
        return True

    def fileno(self) -> int:
        """Return the descriptor, for whoever waits for other things too: it is readable once the supervisor is gone."""
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self) -> dict[str, Any] | None:
        while not self._waiting:
            data = self._socket.recv(1 << 16)
            if not data:
                return None
            self._waiting = self._lines.feed(data)
        return decode(self._waiting.pop(0))
