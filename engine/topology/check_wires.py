"""Checks of names and wires: both ends exist, messages agree, inputs are fed, outputs are read, hubs are met."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from engine.errors import Problem
from engine.message import Message
from engine.topology.model import NodeDecl, PortRef, Wire
from engine.topology.rules import Graph, Link, did_you_mean, nearest, problem_at
from engine.topology.writers import TOPIC, TOPIC_FORM

CODES = {
    "no-nodes": "The topology has no node.",
    "unknown-node": "A wire, a feedback line or a process names a node that the topology does not have.",
    "unknown-port": "A wire names an input or output that the node type does not declare.",
    "unknown-hub": "A wire names a hub that is not declared under `hubs`.",
    "hub-topic": "A wire to or from a hub names no topic, or one of a form that is not allowed.",
    "hub-unwritten": "A topic of a hub is read that no node writes and that is not listed as coming from outside.",
    "hub-reliable": "An input whose messages must all arrive reads from a hub, which carries copies only.",
    "hub-untyped": "A topic from outside is read by an input of any message, so that nothing says what comes.",
    "message-mismatch": "The output carries another message than the input reads.",
    "input-open": "An input that the node needs has no wire.",
    "output-unread": "No wire reads an output.",
    "several-writers": "Two outputs write an input that takes one writer.",
    "duplicate-wire": "The same output is joined to the same input twice.",
}


def problems(graph: Graph) -> list[Problem]:
    """Return the problems of names, wires and hubs."""
    topology = graph.topology
    if not topology.nodes:
        fix = "nodes: {NAME: {use: TYPE}}; `pipeline nodes list` shows the types"
        return [problem_at("no-nodes", f"topology {topology.name!r} has no node", topology.origin, fix)]
    names = _Names(graph)
    return [
        *names.found,
        *_mismatches(graph),
        *_writers(graph),
        *_open_inputs(graph, names),
        *_unread_outputs(graph, names),
        *_hub_topics(graph),
        *_copies(graph),
    ]


class _Names:
    """Names that wires use and nothing has; remembers what was probably meant, so that it is not reported as well."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.found: list[Problem] = []
        self.meant_inputs: set[tuple[str, str]] = set()
        self.meant_outputs: set[tuple[str, str]] = set()
        self.meant_nodes: set[str] = set()
        for wire in graph.topology.wires:
            for end in (wire.source, wire.target):
                if end.hub:
                    self._hub(wire, end)
                elif end.node not in graph.topology.nodes:
                    self._node(wire, end)
                elif end.node in graph.specs:
                    self._port(wire, end)

    def _hub(self, wire: Wire, end: PortRef) -> None:
        hubs = self.graph.topology.hubs
        if end.node not in hubs:
            fix = did_you_mean(
                end.node, hubs, f"declare it: hubs: {{{end.node}: {{publish: [6000], subscribe: 7000}}}}"
            )
            self.found.append(problem_at("unknown-hub", f"there is no hub {end.node!r}", wire, fix))
        elif not end.port:
            fix = f"write hub:{end.node}/TOPIC"
            self.found.append(problem_at("hub-topic", f"{end} names no topic of the hub", wire, fix))
        elif not TOPIC.fullmatch(end.port):
            self.found.append(problem_at("hub-topic", f"{end.port!r} cannot be a topic", wire, TOPIC_FORM))

    def _node(self, wire: Wire, end: PortRef) -> None:
        nodes = self.graph.topology.nodes
        meant = nearest(end.node, nodes)
        if meant is None:
            # A slip in an included node's name is near when the prefixes are left aside.
            tails = {node_id.rpartition(".")[2]: node_id for node_id in nodes}
            meant = tails.get(end.node.rpartition(".")[2])
        if meant:
            self.meant_nodes.add(meant)
        other = wire.target if end is wire.source else wire.source
        fix = f"did you mean {meant!r}?" if meant else f"the nodes are: {_listed(nodes)}"
        self.found.append(
            problem_at("unknown-node", f"{other} is joined to {end}, but there is no node {end.node!r}", wire, fix)
        )

    def _port(self, wire: Wire, end: PortRef) -> None:
        node, spec = self.graph.topology.nodes[end.node], self.graph.specs[end.node]
        writing = end is wire.source
        ports, others = (spec.outputs, spec.inputs) if writing else (spec.inputs, spec.outputs)
        if end.port in ports:
            return
        word, other_word = ("output", "input") if writing else ("input", "output")
        meant = nearest(end.port, ports)
        if meant:
            (self.meant_outputs if writing else self.meant_inputs).add((end.node, meant))
        elif len(ports) == 1 and writing:
            self.meant_outputs.add((end.node, next(iter(ports))))
        message = f"node {node.id!r} ({node.use}) has no {word} {end.port!r}"
        if end.port in others:
            message += f"; {end.port!r} is an {other_word}"
        fix = f"did you mean {meant!r}?" if meant else f"its {word}s are: {_listed(ports)}"
        place = None if writing else self.graph.key_place(wire.origin.place, end.port)
        self.found.append(problem_at("unknown-port", message, wire, fix, place=place))


