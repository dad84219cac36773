"""From when to when a recorded file is replayed."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from nodes._lib.history import BadData, read_lines, time_ns


def bounds_ns(begin: str, end: str) -> tuple[int, int | None]:
    """Return (begin, end) in ns of two texts `YYYY-MM-DD HH:MM:SS` in UTC; an empty one sets no bound.

    Raises ValueError on text of another form, and when nothing lies between the two.
    """
    values: list[int | None] = []
    for name, text in (("begin", begin), ("end", end)):
        try:
            values.append(time_ns(text) if text else None)
        except ValueError:
            raise ValueError(f"{name} is {text!r}; write it as YYYY-MM-DD HH:MM:SS, in UTC") from None
    begin_ns, end_ns = values[0] or 0, values[1]
    if end_ns is not None and end_ns <= begin_ns:
        raise ValueError(f"end {end!r} is not after begin {begin!r}")
    return begin_ns, end_ns


def last_replayed_ns(paths: Sequence[Path | str], column: int, begin: str, end: str, repeat: int) -> int:
    """Return about when a replay ends, from the times of the first and last row of CSV files (`column` from 0).

    Good enough to tell how far a run has come; the pause between two passes is left out.
    """
    first_ns = _row_ns(paths[0], column, last=False)
    last_ns = _row_ns(paths[-1], column, last=True)
    begin_ns, end_ns = bounds_ns(begin, end)
    first_ns = max(first_ns, begin_ns)
    if end_ns is not None:
        last_ns = min(last_ns, end_ns)
    return last_ns + (repeat - 1) * max(0, last_ns - first_ns)


def _row_ns(path: Path | str, column: int, last: bool) -> int:
    lines = islice(read_lines(path), 1, None)  # the header is not a row
    found = deque(lines, maxlen=1) if last else list(islice(lines, 1))
    if not found:
        raise BadData(path, 2, "the file has no row")
    line, text = found[0]
    try:
        return time_ns(text.split(b",")[column].decode())
    except (ValueError, IndexError):
        raise BadData(path, line, f"has no time in column {column + 1}") from None
