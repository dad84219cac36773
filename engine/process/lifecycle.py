"""The states of a process, and what its end means: pure functions over a clock that the caller reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from random import Random
from signal import Signals

import networkx as nx

from engine.process.settings import Settings
from engine.topology.model import Restart
from engine.topology.plan import Plan
from engine.wire.table import placement

HUBS = "hubs"


class State(StrEnum):
    """Where a process is in its life."""

    WAITING = "waiting"
    """It has not been started yet in this run."""
    STARTING = "starting"
    OK = "ok"
    RECOVERABLE = "recoverable"
    """It has failed, and will be started again when its back-off is over."""
    PERMANENT = "permanent"
    """It has been given up; the run goes on without it."""
    FATAL = "fatal"
    """It has been given up, and the run is halted or stopped for it."""
    STOPPING = "stopping"
    STOPPED = "stopped"


NEXT: dict[State, frozenset[State]] = {
    State.WAITING: frozenset({State.STARTING, State.STOPPED}),
    State.STARTING: frozenset(State) - {State.STARTING, State.WAITING},
    State.OK: frozenset(State) - {State.OK, State.WAITING},
    State.RECOVERABLE: frozenset({State.STARTING, State.STOPPED}),
    State.PERMANENT: frozenset({State.STARTING, State.STOPPED}),
    State.FATAL: frozenset({State.STARTING}),
    State.STOPPING: frozenset({State.STARTING, State.STOPPED, State.FATAL}),
    State.STOPPED: frozenset({State.STARTING}),
}
"""From each state, those that may follow. A fatal process stays so to the end of the run, unless a person starts it."""


def may_restart(restart: Restart, starts_s: Sequence[float], now_s: float) -> bool:
    """Tell whether a process that has ended without being asked to is started again.

    `starts_s` are the times of its restarts. A process has no reason to end by itself, so every such end is a failure,
    whatever its exit code.
    """
    return restart.policy != "never" and len(recent(starts_s, now_s, restart.window_s)) < restart.max


def recent(starts_s: Iterable[float], now_s: float, window_s: float) -> list[float]:
    """Return those of the times that lie within the last `window_s`."""
    return [start for start in starts_s if now_s - start < window_s]


def in_a_row(starts_s: Sequence[float], now_s: float, steady_s: float) -> int:
    """Return how many of the last restarts did not live for `steady_s`: a process that did begins anew."""
    count, ended_s = 0, now_s
    for start_s in reversed(starts_s):
        if ended_s - start_s >= steady_s:
            break
        count, ended_s = count + 1, start_s
    return count


def backoff_s(failures: int, settings: Settings, random: Random) -> float:
    """Return how long to wait after so many restarts in a row: twice as long each time, with jitter."""
    pause = min(settings.longest_backoff_s, settings.first_backoff_s * 2.0 ** min(failures, 64))
    return pause * (1 + settings.jitter * (2 * random.random() - 1))


def how_it_ended(status: int) -> str:
    """Describe the end of a process; a negative status is the signal that killed it."""
    if status >= 0:
        return f"exit code {status}"
    try:
        return f"killed by {Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


def start_order(plan: Plan) -> list[str]:
    """Return the processes of a plan, readers before writers; those in a loop keep the order of the topology."""
    placed = placement(plan.topology)
    home = {node: name for name, nodes in placed.items() for node in nodes}
    place = {name: index for index, name in enumerate(placed)}
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(placed)
    for wire in plan.wires:
        writer, reader = home[wire.source[0]], home[wire.target[0]]
        if not wire.feedback and writer != reader:
            graph.add_edge(reader, writer)
    loops = nx.condensation(graph)
    members = {loop: sorted(data["members"], key=place.__getitem__) for loop, data in loops.nodes(data=True)}
    ordered = nx.lexicographical_topological_sort(loops, key=lambda loop: place[members[loop][0]])
    return [name for loop in ordered for name in members[loop]]


def has_sources(plan: Plan, process: str) -> bool:
    """Tell whether a process hosts a node that brings messages into the run by itself, and may come to its end."""
    nodes = set(placement(plan.topology)[process])
    return any(node.cls.spec.is_driver or node.cls.spec.is_history for node in plan.nodes if node.id in nodes)
