"""The supervisor: it starts the processes of a run, watches over them, and ends them. `pipeline up` is one.

What is to be done is decided by `Fleet`, which does no I/O; here it is done.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from engine.errors import ExitCode, PipelineError
from engine.process import child
from engine.process.child import Birth
from engine.process.control_server import ControlServer
from engine.process.desk import Desk
from engine.process.fleet import Fleet, Phase
from engine.process.kill_switch import KillSwitch
from engine.process.lifecycle import HUBS
from engine.process.limits import read
from engine.process.logs import line, open_log
from engine.process.member import Action, Go, Halt, Kill, Note, Start, Tell, members_of
from engine.process.output import Outputs
from engine.process.places import CONTROL, claim
from engine.process.run import Run
from engine.process.settings import Settings
from engine.process.state import EpochsUsedUp, StateFile
from engine.process.table import joined_tables, process_rows
from engine.process.tap_desk import TapDesk
from engine.process.upkeep import Upkeep
from engine.process.zygote import Launch
from engine.process.zygotes import Zygotes

WorkerLife = Callable[[Run, str, int], int]
HubsLife = Callable[[Run, int], int]
Show = Callable[[dict[str, Any]], None]

TICK_S = 0.05
EXPLAIN_S = 0.2
"""What a process that is to be killed has left to write down where it is."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class RunFailed(PipelineError):
    """The run is over because something in it failed."""


def supervise(
    run: Run,
    *,
    worker: WorkerLife,
    hubs: HubsLife,
    settings: Settings | None = None,
    resume: bool = False,
    show: Show | None = None,
) -> int:
    """Run a plan in processes until it ends; return 0, or 128 + the signal that asked for the end.

    To be called from the main thread of a process that has no event loop, no threads and no connections. `worker` and
    `hubs` are what the forked processes do. With `resume` time goes on where the run in this folder had come to.
    `show` gets the status four times a second. Raises UsageError when the folder has a supervisor already, RunFailed
    when the run could not start, or a process failed for good.
    """
    settings = settings or Settings.of(run.plan.topology.run)
    held = claim(run.folder)
    try:
        run = replace(run, sockets=held.sockets)
        state = StateFile(run.folder)
        held.announce(run.id, run.plan.name)
        zygotes = Zygotes(_launcher(run, settings, worker, hubs))
        try:
            return asyncio.run(Supervisor(run, settings, state, zygotes, resume=resume, show=show).main())
        finally:
            zygotes.close()
    finally:
        held.release()


def _launcher(run: Run, settings: Settings, worker: WorkerLife, hubs: HubsLife) -> Launch:
    """Return what a newborn process does."""

    def launch(name: str, epoch: int) -> int:
        declared = run.plan.topology.processes.get(name)
        birth = Birth(
            name=name,
            epoch=epoch,
            folder=run.folder,
            settings=settings,
            memory_bytes=declared.memory_bytes if declared else None,
            open_files=declared.files if declared else None,
        )
        return child.live(birth, lambda: hubs(run, epoch) if name == HUBS else worker(run, name, epoch))

    return launch


