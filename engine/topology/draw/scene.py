"""What there is to draw of a topology, gathered once and in a fixed order; every format reads this and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from decimal import Decimal

import msgspec

from engine.errors import UsageError
from engine.message import Message
from engine.registry import node_class
from engine.spec import In, NodeSpec, Out, ParamSpec
from engine.topology.model import NodeDecl, Policy, PortRef, Setting, Topology, Wire

HIDDEN = "***"
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
SpecOf = Callable[[str], NodeSpec]


@dataclass(frozen=True, slots=True)
class PortView:
    """One port: its message type ("" where the node type is unknown) and what it is for."""

    name: str
    message: str = ""
    doc: str = ""


@dataclass(frozen=True, slots=True)
class ParamView:
    """One parameter as text; `written` when the topology sets it, otherwise the value is the default."""

    name: str
    value: str
    unit: str = ""
    doc: str = ""
    written: bool = False

    def __str__(self) -> str:
        unit = self.unit if _is_number(self.value) else ""
        return f"{self.name} = {self.value} {unit}".rstrip()


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node. `trouble` says why its type could not be read; then its ports are those that wires name."""

    id: str
    use: str
    about: str
    doc: str
    process: str
    layer: int
    inputs: tuple[PortView, ...]
    outputs: tuple[PortView, ...]
    params: tuple[ParamView, ...]
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class HubView:
    """One hub with its ports and the topics that wires name."""

    name: str
    publish: tuple[int, ...]
    subscribe: int
    codec: str
    topics: tuple[str, ...]

    @property
    def ports(self) -> str:
        return f"{', '.join(map(str, self.publish)) or '?'} → {self.subscribe or '?'}"


@dataclass(frozen=True, slots=True)
class WireView:
    """One wire; `policy` in words, "" where neither the topology nor the port says one."""

    source: PortRef
    target: PortRef
    message: str
    policy: str
    feedback: bool


@dataclass(frozen=True, slots=True)
class ProcessView:
    """One process; `name` is "" for the nodes that no process holds."""

    name: str
    about: str
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scene:
    """All that can be drawn. `nodes` are by layer (sources first), then as declared."""

    name: str
    about: str
    nodes: dict[str, NodeView]
    hubs: dict[str, HubView]
    processes: tuple[ProcessView, ...]
    wires: tuple[WireView, ...]
    with_params: bool
    overview: bool = False
    """Pictures show boxes and arrows only: no ports, no parameters, one arrow for all wires between two nodes."""


def make_scene(
    topology: Topology,
    *,
    process: str | None = None,
    with_params: bool = True,
    overview: bool = False,
    spec_of: SpecOf = lambda use: node_class(use).spec,
) -> Scene:
    """Gather what is to be drawn; a topology that fails its checks is drawn all the same.

    `process` keeps the nodes of one process, and what they are joined to elsewhere as bare ends of wires. `spec_of`
    gives a node type's declaration. Raises UsageError for a process that is not declared.
    """
    if process is not None and process not in topology.processes:
        known = ", ".join(topology.processes) or "none is declared"
        raise UsageError(f"topology {topology.name!r} has no process {process!r}; processes: {known}")
    specs, troubles = _specs(topology, spec_of)
    loops = {(source, target) for source, target, _ in topology.feedback}
    views = [_wire_view(wire, specs, topology, loops) for wire in topology.wires]
    home = {node_id: one.name for one in topology.processes.values() for node_id in one.nodes}
    ids = [*topology.nodes, *_undeclared(topology)]
    layers = layers_of(ids, [(view.source, view.target) for view in views if not view.feedback])
    if process is not None:
        ids = [node_id for node_id in ids if home.get(node_id) == process]
        views = [view for view in views if _touches(view, ids)]
    order = sorted(ids, key=lambda node_id: layers[node_id])
    nodes = {
        node_id: _node_view(
            node_id,
            topology.nodes.get(node_id),
            specs.get(node_id),
            views,
            trouble=troubles.get(node_id, ""),
            process=home.get(node_id, ""),
            layer=layers[node_id],
        )
        for node_id in order
    }
    return Scene(
        name=clean(topology.name),
        about=clean(topology.about),
        nodes=nodes,
        hubs=_hubs(topology, views, everything=process is None),
        processes=_processes(topology, order, home),
        wires=tuple(views),
        with_params=with_params,
        overview=overview,
    )


