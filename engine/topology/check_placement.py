"""Checks of where things live: each node in one process, each port number used once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from engine.errors import Place, Problem
from engine.topology.listeners import holder_of, is_free
from engine.topology.model import Origin, ProcessDecl
from engine.topology.rules import Graph, did_you_mean, problem_at

CODES = {
    "node-unplaced": "The topology has processes, and a node is in none of them.",
    "node-placed-twice": "A node is in two processes.",
    "pattern-empty": "A pattern under `processes` matches no node.",
    "endpoint-collision": "Two things want the same port number, or a program of this machine holds it already.",
}

PORT_UNIT = "port"
"""Unit of a parameter that is a TCP port on which the node listens."""


def problems(graph: Graph, *, offline: bool) -> list[Problem]:
    """Return the problems of processes and port numbers; unless `offline`, also those with what listens now."""
    return [*_processes(graph), *_endpoints(graph, offline)]


def _processes(graph: Graph) -> Iterator[Problem]:
    topology = graph.topology
    if not topology.processes:
        return
    placed: dict[str, tuple[str, Place]] = {}
    meant: set[str] = set()
    for process in topology.processes.values():
        for pattern, place in process.patterns:
            if any(fnmatchcase(node_id, pattern) for node_id in topology.nodes):
                continue
            origin = Origin(place, process.origin.used)
            if any(mark in pattern for mark in "*?["):
                message = f"pattern {pattern!r} of process {process.name!r} matches no node"
                near = did_you_mean(pattern.rstrip("*."), {node.partition(".")[0] for node in topology.nodes})
                yield problem_at("pattern-empty", message, origin, near or "leave it out, or correct it")
                continue
            fix = did_you_mean(pattern, topology.nodes, "leave it out, or declare the node")
            meant.update(node_id for node_id in topology.nodes if repr(node_id) in fix)
            message = f"process {process.name!r} names node {pattern!r}, which the topology does not have"
            yield problem_at("unknown-node", message, origin, fix)
        for node_id in process.nodes:
            where = _place_of(process, node_id)
            first = placed.setdefault(node_id, (process.name, where))
            if first[0] == process.name:
                continue
            message = f"node {node_id!r} is in process {first[0]!r} and in process {process.name!r}"
            fix = "keep it in one of them"
            origin = Origin(where, process.origin.used)
            yield problem_at("node-placed-twice", message, origin, fix, notes=[("placed first here", first[1])])
    for node in topology.nodes.values():
        if node.id not in placed and node.id not in meant:
            message = f"node {node.id!r} is in no process"
            fix = f"add it to one of: {', '.join(topology.processes)}"
            yield problem_at("node-unplaced", message, node, fix)


def _place_of(process: ProcessDecl, node_id: str) -> Place:
    """Return where a process names a node, by its id or by a pattern."""
    return next((at for pattern, at in process.patterns if fnmatchcase(node_id, pattern)), process.origin.place)


@dataclass(frozen=True, slots=True)
class _Endpoint:
    number: int
    owner: str
    origin: Origin
    machine: str | None = None


def _endpoints(graph: Graph, offline: bool) -> Iterator[Problem]:
    taken: dict[tuple[str | None, int], _Endpoint] = {}
    for endpoint in _all_endpoints(graph):
        first = taken.setdefault((endpoint.machine, endpoint.number), endpoint)
        if first is not endpoint:
            message = f"port {endpoint.number} is used by {first.owner} and by {endpoint.owner}"
            fix = "give one of them another number"
            notes = [("used first here", first.origin.place)]
            yield problem_at("endpoint-collision", message, endpoint.origin, fix, notes=notes)
    if offline:
        return
    for (machine, number), endpoint in taken.items():
        if machine is None and not is_free(number):
            holder = holder_of(number)
            message = f"port {number}, wanted by {endpoint.owner}, is held by {holder or 'another program'}"
            fix = "stop it, or shift all ports of this run with --port-offset N"
            yield problem_at("endpoint-collision", message, endpoint.origin, fix)


def _all_endpoints(graph: Graph) -> Iterator[_Endpoint]:
    topology = graph.topology
    for hub in topology.hubs.values():
        for number in hub.publish:
            yield _Endpoint(number, f"hub {hub.name!r} (publish)", hub.origin, hub.machine)
        yield _Endpoint(hub.subscribe, f"hub {hub.name!r} (subscribe)", hub.origin, hub.machine)
    for process in topology.processes.values():
        if process.listen is not None:
            yield _Endpoint(process.listen.port, f"process {process.name!r}", process.origin, process.machine)
    machines = {node_id: one.machine for one in topology.processes.values() for node_id in one.nodes}
    for node_id, spec in graph.specs.items():
        node = topology.nodes[node_id]
        for name, param in spec.params.items():
            if param.unit != PORT_UNIT:
                continue
            setting = node.params.get(name)
            value = setting.value if setting else param.default
            if isinstance(value, int) and value > 0:
                owner, at = f"param {name!r} of node {node_id!r}", setting.origin if setting else node.origin
                yield _Endpoint(value, owner, at, machines.get(node_id))
