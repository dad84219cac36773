"""The plan: a checked topology with its node classes, typed parameters and resolved wires. Pure: nothing is started."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import networkx as nx

from engine import units
from engine.node import Node
from engine.registry import node_class
from engine.spec import ParamSpec
from engine.topology.model import Policy, PortRef, Setting, Topology, Wire


@dataclass(frozen=True, slots=True)
class PlannedNode:
    """One node that is ready to be made."""

    id: str
    use: str
    cls: type[Node]
    params: dict[str, Any]


@dataclass(frozen=True, slots=True)
class PlannedWire:
    """One output joined to one input, with the policy that holds on it.

    `hub` is "NAME/TOPIC" where the topology leads the wire through a hub: in one process it is joined all the same.
    """

    source: tuple[str, str]
    target: tuple[str, str]
    policy: Policy
    feedback: bool
    hub: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does. `nodes` are in order along the graph: sources first, sinks last.

    `outside` are the wires whose writers are programs outside, each from ("hub:NAME", TOPIC); without a process for
    hubs, as in a backtest, they stay silent.
    """

    name: str
    topology: Topology
    nodes: tuple[PlannedNode, ...]
    wires: tuple[PlannedWire, ...]
    outside: tuple[PlannedWire, ...] = ()


def make_plan(topology: Topology, run_dir: Path) -> Plan:
    """Turn a topology that passed its checks into a plan; `${run.dir}` becomes `run_dir`."""
    classes = {node.id: node_class(node.use) for node in topology.nodes.values()}
    wires = _direct_wires(topology)
    nodes = [
        PlannedNode(node.id, node.use, classes[node.id], typed_params(classes[node.id], node.params, run_dir))
        for node in (topology.nodes[node_id] for node_id in _order(topology, [wire for wire, _ in wires]))
    ]
    return Plan(
        name=topology.name,
        topology=topology,
        nodes=tuple(nodes),
        wires=tuple(
            PlannedWire(
                (wire.source.node, wire.source.port),
                (wire.target.node, wire.target.port),
                resolved_policy(wire, classes[wire.target.node]),
                wire.feedback,
                hub,
            )
            for wire, hub in wires
        ),
        outside=tuple(
            PlannedWire(
                (f"hub:{wire.source.node}", wire.source.port),
                (wire.target.node, wire.target.port),
                resolved_policy(wire, classes[wire.target.node]),
                wire.feedback,
                f"{wire.source.node}/{wire.source.port}",
            )
            for wire in topology.wires
            if wire.source.hub and wire.source.port in topology.hubs[wire.source.node].outside
        ),
    )


def typed_params(cls: type[Node], settings: dict[str, Setting], run_dir: Path) -> dict[str, Any]:
    """Return the node's parameters in their types, defaults filled in; raise ValueError for one that does not fit."""
    result: dict[str, Any] = {}
    for name, spec in cls.spec.params.items():
        if name in settings:
            result[name] = typed_value(spec, settings[name], run_dir)
        elif spec.required:
            raise ValueError(f"parameter {name!r} is missing")
        else:
            result[name] = spec.default
    return result


def typed_value(spec: ParamSpec, setting: Setting, run_dir: Path) -> Any:
    """Return one parameter in its type: units converted, `${run.dir}` filled in, paths made absolute."""
    value = _filled(setting.value, str(run_dir))
    if spec.unit:
        value = units.converted(value, spec.unit)
    value = spec.convert(value)
    if spec.path:
        base = Path(setting.origin.place.file).parent
        value = (
            [str(_absolute(base, item)) for item in value] if isinstance(value, list) else str(_absolute(base, value))
        )
    return value


def _absolute(base: Path, path: str) -> Path:
    return (base / path).resolve() if path else Path(path)


def _filled(value: Any, run_dir: str) -> Any:
    if isinstance(value, str):
        return value.replace("${run.dir}", run_dir)
    if isinstance(value, list):
        return [_filled(item, run_dir) for item in value]
    if isinstance(value, dict):
        return {key: _filled(item, run_dir) for key, item in value.items()}
    return value


def resolved_policy(wire: Wire, reader: type[Node]) -> Policy:
    """Return the policy of a wire: what the topology writes, and the port's default for the rest."""
    port = reader.spec.inputs[wire.target.port]
    policy = wire.policy
    same = policy.kind is None or policy.kind == port.policy
    return replace(
        policy,
        kind=policy.kind or port.policy,
        by=policy.by if policy.by is not None or not same else port.by,
        n=policy.n if policy.n is not None or not same else port.n,
    )


def _direct_wires(topology: Topology) -> list[tuple[Wire, str | None]]:
    """Return the wires from node to node, each with the hub and topic through which the topology leads it."""
    writers: dict[PortRef, list[Wire]] = {}
    for wire in topology.wires:
        if wire.target.hub:
            writers.setdefault(wire.target, []).append(wire)
    direct: list[tuple[Wire, str | None]] = []
    for wire in topology.wires:
        if wire.target.hub:
            continue
        if wire.source.hub:
            through = f"{wire.source.node}/{wire.source.port}"
            direct += [(replace(wire, source=writer.source), through) for writer in writers.get(wire.source, [])]
        else:
            direct.append((wire, None))
    place = {node_id: index for index, node_id in enumerate(topology.nodes)}
    # Readers of one output are called in the order in which their nodes are declared.
    return sorted(direct, key=lambda each: (place[each[0].target.node], each[0].target.port, each[0].rank))


def _order(topology: Topology, wires: list[Wire]) -> list[str]:
    place = {node_id: index for index, node_id in enumerate(topology.nodes)}
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(topology.nodes)
    graph.add_edges_from((wire.source.node, wire.target.node) for wire in wires if not wire.feedback)
    return list(nx.lexicographical_topological_sort(graph, key=place.__getitem__))