class Supervisor:
    """One run under supervision: it carries out what the fleet decides, and keeps its parts together."""

    def __init__(
        self,
        run: Run,
        settings: Settings,
        state: StateFile,
        zygotes: Zygotes,
        *,
        resume: bool,
        show: Show | None,
    ) -> None:
        self.run = run
        self.settings = settings
        self.file = state
        self.zygotes = zygotes
        self.on_status = show
        self.log = open_log(run.folder, "supervisor", settings.log)
        self.fleet = Fleet(members_of(run, settings, state.state.epochs), settings, Random())
        self.desk = Desk(self)
        self.server = ControlServer(run.sockets / CONTROL, self.desk)
        self.switch = KillSwitch(state, self.desk.tell_going, self.note)
        self.taps = TapDesk(run.plan, self.desk.tell)
        self.outputs = Outputs(run.folder, settings)
        self.upkeep = Upkeep(self)
        self.signal: int | None = None
        self._began_s = time.monotonic()
        self._began_ns = time.time_ns()
        self._resumed_ns = state.state.last_data_ns if resume else None
        self._mistake: Exception | None = None
        state.state.pace = None
        if not resume:
            state.state.last_data_ns = None
        state.state.id = run.id

    # --- life -------------------------------------------------------------------------------------------------

    async def main(self) -> int:
        """Supervise until the run is over."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._on_mistake)
        for number in SIGNALS:
            loop.add_signal_handler(number, self._on_signal, number)
        self.zygotes.attach(self.desk.reported)
        if (zygote := read(self.zygotes.pids()[0], self._began_s)) is not None:
            self.upkeep.watch.base_bytes = zygote.anon_bytes
        self.note("info", f"run {self.run.id} of {self.run.plan.name} begins", pid=os.getpid())
        if self.switch.reason is not None:
            self.note("critical", f"the run is still halted: {self.switch.reason}")
        try:
            await self.server.listen()
            self.fleet.begin(time.monotonic())
            self.carry_out()
            while self.fleet.phase is not Phase.OVER:
                await asyncio.sleep(TICK_S)
                self._tick(time.monotonic())
                if self._mistake is not None:
                    raise self._mistake
        except BaseException as error:
            self.fleet.failed = self.fleet.failed or f"{type(error).__name__}: {error}"
            raise
        finally:
            await self._put_away()
        if self.fleet.failed is not None:
            raise RunFailed(f"{self.fleet.failed}; see `pipeline logs --run {self.run.folder}`")
        return ExitCode.DONE if self.signal is None else 128 + self.signal

    async def _put_away(self) -> None:
        self.upkeep.show(time.monotonic())
        self.upkeep.save_progress(time.monotonic())
        await self.server.close()
        self.outputs.close_all()
        self.note("error" if self.fleet.failed else "info", f"the run is over: {self.fleet.failed or 'in order'}")
        self.log.close()

    def note(self, level: str, message: str, process: str | None = None, **fields: Any) -> None:
        """Write a line into the supervisor's log."""
        if process is not None:
            fields["about"] = process
            message = f"process {process!r} {message}"
        self.log.write(line(level, "supervisor", message, time.time(), fields=fields))

    def _on_mistake(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # A supervisor that has made a mistake no longer knows what it watches over: it ends, and all with it. What
        # others do in its loop is theirs, and shows in that nobody has asked for its result.
        error = context.get("exception")
        self.note("critical", f"{context['message']}: {error!r}")
        if isinstance(error, Exception) and "never retrieved" not in context["message"]:
            self._mistake = self._mistake or error

    # --- time -------------------------------------------------------------------------------------------------

    def _tick(self, now_s: float) -> None:
        self.zygotes.tick(now_s, self.settings.zygote_s)
        self.fleet.tick(now_s)
        self.upkeep.tick(now_s)
        self.carry_out()

    # --- what is to be done -----------------------------------------------------------------------------------

    def carry_out(self) -> None:
        """Do what the fleet has decided."""
        while actions := self.fleet.take():
            unborn = self._note_epochs([action for action in actions if isinstance(action, Start)])
            for action in actions:
                if isinstance(action, Start) and unborn:
                    self.fleet.unborn(action.name, unborn, time.monotonic())
                else:
                    self._do(action)

    def _note_epochs(self, starts: list[Start]) -> str:
        """Put start counts on disk; return why that cannot be, "" when it is done."""
        try:
            if starts:
                self.file.note_epochs({start.name: start.epoch for start in starts})
        except (OSError, EpochsUsedUp) as error:
            return f"its start cannot be noted: {error}"
        return ""

    def _do(self, action: Action) -> None:
        match action:
            case Start(name, epoch):
                self._fork(name, epoch)
            case Kill(name, number, explain):
                self._kill(name, number, explain)
            case Tell(name, command):
                self.desk.tell(name, command)
            case Go(name):
                self.desk.tell(name, {"do": "go", "pace": self._pace_of_run(), "halted": self.switch.reason})
                if not self.upkeep.recording:
                    self.desk.tell(name, self.upkeep.record_off())
                self.taps.renew(name)
            case Halt(reason):
                self.switch.halt(reason)
            case Note(level, message, process):
                self.note(level, message, process)

    def _fork(self, name: str, epoch: int) -> None:
        self.desk.beats.pop(name, None)
        try:
            output = self.outputs.open(name)
        except OSError as error:
            self.fleet.unborn(name, f"there is nothing it could print into: {error}", time.monotonic())
        else:
            self.zygotes.fork(name, epoch, output)

    def _kill(self, name: str, number: int, explain: bool) -> None:
        pid = self.fleet.members[name].pid
        if pid is None:
            return  # it is on its way; the fleet asks again when it is born
        if explain:
            self.zygotes.kill(pid, child.EXPLAIN)
            asyncio.get_running_loop().call_later(EXPLAIN_S, self.zygotes.kill, pid, number)
        else:
            self.zygotes.kill(pid, number)

    def _pace_of_run(self) -> dict[str, Any] | None:
        """Return how data time passes; decided when the first process is let go, the same for all of them."""
        if self.run.speed is None:
            return None
        state = self.file.state
        if state.pace is None:
            firsts = [member.first_ns for member in self.fleet.members.values() if member.first_ns is not None]
            now_ns = time.time_ns()
            data_ns = self._resumed_ns or min(firsts, default=now_ns)
            state.pace = {"data_ns": data_ns, "wall_ns": now_ns, "speed": self.run.speed}
        return state.pace

    # --- orders -----------------------------------------------------------------------------------------------

    def stop(self, why: str, *, hurry: bool = False) -> None:
        """End the run in order, or in a hurry."""
        self.note("warning" if hurry else "info", f"the run is stopped{' at once' if hurry else ''}: {why}")
        self.fleet.stop(time.monotonic(), hurry=hurry)
        self.carry_out()

    def restart(self, name: str) -> bool:
        """Start a process anew; False when the run is not in a state for that."""
        if self.fleet.phase is not Phase.RUNNING:
            return False
        self.note("info", "is restarted: a client asks for it", name)
        self.fleet.restart(name, time.monotonic())
        self.carry_out()
        return True

    def _on_signal(self, number: int) -> None:
        again = self.signal is not None
        self.signal = self.signal or number
        self.stop(f"{signal.Signals(number).name}{' again' if again else ''}", hurry=again)

    def status(self) -> dict[str, Any]:
        """Return everything that is known of the run now."""
        now_s = time.monotonic()
        halted = self.file.state.halted
        return {
            "run": {
                "id": self.run.id,
                "topology": self.run.plan.name,
                "folder": str(self.run.folder.resolve()),
                "sockets": str(self.run.sockets),
                "pid": os.getpid(),
                "zygotes": self.zygotes.pids(),
                "zygotes_lost": self.zygotes.lost,
                "state": str(self.fleet.phase),
                "failed": self.fleet.failed,
                "hurried": self.fleet.hurried,
                "halted": self.switch.reason,
                "halted_ns": halted.at_ns if halted else None,
                "started_ns": self._began_ns,
                "up_s": now_s - self._began_s,
                "pace": self.file.state.pace,
                "last_data_ns": self.file.state.last_data_ns,
                "recording": self.run.record and self.upkeep.recording,
                "disk": {
                    "room": self.upkeep.disk.room.name.lower(),
                    "free_bytes": self.upkeep.disk.free_bytes,
                    "folder_bytes": self.upkeep.disk.folder_bytes,
                },
                "refused": dict(self.server.refused),
                "log_lines_lost": self.log.lost,
            },
            "processes": process_rows(self.fleet, self.upkeep.watch, self.run.plan, self.desk.beats, now_s),
            **joined_tables(self.desk.beats),
        }
