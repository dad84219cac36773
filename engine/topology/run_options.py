"""The `run` section of a topology: how a run in processes goes."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Literal

from engine.topology.fields import Fields
from engine.topology.model import LogOptions, Origin, RunOptions
from engine.topology.substitute import Scope
from engine.topology.tree import Map, Tree

RUN_KEYS = ("speed", "record", "free_disk", "disk", "keep_runs", "log", "keys")
LOG_KEYS = ("level", "size", "keep")
LOG_LEVELS: tuple[Literal["debug", "info", "warning", "error"], ...] = ("debug", "info", "warning", "error")
MAX_SPEED = 1e6
MIN_DISK_BYTES = 1 << 20
MIN_LOG_BYTES = 4 << 10


def run_options(file: Map, scope: Scope, fields: Fields) -> RunOptions:
    """Return what the topology says of its runs, with the defaults for the rest."""
    default = RunOptions()
    if "run" not in file.entries:
        return default
    run = fields.map(scope.resolve(file.entries["run"]), "'run'", "write run: {speed: 60, record: true}")
    if run is None:
        return default
    fields.known_keys(run, "'run'", RUN_KEYS)
    entries = run.entries
    record = fields.truth(entries.get("record"), "'record' of 'run'")
    free = fields.bytes(entries.get("free_disk"), "'free_disk' of 'run'", MIN_DISK_BYTES)
    return RunOptions(
        speed=fields.number(entries.get("speed"), "'speed' of 'run'", MAX_SPEED),
        record=default.record if record is None else record,
        free_disk_bytes=default.free_disk_bytes if free is None else free,
        disk_bytes=fields.bytes(entries.get("disk"), "'disk' of 'run'", MIN_DISK_BYTES),
        keep_runs_bytes=fields.bytes(entries.get("keep_runs"), "'keep_runs' of 'run'", MIN_DISK_BYTES),
        log=_log_options(entries.get("log"), fields),
        keys=_keys(entries.get("keys"), fields),
        origin=Origin(file.keys["run"]),
    )


def _log_options(tree: Tree | None, fields: Fields) -> LogOptions:
    default = LogOptions()
    log = fields.map(tree, "'log' of 'run'", "write log: {level: info, size: 16MiB, keep: 5}")
    if log is None:
        return default
    fields.known_keys(log, "'log' of 'run'", LOG_KEYS)
    chosen = fields.choice(log.entries.get("level"), "'level' of 'log'", LOG_LEVELS)
    size = fields.bytes(log.entries.get("size"), "'size' of 'log'", MIN_LOG_BYTES)
    keep = fields.whole(log.entries.get("keep"), "'keep' of 'log'")
    result = replace(default, level=next((level for level in LOG_LEVELS if level == chosen), default.level))
    result = result if size is None else replace(result, size_bytes=size)
    return result if keep is None else replace(result, keep=keep)


def _keys(tree: Tree | None, fields: Fields) -> str | None:
    """Return the folder of keys from the root; in the file it is relative to that file."""
    text = fields.text(tree, "'keys' of 'run'", "write keys: FOLDER")
    if tree is None or text is None:
        return None
    if not text:
        fields.report.add("bad-value", "'keys' of 'run' names no folder", tree.place, "write keys: FOLDER")
        return None
    return os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(tree.place.file)), text))
