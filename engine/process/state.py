"""What a supervisor must remember from one run of a folder to the next: epochs, the kill switch, how far time went."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import msgspec

from engine.errors import PipelineError

FILE = "state.json"
RESERVE = ".reserve"
RESERVE_BYTES = 64 << 10
"""Kept for the day when the disk is full and the kill switch has to be written."""
LAST_EPOCH = 4095


class StateDamaged(PipelineError):
    """The run's state cannot be read. Whether the run was halted is then not known."""


class EpochsUsedUp(PipelineError):
    """A process has been started as often as its messages' ids can count."""


class Halted(msgspec.Struct, frozen=True):
    """The kill switch is on: why, and since when (wall clock)."""

    reason: str
    at_ns: int


class RunState(msgspec.Struct):
    """The content of `state.json`. `last_data_ns` is the time of the data that every process had reached."""

    version: int = 1
    id: str = ""
    epochs: dict[str, int] = {}
    halted: Halted | None = None
    last_data_ns: int | None = None
    pace: dict[str, Any] | None = None


class StateFile:
    """`state.json` of a run folder: replaced as a whole and on disk before `save` returns."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._reserve = folder / RESERVE
        self.state = self._load()
        self._keep_reserve()

    def _load(self) -> RunState:
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return RunState()
        try:
            return msgspec.json.decode(data, type=RunState)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise StateDamaged(
                f"{self.path} is damaged ({error}), so it is not known whether the run was halted; "
                "look into its logs, then remove the file or use another run folder"
            ) from None

    def save(self) -> None:
        """Write the state; raise OSError when even the reserve is not room enough."""
        try:
            self._write()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not self._reserve.exists():
                raise
            self._reserve.unlink()
            self._write()

    def note_epochs(self, epochs: dict[str, int]) -> None:
        """Put the start counts of processes on disk before they start: a number is never used twice.

        Raises EpochsUsedUp when a count is used up, OSError when it cannot be written.
        """
        if used_up := [name for name, epoch in epochs.items() if epoch > LAST_EPOCH]:
            raise EpochsUsedUp(f"process {used_up[0]!r} was started {LAST_EPOCH} times; begin a new run folder")
        self.state.epochs.update(epochs)
        self.save()

    def _write(self) -> None:
        new = self.path.with_suffix(".new")
        with open(new, "wb") as file:
            file.write(msgspec.json.encode(self.state))
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _keep_reserve(self) -> None:
        if not self._reserve.exists():
            try:
                self._reserve.write_bytes(b"\0" * RESERVE_BYTES)
            except OSError:
                self._reserve.unlink(missing_ok=True)  # the disk is full already; the watch over it will say so
