"""A zoo: processes that behave badly in one way each, under a real supervisor.

`python zoo.py` runs one for each line of its stdin. A cage is JSON {folder, processes: {name: [kind, arguments]},
hubs: [kind, arguments], restart, settings, speed, resume}. KINDS has what each kind does and when; with the argument
`epochs` only in its first so many lives.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine import Node
from engine.errors import PipelineError, Place
from engine.process.control import ProcessLink
from engine.process.run import Run
from engine.process.settings import Settings
from engine.process.supervisor import supervise
from engine.topology.model import (
    HubDecl,
    LogOptions,
    NodeDecl,
    Origin,
    Policy,
    PortRef,
    ProcessDecl,
    Restart,
    Topology,
    Wire,
)
from engine.topology.plan import Plan, PlannedNode

HERE = Origin(Place("zoo", 1, 1))


class Idle(Node):
    """Do nothing."""


class Ending(Node):
    """Do nothing, and come to an end."""

    def history(self):
        yield from ()


@dataclass
class Beast:
    """A process that does what it is told, until its kind does something else."""

    run: Run
    name: str
    epoch: int
    kind: str
    arguments: dict[str, Any]
    heard: list[dict[str, Any]] = field(default_factory=list)

    async def live(self) -> int:
        self.over: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.link = ProcessLink(self.run.sockets, self.name, self.epoch, self.command, lambda: self.end(1))
        await self.at("start")
        await self.link.open()
        self.link.send("joined", first_ns=self.arguments.get("first_ns"))
        code = await self.over
        self.link.close()
        return code

    def end(self, code: int) -> None:
        if not self.over.done():
            self.over.set_result(code)

    async def at(self, moment: str) -> None:
        """Let the kind act, if this is its moment and its start count is among those it acts in."""
        act, when = KINDS[self.kind]
        if moment == when and self.epoch <= self.arguments.get("epochs", 10**9):
            await act(self)

    def command(self, command: dict[str, Any]) -> None:
        self.heard.append(command)
        with open(self.run.folder / f"{self.name}.heard", "a") as file:
            file.write(json.dumps({**command, "epoch": self.epoch}) + "\n")
        match command["do"]:
            case "go":
                self.link.send("ready")
                self.link.beat(lambda: {"now_ns": time.time_ns(), "nodes": {}, "wires": {}})
                self.task = asyncio.ensure_future(self.at("go"))
                self.task.add_done_callback(self._acted)
            case "stop":
                self.stopping = asyncio.ensure_future(self._stop())
            case "halt":
                self.link.send("halted")
            case "rearm":
                self.link.send("rearmed")
            case "exit":
                if self.kind != "ignores_exit":
                    self.end(0)

    def _acted(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None and not self.over.done():
            self.over.set_exception(error)

    async def _stop(self) -> None:
        if self.kind != "never_stops":
            self.link.send("stopped")


# --- the kinds -------------------------------------------------------------------------------------------------------


async def calm(beast: Beast) -> None:
    """Nothing."""


async def crash(beast: Beast) -> None:
    await asyncio.sleep(beast.arguments.get("after_s", 0.0))
    raise RuntimeError(beast.arguments.get("message", "out of its cage"))


async def exits(beast: Beast) -> None:
    beast.end(beast.arguments.get("code", 0))


async def dies(beast: Beast) -> None:
    os.kill(os.getpid(), beast.arguments.get("signal", signal.SIGSEGV))


async def fails(beast: Beast) -> None:
    beast.link.send("failed", error=beast.arguments.get("error", "ValueError: told before the end"), node="n")
    beast.end(1)


async def freezes(beast: Beast) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


async def spins(beast: Beast) -> None:
    while True:
        pass


async def deaf(beast: Beast) -> None:
    """Take no SIGTERM and no exit."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


async def prints(beast: Beast) -> None:
    line = b"to whom it may concern " * 20 + b"\n"
    while True:
        os.write(1, line * 50)
        await asyncio.sleep(0)


async def logs(beast: Beast) -> None:
    import logging

    while True:
        logging.getLogger("node.n").warning("again and again")
        await asyncio.sleep(0)


async def tells(beast: Beast) -> None:
    import logging

    logging.getLogger("node.n").warning(
        "%s", beast.arguments["text"], extra={"node": "n", "code": beast.arguments["text"]}
    )
    print(beast.arguments["text"], flush=True)


async def babbles(beast: Beast) -> None:
    while True:
        for _ in range(1000):
            beast.link.send("beat", stats={})
        await asyncio.sleep(0.01)


async def forges(beast: Beast) -> None:
    beast.link._transport.write(beast.arguments["line"].encode() + b"\n")


async def silent(beast: Beast) -> None:
    """Say nothing at all, and wait."""
    await asyncio.sleep(3600)


async def eats(beast: Beast) -> None:
    food = []
    while True:
        food.append(bytearray(os.urandom(1 << 10) * (1 << 12)))
        await asyncio.sleep(beast.arguments.get("every_s", 0.0))


