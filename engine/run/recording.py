"""Recording: write down what every node's handlers receive and what they send. The files are those of `segment`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from engine.clock import Clock
from engine.message import Message
from engine.node import Node
from engine.run.host import Host
from engine.run.kept import keep
from engine.run.port import OUTSIDE, Port, Reader
from engine.run.segment import (
    BYTE_ORDER,
    CLOSED,
    COUNT_BYTES,
    END_OF_STREAM,
    LENGTH_BYTES,
    STREAM,
    TAIL,
    RecordingFailed,
    Segment,
    as_batch,
    pyarrow,
    schema,
    stem,
)
from engine.wire.codec import encoder

BATCH_ROWS = 1_000
"""Rows of one Arrow batch: few enough that writing them holds up nobody for long (about 1 ms)."""
ROW_GROUP_ROWS = 50_000
"""Rows that a closed file keeps together."""
CONVERTED_BYTES = 8 << 20
"""A longer stream is not converted within a deadline: at about 40 MB/s a process would be killed over it."""

_encode_rows = _encode_state = msgspec.msgpack.Encoder().encode


class Recorder:
    """Write rows to `folder`: `add` takes one, `close()` turns what was written into a Parquet file.

    With `epoch` it writes the segment of one start of a process. `messages` are the types of the ports, by name, to be
    filled before the first row. Whatever writes raises RecordingFailed where it cannot, and leaves what was written
    before as it was. With `on_failure`, what is written while rows come in does not raise: it ends the recording, and
    `on_failure` is told why.
    """

    def __init__(
        self, folder: Path, epoch: int | None = None, on_failure: Callable[[RecordingFailed], None] | None = None
    ) -> None:
        pyarrow()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RecordingFailed(f"{folder} cannot be made: {error.strerror}") from error
        self._on_failure = on_failure
        self.messages: dict[str, type[Message]] = {}
        self.stopped = ""
        self._torn = False
        self._segment = Segment("", epoch, folder)
        self._rows: list[tuple[Any, ...]] = []
        self._flushed = 0
        self._written = 0
        self._schema: Any = None
        self.add = self._rows.append
        base = folder / stem(epoch)
        self._closed, stream, self._tail_path = (Path(f"{base}{ending}") for ending in (CLOSED, STREAM, TAIL))
        if epoch is None:
            self._closed.unlink(missing_ok=True)
        elif self._closed.exists() or stream.exists():
            raise RecordingFailed(
                f"start {epoch} of the process is recorded in {folder} already; each start has a number of its own"
            )
        self._stream = _File(stream)
        self._tail: _File | None = None

    @property
    def rows(self) -> int:
        """How many rows have been recorded."""
        return self._written + (0 if self.stopped else len(self._rows))

    def flush(self) -> None:
        """Write what is new, so that the death of this process does not take it."""
        if self.stopped:
            self._rows.clear()
            return
        now_ns = self._rows[-1][0] if self._rows else 0
        try:
            self._flush()
        except RecordingFailed as error:
            if self._on_failure is None:
                raise
            self.stop(str(error), now_ns)
            self._on_failure(error)

    def _flush(self) -> None:
        rows = self._rows
        if len(rows) >= BATCH_ROWS:
            self._write_batch()
        elif len(rows) > self._flushed:
            if self._tail is None:
                self._begin()
                self._tail = _File(self._tail_path)
            data = _encode_rows(rows[self._flushed :])
            begin = b"" if self._flushed else self._written.to_bytes(COUNT_BYTES, BYTE_ORDER)
            self._tail.append(b"".join((begin, len(data).to_bytes(LENGTH_BYTES, BYTE_ORDER), data)))
            self._flushed = len(rows)

    def flush_full(self) -> None:
        """Write the buffer once it is long enough."""
        if len(self._rows) >= BATCH_ROWS:
            self.flush()

    def stop(self, reason: str, now_ns: int) -> None:
        """Record no more, and say so in the recording; where even that cannot be written, the recording is cut."""
        if self.stopped:
            return
        self.add((now_ns, "stopped", "", "", "", 0, 1, "", 0, reason.encode()))
        try:
            self._write_batch()
        except RecordingFailed as error:
            reason = reason if str(error) in reason else f"{reason}; {error}"
            self._rows.clear()
            self._torn = True
        self.stopped = reason

    def close(self, most_bytes: int | None = None) -> Path:
        """Write the rest, and keep everything as one Parquet file; return the file that holds the recording.

        A stream of more than `most_bytes` stays what it is, which readers do not mind.
        """
        if not self.stopped:
            self._write_batch()
        keep_stream = most_bytes is not None and self._stream.size > most_bytes
        if keep_stream and not self._torn:
            self._stream.append(END_OF_STREAM)
        self._shut()
        if keep_stream or self._torn:
            return self._stream.path
        part = self._closed.with_suffix(".part")
        try:
            self._convert(part)
            part.replace(self._closed)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise RecordingFailed(
                f"{self._closed} cannot be written: {error}; {self._stream.path} has it all"
            ) from error
        self._stream.path.unlink()
        self._tail_path.unlink(missing_ok=True)
        return self._closed

    def abandon(self) -> None:
        """Write what is new, and leave the recording as one that was cut short."""
        self.flush()
        self._shut()

    def _shut(self) -> None:
        self._stream.close()
        if self._tail is not None:
            self._tail.close()

    def _begin(self) -> None:
        if self._schema is None:
            columns = schema(self.messages)
            self._stream.append(columns.serialize())
            self._schema = columns

    def _write_batch(self) -> None:
        """Move the buffer, and with it the tail, to the stream."""
        rows = self._rows
        self._begin()
        if rows:
            self._stream.append(as_batch(rows, self._schema).serialize())
            self._written += len(rows)
            rows.clear()
        if self._tail is not None:
            self._tail.clear()
        self._flushed = 0

    def _convert(self, to: Path) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        with parquet.ParquetWriter(str(to), self._schema, compression="zstd") as out:
            waiting: list[Any] = []
            for batch in self._segment.live_batches():
                waiting.append(batch)
                if sum(each.num_rows for each in waiting) >= ROW_GROUP_ROWS:
                    out.write_table(pa.Table.from_batches(waiting).combine_chunks(), ROW_GROUP_ROWS * 2)
                    waiting.clear()
            if waiting:
                out.write_table(pa.Table.from_batches(waiting).combine_chunks(), ROW_GROUP_ROWS * 2)


class _File:
    """A file that grows by whole pieces: one that does not fit is taken off again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise RecordingFailed(f"{path} cannot be written: {error.strerror}") from error

    def append(self, data: Any) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError as error:
            with suppress(OSError):  # readers leave out what is not whole
                self._cut(self.size)
            raise self._failed(error) from error
        self.size += len(data)

    def clear(self) -> None:
        if self.size:
            try:
                self._cut(0)
            except OSError as error:
                raise self._failed(error) from error
            self.size = 0

    def _cut(self, size: int) -> None:
        os.ftruncate(self._file, size)
        os.lseek(self._file, size, os.SEEK_SET)

    def _failed(self, error: OSError) -> RecordingFailed:
        return RecordingFailed(
            f"{self.path} cannot be written: {error.strerror}. See to the disk, or run with --no-record"
        )

    def close(self) -> None:
        os.close(self._file)