def clean(text: str) -> str:
    """Return the text on one line, without characters that a terminal or an XML reader would obey or refuse."""
    return UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", " ".join(text.split()))


def layers_of(ids: Iterable[str], wires: Iterable[tuple[PortRef, PortRef]]) -> dict[str, int]:
    """Return for each node the length of the longest path that leads to it, counted from 1.

    Paths go through hubs by topic. On a loop that no feedback line opens, the node declared first comes first.
    """
    left = dict.fromkeys(ids)
    before: dict[str, set[str]] = {node_id: set() for node_id in left}
    pairs = list(wires)
    writers: dict[PortRef, list[str]] = {}
    for source, target in pairs:
        if target.hub:
            writers.setdefault(target, []).append(source.node)
    for source, target in pairs:
        if not target.hub:
            before[target.node].update(writers.get(source, []) if source.hub else [source.node])
    layers: dict[str, int] = {}
    while left:
        ready = [node_id for node_id in left if all(other in layers or other == node_id for other in before[node_id])]
        for node_id in ready or [next(iter(left))]:
            layers[node_id] = 1 + max((layers[other] for other in before[node_id] if other in layers), default=0)
            del left[node_id]
    return layers


def policy_words(policy: Policy, port: In | None) -> str:
    """Return a wire's policy in words, the port's defaults filled in: `conflate by sensor, stale after 30 s: hold`."""
    kind = policy.kind or (port.policy if port else None)
    default = port if port and kind == port.policy else None
    words: list[str] = [kind] if kind else []
    by = policy.by or (default.by if default else None)
    n = policy.n or (default.n if default else None)
    if by:
        words.append(f"by {by}")
    if n:
        words.append(str(n))
    parts = [" ".join(words)] if words else []
    if policy.ttl_s is not None:
        parts.append(f"ttl {policy.ttl_s:g} s")
    if policy.on_stale is not None:
        parts.append(f"stale after {policy.on_stale.after_s:g} s: {policy.on_stale.action}")
    return clean(", ".join(parts))


def _specs(topology: Topology, spec_of: SpecOf) -> tuple[dict[str, NodeSpec], dict[str, str]]:
    specs: dict[str, NodeSpec] = {}
    troubles: dict[str, str] = {}
    for node in topology.nodes.values():
        try:
            specs[node.id] = spec_of(node.use)
        except Exception as error:  # noqa: BLE001  a node file is foreign code: its import may raise anything
            troubles[node.id] = clean(str(error))
    return specs, troubles


def _undeclared(topology: Topology) -> list[str]:
    ends = [end for wire in topology.wires for end in (wire.source, wire.target) if not end.hub]
    return list(dict.fromkeys(end.node for end in ends if end.node not in topology.nodes))


def _wire_view(
    wire: Wire, specs: dict[str, NodeSpec], topology: Topology, loops: Collection[tuple[PortRef, PortRef]]
) -> WireView:
    writers = [wire.source]
    if wire.source.hub:
        writers = [other.source for other in topology.wires if other.target == wire.source]
    reader = specs[wire.target.node].inputs.get(wire.target.port) if wire.target.node in specs else None
    outs = [specs[writer.node].outputs.get(writer.port) for writer in writers if writer.node in specs]
    carried = dict.fromkeys(_message_name(out.message) for out in outs if out)
    names = {(writer, wire.target) for writer in writers} | {(wire.source, wire.target)}
    return WireView(
        source=wire.source,
        target=wire.target,
        message=" | ".join(carried) or (_message_name(reader.message) if reader and not wire.target.hub else ""),
        policy=policy_words(wire.policy, None if wire.target.hub else reader),
        feedback=wire.feedback or not names.isdisjoint(loops),
    )


