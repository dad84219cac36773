"""Who speaks to a supervisor: its zygotes, its processes and its clients; each word goes to whom it concerns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from engine.process.answers import Answers
from engine.process.control_server import Connection
from engine.process.logs import safe

if TYPE_CHECKING:
    from engine.process.supervisor import Supervisor

ADMIT_S = 1.0
LAST_WORDS_S = 0.2
"""How long the end of a process waits for what it said before, which comes by another way."""


class Desk:
    """The desk of one supervisor, and of its control server. `beats` has the last stats of each process."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.beats: dict[str, dict[str, Any]] = {}
        self._supervisor = supervisor
        self._fleet = supervisor.fleet
        self._answers = Answers(supervisor)
        self._connections: dict[str, Connection] = {}
        self._last_words: dict[str, dict[str, Any]] = {}

    def tell(self, name: str, command: dict[str, Any]) -> None:
        """Send a command to a process; one that is not connected hears it from go when it is."""
        connection = self._connections.get(name)
        if connection is not None:
            connection.send(command)

    def tell_going(self, command: dict[str, Any]) -> list[str]:
        """Send a command to every process that has begun its work; return their names."""
        names = [name for name, member in self._fleet.members.items() if member.going and name in self._connections]
        for name in names:
            self.tell(name, command)
        return names

    # --- zygotes ----------------------------------------------------------------------------------------------

    def reported(self, report: dict[str, Any]) -> None:
        """Act on what a zygote reports."""
        if "born" in report:
            self._fleet.born(report["born"], report["pid"])
        elif "unborn" in report:
            self._fleet.unborn(report["unborn"], report["error"], time.monotonic())
        elif report["exited"] in self._connections:
            self._last_words[report["exited"]] = report
            asyncio.get_running_loop().call_later(LAST_WORDS_S, self._listened, report)
        else:
            self._exited(report)
        self._supervisor.carry_out()

    def _listened(self, report: dict[str, Any]) -> None:
        # Somebody else holds the process's end of the connection: a helper that it has started.
        name = report["exited"]
        if self._last_words.get(name) is report:
            self._connections[name].close()
            self.hung_up(name, self._connections[name], None)

    def _exited(self, report: dict[str, Any]) -> None:
        name, status = report["exited"], report["status"]
        printed = self._supervisor.outputs.close(name)
        member = self._fleet.members[name]
        if member.error is None and status != 0 and (last := last_error(printed)):
            member.error = safe(last, "error")
        self._fleet.exited(name, status, time.monotonic(), innocent=report.get("innocent", False))

    # --- processes --------------------------------------------------------------------------------------------

    async def admit(self, name: str, epoch: int, pid: int) -> bool:
        """Tell whether a process is the one that the zygote has reported, which may take a moment longer to come."""
        member = self._fleet.members.get(name)
        deadline_s = time.monotonic() + ADMIT_S
        while member is not None and member.epoch == epoch and time.monotonic() < deadline_s:
            if member.pid is not None:
                return member.pid == pid and name not in self._connections
            await asyncio.sleep(0.005)
        return False

    def arrived(self, name: str, connection: Connection) -> None:
        self._connections[name] = connection
        self._fleet.connected(name)
        self._supervisor.carry_out()

    def heard(self, name: str, event: str, message: dict[str, Any]) -> None:
        now_s = time.monotonic()
        match event:
            case "beat":
                stats = message["stats"]
                if not isinstance(stats, dict):
                    raise TypeError("stats is no object")
                self.beats[name] = stats
                self._fleet.beat(name, now_s)
            case "joined":
                first_ns = message["first_ns"]
                self._fleet.joined(name, None if first_ns is None else int(first_ns), now_s)
            case "ready":
                self._fleet.ready(name, now_s)
            case "ended":
                self._fleet.ended(name, now_s)
            case "stopped":
                self._fleet.said_stopped(name, now_s)
            case "failed":
                self._fleet.said_failed(name, safe(str(message["error"]), "error"), message.get("node"))
            case "broken":
                reason = f"wire {message['wire']} is broken or has stalled; the log of process {name!r} says why"
                self._supervisor.switch.halt(reason)
            case "halted" | "rearmed":
                self._supervisor.switch.confirmed(event, name)
        self._supervisor.carry_out()

    def hung_up(self, name: str, connection: Connection, reason: str | None) -> None:
        if self._connections.get(name) is not connection:
            return
        del self._connections[name]
        self._fleet.members[name].connected = False
        if reason is not None:
            self._fleet.kill(name, f"its control connection was cut: {reason}")
        if (report := self._last_words.pop(name, None)) is not None:
            self._exited(report)
        self._supervisor.carry_out()

    # --- clients ----------------------------------------------------------------------------------------------

    def asked(
        self, question: str, message: dict[str, Any], connection: Connection
    ) -> dict[str, Any] | Awaitable[dict[str, Any]]:
        return self._answers.answer(question, message, connection)

    def left(self, connection: Connection) -> None:
        self._supervisor.taps.remove(connection)


def last_error(printed: str) -> str:
    """Return the line of a process's output that most likely says why it ended."""
    lines = printed.splitlines()
    fatal = [text for text in lines if text.startswith("Fatal Python error")]
    return (fatal or lines or [""])[-1]
