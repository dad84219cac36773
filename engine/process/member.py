"""One process of a run as the supervisor sees it, and what can be done about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from engine.process.lifecycle import HUBS, NEXT, State, has_sources, start_order
from engine.process.run import Run
from engine.process.settings import Settings
from engine.topology.model import Restart
from engine.wire.hub_topics import used_hubs

HUBS_RESTART = Restart(max=100)
"""Hubs hold nothing that matters, and it matters that they are there."""


@dataclass(frozen=True, slots=True)
class Start:
    """Fork a process."""

    name: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Kill:
    """Send a signal to a process and its group; with `explain`, have it first write where it is."""

    name: str
    number: int
    explain: bool = False


@dataclass(frozen=True, slots=True)
class Tell:
    """Send a command to a process."""

    name: str
    command: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Go:
    """Let a process that has joined begin."""

    name: str


@dataclass(frozen=True, slots=True)
class Halt:
    """Latch the kill switch and tell everybody."""

    reason: str


@dataclass(frozen=True, slots=True)
class Note:
    """Write a line into the supervisor's log."""

    level: str
    message: str
    process: str | None = None


Action = Start | Kill | Tell | Go | Halt | Note


@dataclass
class Member:
    """One process of the run. `since_s` is when it came into its present stage (born, told to go, told to exit)."""

    name: str
    restart: Restart
    start_s: float
    liveness_s: float
    sources: bool = False
    state: State = State.WAITING
    epoch: int = 0
    pid: int | None = None
    since_s: float = 0.0
    due_s: float | None = None
    connected: bool = False
    joined: bool = False
    going: bool = False
    ready: bool = False
    ended: bool = False
    stopped: bool = False
    exiting: bool = False
    terminated_s: float | None = None
    killed: bool = False
    asked_again: bool = False
    beat_s: float | None = None
    first_ns: int | None = None
    error: str | None = None
    node: str | None = None
    restarts: int = 0
    starts_s: list[float] = field(default_factory=list)

    @property
    def alive(self) -> bool:
        """Whether there is, or is about to be, a process of this name in the system."""
        return self.state in (State.STARTING, State.OK, State.STOPPING)

    def enter(self, state: State) -> None:
        assert state is self.state or state in NEXT[self.state], f"{self.name}: {self.state} -> {state}"
        self.state = state

    def begin(self, now_s: float) -> None:
        """Forget the last life and begin the next."""
        self.enter(State.STARTING)
        self.epoch += 1
        self.pid = self.due_s = self.beat_s = self.terminated_s = None
        self.connected = self.joined = self.going = self.ready = False
        self.ended = self.stopped = self.exiting = self.killed = self.asked_again = False
        self.since_s = now_s


def overdue(member: Member, now_s: float, *, barrier: bool) -> str | None:
    """Return why a process counts as hung, or None. At the `barrier` those that have joined wait for the others."""
    if not member.alive or (member.stopped and member.exiting):
        return None
    if member.ready and member.beat_s is not None:
        if now_s - member.beat_s > member.liveness_s:
            return f"no sign of life for {member.liveness_s:g} s"
    elif not member.joined:
        if not barrier and now_s - member.since_s > member.start_s:
            return f"has not joined within {member.start_s:g} s"
    elif member.going and now_s - member.since_s > member.start_s:
        return f"was not ready within {member.start_s:g} s of go"
    return None


def members_of(run: Run, settings: Settings, epochs: dict[str, int]) -> list[Member]:
    """Return the processes of a run in the order of their start, hubs first."""
    topology = run.plan.topology
    hubs = any(hub.machine == run.machine for hub in used_hubs(topology).values())
    found = [Member(HUBS, HUBS_RESTART, settings.start_s, settings.liveness_s)] if hubs else []
    for name in start_order(run.plan):
        declared = topology.processes.get(name)
        if declared is not None and declared.machine != run.machine:
            continue
        found.append(
            Member(
                name,
                declared.restart if declared else Restart(),
                (declared and declared.start_timeout_s) or settings.start_s,
                (declared and declared.liveness_s) or settings.liveness_s,
                sources=has_sources(run.plan, name),
            )
        )
    for member in found:
        member.epoch = epochs.get(member.name, 0)
    return found
