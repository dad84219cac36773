"""A graph on two machines that are one: addresses on 127.0.0.1, keys in a folder, sockets in a folder each."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

from support.wired import Party, Sayer, Taker, node, party_plan, policy, wire

from engine.topology.model import RunOptions, TcpAddress
from engine.topology.plan import Plan
from engine.wire.keys import KeyFolder


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nothing holds now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def house_and_garden(folder: Path, *, keys: bool = True) -> Plan:
    """Return a plan with `left` and `near` on machine house, `right` on machine garden, and make their keys.

    `say` (left) is read by `take` (right), whose echo `hear` (left) reads; `whisper` (near) has no wire to `right`.
    """
    for name in ("left", "right", "near") if keys else ():
        KeyFolder(folder / "keys").make(name)
    plan = party_plan(
        {
            "left": [node("say", Sayer), node("hear", Taker)],
            "near": [node("whisper", Sayer)],
            "right": [node("take", Taker)],
        },
        [
            wire("say.level", "take.level", policy("block")),
            wire("say.fact", "take.fact", policy("reliable")),
            wire("take.echo", "hear.fact", policy("reliable")),
            wire("whisper.level", "hear.level", policy("block")),
        ],
        run=RunOptions(keys=str(folder / "keys")),
    )
    machines = {"left": "house", "near": "house", "right": "garden"}
    placed = {
        name: replace(each, machine=machines[name], listen=TcpAddress("127.0.0.1", free_port()))
        for name, each in plan.topology.processes.items()
    }
    return replace(plan, topology=replace(plan.topology, processes=placed))


def party(plan: Plan, name: str, folder: Path, epoch: int = 1, journal: bytes | None = None) -> Party:
    """Return a process with the sockets' folder of its machine."""
    sockets = folder / str(plan.topology.processes[name].machine)
    sockets.mkdir(exist_ok=True)
    return Party(plan, name, sockets, epoch, journal)
