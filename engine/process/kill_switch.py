"""The run's kill switch: on disk before anybody is told, told to all, and confirmed by each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any

from engine.process.state import Halted, StateFile

CONFIRM_S = 2.0


class Round:
    """An order that every process that works has to confirm."""

    def __init__(self, names: Iterable[str]) -> None:
        self.waiting = set(names)
        self.confirmed: list[str] = []
        self._done = asyncio.Event()
        self._see()

    def confirm(self, name: str) -> None:
        """Note that a process has done it."""
        if name in self.waiting:
            self.waiting.discard(name)
            self.confirmed.append(name)
            self._see()

    async def wait(self, timeout_s: float = CONFIRM_S) -> None:
        """Wait for all of them, but not for ever."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._done.wait()
        except TimeoutError:
            return  # `waiting` has those that are silent

    def _see(self) -> None:
        if not self.waiting:
            self._done.set()


class KillSwitch:
    """Halt the run and rearm it.

    `tell` sends a command to every process that works and returns their names; those that do not are told when they
    do, since go carries the reason. `note` writes into the supervisor's log.
    """

    def __init__(
        self,
        file: StateFile,
        tell: Callable[[dict[str, Any]], list[str]],
        note: Callable[[str, str], None],
    ) -> None:
        self._file = file
        self._tell = tell
        self._note = note
        self._rounds: dict[str, Round] = {}

    @property
    def reason(self) -> str | None:
        """Why the run is halted, None when it is not."""
        halted = self._file.state.halted
        return None if halted is None else halted.reason

    def halt(self, reason: str) -> Round:
        """Latch the switch, then tell everybody; the first reason stays until the switch is released.

        Everybody is told even when the latch cannot be written: then only a restart of the run would forget it.
        """
        if self._file.state.halted is None:
            self._file.state.halted = Halted(reason, time.time_ns())
            self._note("critical", f"the run is halted: {reason}")
            try:
                self._file.save()
            except OSError as error:
                self._note(
                    "critical", f"the halt could not be put on disk, and holds only while this run lives: {error}"
                )
        return self._round("halted", {"do": "halt", "reason": self.reason})

    def rearm(self) -> Round:
        """Release the switch on disk, then tell everybody; raise OSError, and stay halted, when that fails."""
        before = self._file.state.halted
        if before is not None:
            self._file.state.halted = None
            try:
                self._file.save()
            except OSError:
                self._file.state.halted = before
                raise
            self._note("warning", f"the run is rearmed; it was halted: {before.reason}")
        return self._round("rearmed", {"do": "rearm"})

    def confirmed(self, event: str, name: str) -> None:
        """Note that a process says that it is halted or rearmed."""
        if event in self._rounds:
            self._rounds[event].confirm(name)

    def _round(self, event: str, command: dict[str, Any]) -> Round:
        self._rounds[event] = Round(self._tell(command))
        return self._rounds[event]