def _mismatches(graph: Graph) -> Iterator[Problem]:
    for link in graph.links:
        if link.fits:
            continue
        carried, wanted = link.output.message, link.input.message
        same_node = [
            f"{link.source.id}.{name}"
            for name, out in graph.specs[link.source.id].outputs.items()
            if issubclass(out.message, wanted)
        ]
        writers = same_node or [name for name in graph.writers_of(wanted) if not name.startswith(f"{link.target.id}.")]
        fix = f"outputs that carry {wanted.__name__}: {_listed(writers)}"
        if not writers:
            fix = f"no output of this topology carries {wanted.__name__}; add a node that does"
        via = f" (through {link.wire.source})" if link.published else ""
        message = (
            f"{link.source.id}.{link.output.name}{via} carries {carried.__name__}, "
            f"but {link.target.id}.{link.input.name} reads {wanted.__name__}"
        )
        notes = [("written to the hub here", link.published.origin.place)] if link.published else []
        yield problem_at("message-mismatch", message, link.wire, fix, notes=notes)


def _writers(graph: Graph) -> Iterator[Problem]:
    seen: dict[tuple[PortRef, PortRef], Wire] = {}
    for wire in graph.topology.wires:
        first = seen.setdefault((wire.source, wire.target), wire)
        if first is not wire:
            message = f"{wire.source} is joined to {wire.target} twice; each message would arrive twice"
            notes = [("first joined here", first.origin.place)]
            yield problem_at("duplicate-wire", message, wire, "leave one of them out", notes=notes)
    by_input: dict[tuple[str, str], dict[tuple[str, str], Link]] = {}
    for link in graph.links:
        writers = by_input.setdefault((link.target.id, link.input.name), {})
        writers.setdefault((link.source.id, link.output.name), link)
    for (node_id, name), writers in by_input.items():
        first_link, *further = writers.values()
        if first_link.input.many or not further:
            continue
        for link in further:
            message = (
                f"{node_id}.{name} takes one writer, but {first_link.source.id}.{first_link.output.name} and "
                f"{link.source.id}.{link.output.name} both write it"
            )
            fix = f"keep one, or give each its own {link.target.use} node"
            notes = [("the other writer", (first_link.published or first_link.wire).origin.place)]
            yield problem_at("several-writers", message, link.published or link.wire, fix, notes=notes)


