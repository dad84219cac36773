"""The folder of a run: the mark that says what was run in it, and making room for the next."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

from engine.errors import UsageError
from engine.process.places import is_locked
from engine.topology.flat import flatten
from engine.topology.model import Topology

MARK = "run.json"
MARK_KEYS = {"files": list, "sets": list, "seed": int, "digest": str}
PAGE = "report.txt"
"""What a sink wants to be shown at the end of a run."""


def mark(
    folder: Path, files: list[Path], sets: list[str], seed: int, topology: Topology, **more: str | float | bool | None
) -> None:
    """Write down what is run in a folder: files, settings, seed, and what else is to be known of it."""
    content = {
        "topology": topology.name,
        "files": [str(path.resolve()) for path in files],
        "sets": sets,
        "seed": seed,
        "digest": digest(topology),
        **more,
    }
    write_whole(folder / MARK, content)


def write_whole(path: Path, content: dict[str, Any]) -> None:
    """Write a file of JSON so that it is there as a whole or not at all."""
    beside = path.with_name(f".{path.name}")
    beside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    beside.replace(path)


def read_mark(run: Path) -> dict[str, Any]:
    """Return what is written down of the run in a folder; raise UsageError where nothing, or nothing sensible, is."""
    try:
        content: dict[str, Any] = json.loads((run / MARK).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{run} is not a run folder: it has no {MARK}") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{run / MARK} is damaged: {error}") from None
    for key, wanted in MARK_KEYS.items():
        if not isinstance(content, dict) or not isinstance(content.get(key), wanted):
            raise UsageError(f"{run / MARK} is damaged: {key!r} is missing or of another kind; run the backtest again")
    return content


def digest(topology: Topology) -> str:
    """Return a digest by which two topologies that run the same can be told from others."""
    # Of what would run, not of the texts: a comment changes nothing, a variable of the environment may.
    return sha256(json.dumps(flatten(topology).data, sort_keys=True).encode()).hexdigest()


def make_empty(folder: Path, *, replace: bool) -> None:
    """Make the folder of a run; raise UsageError where that cannot be."""
    try:
        _clear(folder, replace=replace)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder} cannot be the folder of a run: {error.strerror or error}") from None


def _clear(folder: Path, *, replace: bool) -> None:
    """Empty a folder that holds an earlier run; refuse to touch anything else."""
    if not folder.exists() or not any(folder.iterdir()):
        return
    refuse_strangers(folder)
    if is_locked(folder):
        raise UsageError(f"{folder} is being run now; `pipeline down {folder}` ends it, or choose another --out")
    if not replace:
        raise UsageError(f"{folder} already holds a run; choose another --out, or replace it with --force")
    shutil.rmtree(folder)


def refuse_strangers(folder: Path) -> None:
    """Raise UsageError where a folder holds something else than a run, and so is not to be touched."""
    if folder.exists() and any(folder.iterdir()) and not (folder / MARK).exists():
        raise UsageError(f"{folder} is not empty and holds no run; choose another --out")
