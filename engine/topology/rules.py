"""Rules over the graph: what a rule is, and the view of the graph that it is given.

The engine's own checks and the rules of node packages read the same `Graph`. A package announces its rules under the
entry point group `pipeline.rules`; the value is a list or tuple of `Rule`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING

from engine.errors import Place, Problem
from engine.message import Message
from engine.spec import In, NodeSpec, Out
from engine.topology.model import HubDecl, NodeDecl, Origin, PortRef, ProcessDecl, Setting, Topology, Wire

if TYPE_CHECKING:
    import networkx as nx

Located = Origin | NodeDecl | Wire | HubDecl | ProcessDecl | Setting


@dataclass(frozen=True, slots=True)
class Rule:
    """A check that a node package adds. `code` is what its problems carry, `doc` what it demands, in one sentence."""

    code: str
    doc: str
    check: Callable[[Graph], Iterable[Problem]]


@dataclass(frozen=True, slots=True)
class Link:
    """One output joined to one input, hubs already passed through.

    `wire` is the wire that ends at the input; `published` is the wire into the hub, where there is a hub between.
    """

    source: NodeDecl
    output: Out
    target: NodeDecl
    input: In
    wire: Wire
    published: Wire | None = None

    @property
    def feedback(self) -> bool:
        return self.wire.feedback or (self.published is not None and self.published.feedback)

    @property
    def fits(self) -> bool:
        """Whether the input reads the message that the output carries."""
        return issubclass(self.output.message, self.input.message)

    @property
    def names(self) -> tuple[tuple[PortRef, PortRef], ...]:
        """The (from, to) pairs by which a `feedback` line may name this link."""
        if self.published is None:
            return ((self.wire.source, self.wire.target),)
        published, wire = self.published, self.wire
        return (wire.source, wire.target), (published.source, published.target), (published.source, wire.target)

    @property
    def message(self) -> type[Message]:
        return self.output.message

    def __str__(self) -> str:
        return f"{self.source.id}.{self.output.name} -> {self.target.id}.{self.input.name}"


class Graph:
    """The flat topology joined with what its node types declare; without nodes of unknown type and broken wires."""

    def __init__(self, topology: Topology, specs: dict[str, NodeSpec]) -> None:
        self.topology = topology
        self.specs = specs
        """Spec by node id, of every node whose type is known."""

    @staticmethod
    def kind(node: NodeDecl) -> str:
        """Return the first part of a node's type, as `models` of `models.ewma_volatility`."""
        return node.use.partition(".")[0]

    @cached_property
    def links(self) -> tuple[Link, ...]:
        """Every output joined to an input, in the order in which the wires are declared."""
        published: dict[PortRef, list[Wire]] = {}
        for wire in self.topology.wires:
            if wire.target.hub:
                published.setdefault(wire.target, []).append(wire)
        return tuple(self._links(published))

    def _links(self, published: dict[PortRef, list[Wire]]) -> Iterator[Link]:
        nodes = self.topology.nodes
        for wire in self.topology.wires:
            reader = self.input(wire.target)
            if reader is None:
                continue
            writers = published.get(wire.source, []) if wire.source.hub else [wire]
            for writer in writers:
                output = self.output(writer.source)
                if output is not None:
                    yield Link(
                        source=nodes[writer.source.node],
                        output=output,
                        target=nodes[wire.target.node],
                        input=reader,
                        wire=wire,
                        published=writer if wire.source.hub else None,
                    )

    @cached_property
    def network(self) -> nx.MultiDiGraph[str]:
        """Node ids joined by links; each edge carries its `link`."""
        import networkx as nx

        result: nx.MultiDiGraph[str] = nx.MultiDiGraph()
        result.add_nodes_from(self.specs)
        for link in self.links:
            result.add_edge(link.source.id, link.target.id, link=link)
        return result

    def input(self, port: PortRef) -> In | None:
        """Return the declaration of an input, or None where there is no such."""
        spec = None if port.hub else self.specs.get(port.node)
        return spec.inputs.get(port.port) if spec else None

    def output(self, port: PortRef) -> Out | None:
        """Return the declaration of an output, or None where there is no such."""
        spec = None if port.hub else self.specs.get(port.node)
        return spec.outputs.get(port.port) if spec else None

    def into(self, node_id: str, port: str | None = None) -> list[Link]:
        """Return the links that end at a node, or at one of its inputs."""
        return [link for link in self._by_node[0].get(node_id, ()) if port in (None, link.input.name)]

    def out_of(self, node_id: str, port: str | None = None) -> list[Link]:
        """Return the links that begin at a node, or at one of its outputs."""
        return [link for link in self._by_node[1].get(node_id, ()) if port in (None, link.output.name)]

    @cached_property
    def _by_node(self) -> tuple[dict[str, list[Link]], dict[str, list[Link]]]:
        into: dict[str, list[Link]] = {}
        out_of: dict[str, list[Link]] = {}
        for link in self.links:
            into.setdefault(link.target.id, []).append(link)
            out_of.setdefault(link.source.id, []).append(link)
        return into, out_of

    def key_place(self, value: Place, key: str) -> Place:
        """Return where `key` is written whose value is at `value`; that place itself where it cannot be seen."""
        lines = self.topology.files.get(value.file, "").splitlines()
        for line in range(min(value.line, len(lines)), max(0, value.line - 3), -1):
            end = value.column - 1 if line == value.line else len(lines[line - 1])
            found = re.search(
                rf"(?<![\w.]){re.escape(key)}['\"]?\s*:(?!.*(?<![\w.]){re.escape(key)}\s*:)", lines[line - 1][:end]
            )
            if found:
                return Place(value.file, line, found.start() + 1)
        return value

    def word_place(self, start: Place, word: str) -> Place:
        """Return where `word` stands next after `start`, within a few lines; `start` where it is not seen."""
        lines = self.topology.files.get(start.file, "").splitlines()
        for line in range(start.line, min(start.line + 4, len(lines)) + 1):
            skip = start.column - 1 if line == start.line else 0
            found = re.search(rf"(?<![\w.]){re.escape(word)}(?![\w.])", lines[line - 1][skip:])
            if found:
                return Place(start.file, line, skip + found.start() + 1)
        return start

    def writers_of(self, message: type[Message]) -> list[str]:
        """Return `node.port` of every output that carries `message`."""
        return [
            f"{node_id}.{name}"
            for node_id, spec in self.specs.items()
            for name, out in spec.outputs.items()
            if issubclass(out.message, message)
        ]


