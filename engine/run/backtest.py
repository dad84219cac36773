"""Run a plan in one process under a virtual clock: deterministic, as fast as the histories can be read."""

from __future__ import annotations

import gc
import heapq
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from engine.clock import Clock
from engine.errors import PipelineError, Problem, TopologyError
from engine.message import Message
from engine.run.build import build
from engine.run.host import Host
from engine.run.port import OUTSIDE, Port
from engine.run.recording import Recorder, RecordingHost
from engine.topology.plan import Plan

PROGRESS_ROWS = 2_000


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a backtest has come: rows read, the virtual time, and the share of the histories' span (0 to 1)."""

    rows: int
    now_ns: int
    share: float | None


@dataclass(frozen=True, slots=True)
class Summary:
    """What a backtest did. `wall_s` is the only number in it that depends on the machine."""

    rows: int
    events: int
    first_ns: int
    last_ns: int
    wall_s: float
    sent: dict[str, int]


class HistoryOutOfOrder(PipelineError):
    """A history yielded an earlier time after a later one."""


def backtest(
    plan: Plan,
    out: Path,
    *,
    seed: int = 0,
    record: bool = True,
    only: frozenset[str] = frozenset(),
    progress: Callable[[Progress], None] | None = None,
) -> Summary:
    """Run `plan` to the end of its histories and return a summary; what it writes goes under `out`.

    With `record`, what every node receives (or those in `only`) is written to `out/recordings`. Histories are merged by
    (time, declared order, position). Timers due at the time of a message are made after it. Raises TopologyError when a
    node needs the live world, NodeFailed when a node fails, and HistoryOutOfOrder.
    """
    _refuse_drivers(plan)
    out.mkdir(parents=True, exist_ok=True)
    clock = Clock()
    recorder = Recorder(out / "recordings") if record else None
    host = RecordingHost(clock, recorder, seed, str(out), only) if recorder else Host(clock, seed, str(out))
    build(plan, host)
    started = time.perf_counter()
    order = [node.id for node in plan.nodes]
    with few_collections():
        try:
            rows, first_ns = _run(host, order, progress)
        except PipelineError as error:
            _stop_rest(host, order, error)
            raise
        except Exception as error:
            failure = host.failure(error, *host.culprit(error))
            _stop_rest(host, order, failure)
            raise failure from error
        finally:
            if recorder:
                recorder.close()
    return Summary(
        rows=rows,
        events=sum(port.sent for port in (*host.ports.values(), *host.called.values())),
        first_ns=first_ns,
        last_ns=clock.now_ns,
        wall_s=time.perf_counter() - started,
        sent={f"{port.node}.{port.name}": port.sent for port in host.ports.values()},
    )


def _run(host: Host, order: list[str], progress: Callable[[Progress], None] | None) -> tuple[int, int]:
    clock = host.clock
    sources = [_Source(host, node_id) for node_id in order if host.nodes[node_id].spec.is_history]
    heads = [head for rank, source in enumerate(sources) if (head := source.first(rank)) is not None]
    heapq.heapify(heads)
    if not heads:
        raise PipelineError("no history has any data; a backtest needs at least one message to begin with")
    first_ns = clock.now_ns = heads[0][0]
    span = _span(host, first_ns)
    host.start()
    rows, calls, outbox = 0, host.calls, host.outbox
    while heads:
        now_ns, rank, message = heads[0]
        if calls and calls[0][0] < now_ns:
            host.call_due(now_ns)
        clock.now_ns = now_ns
        source = sources[rank]
        outbox.append((source.ports[type(message)], message, OUTSIDE, 0))  # as `host.inject` does, a call less
        host.deliver()
        rows += 1
        following = next(source.rows, None)
        if following is None:
            heapq.heappop(heads)
            host.close(source.node_id)
        else:
            if following[0] < now_ns:
                raise HistoryOutOfOrder(
                    f"history {source.node_id!r} goes back in time: {following[0]} ns after {now_ns} ns, row {rows + 1}"
                )
            heapq.heapreplace(heads, (following[0], rank, following[1]))
        if progress is not None and rows % PROGRESS_ROWS == 0:
            progress(Progress(rows, now_ns, min(1.0, (now_ns - first_ns) / span) if span else None))
    host.call_due(clock.now_ns + 1)
    for node_id in order:
        host.call(host.nodes[node_id], "stop", ())
        host.close(node_id)
    if progress is not None:
        progress(Progress(rows, clock.now_ns, 1.0))
    return rows, first_ns


class _Source:
    """A history with its outputs by message type."""

    def __init__(self, host: Host, node_id: str) -> None:
        node = host.nodes[node_id]
        self.node_id = node_id
        self.rows: Iterator[tuple[int, Message]] = iter(node.history())  # type: ignore[attr-defined]
        self.ports: dict[type[Message], Port] = {
            port.message: port for port in host.ports.values() if port.node == node_id
        }

    def first(self, rank: int) -> tuple[int, int, Message] | None:
        row = next(self.rows, None)
        return None if row is None else (row[0], rank, row[1])


def _span(host: Host, first_ns: int) -> int:
    ends = [node.history_end_ns() for node in host.nodes.values() if hasattr(node, "history_end_ns")]
    return max(0, max(ends) - first_ns) if ends else 0


def _stop_rest(host: Host, order: list[str], error: Exception) -> None:
    """After `error`, let the nodes that still stand put their work away; what fails then is noted on it."""
    for node_id in order:
        try:
            host.call(host.nodes[node_id], "stop", ())
        except PipelineError as other:
            error.add_note(f"then node {node_id!r} could not be stopped: {other}")


def _refuse_drivers(plan: Plan) -> None:
    problems = [
        Problem(
            code="driver-in-backtest",
            message=f"node {node.id!r} ({node.use}) talks to the live world and cannot run in a backtest",
            place=plan.topology.nodes[node.id].use_origin.place,
            fix="use a history or a simulated node in its place, for instance by an overlay",
        )
        for node in plan.nodes
        if node.cls.spec.is_driver
    ]
    if problems:
        raise TopologyError(problems)


@contextmanager
def few_collections() -> Iterator[None]:
    """Collect cyclic garbage rarely: messages hold no cycles, and a run makes millions of them."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
