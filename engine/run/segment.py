"""Recordings as files: what every node's handlers received, in order, and what they sent.

A recording is a table in segments: one for each start (epoch) of each process, `<process>/events.<epoch>.*`; that of a
backtest, which is one process that starts once, is a single `events.*`. Rows are in order of events. A segment that was
closed is a Parquet file, or a complete stream where converting it would have taken too long. Until then it is an Arrow
IPC stream (`.arrow`) and a tail of the newest rows (`.tail`), which are readable at any time: while they are written,
and after a crash, up to what was last flushed.

| column | meaning |
| --- | --- |
| time_ns | the clock |
| kind | see below |
| node, name | the node, and its output, input or handler |
| writer, number, epoch | id of the message or call: the output (`node.port`, or `node.` for calls), its count, and the
  start of its process that the count belongs to |
| cause, cause_number | id of the message or call whose handling sent it; empty for what came from outside |
| payload | the encoded message, or the encoded arguments of a call |

| kind | meaning |
| --- | --- |
| `out` | the node sent it |
| `in` | an input of the node got it |
| `call` | the node was called: a timer or the like |
| `recovered` | an input of the node spoke again |
| `failed` | the handling of this message or call raised; the payload is the type of the error |
| `state` | the segment follows a restart, and this is what the node got back |
| `stopped` | recording ends here, though the process goes on; the payload is the reason |
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_type_hints

import msgspec

from engine.errors import PipelineError, UsageError
from engine.message import Message

CLOSED = ".parquet"
STREAM = ".arrow"
TAIL = ".tail"
END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"
"""How an Arrow IPC stream ends that is complete (Arrow columnar format, "IPC Streaming Format")."""
COUNT_BYTES = 8
LENGTH_BYTES = 4
BYTE_ORDER: Literal["little"] = "little"
PORTS_KEY = b"ports"
_NAME = re.compile(r"events(?:\.(\d+))?\.(?:parquet|arrow)")


class Row(NamedTuple):
    """One row of a recording."""

    time_ns: int
    kind: str
    node: str
    name: str
    writer: str
    number: int
    epoch: int
    cause: str
    cause_number: int
    payload: bytes


class PortFacts(msgspec.Struct, frozen=True):
    """What a recording says of a port, so that it can be read without the code that wrote it."""

    type: str
    fields: tuple[str, ...]
    identity: tuple[str, ...] = ()


_decode_facts = msgspec.json.Decoder(dict[str, PortFacts]).decode


class RecordingFailed(PipelineError):
    """The recording could not be written or read."""


def stem(epoch: int | None) -> str:
    """Return how the files of a segment are called, without their ending."""
    return "events" if epoch is None else f"events.{epoch}"


def schema(messages: dict[str, type[Message]]) -> Any:
    """Return the table's schema; `messages` are the types of the ports in it."""
    pa = pyarrow()
    types = {int: pa.int64(), str: pa.string(), bytes: pa.binary()}
    facts = {
        name: PortFacts(kind.__name__, kind.__struct_fields__, kind.identity) for name, kind in sorted(messages.items())
    }
    columns = [(name, types[kind]) for name, kind in get_type_hints(Row).items()]
    return pa.schema(columns, metadata={PORTS_KEY: msgspec.json.encode(facts)})


def facts_of(columns: Any) -> dict[str, PortFacts]:
    """Return what a table's schema says of the ports in it."""
    return _decode_facts((columns.metadata or {}).get(PORTS_KEY, b"{}"))


def as_batch(rows: list[Any], columns: Any) -> Any:
    """Return rows as one Arrow batch."""
    pa = pyarrow()
    arrays = [
        pa.array(values, field.type)
        for values, field in zip(zip(*rows, strict=True) if rows else [()] * len(columns), columns, strict=True)
    ]
    return pa.record_batch(arrays, schema=columns)