async def writes(beast: Beast) -> None:
    """Write more than its disk takes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with open(beast.run.folder / "big", "wb") as file:
        file.write(b"x" * (1 << 20))


async def breeds(beast: Beast) -> None:
    """Start helpers: some in its own session, some in another, some whose parent is gone."""
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
    for detached in (False, True):
        subprocess.Popen(sleeper, start_new_session=detached)
        if os.fork() == 0:
            subprocess.Popen(sleeper, start_new_session=detached)
            os._exit(0)
    for _ in range(20):
        if os.fork() == 0:
            if os.fork() == 0:
                os.setsid()
            time.sleep(600)
    await asyncio.sleep(0.1)
    (beast.run.folder / "bred").touch()
    if beast.arguments.get("then") == "die":
        os.kill(os.getpid(), signal.SIGKILL)


async def breaks(beast: Beast) -> None:
    beast.link.send("broken", wire="a.x -> b.y")


async def source(beast: Beast) -> None:
    await asyncio.sleep(beast.arguments.get("after_s", 0.0))
    beast.link.send("ended")


KINDS: dict[str, tuple[Callable[[Beast], Any], str]] = {
    "calm": (calm, "go"),
    "crash_at_start": (crash, "start"),
    "crash": (crash, "go"),
    "exits": (exits, "go"),
    "dies": (dies, "go"),
    "fails": (fails, "go"),
    "freezes": (freezes, "go"),
    "freezes_at_start": (freezes, "start"),
    "spins": (spins, "go"),
    "deaf": (deaf, "go"),
    "ignores_exit": (deaf, "go"),
    "never_stops": (calm, "go"),
    "prints": (prints, "go"),
    "logs": (logs, "go"),
    "tells": (tells, "go"),
    "babbles": (babbles, "go"),
    "forges": (forges, "go"),
    "silent": (silent, "start"),
    "eats": (eats, "go"),
    "writes": (writes, "go"),
    "breeds": (breeds, "go"),
    "breaks": (breaks, "go"),
    "source": (source, "go"),
}


# --- the cage --------------------------------------------------------------------------------------------------------


def run_of(cage: dict[str, Any]) -> Run:
    """Return a run with one idle node in each process, and no wires."""
    restart = Restart(**cage.get("restart", {}))
    processes, nodes, planned = {}, {}, []
    for name, (kind, arguments) in cage["processes"].items():
        cls = Ending if kind == "source" else Idle
        nodes[name] = NodeDecl(name, "zoo.idle", {}, HERE, HERE)
        planned.append(PlannedNode(name, "zoo.idle", cls, {}))
        processes[name] = ProcessDecl(
            name, (name,), HERE, restart, memory_bytes=arguments.get("memory_bytes"), files=arguments.get("files")
        )
    hubs = {"h": HubDecl("h", (6000,), 7000, "msgpack", HERE)} if cage.get("hubs") else {}
    wires = (Wire(PortRef(next(iter(nodes)), "x"), PortRef("h", "t", hub=True), Policy(), 0, HERE),) if hubs else ()
    topology = Topology("zoo", "", HERE, {}, nodes, wires, hubs, processes, ())
    return Run(
        id="zoo-1",
        plan=Plan(name="zoo", topology=topology, nodes=tuple(planned), wires=()),
        folder=Path(cage["folder"]),
        sockets=Path("/nowhere"),
        speed=cage.get("speed"),
    )


def settings_of(cage: dict[str, Any]) -> Settings:
    quick = {"liveness_s": 1.0, "start_s": 5.0, "stop_s": 2.0, "exit_s": 0.5, "term_s": 0.5, "zygote_s": 0.5}
    wanted = {**quick, "free_disk_bytes": 1 << 20, "watch_s": 0.1, "disk_s": 0.1, **cage.get("settings", {})}
    log = LogOptions(**wanted.pop("log", {}))
    return Settings(**wanted, log=log)


def main(cage: dict[str, Any]) -> int:
    """Supervise the processes of a cage; return the exit code."""
    folder = Path(cage["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)  # by which the tests know all that belongs to it

    def worker(run: Run, name: str, epoch: int) -> int:
        return asyncio.run(Beast(run, name, epoch, *cage["processes"][name]).live())

    def hubs(run: Run, epoch: int) -> int:
        return asyncio.run(Beast(run, "hubs", epoch, *cage.get("hubs", ["calm", {}])).live())

    try:
        return supervise(
            run_of(cage), worker=worker, hubs=hubs, settings=settings_of(cage), resume=cage.get("resume", False)
        )
    except PipelineError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return error.exit_code


def serve() -> None:
    """Run a cage for each line of stdin, in a process of its own; put its exit code beside what it prints, at its end.

    A line is JSON {cage, out}. So all that a supervisor imports is imported once.
    """
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(woken)
    outs: dict[int, Path] = {}
    while True:
        ready, _, _ = select.select([sys.stdin, wake], [], [])
        if wake in ready:
            os.read(wake, 100)
            for pid in list(outs):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    out = outs.pop(pid)
                    out.with_suffix(".code").write_text(str(os.waitstatus_to_exitcode(status)))
        if sys.stdin in ready:
            line = sys.stdin.readline()
            if not line:
                return
            wanted = json.loads(line)
            out = Path(wanted["out"])
            pid = os.fork()
            if pid == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.set_wakeup_fd(-1)
                os.setsid()
                out.touch()
                for source, target in ((os.devnull, 0), (out, 1), (out, 2)):
                    os.dup2(os.open(source, os.O_RDWR | os.O_APPEND), target)
                os.closerange(3, 100)
                os._exit(main(wanted["cage"]))
            outs[pid] = out
            print(pid, flush=True)


if __name__ == "__main__":
    serve()
