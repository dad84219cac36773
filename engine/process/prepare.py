"""From files to a run that can be supervised: load, check, plan, and make room for it or take it up again."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine.errors import UsageError
from engine.process.places import LOCK, claim, is_locked
from engine.process.run import Run
from engine.process.state import FILE, StateFile
from engine.run.folder import MARK, digest, mark, read_mark, refuse_strangers, write_whole
from engine.run.session import checked_plan
from engine.topology.flat import Flat, flatten
from engine.topology.load import load_topology
from engine.topology.machines import OPERATOR, across, hubs_key, keyed, processes_on, users_of
from engine.topology.model import ProcessDecl, Topology
from engine.wire.table import ONLY_PROCESS

FLAT = "topology.json"
IN_ORDER = "in_order"
"""Key of the mark: whether the run has ended in order. It is missing while the run is alive, and after a crash."""


@dataclass(frozen=True, slots=True)
class Asked:
    """How a run was asked for. What is None is taken from the topology, or when a run is resumed, from that run."""

    files: list[Path]
    sets: list[str]
    out: Path | None = None
    seed: int | None = None
    speed: float | None = None
    record: bool | None = None
    port_offset: int | None = None
    resume: bool = False
    force: bool = False
    machine: str | None = None


def prepare(asked: Asked) -> Run:
    """Return a run that is ready to be supervised, its folder made empty, or with what the resumed run had left there.

    Raises TopologyError with all problems of the topology, and UsageError where the folder may not be used so.
    """
    topology = load_topology(asked.files, asked.sets)
    folder = asked.out or Path("runs") / (topology.name + (f"@{asked.machine}" if asked.machine else ""))
    before = _resumed(folder, topology, asked) if asked.resume else {}
    placed = _placed(topology)
    machine = _first(asked.machine, before.get("machine"))
    processes_on(placed, machine)
    plan = checked_plan(placed, folder)
    has_histories = any(node.cls.spec.is_history for node in plan.nodes)
    run = Run(
        id=before.get("id") or f"{topology.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}",
        plan=plan,
        folder=folder,
        sockets=Path(),  # the supervisor makes them
        seed=_first(asked.seed, before.get("seed"), 0),
        # A history is paced; where there is none, time is the wall clock's.
        speed=_first(asked.speed, before.get("speed"), topology.run.speed, 1.0 if has_histories else None),
        record=_first(asked.record, before.get("record"), topology.run.record),
        port_offset=_first(asked.port_offset, before.get("port_offset"), 0),
        machine=machine,
    )
    _refuse_taken_ports(run)
    _refuse_without_keys(run)
    if not asked.resume:
        _make_room(folder, topology, replace_it=asked.force or asked.out is None, force=asked.force)
    asked_for = ("id", "speed", "record", "port_offset", "machine")
    more = {name: getattr(run, name) for name in asked_for}
    mark(folder, asked.files, asked.sets, run.seed, topology, **more)
    write_whole(folder / FLAT, flatten(topology).data)
    return run


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _placed(topology: Topology) -> Topology:
    """Return a topology in which every node has a process."""
    if topology.processes:
        return topology
    return replace(
        topology, processes={ONLY_PROCESS: ProcessDecl(ONLY_PROCESS, tuple(topology.nodes), topology.origin)}
    )


def _refuse_taken_ports(run: Run) -> None:
    from engine.wire.hub import refuse_taken_ports
    from engine.wire.hub_topics import used_hubs

    if used_hubs(run.plan.topology):
        refuse_taken_ports(run)


def _refuse_without_keys(run: Run) -> None:
    """Raise UsageError when a process of this machine, or its hubs, could not speak over TCP for want of a key."""
    topology = run.plan.topology
    needed = {name for name, machine in keyed(topology).items() if machine == run.machine} - {OPERATOR}
    if not needed or topology.run.keys is None:
        return
    from engine.wire.keys import KeyFolder

    keys = KeyFolder(Path(topology.run.keys))
    peers = across(topology)
    hubs = {name: hub for name, hub in topology.hubs.items() if hub.listen is not None}
    for name in sorted(needed):
        keys.secret(name)
        servers = [hubs_key(hub.machine) for hub_name, hub in hubs.items() if name in users_of(topology, hub_name)]
        for other in (*sorted(peers.get(name, ())), *servers):
            keys.public(other)


# --- the folder -------------------------------------------------------------------------------------------------------


def _resumed(folder: Path, topology: Topology, asked: Asked) -> dict[str, Any]:
    """Return the mark of the run that is to go on; raise UsageError where it cannot."""
    made = read_mark(folder)
    if not (folder / FILE).exists():
        raise UsageError(f"{folder} holds no run that could be resumed: it was not made by `pipeline up`")
    if is_locked(folder):
        raise UsageError(f"{folder} is being run now; `pipeline down {folder}` ends it")
    if made.get("topology") != topology.name:
        raise UsageError(f"{folder} holds a run of {made.get('topology')!r}, not of {topology.name!r}")
    if made["digest"] != digest(topology) and not asked.force:
        raise UsageError(
            f"the topology has changed since {folder} was run: `pipeline diff {asked.files[0]} --run {folder}` shows "
            "how; --force resumes with what it is now"
        )
    return made


def _make_room(folder: Path, topology: Topology, *, replace_it: bool, force: bool) -> None:
    """Empty the folder of a run, under the lock by which a run has one supervisor; raise UsageError where it may not.

    Only the folder of a run of this topology that has ended in order is emptied unasked: any other may hold what
    somebody still needs.
    """
    refuse_strangers(folder)
    try:
        if (folder / MARK).exists():
            made = read_mark(folder)
            if is_locked(folder):
                raise UsageError(
                    f"{folder} is being run now; `pipeline down {folder}` ends it, or choose another --out"
                )
            if not replace_it:
                choices = "choose another --out, go on with it (--resume), or replace it (--force)"
                raise UsageError(f"{folder} already holds a run; {choices}")
            if not force:
                _refuse_to_replace(folder, made, topology)
        held = claim(folder)
        try:
            for item in folder.iterdir():
                if item.name != LOCK:
                    shutil.rmtree(item) if item.is_dir() and not item.is_symlink() else item.unlink()
        finally:
            held.release()
    except OSError as error:
        raise UsageError(f"{folder} cannot be the folder of a run: {error.strerror or error}") from None


def _refuse_to_replace(folder: Path, made: dict[str, Any], topology: Topology) -> None:
    choices = "go on with it (--resume), choose another --out, or throw it away (--force)"
    if made.get("topology") != topology.name:
        raise UsageError(f"{folder} holds a run of {made.get('topology')!r}; choose another --out, or --force")
    if not (folder / FILE).exists():
        return  # a backtest: it can be made again
    halted = StateFile(folder).state.halted
    if halted is not None:
        raise UsageError(f"the last run in {folder} was halted: {halted.reason}; {choices}")
    if not made.get(IN_ORDER):
        raise UsageError(f"the last run in {folder} has not ended in order; {choices}")


def ended(run: Run, *, in_order: bool) -> None:
    """Note in the mark of a run how it has ended."""
    write_whole(run.folder / MARK, {**read_mark(run.folder), IN_ORDER: in_order})


def flat_of(folder: Path) -> Flat:
    """Return the topology that a run was begun with; raise UsageError where the folder does not have it."""
    try:
        return Flat(json.loads((folder / FLAT).read_text(encoding="utf-8")), {})
    except FileNotFoundError:
        raise UsageError(f"{folder} was not made by `pipeline up`: it has no {FLAT}") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder / FLAT} is damaged: {error}") from None


def as_written(flat: Flat) -> Flat:
    """Return a flat topology as it comes back from a file, so that it can be compared with one that does."""
    return Flat(json.loads(json.dumps(flat.data)), flat.origins)