def encode_arguments(arguments: tuple[Any, ...]) -> bytes:
    """Encode the arguments of a call; a message is wrapped as [type name, message]."""
    if not arguments:
        return b""
    return msgspec.json.encode([[type(a).__name__, a] if isinstance(a, Message) else a for a in arguments])


class RecordingHost(Host):
    """A host that writes down every event, or those of the nodes in `only`."""

    def __init__(
        self,
        clock: Clock,
        recorder: Recorder,
        seed: int = 0,
        run_dir: str = ".",
        only: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(clock, seed, run_dir)
        self.recorder = recorder
        self.only = only
        self._payload = b""
        self._names: dict[Port, str] = {OUTSIDE: ""}

    def add(self, node_id: str, cls: type[Node], params: dict[str, Any]) -> Node:
        node = super().add(node_id, cls, params)
        self._names[self.called[node_id]] = f"{node_id}."
        for name in cls.spec.outputs:
            port = self.ports[node_id, name]
            self._name(port)
            self.tap((node_id, name), self._out_note(port))
        return node

    def add_remote(self, node_id: str, name: str, message: type[Message]) -> Port:
        port = super().add_remote(node_id, name, message)
        self._name(port)
        self.tap((node_id, name), self._payload_note(port))
        return port

    def _name(self, port: Port) -> None:
        self._names[port] = name = f"{port.node}.{port.name}"
        self.recorder.messages[name] = port.message

    def recorded(self, node_id: str) -> bool:
        """Whether events of this node are written down."""
        return not self.only or node_id in self.only

    def reader(self, node: Node, input: str) -> Reader:
        if not self.recorded(node.id):
            return super().reader(node, input)
        add, handler, node_id, names = self.recorder.add, super().reader(node, input), node.id, self._names

        def read(message: Message) -> None:
            port = self.port
            add((self.clock.now_ns, "in", node_id, input, names[port], port.sent, port.epoch, "", 0, self._payload))
            handler(message)

        return read

    def handle(
        self, node: Node, handler: str, arguments: tuple[Any, ...], cause: Port = OUTSIDE, cause_number: int = 0
    ) -> None:
        if node.id not in self.failed and self.recorded(node.id):
            port = self.called[node.id]
            origin = (self._names[port], port.sent + 1, port.epoch, self._names[cause], cause_number)
            self.recorder.add((self.clock.now_ns, "call", node.id, handler, *origin, encode_arguments(arguments)))
        super().handle(node, handler, arguments, cause, cause_number)

    def recovered(self, node: Node, input: str) -> None:
        self._note("recovered", node, input, b"")
        super().recovered(node, input)

    def failure(self, error: Exception, node: Node, handler: str) -> Exception:
        stood = node.id not in self.failed
        failure = super().failure(error, node, handler)
        if stood and node.id in self.failed:
            # Its text stays out: it may tell what the node was given in confidence.
            self._note("failed", node, handler, type(error).__name__.encode())
        return failure

    def restored(self) -> None:
        for node in self.nodes.values():
            if self.recorded(node.id):
                self.recorder.add((self.clock.now_ns, "state", node.id, "", "", 0, 1, "", 0, _encode_state(keep(node))))

    def _note(self, kind: str, node: Node, name: str, payload: bytes) -> None:
        """Write down what happens to a node besides, while a message or call is being handled."""
        if self.recorded(node.id):
            port = self.port
            origin = (self._names[port], port.sent, port.epoch)
            self.recorder.add((self.clock.now_ns, kind, node.id, name, *origin, "", 0, payload))

    def deliver(self) -> None:
        super().deliver()
        self.recorder.flush_full()

    def receive(self, arrivals: Iterable[tuple[Port, int, Message]]) -> int:
        count = super().receive(arrivals)
        self.recorder.flush_full()
        return count

    def _out_note(self, port: Port) -> Reader:
        # It is the first reader of every port: the payload is encoded once, for it and for the inputs that follow.
        add, encode, node_id, name, names = self.recorder.add, encoder(port.message), port.node, port.name, self._names
        writer, recorded = names[port], self.recorded(port.node)

        def note(message: Message) -> None:
            cause, cause_number = self.cause()
            self._payload = payload = encode(message)
            if recorded:
                origin = (writer, port.sent, port.epoch, names[cause], cause_number)
                add((self.clock.now_ns, "out", node_id, name, *origin, payload))

        return note

    def _payload_note(self, port: Port) -> Reader:
        # Of a port whose node lives elsewhere: that process writes down what was sent, this one what was received.
        encode = encoder(port.message)

        def note(message: Message) -> None:
            self._payload = encode(message)

        return note
