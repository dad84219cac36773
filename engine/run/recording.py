"""Recordings: what every node's handlers received, in order, and what they sent.

A recording is one table. While it is written it is an Arrow IPC stream (cut short, it is readable up to its last
batch); when it is closed it becomes a Parquet file. Rows are in order of events.

| column | meaning |
| --- | --- |
| time_ns | the clock |
| kind | `out`: a node sent it; `in`: an input got it; `call`: a timer or the like; `recovered`: an input spoke again |
| node, name | the node, and its output, input or handler |
| writer, number | id of the message or call: the output (`node.port`, or `node.` for calls) and its count |
| cause, cause_number | id of the message or call whose handling sent it; empty for what came from outside |
| payload | the encoded message, or the encoded arguments of a call |
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

import msgspec

from engine.clock import Clock
from engine.errors import PipelineError, UsageError
from engine.message import Message
from engine.node import Node
from engine.run.host import Host
from engine.run.port import OUTSIDE, Port, Reader
from engine.wire.codec import encoder

BATCH_ROWS = 20_000
FILE = "events.parquet"
LIVE_FILE = "events.arrow"


class Row(NamedTuple):
    """One row of a recording."""

    time_ns: int
    kind: str
    node: str
    name: str
    writer: str
    number: int
    cause: str
    cause_number: int
    payload: bytes


class RecordingFailed(PipelineError):
    """The recording could not be written or read."""


class Recorder:
    """Write rows to `folder`. `close()` turns the stream into a Parquet file."""

    def __init__(self, folder: Path) -> None:
        self._pa = _pyarrow()
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        types = {int: self._pa.int64(), str: self._pa.string(), bytes: self._pa.binary()}
        self._schema = self._pa.schema([(name, types[kind]) for name, kind in get_type_hints(Row).items()])
        self._rows: list[tuple[Any, ...]] = []
        self.add = self._rows.append
        self._stream = self._pa.ipc.new_stream(str(folder / LIVE_FILE), self._schema)

    def flush(self) -> None:
        """Write what is buffered to the stream."""
        if not self._rows:
            return
        columns = [
            self._pa.array(column, field.type)
            for column, field in zip(zip(*self._rows, strict=True), self._schema, strict=True)
        ]
        self._stream.write_batch(self._pa.record_batch(columns, schema=self._schema))
        self._rows.clear()

    def flush_full(self) -> None:
        """Write the buffer to the stream once it is long enough."""
        if len(self._rows) >= BATCH_ROWS:
            self.flush()

    def close(self) -> Path:
        """End the stream, and keep it as a Parquet file."""
        from pyarrow import parquet

        self.flush()
        self._stream.close()
        live, closed = self.folder / LIVE_FILE, self.folder / FILE
        with (
            self._pa.ipc.open_stream(str(live)) as batches,
            parquet.ParquetWriter(str(closed), self._schema, compression="zstd") as out,
        ):
            for batch in batches:
                out.write_batch(batch)
        live.unlink()
        return closed


def read_recording(folder: Path) -> Iterator[Row]:
    """Yield the rows of a recording: of the Parquet file, or of a stream that was never closed."""
    pa = _pyarrow()
    closed, live = folder / FILE, folder / LIVE_FILE
    if closed.exists():
        from pyarrow import parquet

        try:
            for batch in parquet.ParquetFile(str(closed)).iter_batches():
                yield from _rows(batch)
        except (pa.ArrowException, OSError) as error:
            raise RecordingFailed(f"{closed} cannot be read as a recording: {error}") from None
    elif live.exists():
        try:
            with pa.ipc.open_stream(str(live)) as stream:
                for batch in stream:
                    yield from _rows(batch)
        except pa.ArrowInvalid:
            return  # cut short by a crash: all whole batches have been read
    else:
        raise UsageError(
            f"no recording in {folder}: neither {FILE} nor {LIVE_FILE}. Was the run made with --no-record?"
        )


def count_rows(folder: Path) -> dict[str, tuple[int, int]]:
    """Return, for each node, how many events it received and how many messages it sent."""
    counts: dict[str, list[int]] = {}
    for row in read_recording(folder):
        counts.setdefault(row.node, [0, 0])[row.kind == "out"] += 1
    return {node_id: (received, sent) for node_id, (received, sent) in counts.items()}


def _rows(batch: Any) -> Iterator[Row]:
    return map(Row._make, zip(*(column.to_pylist() for column in batch.columns), strict=True))


def _pyarrow() -> Any:
    try:
        import pyarrow as pa
        import pyarrow.ipc
    except ModuleNotFoundError:
        raise UsageError(
            "recordings need pyarrow; install it with `pip install 'asymmetric-lp[record]'`, or run with --no-record"
        ) from None
    return pa


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
            self._names[self.ports[node_id, name]] = f"{node_id}.{name}"
            self.tap((node_id, name), self._out_note(self.ports[node_id, name]))
        return node

    def add_remote(self, node_id: str, name: str, message: type[Message]) -> Port:
        port = super().add_remote(node_id, name, message)
        self._names[port] = f"{node_id}.{name}"
        self.tap((node_id, name), self._payload_note(port))
        return port

    def recorded(self, node_id: str) -> bool:
        """Whether events of this node are written down."""
        return not self.only or node_id in self.only

    def reader(self, node: Node, input: str) -> Reader:
        if not self.recorded(node.id):
            return super().reader(node, input)
        add, handler, node_id, names = self.recorder.add, super().reader(node, input), node.id, self._names

        def read(message: Message) -> None:
            port = self.port
            add((self.clock.now_ns, "in", node_id, input, names[port], port.sent, "", 0, self._payload))
            handler(message)

        return read

    def handle(
        self, node: Node, handler: str, arguments: tuple[Any, ...], cause: Port = OUTSIDE, cause_number: int = 0
    ) -> None:
        if node.id not in self.failed and self.recorded(node.id):
            port = self.called[node.id]
            origin = (self._names[port], port.sent + 1, self._names[cause], cause_number)
            self.recorder.add((self.clock.now_ns, "call", node.id, handler, *origin, encode_arguments(arguments)))
        super().handle(node, handler, arguments, cause, cause_number)

    def recovered(self, node: Node, input: str) -> None:
        if self.recorded(node.id):
            origin = (self._names[self.port], self.port.sent)
            self.recorder.add((self.clock.now_ns, "recovered", node.id, input, *origin, "", 0, b""))
        super().recovered(node, input)

    def deliver(self) -> None:
        super().deliver()
        self.recorder.flush_full()

    def _out_note(self, port: Port) -> Reader:
        # It is the first reader of every port: the payload is encoded once, for it and for the inputs that follow.
        add, encode, node_id, name, names = self.recorder.add, encoder(port.message), port.node, port.name, self._names
        writer, recorded = names[port], self.recorded(port.node)

        def note(message: Message) -> None:
            cause, cause_number = self.cause()
            self._payload = payload = encode(message)
            origin = (writer, port.sent, names[cause], cause_number)
            if recorded:
                add((self.clock.now_ns, "out", node_id, name, *origin, payload))

        return note

    def _payload_note(self, port: Port) -> Reader:
        # Of a port whose node lives elsewhere: that process writes down what was sent, this one what was received.
        encode = encoder(port.message)

        def note(message: Message) -> None:
            self._payload = encode(message)

        return note
