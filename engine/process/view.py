"""What a run's status says to people: tables of processes, nodes and wires, changes of state, and one line for all.

Pure: it takes statuses as the supervisor gives them and returns text. What a status leaves out is shown as "-", never
as a zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

Status = dict[str, Any]
Style = Literal["", "good", "warn", "bad", "dim"]

LOST = ("dropped", "expired", "lost")
"""Counters of a wire that mean that a reader has not seen something which was not superseded."""
STATE_STYLES: dict[str, Style] = {
    "ok": "good",
    "waiting": "dim",
    "starting": "warn",
    "recoverable": "warn",
    "stopping": "warn",
    "permanent": "bad",
    "fatal": "bad",
    "stopped": "dim",
}
OLD_S = 1.0
"""A reader that lags behind by more than this, and a beat that is later, are worth a colour."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table."""

    text: str
    style: Style = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table to be shown: `columns` are titles, those of `numbers` are right-aligned.

    `spare` are the columns that a screen which is too narrow can do without, the most dispensable first.
    """

    title: str
    columns: tuple[str, ...]
    numbers: frozenset[str]
    rows: tuple[tuple[Cell, ...], ...]
    spare: tuple[str, ...] = ()

    def within(self, width: int, first: int = 24, gap: int = 3) -> Table:
        """Return the table without so many of its spare columns that `width` is enough for all numbers.

        Of the first column at least `first` characters are to be seen, of other texts nothing.
        """
        needed = {
            column: max(len(column), *(len(row[index].text) for row in self.rows), 0) + gap
            for index, column in enumerate(self.columns)
            if column in self.numbers
        }
        needed[self.columns[0]] = first
        dropped: set[str] = set()
        for column in self.spare:
            if sum(size for name, size in needed.items() if name not in dropped) <= width:
                break
            dropped.add(column)
        kept = [index for index, column in enumerate(self.columns) if column not in dropped]
        rows = tuple(tuple(row[index] for index in kept) for row in self.rows)
        return replace(self, columns=tuple(self.columns[index] for index in kept), rows=rows)


class Rates:
    """Turn counters into rates from one status to the next."""

    def __init__(self) -> None:
        self._before: tuple[float, Status] | None = None
        self._now: tuple[float, Status] | None = None

    def update(self, status: Status, now_s: float) -> None:
        """Take note of a status and the time it was read, in s of any clock that goes forward."""
        self._before, self._now = self._now, (now_s, status)

    def of(self, *path: str) -> float | None:
        """Return how fast the number at `path` grows, per s; None before there are two, or after a restart."""
        if self._before is None or self._now is None:
            return None
        (earlier_s, old), (later_s, new) = self._before, self._now
        first, last = _at(old, path), _at(new, path)
        if first is None or last is None or later_s <= earlier_s or last < first:
            return None
        return float((last - first) / (later_s - earlier_s))


def _at(status: Any, path: Iterable[str]) -> Any:
    for name in path:
        if not isinstance(status, dict) or name not in status:
            return None
        status = status[name]
    return status


# --- tables -----------------------------------------------------------------------------------------------------------


def processes(status: Status) -> Table:
    """Return the processes, those in trouble first, then by their share of a core."""
    rows = []
    for name, each in sorted(status["processes"].items(), key=lambda item: _rank(item[1])):
        state = each["state"]
        beat_age_s = each.get("beat_age_s")
        rows.append(
            (
                Cell(name),
                Cell(f"{state}, paused", "warn") if each.get("paused") else Cell(state, STATE_STYLES.get(state, "")),
                Cell("-" if each.get("pid") is None else str(each["pid"])),
                Cell(_whole(each.get("restarts")), "warn" if each.get("restarts") else ""),
                Cell(span(each.get("started_s"))),
                Cell(_percent(each.get("cpu"))),
                Cell(size(each.get("rss_bytes"))),
                Cell(_whole(each.get("fds"))),
                Cell(span(beat_age_s), "warn" if (beat_age_s or 0) > OLD_S and state == "ok" else ""),
                Cell(each.get("error") or ", ".join(each.get("nodes", ())), "bad" if each.get("error") else "dim"),
            )
        )
    columns = ("process", "state", "pid", "restarts", "up", "cpu", "memory", "files", "beat", "nodes or error")
    return Table("processes", columns, frozenset(columns[2:9]), tuple(rows), ("files", "beat", "pid"))


def _rank(process: dict[str, Any]) -> tuple[int, float]:
    trouble = ("fatal", "permanent", "recoverable", "starting", "stopping", "waiting")
    state = process["state"]
    return (trouble.index(state) if state in trouble else len(trouble), -(process.get("cpu") or 0.0))


def nodes(status: Status, rates: Rates) -> Table:
    """Return the nodes, the busiest first, with what each shows of itself."""
    rows = []
    busiest = sorted(status["nodes"].items(), key=lambda item: -(rates.of("nodes", item[0], "events") or 0.0))
    for id, each in busiest:
        gauges = ", ".join(f"{name} {value:.6g}" for name, value in each.get("metrics", {}).items())
        failed = each.get("failed", False)
        rows.append(
            (
                Cell(id, "bad" if failed else ""),
                Cell(each.get("process", "-")),
                Cell(per_s(rates.of("nodes", id, "events"))),
                Cell(per_s(rates.of("nodes", id, "sent"))),
                Cell(_whole(each.get("events"))),
                Cell(_whole(each.get("sent"))),
                Cell("failed" if failed else gauges, "bad" if failed else "dim"),
            )
        )
    columns = ("node", "process", "in/s", "out/s", "in", "out", "shows")
    return Table("nodes", columns, frozenset(columns[2:6]), tuple(rows), ("in", "out", "process"))


def wires(status: Status, rates: Rates) -> Table:
    """Return the wires between processes, those that lose something first, then the busiest."""
    rows = []
    for name, each in sorted(status["wires"].items(), key=lambda item: (-_lost(item[1]), -_rate(item[0], rates))):
        latency = _latency(each)
        age_s = each.get("age_s")
        lost = _lost(each)
        rows.append(
            (
                Cell(name),
                Cell(per_s(rates.of("wires", name, "delivered"))),
                Cell(short_time(latency.get("p50"))),
                Cell(short_time(latency.get("p99"))),
                Cell(short_time(age_s), "warn" if (age_s or 0) > OLD_S and each.get("backlog") else ""),
                Cell(_whole(each.get("backlog")), "warn" if each.get("backlog") else ""),
                Cell(_whole(each.get("superseded"))),
                Cell(_whole(_sum(each, ("dropped", "expired"))), "warn" if _sum(each, ("dropped", "expired")) else ""),
                Cell(_whole(each.get("lost")), "bad" if each.get("lost") else ""),
                Cell(_whole(each.get("repeated")), "warn" if lost and each.get("repeated") else ""),
            )
        )
    columns = ("wire", "msgs/s", "p50", "p99", "age", "backlog", "superseded", "dropped", "lost", "repeated")
    spare = ("repeated", "superseded", "backlog", "p50")
    return Table("wires between processes", columns, frozenset(columns[1:]), tuple(rows), spare)


def _latency(wire: dict[str, Any]) -> dict[str, Any]:
    found = wire.get("latency_s") or {}
    return found if found.get("count") else {}


def _lost(wire: dict[str, Any]) -> int:
    return _sum(wire, LOST) or 0


def _rate(wire: str, rates: Rates) -> float:
    return rates.of("wires", wire, "delivered") or 0.0


def _sum(record: dict[str, Any], names: Iterable[str]) -> int | None:
    found = [record[name] for name in names if name in record]
    return sum(found) if found else None


# --- one line, and changes --------------------------------------------------------------------------------------------


def headline(status: Status, rates: Rates) -> str:
    """Return one line that says how the whole run does."""
    found = status["processes"].values()
    well = sum(process["state"] == "ok" for process in found)
    events = [rate for id in status["nodes"] if (rate := rates.of("nodes", id, "events")) is not None]
    slowest = max(
        ((latency["p99"], name) for name, wire in status["wires"].items() if (latency := _latency(wire))),
        default=None,
    )
    parts = [f"{well}/{len(found)} processes ok"]
    if events:
        parts.append(f"{per_s(sum(events))} events/s")
    parts.append(f"{sum(map(_lost, status['wires'].values())):,} dropped or lost")
    memory = [process["rss_bytes"] for process in found if process.get("rss_bytes")]
    if memory:
        parts.append(size(sum(memory)))
    if slowest is not None:
        parts.append(f"slowest wire {short_time(slowest[0])} (p99, {slowest[1]})")
    if halted := status["run"].get("halted"):
        parts.insert(0, f"HALTED: {halted}")
    return ", ".join(parts)


class Changes:
    """Tell what has changed from one status to the next, a line for each change."""

    def __init__(self) -> None:
        self._states: dict[str, tuple[str, Any]] = {}
        self._halted: str | None = None
        self._lost: dict[str, int] = {}
        self._unrecorded: dict[str, str | None] = {}

    def update(self, status: Status) -> Iterator[tuple[str, Style]]:
        """Yield (line, style) for each change since the last call."""
        for name, process in status["processes"].items():
            now = (process["state"], process.get("epoch"))
            if self._states.get(name) != now:
                self._states[name] = now
                if process["state"] == "waiting":  # nothing has happened to it
                    continue
                yield _state_line(name, process), STATE_STYLES.get(process["state"], "")
            unrecorded = (process.get("recording") or {}).get("stopped")
            if unrecorded and unrecorded != self._unrecorded.get(name):
                yield f"{name}: no longer recorded: {unrecorded}", "bad"
            self._unrecorded[name] = unrecorded
        halted = status["run"].get("halted")
        if halted != self._halted:
            self._halted = halted
            yield (f"halted: {halted}", "bad") if halted else ("rearmed", "good")
        for name, wire in status["wires"].items():
            lost = wire.get("lost", 0)
            if lost > self._lost.get(name, 0):
                yield f"{name}: {lost - self._lost.get(name, 0):,} messages were lost ({lost:,} in all)", "bad"
            self._lost[name] = lost


def _state_line(name: str, process: dict[str, Any]) -> str:
    facts = [f"pid {process['pid']}"] if process.get("pid") else []
    if (process.get("epoch") or 1) > 1:
        facts.append(f"start {process['epoch']}")
    if process.get("error"):
        facts.append(str(process["error"]))
    return f"{name}: {process['state']}" + (f" ({', '.join(facts)})" if facts else "")


# --- numbers ----------------------------------------------------------------------------------------------------------


def per_s(rate: float | None) -> str:
    """Return a rate with as many digits as mean something."""
    if rate is None:
        return "-"
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"


def short_time(seconds: float | None) -> str:
    """Return a latency or an age in the unit that suits it."""
    if seconds is None:
        return "-"
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else span(seconds)


def span(seconds: float | None) -> str:
    """Return a length of time as people say it: 4.2 s, 3m12s, 2h05m, 3d04h."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    for unit_s, unit, below_s, below in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= unit_s:
            return f"{whole // unit_s}{unit}{whole % unit_s // below_s:02}{below}"
    raise AssertionError(seconds)


def size(count: int | None) -> str:
    """Return a number of bytes in the unit that suits it."""
    if count is None:
        return "-"
    for unit, scale in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}" if count < 10 * scale else f"{count / scale:.0f} {unit}"
    return f"{count} B"


def _whole(number: Any) -> str:
    return "-" if number is None else str(number) if not isinstance(number, int) else f"{number:,}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"
