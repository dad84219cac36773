"""The taps that clients have set: each lives as long as its client's connection, and survives its processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine.process.control_server import Connection, Refused
from engine.topology.plan import Plan
from engine.wire.table import WireTable


@dataclass
class _Tap:
    id: str
    connection: Connection
    commands: dict[str, dict[str, Any]]


class TapDesk:
    """Hand taps on to the processes; `tell` sends a command to one of them."""

    def __init__(self, plan: Plan, tell: Callable[[str, dict[str, Any]], None]) -> None:
        self._tell = tell
        self._taps: list[_Tap] = []
        self._set = 0
        table = WireTable(plan)
        self._process_of = {str(port): port.process for port in table.ports.values() if port.name}

    def add(self, ports: list[str], per_s: float | None, to: str, connection: Connection) -> dict[str, Any]:
        """Set a tap; raise Refused for a port that there is not."""
        if unknown := [port for port in ports if port not in self._process_of]:
            raise Refused(f"no output {', '.join(map(repr, unknown))} in this run")
        self._set += 1
        by_process: dict[str, list[str]] = {}
        for port in ports:
            by_process.setdefault(self._process_of[port], []).append(port)
        id = f"tap-{self._set}"
        commands = {
            process: {"do": "tap", "id": id, "ports": mine, "per_s": per_s, "to": to}
            for process, mine in by_process.items()
        }
        self._taps.append(_Tap(id, connection, commands))
        for process, command in commands.items():
            self._tell(process, command)
        return {"id": id, "processes": list(commands)}

    def remove(self, connection: Connection) -> None:
        """Take away all taps of a client."""
        for tap in [tap for tap in self._taps if tap.connection is connection]:
            self._taps.remove(tap)
            for process in tap.commands:
                self._tell(process, {"do": "untap", "id": tap.id})

    def renew(self, process: str) -> None:
        """Set the taps of a process that has started anew."""
        for tap in self._taps:
            if process in tap.commands:
                self._tell(process, tap.commands[process])
