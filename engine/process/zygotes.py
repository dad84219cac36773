"""The two zygotes as the supervisor sees them: one that works, and one that takes its place when it dies."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from engine.errors import PipelineError
from engine.process import kernel
from engine.process.control import decode, encode
from engine.process.zygote import LONGEST_MESSAGE, Launch, channel, fork_zygote


class NoZygote(PipelineError):
    """Both zygotes are gone, and with them the means to start a process."""


@dataclass
class _One:
    """One zygote: its process (None until it has reported), its connection, what it is to fork, and what it has."""

    pid: int | None
    connection: socket.socket
    asked: set[tuple[str, int]] = field(default_factory=set)
    living: dict[int, tuple[str, int]] = field(default_factory=dict)
    pinged_s: float | None = None
    continued: bool = False


class Zygotes:
    """Fork processes, kill them, and hear of their ends.

    Made before the supervisor has a loop. `report` then gets {"born"}, {"unborn"} and {"exited"} as the zygote sends
    them; an end that came with a zygote's own has "innocent": true.
    """

    def __init__(self, launch: Launch) -> None:
        self._not_ours = kernel.children(os.getpid())
        kernel.adopt_orphans(True)
        pid, connection = fork_zygote(launch, [])
        self.active: _One | None = _One(pid, connection)
        pid, connection = fork_zygote(launch, [connection.fileno()])
        self.spare: _One | None = _One(pid, connection)
        self.lost = 0
        self._dead: list[_One] = []
        self._retired: set[int] = set()
        self._report: Callable[[dict[str, Any]], None] = lambda report: None
        self._watch()

    def attach(self, report: Callable[[dict[str, Any]], None]) -> None:
        """Listen to both in the running loop."""
        self._report = report
        for one in (self.active, self.spare):
            if one is not None:
                self._listen(one)

    def fork(self, name: str, epoch: int, output: int) -> None:
        """Have a process forked that writes its stdout and stderr to the descriptor `output`, which is then closed."""
        try:
            if self.active is None:
                raise NoZygote("no zygote is left to start a process from; start the run again with --resume")
            self.active.asked.add((name, epoch))
            self._send(self.active, {"do": "fork", "name": name, "epoch": epoch}, output)
        finally:
            os.close(output)

    def kill(self, pid: int, number: int) -> None:
        """Send a signal to a process and its group."""
        if self.active is not None:
            self._send(self.active, {"do": "kill", "pid": pid, "signal": number})

    def pids(self) -> list[int]:
        """Return the zygotes' own process ids, the active one first."""
        return [one.pid for one in (self.active, self.spare) if one is not None and one.pid is not None]

    def tick(self, now_s: float, patience_s: float) -> None:
        """Reap what died with a zygote, kill what processes have left behind, and see that both zygotes answer."""
        for dead in self._dead[:]:
            self._reap_with(dead)
        if self.spare is None or self.spare.pid is not None:  # a spare on its way is not yet known by its number
            kernel.kill_strays(self._ours())
        for one in (self.active, self.spare):
            if one is not None and one.pid is not None:
                self._ask_whether_alive(one, now_s, patience_s)

    def close(self, within_s: float = 3.0) -> None:
        """End both zygotes and with them all that is left; what does not end in time is killed."""
        ones = [one for one in (self.active, self.spare) if one is not None]
        for one in ones:
            with suppress(RuntimeError):  # there is no loop any more
                asyncio.get_running_loop().remove_reader(one.connection)
            self._send(one, {"do": "exit"})
            one.connection.close()
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline and kernel.children(os.getpid()) - self._not_ours:
            self._reap_ended()
            time.sleep(0.002)
        kernel.kill_all_children(keep=self._not_ours)
        self.active = self.spare = None
        kernel.adopt_orphans(False)

    # --- private ----------------------------------------------------------------------------------------------

    def _ours(self) -> set[int]:
        dying = {pid for one in self._dead for pid in one.living}
        return self._not_ours | set(self.pids()) | dying

    def _reap_ended(self) -> None:
        for pid in kernel.children(os.getpid()) - self._not_ours:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)

    def _send(self, one: _One, order: dict[str, Any], *descriptors: int) -> None:
        # A zygote that has died is noticed by its connection's end, which is on its way.
        try:
            socket.send_fds(one.connection, [encode(order)], list(descriptors))
        except (BrokenPipeError, ConnectionResetError):
            return
        except BlockingIOError:  # it has not read for long: the same as dead
            if one.pid is not None:
                kernel.kill(one.pid)

    def _listen(self, one: _One) -> None:
        one.connection.setblocking(False)
        asyncio.get_running_loop().add_reader(one.connection, self._hear, one)

    def _hear(self, one: _One) -> None:
        try:
            data = one.connection.recv(LONGEST_MESSAGE)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        if not data:
            self._bury(one)
            return
        report = decode(data)
        if "pong" in report:
            one.pinged_s, one.continued = None, False
        elif "spare" in report:
            one.pid = report["spare"]
            self._watch()
        else:
            if "unborn" in report:
                one.asked.discard((report["unborn"], report["epoch"]))
            elif "born" in report:
                one.asked.discard((report["born"], report["epoch"]))
                one.living[report["pid"]] = (report["born"], report["epoch"])
                self._watch()
            elif "exited" in report:
                one.living.pop(report["pid"], None)
                self._watch()
            self._report(report)

    def _watch(self) -> None:
        """Tell the spare whom it has to outlive."""
        if self.spare is not None and self.spare.pid is not None and self.active is not None:
            order = {"do": "watch", "other": self.active.pid, "sessions": sorted(self.active.living)}
            self._send(self.spare, order)

    def _bury(self, one: _One) -> None:
        asyncio.get_running_loop().remove_reader(one.connection)
        one.connection.close()
        self.lost += 1
        if one.pid is not None:
            kernel.kill(one.pid)
            os.waitpid(one.pid, 0)
        spare, self.spare = self.spare, None
        if one is self.active:
            self.active = spare
            self._dead.append(one)
            if spare is not None and spare.pid is None:  # it was still to be forked, by the one that has died
                asyncio.get_running_loop().remove_reader(spare.connection)
                spare.connection.close()
                self.active = None
        if self.active is not None:
            # Until the spare is there, it alone knows what the other may have left.
            self._send(self.active, {"do": "watch", "other": None, "sessions": sorted(one.living)})
            ours, theirs = channel()
            self.spare = _One(None, ours)
            self._send(self.active, {"do": "spare"}, theirs.fileno())
            theirs.close()
            self._listen(self.spare)
        if one in self._dead:
            self._reap_with(one)
            for name, epoch in sorted(one.asked):
                self._report({"exited": name, "epoch": epoch, "pid": None, "status": -signal.SIGKILL, "innocent": True})

    def _reap_with(self, one: _One) -> None:
        """Reap the processes of a zygote that has died; the kernel has killed them and made them ours."""
        for pid, (name, epoch) in list(one.living.items()):
            try:
                found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                status = -signal.SIGKILL  # it was reaped by its zygote, which had no time to say so
            else:
                if found is None:
                    continue
                kernel.kill_group(pid)
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            del one.living[pid]
            self._report({"exited": name, "epoch": epoch, "pid": pid, "status": status, "innocent": True})
        if not one.living and one in self._dead:
            self._dead.remove(one)
            if self.active is not None:
                self._send(self.active, {"do": "watch", "other": None, "sessions": []})

    def _ask_whether_alive(self, one: _One, now_s: float, patience_s: float) -> None:
        if one.pinged_s is None:
            one.pinged_s = now_s
            self._send(one, {"do": "ping", "number": 0})
        elif now_s - one.pinged_s > 2 * patience_s:
            assert one.pid is not None
            kernel.kill(one.pid)
        elif now_s - one.pinged_s > patience_s and not one.continued:
            assert one.pid is not None
            one.continued = True
            kernel.kill(one.pid, signal.SIGCONT)