def problem_at(
    code: str,
    message: str,
    at: Located,
    fix: str = "",
    *,
    notes: Iterable[tuple[str, Place]] = (),
    severity: str = "error",
    place: Place | None = None,
) -> Problem:
    """Make a problem at a node, wire, hub, process or setting; the includes it came through become notes.

    `place` is a more exact position than that of `at`.
    """
    origin = at if isinstance(at, Origin) else at.origin
    used = tuple(("used here", where) for where in origin.used)
    return Problem(code, message, place or origin.place, fix, (*notes, *used), severity)


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return a question with the nearest known name, or `otherwise` where none is near."""
    near = nearest(word, known)
    return f"did you mean {near!r}?" if near else otherwise


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known name that `word` is most likely a slip of."""
    names = list(known)
    found = get_close_matches(word, names, 1, 0.6)
    if found:
        return found[0]
    folded = {name.lower().replace("-", "_"): name for name in names}
    return folded.get(word.lower().replace("-", "_"))


def did_you_mean_type(name: str, known: Iterable[str]) -> str:
    """Return a question with the node type that `name` is most likely a slip of, or where all of them are listed."""
    kind, _, last = name.rpartition(".")
    types = [other for other in known if nearest(last, [other.rpartition(".")[2]])]
    same_kind = [other for other in types if other.rpartition(".")[0] == kind]
    near = nearest(name, same_kind or types)
    return f"did you mean {near!r}?" if near else "`pipeline nodes list` shows all of them"


def installed_rules() -> list[Rule]:
    """Return the rules of all installed packages; raise TypeError for an entry that is not made of rules."""
    from importlib.metadata import entry_points

    result: list[Rule] = []
    for entry in sorted(entry_points(group="pipeline.rules"), key=lambda entry: entry.name):
        rules = entry.load()
        if not isinstance(rules, list | tuple) or not all(isinstance(rule, Rule) for rule in rules):
            raise TypeError(f"entry point pipeline.rules {entry.name!r} ({entry.value}) must be a list of Rule")
        result.extend(rules)
    return result
