"""Run a zoo as a process of its own, ask its supervisor, and see what is left when it is over."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.errors import PipelineError
from engine.process.control import Client

ROOT = Path(__file__).parents[2]


class Keeper:
    """Start zoos, without importing for each what all of them need. Used in a `with`."""

    def __enter__(self) -> Keeper:
        self._server = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("zoo.py"))],
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._server.communicate(timeout=10)

    def start(self, cage: dict[str, Any], out: Path) -> int:
        """Start a zoo that prints into a file; return its process id."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps({"cage": cage, "out": str(out)}) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())


class Zoo:
    """A supervisor with the processes of a cage (see `zoo`).

    It is used in a `with`, after which nothing of it may be left.
    """

    def __init__(self, keeper: Keeper, folder: Path, processes: dict[str, list[Any]], **cage: Any) -> None:
        self.keeper = keeper
        self.folder = folder
        self.cage = {"folder": str(folder), "processes": processes, **cage}

    def __enter__(self) -> Zoo:
        number = len(list(self.folder.parent.glob("*.out")))
        self.out = self.folder.with_name(f"{number}.out")
        self.pid = self.keeper.start(self.cage, self.out)
        return self

    def __exit__(self, *_: object) -> None:
        if self.code() is None:
            self.signal(signal.SIGKILL)
        assert until(lambda: self.code() is not None, 10)
        left = self.survivors(within_s=4.0)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        assert not left, left

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def code(self) -> int | None:
        """Return the exit code, None while it runs."""
        path = self.out.with_suffix(".code")
        return int(path.read_text()) if path.exists() and path.read_text() else None

    def survivors(self, within_s: float = 0.0) -> dict[int, str]:
        """Return what is alive of this zoo, by pid, after giving it some time to go."""
        return {} if until(lambda: not living(self.folder), within_s) else living(self.folder)

    def ask(self, question: str, **fields: Any) -> dict[str, Any]:
        with Client.of(self.folder) as client:
            return client.ask(question, **fields)

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.ask("status")["status"]
        return status

    def wait(self, wanted: Callable[[dict[str, Any]], object], within_s: float = 30.0) -> dict[str, Any]:
        """Return the first status that is as wanted."""
        seen: list[Any] = []

        def look() -> bool:
            try:
                seen.append(self.status())
            except PipelineError as error:
                seen.append(str(error))
                return False
            return bool(wanted(seen[-1]))

        if not until(look, within_s):
            raise AssertionError(f"not so within {within_s} s: {seen[-1]}\ncode {self.code()}: {self.out.read_text()}")
        return seen[-1]  # type: ignore[no-any-return]

    def wait_state(self, process: str, state: str, within_s: float = 30.0) -> dict[str, Any]:
        """Return the row of a process once it is in a state."""
        status = self.wait(lambda status: status["processes"][process]["state"] == state, within_s)
        return status["processes"][process]  # type: ignore[no-any-return]

    def wait_running(self) -> dict[str, Any]:
        return self.wait(lambda status: all(each["state"] == "ok" for each in status["processes"].values()))

    def end(self, within_s: float = 30.0) -> tuple[int, str]:
        """Return the exit code and what was printed, once the supervisor has ended."""
        assert until(lambda: self.code() is not None, within_s)
        code = self.code()
        assert code is not None
        return code, self.out.read_text()

    def heard(self, process: str) -> list[dict[str, Any]]:
        """Return the commands that a process was told."""
        path = self.folder / f"{process}.heard"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def log(self, process: str = "supervisor") -> list[dict[str, Any]]:
        path = self.folder / "logs" / f"{process}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def messages(self, process: str = "supervisor") -> list[str]:
        return [line["message"] for line in self.log(process)]


def living(folder: Path) -> dict[int, str]:
    """Return every process, zombies not counted, that works in this folder."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            if os.readlink(f"/proc/{name}/cwd") == str(folder.resolve()):
                found[int(name)] = Path(f"/proc/{name}/stat").read_text().rpartition(") ")[2][:40]
        except OSError:
            continue  # it has ended
    return found


def until(wanted: Callable[[], object], within_s: float) -> bool:
    """Wait until something holds; tell whether it came to."""
    deadline = time.monotonic() + within_s
    while not wanted():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.01)
    return True
