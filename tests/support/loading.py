"""Load topologies from texts, and see problems as short lines."""

from __future__ import annotations

from pathlib import Path

from engine.errors import Problem, TopologyError
from engine.topology.load import load_topology
from engine.topology.model import Topology
from engine.topology.report import Report
from engine.topology.yaml_tree import read_tree


class Project:
    """A folder of topology files; the first written is the topology, `overlays` are merged over it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.main: Path | None = None

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
        self.main = self.main or path
        return path

    def load(self, *sets: str, overlays: tuple[str, ...] = (), env: dict[str, str] | None = None) -> Topology:
        assert self.main is not None
        return load_topology([self.main, *(self.folder / name for name in overlays)], sets, env or {})

    def problems(self, *sets: str, overlays: tuple[str, ...] = (), env: dict[str, str] | None = None) -> list[Problem]:
        try:
            self.load(*sets, overlays=overlays, env=env)
        except TopologyError as error:
            return error.problems
        return []

    def lines(self, *sets: str, overlays: tuple[str, ...] = (), env: dict[str, str] | None = None) -> list[str]:
        """Return each problem as `file:line:column code: message`."""
        return [self.line(problem) for problem in self.problems(*sets, overlays=overlays, env=env)]

    def line(self, problem: Problem) -> str:
        place = str(problem.place).removeprefix(f"{self.folder}/") if problem.place else "-"
        return f"{place} {problem.code}: {problem.message}".replace(f"{self.folder}/", "")


def yaml_lines(text: str) -> list[str]:
    """Return the problems of a YAML text as `line:column code: message`."""
    report = Report()
    read_tree(text, "f", report)
    return [f"{p.place.line}:{p.place.column} {p.code}: {p.message}" for p in report.problems if p.place]
