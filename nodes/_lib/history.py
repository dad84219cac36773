"""Rows of recorded data, read as a stream and refused with file and line when they cannot be true.

A reader is a generator: it holds one row, never the file. Files may be plain or gzip (`.gz`). Times in files are UTC
and become nanoseconds since 1970-01-01. What a reader does with a row that it cannot accept is the caller's choice:
`refuse` raises, an instance of `Skip` counts it and goes on.
"""

from __future__ import annotations

import gzip
import math
import re
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from engine import NS_PER_S, PipelineError
from nodes.messages import Bar


class BadData(PipelineError):
    """A recorded file holds something that cannot be true.

    `path` and `line` say where (line 1 is the header), `what` says what is wrong there.
    """

    def __init__(self, path: Path | str, line: int, what: str) -> None:
        self.path = Path(path)
        self.line = line
        self.what = what
        super().__init__(f"{path}:{line}: {what}")


class Record(msgspec.Struct, frozen=True, gc=False, array_like=True, forbid_unknown_fields=True):
    """Base of a `Table`'s rows."""


Row = TypeVar("Row", bound=Record)

OnBad = Callable[[BadData], None]
"""What to do with a row that was not accepted. Returning means: leave it out and go on."""


def refuse(problem: BadData) -> None:
    """Raise: a run on data that is wrong in one place is not worth its result."""
    raise problem


class Skip:
    """Leave bad rows out, count them, and keep the first as an example."""

    def __init__(self) -> None:
        self.count = 0
        self.first: BadData | None = None

    def __call__(self, problem: BadData) -> None:
        self.count += 1
        self.first = self.first or problem


# --- text to numbers ----------------------------------------------------------------------------------------------

_DAYS_NS: dict[str, int] = {}
_TIMES_NS: dict[str, int] = {}
# What has been parsed before: a file repeats its few dates, and a day has 86,400 times of day.


def time_ns(text: str) -> int:
    """Return ns since 1970-01-01 of `YYYY-MM-DD HH:MM:SS` in UTC. Raises ValueError on any other form."""
    try:
        return _DAYS_NS[text[:10]] + _TIMES_NS[text[10:]]
    except KeyError:
        if len(text) != 19 or text[10] not in " T":
            raise ValueError(f"{text!r} is not a time of the form YYYY-MM-DD HH:MM:SS") from None
        day = datetime.fromisoformat(f"{text[:10]}T00:00:00+00:00")
        time = datetime.fromisoformat(f"{text[:10]}T{text[11:]}+00:00")
        _DAYS_NS[text[:10]] = int(day.timestamp()) * NS_PER_S
        _TIMES_NS[text[10:]] = int((time - day).total_seconds()) * NS_PER_S
        return time_ns(text)