@dataclass(frozen=True, slots=True)
class Segment:
    """The recording of one start of one process. `process` is empty and `epoch` None where there is only one."""

    process: str
    epoch: int | None
    folder: Path

    @property
    def path(self) -> Path:
        """The file that holds it, or most of it."""
        closed = self.folder / (stem(self.epoch) + CLOSED)
        return closed if closed.exists() else self.folder / (stem(self.epoch) + STREAM)

    @property
    def is_stream(self) -> bool:
        """Whether it is a stream, closed or not, and no Parquet file."""
        return self.path.suffix == STREAM

    @property
    def closed(self) -> bool:
        """Whether the process closed it in order; otherwise it was cut short, or is still being written."""
        path = self.path
        if path.suffix == CLOSED:
            return True
        try:
            with path.open("rb") as file:
                file.seek(-min(len(END_OF_STREAM), path.stat().st_size), os.SEEK_END)
                return file.read() == END_OF_STREAM
        except FileNotFoundError:
            return self.path.suffix == CLOSED  # it has been closed meanwhile

    def __str__(self) -> str:
        if self.epoch is None:
            return self.path.name
        return f"{self.process}, start {self.epoch}"

    def ports(self) -> dict[str, PortFacts]:
        """Return what it says of the ports in it."""
        first = next(self.batches(), None)
        return {} if first is None else facts_of(first.schema)

    def rows(self) -> Iterator[Row]:
        """Yield its rows."""
        for batch in self.batches():
            yield from map(Row._make, zip(*(column.to_pylist() for column in batch.columns), strict=True))

    def batches(self) -> Iterator[Any]:
        """Yield its rows as Arrow batches; raise RecordingFailed when a closed file is damaged."""
        pa = pyarrow()
        if self.is_stream:
            with suppress(FileNotFoundError):  # before the first batch: it has been closed meanwhile
                yield from self.live_batches()
                return
        from pyarrow import parquet

        try:
            with parquet.ParquetFile(str(self.path)) as file:
                yield from file.iter_batches()
        except (pa.ArrowException, OSError) as error:
            raise RecordingFailed(f"{self.path} cannot be read as a recording: {error}") from None

    def live_batches(self) -> Iterator[Any]:
        """Yield what has been written so far of a segment that is not closed.

        Raises FileNotFoundError, before anything else, when it has been closed since.
        """
        # The tail is read first: rows that move from it to the stream meanwhile are then in both, and never in neither.
        begin, rows = self._tail()
        count = 0
        columns = None
        for batch in _stream_batches(self.folder / (stem(self.epoch) + STREAM)):
            count += batch.num_rows
            columns = batch.schema
            yield batch
        # A stream that ends before the tail begins has lost rows, as when the machine died: what follows a gap is left.
        if count >= begin and (rest := rows[count - begin :]):
            yield as_batch(rest, columns or schema({}))

    def _tail(self) -> tuple[int, list[Row]]:
        """Return how many rows came before the tail, and its rows; the last flush may be incomplete."""
        try:
            data = (self.folder / (stem(self.epoch) + TAIL)).read_bytes()
        except FileNotFoundError:
            return 0, []
        rows: list[Row] = []
        begin = int.from_bytes(data[:COUNT_BYTES], BYTE_ORDER)
        at = COUNT_BYTES
        while at + LENGTH_BYTES <= len(data):
            end = at + LENGTH_BYTES + int.from_bytes(data[at : at + LENGTH_BYTES], BYTE_ORDER)
            if end > len(data):
                break
            rows += _decode_rows(data[at + LENGTH_BYTES : end])
            at = end
        return begin, rows


_decode_rows = msgspec.msgpack.Decoder(list[Row]).decode


def _stream_batches(path: Path) -> Iterator[Any]:
    """Yield the whole batches of a stream that may have been cut short; first an empty one, which has the columns."""
    pa = pyarrow()
    if path.stat().st_size == 0:
        return
    with pa.memory_map(str(path)) as file:
        try:
            with pa.ipc.open_stream(file) as stream:
                yield as_batch([], stream.schema)
                yield from stream
        except (pa.ArrowInvalid, OSError):
            return  # cut short by a crash, or being written: all whole batches have been read


def segments(recordings: Path) -> list[Segment]:
    """Return the segments of a recording, by process and start; raise UsageError when there are none."""
    found = []
    for folder in [recordings, *(item for item in sorted(_folders(recordings)))]:
        process = "" if folder == recordings else folder.name
        names = {match[1] for path in folder.glob("events*") if (match := _NAME.fullmatch(path.name))}
        epochs = [None if number is None else int(number) for number in names]
        found += [Segment(process, epoch, folder) for epoch in sorted(epochs, key=lambda epoch: epoch or 0)]
    if not found:
        raise UsageError(
            f"no recording in {recordings}: no events{CLOSED} and no events{STREAM}. Was the run made with --no-record?"
        )
    return found


def _folders(parent: Path) -> list[Path]:
    return [item for item in parent.iterdir() if item.is_dir()] if parent.is_dir() else []


def read_recording(recordings: Path) -> Iterator[Row]:
    """Yield the rows of all segments of a recording, one segment after the other."""
    for segment in segments(recordings):
        yield from segment.rows()


def count_rows(recordings: Path) -> dict[str, tuple[int, int]]:
    """Return, for each node, how many events it received and how many messages it sent."""
    counts: dict[str, list[int]] = {}
    for row in read_recording(recordings):
        if row.kind in ("in", "call", "recovered", "out"):
            counts.setdefault(row.node, [0, 0])[row.kind == "out"] += 1
    return {node_id: (received, sent) for node_id, (received, sent) in counts.items()}


def pyarrow() -> Any:
    """Return pyarrow; raise UsageError where it is not installed."""
    try:
        import pyarrow as pa
        import pyarrow.ipc
    except ModuleNotFoundError:
        raise UsageError(
            "recordings need pyarrow; install it with `pip install 'asymmetric-lp[record]'`, or run with --no-record"
        ) from None
    return pa