def _node_view(
    node_id: str,
    node: NodeDecl | None,
    spec: NodeSpec | None,
    views: list[WireView],
    *,
    trouble: str,
    process: str,
    layer: int,
) -> NodeView:
    used_in = [view.target.port for view in views if not view.target.hub and view.target.node == node_id]
    used_out = [view.source.port for view in views if not view.source.hub and view.source.node == node_id]
    return NodeView(
        id=clean(node_id),
        use=clean(node.use) if node else "not declared",
        about=clean(node.about) if node else "",
        doc=clean(spec.doc) if spec else "",
        process=process,
        layer=layer,
        inputs=_ports(spec.inputs if spec else {}, used_in),
        outputs=_ports(spec.outputs if spec else {}, used_out),
        params=_params(spec.params if spec else {}, node.params if node else {}),
        trouble=trouble if node else "wires name this node, but the topology does not declare it",
    )


def _ports(declared: dict[str, In] | dict[str, Out], used: list[str]) -> tuple[PortView, ...]:
    known = [PortView(name, _message_name(port.message), clean(port.doc)) for name, port in declared.items()]
    return (*known, *(PortView(name) for name in dict.fromkeys(used) if name not in declared))


def _message_name(message: type[Message]) -> str:
    return "any" if message is Message else message.__name__


def _params(declared: dict[str, ParamSpec], settings: dict[str, Setting]) -> tuple[ParamView, ...]:
    views: list[ParamView] = []
    for name, spec in declared.items():
        setting = settings.get(name)
        unit = "" if spec.unit == "1" else clean(spec.unit)
        if setting is None and spec.required:
            views.append(ParamView(name, "missing", unit, clean(spec.doc)))
            continue
        value = _plain(setting.value if setting else spec.default)
        if spec.secret or (setting is not None and setting.secret):
            value = HIDDEN
        views.append(ParamView(name, value, unit, clean(spec.doc), written=setting is not None))
    for name, setting in settings.items():
        if name not in declared:
            value = HIDDEN if setting.secret else _plain(setting.value)
            views.append(ParamView(clean(name), value, written=True))
    return tuple(views)


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return clean(value) or '""'
    if isinstance(value, float | Decimal):
        return f"{value:.12g}"
    return clean(msgspec.json.encode(value, enc_hook=str).decode())


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _hubs(topology: Topology, views: list[WireView], everything: bool) -> dict[str, HubView]:
    topics: dict[str, dict[str, None]] = {name: {} for name in topology.hubs} if everything else {}
    for view in views:
        for end in (view.source, view.target):
            if end.hub:
                topics.setdefault(end.node, {})[end.port] = None
    hubs: dict[str, HubView] = {}
    for name, found in topics.items():
        hub = topology.hubs.get(name)
        publish, subscribe, codec = (hub.publish, hub.subscribe, hub.codec) if hub else ((), 0, "not declared")
        hubs[name] = HubView(clean(name), publish, subscribe, codec, tuple(clean(topic) for topic in found))
    return hubs


def _processes(topology: Topology, order: list[str], home: dict[str, str]) -> tuple[ProcessView, ...]:
    views: list[ProcessView] = []
    for one in topology.processes.values():
        nodes = tuple(node_id for node_id in order if home.get(node_id) == one.name)
        restart = one.restart
        about = f"restart {restart.policy.replace('_', ' ')}"
        if restart.policy != "never":
            about += f", at most {restart.max} in {restart.window_s:g} s"
        if one.memory_bytes is not None:
            about += f", {one.memory_bytes / 2**20:g} MiB"
        if one.cpus is not None:
            about += f", {one.cpus:g} CPUs"
        if one.machine is not None:
            about += f", on {one.machine}"
        if nodes:
            views.append(ProcessView(clean(one.name), about, nodes))
    loose = tuple(node_id for node_id in order if node_id not in home)
    return (*views, *([ProcessView("", "", loose)] if loose else []))


def _touches(view: WireView, ids: Collection[str]) -> bool:
    return any(not end.hub and end.node in ids for end in (view.source, view.target))