def _open_inputs(graph: Graph, names: _Names) -> Iterator[Problem]:
    wired = {(wire.target.node, wire.target.port) for wire in graph.topology.wires if not wire.target.hub}
    for node_id, spec in graph.specs.items():
        node = graph.topology.nodes[node_id]
        for name, port in spec.inputs.items():
            if port.optional or (node_id, name) in wired or (node_id, name) in names.meant_inputs:
                continue
            writers = [writer for writer in graph.writers_of(port.message) if not writer.startswith(f"{node_id}.")]
            message = f"input {name!r} of node {node_id!r} ({node.use}) has no wire; it reads {port.message.__name__}"
            fix = f"in: {{{name}: {writers[0]}}}" if writers else f"add a node that sends {port.message.__name__}"
            if port.message is Message:
                fix = f"in: {{{name}: NODE.OUTPUT}}; it takes any message"
            elif len(writers) > 1:
                fix += f"   ({port.message.__name__} also comes from {_listed(writers[1:])})"
            yield problem_at("input-open", message, node, fix)


def _unread_outputs(graph: Graph, names: _Names) -> Iterator[Problem]:
    read = {(wire.source.node, wire.source.port) for wire in graph.topology.wires if not wire.source.hub}
    for node_id, spec in graph.specs.items():
        node: NodeDecl = graph.topology.nodes[node_id]
        if node_id in names.meant_nodes:
            continue
        unread = [
            name
            for name, port in spec.outputs.items()
            if not port.optional and (node_id, name) not in read and (node_id, name) not in names.meant_outputs
        ]
        if unread:
            word = "output" if len(unread) == 1 else "outputs"
            message = f"nothing reads {word} {_listed(unread)} of node {node_id!r} ({node.use})"
            fix = "join it to an input" if len(unread) == 1 else "join them to inputs"
            if len(unread) == len(spec.outputs) and not spec.inputs:
                fix += ", or leave the node out"
            yield problem_at("output-unread", message, node, fix, severity="warning")


def _hub_topics(graph: Graph) -> Iterator[Problem]:
    hubs = graph.topology.hubs
    written: dict[PortRef, Wire] = {}
    read: dict[PortRef, Wire] = {}
    for wire in graph.topology.wires:
        for end, side in ((wire.target, written), (wire.source, read)):
            if end.hub and end.node in hubs and end.port:
                side.setdefault(end, wire)
    for topic, wire in read.items():
        if topic in written or topic.port in _outside(graph, topic):
            continue
        known = {other.port: other for other in written if other.node == topic.node and other not in read}
        near = nearest(topic.port, known)
        fix = (
            f'out: {{PORT: "{topic}"}} in the node that writes it; when the writer lives outside, '
            f"outside: [{topic.port}] in hub {topic.node!r}"
        )
        message = f"{wire.target} reads {topic}, which no node of this topology writes"
        yield problem_at("hub-unwritten", message, wire, f"did you mean {near!r}?" if near else fix)


def _copies(graph: Graph) -> Iterator[Problem]:
    for wire in graph.topology.wires:
        port = graph.input(wire.target)
        if port is None or not wire.source.hub:
            continue
        carried = [link.message for link in graph.into(wire.target.node) if link.wire is wire and link.fits]
        demanding = next((kind for kind in (*carried, port.message) if kind.delivery == "reliable"), None)
        if port.message is Message and wire.source.port in _outside(graph, wire.source):
            message = f"{wire.target} takes any message, so nothing says what comes from outside on {wire.source}"
            yield problem_at("hub-untyped", message, wire, "read it with an input of one message type")
        if demanding is None and (wire.policy.kind or port.policy) != "reliable":
            continue
        writers = ", ".join(str(other.source) for other in graph.topology.wires if other.target == wire.source)
        why = f"every {demanding.__name__} must arrive" if demanding else "its policy is reliable"
        message = f"{wire.target} reads {wire.source}, but {why}: hubs carry copies"
        fix = f"join it to what writes the topic: {writers}" if writers else "read another message from the hub"
        yield problem_at("hub-reliable", message, wire, fix)


def _outside(graph: Graph, end: PortRef) -> tuple[str, ...]:
    hub = graph.topology.hubs.get(end.node)
    return hub.outside if hub else ()


def _listed(names: Iterable[str], limit: int = 6) -> str:
    words = list(names)
    shown = ", ".join(words[:limit])
    return f"{shown}, ... ({len(words)} in all)" if len(words) > limit else shown or "none"
