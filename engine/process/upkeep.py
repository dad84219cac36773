"""What a supervisor does every now and then: look at its processes and its disk, and note how far the run has come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING

from engine.process.lifecycle import HUBS
from engine.process.watch import Disk, ProcessWatch, Room, look_at_disk, prune

if TYPE_CHECKING:
    from engine.process.supervisor import Supervisor

SHOW_S = 0.25
SAVE_S = 1.0
PRUNE_S = 60.0


class Upkeep:
    """The recurring work of one supervisor.

    What walks through folders is done in threads, one at a time of each kind: a slow disk must not hold up the kill
    switch. A disk that cannot be looked at is noted, and looked at again.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self.watch = ProcessWatch(supervisor.settings)
        self.disk = Disk(Room.ENOUGH, 0, None)
        self._supervisor = supervisor
        self._due_s: dict[str, float] = {}
        self._aside: dict[str, asyncio.Task[None]] = {}

    @property
    def recording(self) -> bool:
        """Whether there is room for what is not needed to go on."""
        return self.disk.room is Room.ENOUGH

    def tick(self, now_s: float) -> None:
        """Do what is due."""
        settings = self._supervisor.settings
        self._each("processes", settings.watch_s, self._look_at_processes, now_s)
        self._each("disk", settings.disk_s, self._apart("disk", self._look_at_disk), now_s)
        self._each("save", SAVE_S, self.save_progress, now_s)
        self._each("prune", PRUNE_S, self._apart("prune", self._prune), now_s)
        self._each("show", SHOW_S, self.show, now_s)

    def _each(self, name: str, period_s: float, action: Callable[[float], None], now_s: float) -> None:
        if now_s >= self._due_s.get(name, 0.0):
            self._due_s[name] = now_s + period_s
            action(now_s)

    def _apart(self, name: str, work: Callable[[], Coroutine[None, None, None]]) -> Callable[[float], None]:
        def begin(now_s: float) -> None:
            if name not in self._aside:
                self._aside[name] = task = asyncio.ensure_future(work())
                task.add_done_callback(lambda done: self._done(name, done))

        return begin

    def _done(self, name: str, task: asyncio.Task[None]) -> None:
        del self._aside[name]
        if task.cancelled() or (error := task.exception()) is None:
            return
        if not isinstance(error, OSError):
            raise error
        self._supervisor.note("error", f"the disk cannot be looked after ({name}): {error}")

    def show(self, now_s: float) -> None:
        """Hand the status to whoever looks on."""
        if self._supervisor.on_status is not None:
            self._supervisor.on_status(self._supervisor.status())

    def save_progress(self, now_s: float) -> None:
        """Note how far the data has come, so that a later run goes on from there."""
        supervisor = self._supervisor
        state = supervisor.file.state
        if state.pace is None:
            return
        told = [stats.get("now_ns") for name, stats in supervisor.desk.beats.items() if name != HUBS]
        times = [at for at in told if isinstance(at, int)]
        if times and min(times) != state.last_data_ns:
            state.last_data_ns = min(times)
            with suppress(OSError):  # a full disk is for the watch over it to tell
                supervisor.file.save()

    def _look_at_processes(self, now_s: float) -> None:
        supervisor = self._supervisor
        for name, member in supervisor.fleet.members.items():
            if member.pid is None:
                continue
            declared = supervisor.run.plan.topology.processes.get(name)
            limit = declared.memory_bytes if declared else None
            reason = self.watch.look(name, member.pid, limit, now_s)
            if reason is not None:
                supervisor.fleet.kill(name, reason)

    async def _look_at_disk(self) -> None:
        supervisor = self._supervisor
        found = await asyncio.to_thread(look_at_disk, supervisor.run.folder, supervisor.settings)
        before, self.disk = self.disk.room, found
        if self.disk.room > before:
            supervisor.note("critical", f"recordings stop: {self.disk.reason}")
            supervisor.desk.tell_going(self.record_off())
            if self.disk.room is Room.NONE:
                supervisor.switch.halt(self.disk.reason)
        elif self.recording and before is not Room.ENOUGH:
            supervisor.note("warning", "there is room on the disk again: a process records again from its next start")

    def record_off(self) -> dict[str, object]:
        """Return the command that ends recording."""
        return {"do": "record", "on": False, "reason": self.disk.reason}

    async def _prune(self) -> None:
        supervisor = self._supervisor
        limit = supervisor.settings.keep_runs_bytes
        if limit is not None:
            runs = supervisor.run.folder.resolve().parent
            for folder in await asyncio.to_thread(prune, runs, supervisor.run.folder, limit):
                supervisor.note("info", f"{folder} was removed: the runs beside this one hold more than declared")