def time_text(at_ns: int) -> str:
    """Return `YYYY-MM-DD HH:MM:SS` in UTC, for messages."""
    return datetime.fromtimestamp(at_ns // NS_PER_S, UTC).strftime("%Y-%m-%d %H:%M:%S")


# --- files to rows ------------------------------------------------------------------------------------------------

_BLOCK_BYTES = 1 << 16


def read_all(path: Path | str) -> bytes:
    """Return a whole plain or gzip file, for the small ones."""
    return b"\n".join(line for _, line in read_lines(path))


def read_lines(path: Path | str) -> Iterator[tuple[int, bytes]]:
    """Yield (line number from 1, line without its end) of a plain or gzip file.

    Raises BadData where there is no such file, and on one that is damaged or cut short.
    """
    number, tail = 0, b""
    try:
        with gzip.open(path) if str(path).endswith(".gz") else open(path, "rb") as file:
            while block := file.read(_BLOCK_BYTES):
                lines = (tail + block).replace(b"\r\n", b"\n").split(b"\n")
                tail = lines.pop()
                for number, line in enumerate(lines, number + 1):  # noqa: B020 - counts on from the block before
                    yield number, line
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BadData(path, number + 1, f"the compressed file is damaged or cut short: {error}") from error
    except OSError as error:
        raise BadData(path, number + 1, f"cannot be read: {error.strerror or error}") from error
    if tail:
        yield number + 1, tail


class Table(Generic[Row]):
    """A CSV file whose columns are the fields of a struct, in order.

    The struct is `array_like` with `forbid_unknown_fields`; its fields are `str`, `int` (of any size) or `float`. A
    line becomes a JSON array of strings, which msgspec turns into the struct in one step: several times faster than
    splitting and converting, and stricter than `int` and `float` about what a number looks like.
    """

    def __init__(self, row: type[Row], aliases: dict[str, str] | None = None) -> None:
        self.columns = tuple(field.encode_name for field in msgspec.structs.fields(row))
        self._aliases = aliases or {}
        self._decode = msgspec.json.Decoder(row, strict=False).decode

    def read(self, path: Path | str, on_bad: OnBad = refuse) -> Iterator[tuple[int, Row]]:
        """Yield (line number, row). A row that does not fit goes to `on_bad`; another header raises BadData."""
        lines = read_lines(path)
        _, header = next(lines, (1, b""))
        names = [self._aliases.get(name, name) for name in header.decode("utf-8", "replace").split(",")]
        if names != list(self.columns):
            raise BadData(path, 1, f"the columns are {','.join(names)!r}; expected {','.join(self.columns)!r}")
        decode = self._decode
        for line, text in lines:
            try:
                row = decode(b'["' + text.replace(b",", b'","') + b'"]')
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                on_bad(BadData(path, line, self._explain(text.decode("utf-8", "replace").split(","), str(error))))
                continue
            yield line, row

    def _explain(self, fields: list[str], error: str) -> str:
        if len(fields) != len(self.columns):
            return f"the row has {len(fields)} fields; expected {len(self.columns)}"
        found = re.search(r"`(int|float)`.*\$\[(\d+)\]", error)
        if not found:
            return f"the row cannot be read: {error}"
        kind, index = found[1], int(found[2])
        return f"{self.columns[index]} is {fields[index]!r}, not a {'whole ' if kind == 'int' else ''}number"


# --- bars ---------------------------------------------------------------------------------------------------------


class _BarRow(Record, frozen=True):
    datetime: str
    open: float
    high: float
    low: float
    close: float
    volume: float


_BARS = Table(_BarRow, aliases={"timestamp": "datetime"})


def read_bars(
    path: Path | str,
    instrument: str,
    *,
    start_ns: int = 0,
    end_ns: int | None = None,
    bar_s: int = 60,
    on_bad: OnBad = refuse,
) -> Iterator[Bar]:
    """Yield the bars that lie wholly between `start_ns` and `end_ns`, in order.

    The file's time is the *start* of the bar. A bar is known only when it is over, so that `event_time_ns` is its end;
    whoever reads it at its start looks ahead. A bar that the file does not have is passed over and none is made up.
    Bad rows (a field that is no finite number, prices not positive, high or low not around the others, a start that
    does not follow the bar before) go to `on_bad`.
    """
    length_ns = bar_s * NS_PER_S
    previous_end_ns = 0
    for line, row in _BARS.read(path, on_bad):
        try:
            at_ns = time_ns(row.datetime)
        except ValueError as error:
            on_bad(BadData(path, line, str(error)))
            continue
        if at_ns < previous_end_ns:
            before = time_text(previous_end_ns)
            on_bad(BadData(path, line, f"{row.datetime} repeats or goes back: the bar before ends at {before}"))
            continue
        open_, high, low, close, volume = row.open, row.high, row.low, row.close, row.volume
        # Written so that a NaN fails it.
        if not (0.0 < low <= open_ <= high < math.inf and low <= close <= high and 0.0 <= volume < math.inf):
            on_bad(BadData(path, line, _what_is_wrong(open_, high, low, close, volume)))
            continue
        previous_end_ns = at_ns + length_ns
        if at_ns < start_ns:
            continue
        if end_ns is not None and previous_end_ns > end_ns:
            return
        yield Bar(instrument, previous_end_ns, at_ns, open_, high, low, close, volume)


def _what_is_wrong(open_: float, high: float, low: float, close: float, volume: float) -> str:
    if not all(map(math.isfinite, (open_, high, low, close, volume))):
        return "a field is not finite"
    if low <= 0.0:
        return f"low is {low!r}; a price is positive"
    if volume < 0.0:
        return f"volume is {volume!r}; a volume is not negative"
    if high < low:
        return f"high {high!r} is below low {low!r}"
    if high < max(open_, close):
        return f"high {high!r} is below open {open_!r} or close {close!r}"
    return f"low {low!r} is above open {open_!r} or close {close!r}"


# --- series -------------------------------------------------------------------------------------------------------


class Point(msgspec.Struct, frozen=True, gc=False):
    """One value of a series, known from `event_time_ns` on."""

    event_time_ns: int
    value: float


def read_series(path: Path | str, column: str, on_bad: OnBad = refuse) -> Iterator[Point]:
    """Yield one column of a file whose first column is a time, such as a gas price or an oracle's price.

    Bad rows (no finite number, a time that is not after the one before) go to `on_bad`. Raises BadData when the file
    has no such column.
    """
    lines = read_lines(path)
    _, header = next(lines, (1, b""))
    names = header.decode("utf-8", "replace").split(",")
    if column not in names[1:]:
        raise BadData(path, 1, f"there is no column {column!r}; there are {', '.join(names[1:]) or 'none'}")
    index = names.index(column, 1)
    previous_ns = -1
    for line, text in lines:
        fields = text.decode("utf-8", "replace").split(",")
        try:
            point = Point(time_ns(fields[0]), float(fields[index]))
        except (ValueError, IndexError):
            on_bad(BadData(path, line, f"the row is {text!r}; expected a time and {len(names) - 1} numbers"))
            continue
        if not math.isfinite(point.value):
            on_bad(BadData(path, line, f"{column} is {fields[index]}, not a finite number"))
        elif point.event_time_ns <= previous_ns:
            on_bad(BadData(path, line, f"{fields[0]} is not after {time_text(previous_ns)}, the time before"))
        else:
            previous_ns = point.event_time_ns
            yield point
