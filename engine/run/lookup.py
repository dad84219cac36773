"""Find rows in a recording of millions: columns as arrays, text as numbers, payloads only where they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from engine.run.segment import PortFacts, RecordingFailed, Segment, facts_of, pyarrow, schema, segments

TEXT = ("kind", "node", "name", "writer", "cause")
NUMBERS = ("time_ns", "number", "epoch", "cause_number")
GROUPS_KEPT = 8
"""Pieces of a file whose payloads stay in memory."""

Array = np.ndarray[Any, Any]


class At(NamedTuple):
    """A row of a recording: its part (see `Records.parts`) and its position there."""

    part: int
    row: int


class _Words:
    """A column of text, as a number for each row."""

    def __init__(self, column: Any) -> None:
        pa = pyarrow()
        coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        coded = coded.unify_dictionaries().combine_chunks()
        if isinstance(coded, pa.ChunkedArray):
            coded = coded.chunk(0) if coded.num_chunks else pa.array([], pa.string()).dictionary_encode()
        self.codes: Array = coded.indices.to_numpy(zero_copy_only=False)
        self.words: list[str] = coded.dictionary.to_pylist()
        self.code = {word: code for code, word in enumerate(self.words)}

    def __getitem__(self, row: int) -> str:
        word: str = self.words[self.codes[row]]
        return word


class Part:
    """One segment of a recording in memory, without its payloads."""

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        table = self._table()
        self.facts: dict[str, PortFacts] = facts_of(table.schema)
        self.size: int = table.num_rows
        self.text = {name: _Words(table.column(name)) for name in TEXT}
        self.number: dict[str, Array] = {name: table.column(name).to_numpy() for name in NUMBERS}
        self._inputs: dict[str, Array] = {}

    def _table(self) -> Any:
        if self.segment.is_stream:
            with suppress(FileNotFoundError):  # it has been closed meanwhile
                return self._live_table()
        return self._closed_table()

    def _closed_table(self) -> Any:
        pa = pyarrow()
        from pyarrow import parquet

        try:
            file = parquet.ParquetFile(str(self.segment.path), read_dictionary=list(TEXT))
            table = file.read(columns=[*TEXT, *NUMBERS])
        except (pa.ArrowException, OSError) as error:
            raise RecordingFailed(f"{self.segment.path} cannot be read as a recording: {error}") from None
        sizes = [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)]
        self._begins: Array = np.cumsum([0, *sizes])
        self._group = lru_cache(GROUPS_KEPT)(
            lambda index: file.read_row_group(index, columns=["payload"]).column("payload").combine_chunks()
        )
        return table

    def _live_table(self) -> Any:
        pa = pyarrow()
        batches = list(self.segment.live_batches())
        table = pa.Table.from_batches(batches) if batches else schema({}).empty_table()
        payloads = table.column("payload")
        self._begins = np.cumsum([0, *map(len, payloads.chunks)])
        self._group = payloads.chunk
        return table

    @cached_property
    def is_in(self) -> Array:
        found: Array = self.text["kind"].codes == self.text["kind"].code.get("in", -1)
        return found

    def payload(self, row: int) -> bytes:
        group = int(np.searchsorted(self._begins, row, "right")) - 1
        data: bytes = self._group(group)[row - int(self._begins[group])].as_py()
        return data

    def find(self, before: int | None = None, **wanted: str | int) -> int | None:
        """Return the newest row, before row `before`, whose columns have these values."""
        found: Array | None = None
        for name in sorted(wanted, key=lambda name: name not in NUMBERS):  # a number leaves fewest rows
            value = wanted[name]
            if isinstance(value, str):
                column, code = self.text[name].codes, self.text[name].code.get(value, -1)
            else:
                column, code = self.number[name], value
            column = column[:before]
            found = np.flatnonzero(column == code) if found is None else found[column[found] == code]
            if not found.size:
                return None
        return None if found is None else int(found[-1])

    def newest_inputs(self, node_id: str, before: int) -> dict[tuple[str, str], int]:
        """Return, for each (input, writer) of a node, the newest row that came in before row `before`."""
        if node_id not in self._inputs:
            mine = self.text["node"].codes == self.text["node"].code.get(node_id, -1)
            self._inputs[node_id] = np.flatnonzero(mine & self.is_in)
        rows = self._inputs[node_id]
        rows = rows[: int(np.searchsorted(rows, before))][::-1]
        names, writers = self.text["name"], self.text["writer"]
        pairs = names.codes[rows].astype(np.int64) * len(writers.words) + writers.codes[rows]
        firsts = rows[np.unique(pairs, return_index=True)[1]]
        return {(names[row], writers[row]): int(row) for row in firsts}

    def mentions(self, text: str) -> Iterator[int]:
        """Yield the rows of sent messages whose payload holds this text as a value; a few may only seem to."""
        from pyarrow import compute

        packed, written = msgspec.msgpack.encode(text), msgspec.json.encode(text)
        is_out = self.text["kind"].codes == self.text["kind"].code.get("out", -1)
        for index in range(len(self._begins) - 1):
            begin, end = int(self._begins[index]), int(self._begins[index + 1])
            if is_out[begin:end].any():
                payloads = self._group(index)
                hits = compute.match_substring(payloads, packed)
                if compute.any(compute.starts_with(payloads, b"[")).as_py():  # some do not fit MessagePack
                    hits = compute.or_(hits, compute.match_substring(payloads, written))
                yield from (begin + np.flatnonzero(hits.to_numpy(zero_copy_only=False) & is_out[begin:end])).tolist()


class Records:
    """A recording: all segments of all processes."""

    def __init__(self, recordings: Path) -> None:
        self.parts = [Part(segment) for segment in segments(recordings)]
        self.facts = {name: facts for part in self.parts for name, facts in part.facts.items()}
        self._of_node: dict[str, list[int]] = {}
        for index, part in enumerate(self.parts):
            for node_id in part.text["node"].words:
                self._of_node.setdefault(node_id, []).append(index)

    @property
    def rows(self) -> int:
        return sum(part.size for part in self.parts)

    def where(self, node_id: str) -> list[int]:
        """Return the parts that hold rows of a node, oldest first."""
        return self._of_node.get(node_id, [])

    def sent(self, writer: str, number: int, epoch: int | None = None) -> At | None:
        """Return the row of a sent message; without `epoch` the newest of this number."""
        wanted: dict[str, str | int] = {"kind": "out", "writer": writer, "number": number}
        return self._newest(writer.rpartition(".")[0], wanted if epoch is None else {**wanted, "epoch": epoch})

    def call(self, writer: str, number: int, epoch: int | None = None) -> At | None:
        """Return the row of a call."""
        wanted: dict[str, str | int] = {"kind": "call", "writer": writer, "number": number}
        return self._newest(writer.rpartition(".")[0], wanted if epoch is None else {**wanted, "epoch": epoch})

    def _newest(self, node_id: str, wanted: dict[str, str | int]) -> At | None:
        for index in reversed(self.where(node_id)):
            if (row := self.parts[index].find(None, **wanted)) is not None:
                return At(index, row)
        return None

    def handled(self, at: At, writer: str, number: int) -> At | None:
        """Return the row by which the node of row `at` got this message or call, the newest before it.

        It may be in an earlier start: a timer outlives its process.
        """
        node_id = self.word(at, "node")
        wanted: dict[str, str | int] = {"node": node_id, "writer": writer, "number": number}
        wanted["kind"] = "call" if writer.endswith(".") else "in"
        for index in reversed([index for index in self.where(node_id) if index <= at.part]):
            before = at.row if index == at.part else None
            if (row := self.parts[index].find(before, **wanted)) is not None:
                return At(index, row)
        return None

    def known(self, at: At) -> dict[tuple[str, str], At]:
        """Return, for each (input, writer) of the node of row `at`, the newest row that it had got before."""
        node_id = self.word(at, "node")
        found: dict[tuple[str, str], At] = {}
        for index in reversed([index for index in self.where(node_id) if index <= at.part]):
            before = at.row if index == at.part else self.parts[index].size
            for key, row in self.parts[index].newest_inputs(node_id, before).items():
                found.setdefault(key, At(index, row))
        return found

    def carrying(self, text: str, name: str = "") -> list[At]:
        """Return the sent messages that have this text as a value, or as the field `name`, in order of time."""
        mentions = [At(index, row) for index, part in enumerate(self.parts) for row in part.mentions(text)]
        found = [at for at in mentions if self._carries(at, text, name)]
        return sorted(found, key=lambda at: (self.value(at, "time_ns"), at))

    def _carries(self, at: At, text: str, name: str) -> bool:
        if name:
            return bool(self.fields(at)[1].get(name) == text)
        return _holds(decoded(self.parts[at.part].payload(at.row)), text)

    def word(self, at: At, column: str) -> str:
        return self.parts[at.part].text[column][at.row]

    def value(self, at: At, column: str) -> int:
        return int(self.parts[at.part].number[column][at.row])

    def fields(self, at: At) -> tuple[PortFacts, dict[str, Any]]:
        """Return the type and the fields of the message of a row."""
        values = decoded(self.parts[at.part].payload(at.row))
        facts = self.facts.get(self.word(at, "writer"), PortFacts("message", ()))
        names = facts.fields or tuple(str(index) for index in range(len(values)))
        return facts, dict(zip(names, values, strict=False))


def decoded(payload: bytes) -> list[Any]:
    """Decode a message without its type: the values of its fields, in order."""
    values = msgspec.json.decode(payload) if payload[:1] == b"[" else msgspec.msgpack.decode(payload)
    return values if isinstance(values, list) else [values]


def _holds(value: Any, text: str) -> bool:
    return any(_holds(item, text) for item in value) if isinstance(value, list) else value == text
