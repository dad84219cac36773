"""A supervisor without processes: it holds a run folder, listens on its control socket, and answers as it is told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from engine.process.control_server import Connection, ControlServer, Refused
from engine.process.places import CONTROL, claim

Answer = dict[str, Any] | Callable[[dict[str, Any]], dict[str, Any]]


def process(state: str = "ok", **facts: Any) -> dict[str, Any]:
    """Return the row of a process."""
    row = {
        "state": state,
        "pid": 4242,
        "epoch": 1,
        "restarts": 0,
        "started_s": 75.0,
        "cpu": 0.125,
        "rss_bytes": 64 << 20,
        "fds": 17,
        "threads": 3,
        "beat_age_s": 0.1,
        "error": None,
        "nodes": [],
    }
    return {**row, **facts}


def status(**changes: Any) -> dict[str, Any]:
    """Return the status of a small run, with other tables where they are given."""
    wire = {
        "received": 100,
        "delivered": 90,
        "superseded": 10,
        "dropped": 0,
        "expired": 0,
        "lost": 0,
        "repeated": 0,
        "age_s": 0.002,
        "backlog": 0,
        "latency_s": {"count": 90, "sum": 0.018, "p50": 0.0002, "p99": 0.0031},
    }
    tables = {
        "run": {"id": "station-1", "topology": "station", "folder": "runs/station", "state": "running", "halted": None},
        "processes": {"field": process(nodes=["sensor"]), "house": process(pid=4243, nodes=["siren", "diary"])},
        "nodes": {
            "sensor": {"process": "field", "events": 0, "sent": 100, "ports": {"reading": 100}, "metrics": {}},
            "siren": {"process": "house", "events": 90, "sent": 4, "ports": {"alarm": 4}, "metrics": {"limit": 30.0}},
            "diary": {"process": "house", "events": 4, "sent": 0, "ports": {}, "metrics": {}},
        },
        "wires": {"sensor.reading -> siren.reading": wire},
        "hubs": {},
    }
    return {**tables, **changes}


PLAN = {
    "topology": "station",
    "processes": {"field": ["sensor"], "house": ["siren", "diary"]},
    "nodes": {
        "sensor": {"use": "sources.thermometer", "outputs": ["reading"]},
        "siren": {"use": "models.siren", "outputs": ["alarm"]},
        "diary": {"use": "sinks.diary", "outputs": []},
    },
    "wires": [
        {"wire": "sensor.reading -> siren.reading", "policy": "conflate", "feedback": False, "remote": True},
        {"wire": "siren.alarm -> diary.alarm", "policy": "reliable", "feedback": False, "remote": False},
    ],
}


class FakeSupervisor:
    """Use in a `with`. `asked` lists what clients wanted; `answers` has one for each question, or how to make it."""

    def __init__(self, folder: Path, **answers: Answer) -> None:
        self.folder = folder
        self.asked_for: list[dict[str, Any]] = []
        self.answers: dict[str, Answer] = {"status": {"status": status()}, "plan": PLAN, **answers}
        self.left_behind = threading.Event()

    # --- what the control server asks of its desk ---------------------------------------------------------------------

    async def admit(self, name: str, epoch: int, pid: int) -> bool:
        return False

    def arrived(self, name: str, connection: Connection) -> None:
        raise AssertionError("no process is ever admitted")

    def heard(self, name: str, event: str, message: dict[str, Any]) -> None:
        raise AssertionError("no process is ever admitted")

    def hung_up(self, name: str, connection: Connection, reason: str | None) -> None:
        raise AssertionError("no process is ever admitted")

    def asked(self, question: str, message: dict[str, Any], connection: Connection) -> dict[str, Any]:
        self.asked_for.append(message)
        if question not in self.answers:
            raise Refused(f"no question {question!r}")
        answer = self.answers[question]
        return answer(message) if callable(answer) else answer

    def left(self, connection: Connection) -> None:
        self.left_behind.set()

    # --- its life -----------------------------------------------------------------------------------------------------

    def __enter__(self) -> FakeSupervisor:
        self._claim = claim(self.folder)
        self._claim.announce("station-1", "station")
        self.sockets = self._claim.sockets
        self._loop = asyncio.new_event_loop()
        listening = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(listening,))
        self._thread.start()
        assert listening.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._thread.join(5)
        assert not self._thread.is_alive()

    def end(self) -> None:
        """Hang up on everybody, as a supervisor does whose run is over."""
        with suppress(RuntimeError):  # it has ended before
            self._loop.call_soon_threadsafe(self._over.set)

    def _serve(self, listening: threading.Event) -> None:
        async def serve() -> None:
            self._over = asyncio.Event()
            server = ControlServer(self.sockets / CONTROL, self)
            await server.listen()
            listening.set()
            await self._over.wait()
            await server.close()
            self._claim.release()

        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(serve())
