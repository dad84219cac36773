"""The processes of a run as a whole: who is to be started, told or killed next. No I/O: events in, actions out.

Every method takes the time and appends to `actions`; the supervisor carries them out. Times are monotonic seconds.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable
from enum import StrEnum
from random import Random
from typing import Any

from engine.process.lifecycle import HUBS, State, backoff_s, how_it_ended, in_a_row, may_restart, recent
from engine.process.member import Action, Go, Halt, Kill, Member, Note, Start, Tell, overdue
from engine.process.settings import Settings

SLEPT_S = 1.0
"""A tick that comes so much after the one before finds out about ourselves, not about the processes."""


class Phase(StrEnum):
    """Where the run is: everybody joins, it runs, its nodes are stopped, its processes end, it is over."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    EXITING = "exiting"
    OVER = "stopped"


def _gone(member: Member, *, final: bool) -> dict[str, Any]:
    return {"do": "gone", "process": member.name, "final": final, "epoch": member.epoch}


class Fleet:
    """All processes of a run. `members` are in the order in which they are started."""

    def __init__(self, members: Iterable[Member], settings: Settings, random: Random) -> None:
        self.members = {member.name: member for member in members}
        self.settings = settings
        self.random = random
        self.phase = Phase.STARTING
        self.failed: str | None = None
        self.actions: list[Action] = []
        self.deadline_s = 0.0
        self.hurried = False
        self._ticked_s = 0.0

    def take(self) -> list[Action]:
        """Return what is to be done, and forget it."""
        actions, self.actions = self.actions, []
        return actions

    # --- start ------------------------------------------------------------------------------------------------

    def begin(self, now_s: float) -> None:
        """Start the hubs if there are any, else everybody."""
        self._ticked_s = now_s
        self.deadline_s = now_s + max(member.start_s for member in self.members.values())
        if HUBS in self.members:
            self._start(self.members[HUBS], now_s)
        else:
            self._start_workers(now_s)

    def _start_workers(self, now_s: float) -> None:
        for member in self.members.values():
            if member.name != HUBS and member.state is State.WAITING:
                self._start(member, now_s)

    def _start(self, member: Member, now_s: float) -> None:
        member.begin(now_s)
        self.actions.append(Start(member.name, member.epoch))

    def born(self, name: str, pid: int) -> None:
        """Note a process's id. What was to be sent to it before is sent now."""
        member = self.members[name]
        member.pid = pid
        if member.killed:
            self.actions.append(Kill(name, signal.SIGKILL))
        elif member.terminated_s is not None:
            self.actions.append(Kill(name, signal.SIGTERM))

    def unborn(self, name: str, error: str, now_s: float) -> None:
        """Note that a process could not be forked."""
        self.members[name].error = error
        self.exited(name, 1, now_s)

    def connected(self, name: str) -> None:
        """Note that a process listens to us; for those that were given up before it was born it is not to wait."""
        member = self.members[name]
        member.connected = True
        given_up = [each for each in self.members.values() if each.state in (State.PERMANENT, State.FATAL)]
        self.actions += [Tell(name, _gone(each, final=True)) for each in given_up if each is not member]
        if member.exiting:
            self.actions.append(Tell(name, {"do": "exit"}))

    def joined(self, name: str, first_ns: int | None, now_s: float) -> None:
        """Note that a process has met all others; once all have, the run begins."""
        member = self.members[name]
        member.joined, member.first_ns = True, first_ns
        if self.phase is Phase.RUNNING:
            self._go(member, now_s)
        elif self.phase is Phase.STARTING:
            if name == HUBS:
                self._start_workers(now_s)
            if all(member.joined for member in self.members.values()):
                self.phase = Phase.RUNNING
                for each in self.members.values():
                    if each.alive:
                        self._go(each, now_s)

    def _go(self, member: Member, now_s: float) -> None:
        member.going, member.since_s = True, now_s
        self.actions.append(Go(member.name))

    def ready(self, name: str, now_s: float) -> None:
        """Note that a process works."""
        member = self.members[name]
        member.ready, member.beat_s = True, now_s
        if member.state is State.STARTING:
            member.enter(State.OK)
            member.error = member.node = None

    # --- signs of life ----------------------------------------------------------------------------------------

    def beat(self, name: str, now_s: float) -> None:
        """Note a sign of life."""
        self.members[name].beat_s = now_s

    def ended(self, name: str, now_s: float) -> None:
        """Note that a process's sources have come to their end; when all have, the run is stopped in order."""
        self.members[name].ended = True
        self._see_whether_ended(now_s)

    def _see_whether_ended(self, now_s: float) -> None:
        with_sources = [member for member in self.members.values() if member.sources]
        going = [each for each in with_sources if each.state is State.RECOVERABLE or (each.alive and not each.ended)]
        if self.phase is Phase.RUNNING and with_sources and not going:
            self.actions.append(Note("info", "all sources have come to their end"))
            self.stop(now_s)

    def said_stopped(self, name: str, now_s: float) -> None:
        """Note that all nodes of a process have stopped and its wires are drained."""
        self.members[name].stopped = True
        self._see_whether_stopped(now_s)

    def said_failed(self, name: str, error: str, node: str | None) -> None:
        """Note why a process is about to end."""
        member = self.members[name]
        member.error, member.node = error, node

    # --- ends -------------------------------------------------------------------------------------------------

    def exited(self, name: str, status: int, now_s: float, *, innocent: bool = False) -> None:
        """Judge the end of a process. An innocent one died with its zygote: it starts again, and nothing is counted."""
        member = self.members[name]
        member.pid, member.connected = None, False
        if not member.alive:
            return
        if self.phase in (Phase.STOPPING, Phase.EXITING):
            self._ended_while_stopping(member, status, now_s)
            return
        if innocent or member.asked_again:
            self.actions.append(Note("warning", f"ended: {how_it_ended(status)}", name))
            self._again(member, now_s, 0.0, counted=False)
            return
        how = f"{how_it_ended(status)}, and nobody had asked it to end"
        self.actions.append(Note("error", f"ended: {how}" + (f" ({member.error})" if member.error else ""), name))
        member.error = member.error or how
        if may_restart(member.restart, member.starts_s, now_s):
            tries = in_a_row(member.starts_s, now_s, self.settings.steady_s)
            self._again(member, now_s, backoff_s(tries, self.settings, self.random), counted=True)
        else:
            self._give_up(member, now_s)

    def _again(self, member: Member, now_s: float, after_s: float, *, counted: bool) -> None:
        member.enter(State.RECOVERABLE)
        member.restarts += 1
        if counted:
            member.starts_s = [*recent(member.starts_s, now_s, member.restart.window_s), now_s]
        member.due_s = now_s + after_s
        self._tell_gone(member, final=False)
        self.actions.append(Note("warning", f"starts again in {after_s:.2f} s", member.name))

    def _give_up(self, member: Member, now_s: float) -> None:
        reason = f"process {member.name!r} was given up: {member.error}"
        then = member.restart.then
        member.enter(State.PERMANENT if then == "go_on" else State.FATAL)
        self._tell_gone(member, final=True)
        self.actions.append(Note("critical", f"was given up: {member.error}", member.name))
        if then == "go_on":
            if self.phase is Phase.STARTING:
                self.joined(member.name, None, now_s)  # nobody waits for it
            self._see_whether_ended(now_s)
            return
        self.failed = self.failed or reason
        if then == "stop" or self.phase is Phase.STARTING:
            self.stop(now_s)
        else:
            self.actions.append(Halt(reason))
            self._see_whether_ended(now_s)

    def _abort(self, reason: str, now_s: float) -> None:
        self.failed = self.failed or reason
        self.stop(now_s)

    def _ended_while_stopping(self, member: Member, status: int, now_s: float) -> None:
        if member.alive and (member.error is not None or (status != 0 and member.terminated_s is None)):
            member.error = member.error or how_it_ended(status)
            self.failed = self.failed or f"process {member.name!r} failed while it was stopped: {member.error}"
            self.actions.append(Note("error", f"ended while it was stopped: {how_it_ended(status)}", member.name))
        if member.state is not State.FATAL:
            member.enter(State.STOPPED)
        if self.phase is Phase.STOPPING:  # later there is nobody left to whom it matters
            self._tell_gone(member, final=True)
        self._see_whether_stopped(now_s)

    def _tell_gone(self, member: Member, *, final: bool) -> None:
        self._tell_all(_gone(member, final=final), but=member)

    def _tell_all(self, command: dict[str, Any], but: Member | None = None) -> None:
        self.actions += [
            Tell(each.name, command) for each in self.members.values() if each.connected and each is not but
        ]

    def _workers(self) -> list[Member]:
        return [member for member in self.members.values() if member.name != HUBS]

    # --- orders -----------------------------------------------------------------------------------------------

    def restart(self, name: str, now_s: float) -> None:
        """Start a process anew because a person asks, with all its tries back.

        One that was given up is refused before it comes to this: its peers have taken its ports for ended.
        """
        self._wake(now_s)
        member = self.members[name]
        member.starts_s = []
        if not member.alive:
            member.error = None
            member.restarts += 1
            self._start(member, now_s)
            return
        member.asked_again = True
        self._terminate(member, now_s)

    def kill(self, name: str, reason: str) -> None:
        """Kill a process that does not behave; its end is judged like any other."""
        member = self.members[name]
        if member.killed or not member.alive:
            return
        member.killed, member.error = True, reason
        self.actions.append(Note("error", f"killed: {reason}", name))
        self.actions.append(Kill(name, signal.SIGKILL, explain=True))

    def stop(self, now_s: float, *, hurry: bool = False) -> None:
        """Stop the run: nodes first, along the graph, then processes. In a hurry, go straight to SIGTERM."""
        self._wake(now_s)
        if self.phase in (Phase.STARTING, Phase.RUNNING):
            began = self.phase is Phase.RUNNING
            self.phase, self.deadline_s = Phase.STOPPING, now_s + self.settings.stop_s
            for member in self.members.values():
                if member.state in (State.WAITING, State.RECOVERABLE, State.PERMANENT):
                    member.due_s = None
                    absent = member.state is State.RECOVERABLE
                    member.enter(State.STOPPED)
                elif member.alive:
                    member.enter(State.STOPPING)
                    absent = began and not member.going
                    if not began or not member.going:
                        member.stopped = True  # it has not begun: there is nothing to put away
                else:
                    absent = False
                if absent:  # it was about to come back: nobody is to wait for what it would have said
                    self._tell_gone(member, final=True)
            self.actions += [
                Tell(member.name, {"do": "stop"}) for member in self._workers() if member.alive and not member.stopped
            ]
            self._see_whether_stopped(now_s)
        if hurry and not self.hurried and self.phase in (Phase.STOPPING, Phase.EXITING):
            self.hurried = True
            self.phase = Phase.EXITING
            for member in self.members.values():
                if member.alive and member.terminated_s is None:
                    self._terminate(member, now_s)
            self._see_whether_over()
        elif hurry and self.phase is Phase.EXITING:
            self._kill_rest()

    def _see_whether_stopped(self, now_s: float) -> None:
        if self.phase is Phase.STOPPING and all(not each.alive or each.stopped for each in self._workers()):
            self._exit(now_s)
        self._see_whether_over()

    def _exit(self, now_s: float) -> None:
        self.phase, self.deadline_s = Phase.EXITING, now_s + self.settings.exit_s
        for member in self.members.values():
            if not member.alive:
                continue
            member.exiting = True
            if member.connected:
                self.actions.append(Tell(member.name, {"do": "exit"}))
            else:
                self._terminate(member, now_s)

    def _see_whether_over(self) -> None:
        if self.phase is Phase.EXITING and not any(member.alive for member in self.members.values()):
            self.phase = Phase.OVER

    def _terminate(self, member: Member, now_s: float) -> None:
        member.terminated_s = now_s
        self.actions.append(Kill(member.name, signal.SIGTERM))

    def _kill_rest(self) -> None:
        for member in self.members.values():
            if member.alive and not member.killed:
                member.killed = True
                self.actions.append(Kill(member.name, signal.SIGKILL))

    # --- time -------------------------------------------------------------------------------------------------

    def tick(self, now_s: float) -> None:
        """Do what is due: restarts, deadlines, and the end of those that give no sign of life."""
        self._wake(now_s)
        for member in self.members.values():
            if member.due_s is not None and now_s >= member.due_s:
                self._start(member, now_s)
            if member.terminated_s is not None and not member.killed and member.alive:
                if now_s - member.terminated_s >= self.settings.term_s:
                    member.killed = True
                    if self.phase is Phase.EXITING and not self.hurried:
                        self.failed = self.failed or f"process {member.name!r} did not end and had to be killed"
                    self.actions.append(Note("warning", "does not end on SIGTERM and is killed", member.name))
                    self.actions.append(Kill(member.name, signal.SIGKILL))
            elif self.phase in (Phase.STARTING, Phase.RUNNING, Phase.STOPPING):
                reason = overdue(member, now_s, barrier=self.phase is Phase.STARTING)
                if reason is not None:
                    self.kill(member.name, reason)
        if now_s < self.deadline_s:
            return
        if self.phase is Phase.STARTING:
            missing = ", ".join(repr(member.name) for member in self.members.values() if not member.joined)
            self._abort(f"not all processes have joined in time; missing: {missing}", now_s)
        elif self.phase is Phase.STOPPING:
            late = [member.name for member in self._workers() if member.alive and not member.stopped]
            self.failed = self.failed or f"not stopped in time: {', '.join(map(repr, late))}"
            self.actions.append(Note("error", self.failed))
            self._exit(now_s)
        elif self.phase is Phase.EXITING:
            for member in self.members.values():
                if member.alive and member.terminated_s is None:
                    self._terminate(member, now_s)

    def _wake(self, now_s: float) -> None:
        """Take note of the time before anything is measured from it."""
        if now_s - self._ticked_s > SLEPT_S:
            self._forgive(now_s - self._ticked_s)
        self._ticked_s = now_s

    def _forgive(self, slept_s: float) -> None:
        # We were stopped, or the machine slept: what the processes have said meanwhile has yet to be read.
        self.actions.append(Note("warning", f"this supervisor did not run for {slept_s:.1f} s"))
        self.deadline_s += slept_s
        for member in self.members.values():
            member.since_s += slept_s
            if member.beat_s is not None:
                member.beat_s += slept_s
            if member.terminated_s is not None:
                member.terminated_s += slept_s
