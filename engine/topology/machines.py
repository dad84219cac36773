"""Machines: which processes belong to which, and which of them speak to each other across."""

from __future__ import annotations

from engine.errors import UsageError
from engine.topology.model import HubDecl, ProcessDecl, Topology

HUBS = "hubs"
OPERATOR = "operator"


def machines(topology: Topology) -> list[str | None]:
    """Return the machines that processes name, in the order of declaration; None is the one without a name."""
    return list(dict.fromkeys(process.machine for process in topology.processes.values()))


def processes_on(topology: Topology, machine: str | None) -> list[ProcessDecl]:
    """Return the processes that are started on a machine; raise UsageError when the topology has none for it."""
    found = [process for process in topology.processes.values() if process.machine == machine]
    if found or not topology.processes:
        return found
    named = ", ".join(name for name in machines(topology) if name is not None)
    if machine is None:
        raise UsageError(f"every process of {topology.name!r} names its machine; choose one with --machine: {named}")
    known = f"it has: {named}" if named else "its processes name no machine"
    raise UsageError(f"topology {topology.name!r} has no process on machine {machine!r}; {known}")


def across(topology: Topology) -> dict[str, set[str]]:
    """Return the processes that speak to processes of other machines, each with those that it speaks to.

    The two ends of a wire through a hub speak to each other too: their greetings and ends go directly.
    """
    home = _homes(topology)
    pairs: dict[str, set[str]] = {}
    for wire in topology.wires:
        if wire.target.hub:
            continue
        sources = [wire.source.node]
        if wire.source.hub:
            sources = [other.source.node for other in topology.wires if other.target == wire.source]
        for source in sources:
            writer, reader = home.get(source), home.get(wire.target.node)
            if writer is not None and reader is not None and writer.machine != reader.machine:
                pairs.setdefault(writer.name, set()).add(reader.name)
                pairs.setdefault(reader.name, set()).add(writer.name)
    return {name: pairs[name] for name in topology.processes if name in pairs}


def open_hubs(topology: Topology) -> dict[str, HubDecl]:
    """Return the hubs that say on which address they listen: these let in only those whose key they know."""
    return {name: hub for name, hub in topology.hubs.items() if hub.listen is not None}


def users_of(topology: Topology, hub: str) -> set[str]:
    """Return the processes that write to a hub or read from it."""
    home = _homes(topology)
    nodes = {wire.source.node for wire in topology.wires if wire.target.hub and wire.target.node == hub}
    nodes |= {wire.target.node for wire in topology.wires if wire.source.hub and wire.source.node == hub}
    return {home[node].name for node in nodes if node in home}


def hubs_key(machine: str | None) -> str:
    """Return the name of the key of a machine's hubs; no process can have it."""
    return HUBS if machine is None else f"{HUBS}@{machine}"


def keyed(topology: Topology) -> dict[str, str | None]:
    """Return everybody who needs a key, with the machine on which the secret belongs.

    With an open hub there is also the operator: the key of programs outside that read a hub, or write what it takes
    from outside. It belongs to no machine.
    """
    hubs = open_hubs(topology)
    needed = set(across(topology))
    for hub in hubs:
        needed |= users_of(topology, hub)
    found = {name: process.machine for name, process in topology.processes.items() if name in needed}
    found |= {hubs_key(hub.machine): hub.machine for hub in hubs.values()}
    return found | ({OPERATOR: None} if hubs else {})


def _homes(topology: Topology) -> dict[str, ProcessDecl]:
    return {node_id: process for process in topology.processes.values() for node_id in process.nodes}
