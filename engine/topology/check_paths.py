"""Checks that the files which parameters name are there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from engine.errors import Place, Problem
from engine.topology.model import NodeDecl, Setting
from engine.topology.report import MAX_SUGGESTED, shown
from engine.topology.rules import Graph, did_you_mean, problem_at

CODES = {"missing-file": "A file that a parameter names does not exist."}

RUN_MARK = "${run."
"""Begins what only a run can fill in: such a file may be made by the run itself."""


def problems(graph: Graph) -> list[Problem]:
    """Return the problems of all parameters that name files; they are sought beside the file that names them."""
    return [
        problem
        for node_id, spec in graph.specs.items()
        for name, setting in graph.topology.nodes[node_id].params.items()
        if name in spec.params and spec.params[name].path
        for problem in _missing(graph.topology.nodes[node_id], name, setting)
    ]


def _missing(node: NodeDecl, name: str, setting: Setting) -> Iterator[Problem]:
    base = os.path.dirname(setting.origin.place.file)
    for text, place in _named(setting):
        path = Path(os.path.normpath(os.path.join(base, text)))
        if not _exists(path):
            message = f"param {name!r} of node {node.id!r} ({node.use}): file {shown(path, 200)} does not exist"
            yield problem_at("missing-file", message, setting.origin, _advice(path), place=place)


def _named(setting: Setting) -> Iterator[tuple[str, Place | None]]:
    """Yield each path that a value names, with its own place where it has one; other kinds are told as misfits."""
    items = enumerate(setting.value) if isinstance(setting.value, list) else [("", setting.value)]
    for key, item in items:
        if isinstance(item, str) and item and RUN_MARK not in item:
            yield item, setting.places.get(str(key))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long, not allowed to be looked at, or with a NUL in it
        return False


def _advice(path: Path) -> str:
    otherwise = "a path is relative to the file in which it is written"
    try:
        names = sorted(item.name for item in islice(path.parent.iterdir(), MAX_SUGGESTED))
    except FileNotFoundError:
        return f"folder {shown(path.parent, 200)} does not exist either; {otherwise}"
    except (OSError, ValueError):
        return otherwise
    return did_you_mean(path.name, names, otherwise)
