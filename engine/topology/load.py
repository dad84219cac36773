"""Load a topology: from files, overlays and `--set` to the flat graph that runs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import Place
from engine.topology.drafts import Change
from engine.topology.expand import FILE_KEYS, Expansion
from engine.topology.fields import Fields
from engine.topology.files import Files
from engine.topology.flat import inline, written
from engine.topology.merge import merged
from engine.topology.model import NodeDecl, Origin, PortRef, Topology, Variant, Wire
from engine.topology.params import PARAM_NAME, fit
from engine.topology.report import Report, shown, suggestion
from engine.topology.run_options import run_options
from engine.topology.sections import variants
from engine.topology.substitute import Scope
from engine.topology.template import Passage
from engine.topology.tree import Map, Scalar, Tree, mapping, moved
from engine.topology.values import resolve_secrets, setting
from engine.topology.writers import ID
from engine.topology.yaml_tree import read_tree

SET = "--set"
"""The name under which places speak of the command line; its lines are the `--set` options in their order."""

__all__ = ["as_sets", "load_topology", "resolve_secrets"]


def load_topology(
    paths: Sequence[Path | str], sets: Sequence[str] = (), env: Mapping[str, str] | None = None
) -> Topology:
    """Return the flat topology of `paths`, later files merged over earlier ones, with `sets` applied last.

    `sets` are `PARAM=value`, `NODE.PARAM=value` or `nodes.NODE.params.PARAM=value`; values are read as YAML. `env` is
    what `${env:X}` sees, by default this process's environment. Raise TopologyError with all problems that were found.
    """
    report = Report()
    files = Files([Path(path) for path in paths], report)
    found = [files.read(Path(path)) for path in paths]
    settings = _settings(sets, files, report)
    trees = [tree for tree in found if tree is not None]
    if not paths:
        report.add("file-missing", "no topology file is given", None)
    if len(trees) != len(paths) or not trees:
        report.raise_if_any()
    base = trees[0]
    for overlay in trees[1:]:
        base = merged(base, overlay, report)
    expansion = Expansion(files, report, os.environ if env is None else env)
    scope = expansion.scope(base, ())
    changes = _apply(settings, scope, report)
    expansion.root(base, scope, changes)
    return _Assembly(base, scope, expansion, files, report).topology()


@dataclass(frozen=True, slots=True)
class _Setting:
    """One `--set`, taken apart."""

    path: str
    value: Tree
    place: Place


def as_sets(variant: Variant) -> list[str]:
    """Return what a variant sets in the form of `--set`, to be read with the topology's own files."""
    return [f"{path}={inline(written(value))}" for path, value in variant.set.items()]


def _settings(sets: Sequence[str], files: Files, report: Report) -> list[_Setting]:
    if sets:
        files.texts[SET] = "\n".join(text.replace("\n", " ") for text in sets)
    result = []
    for line, text in enumerate(sets, start=1):
        path, equals, value = text.partition("=")
        place = Place(SET, line, 1)
        if not equals or not path.strip():
            report.add("bad-set", f"{shown(text)} sets nothing", place, "write --set NAME=VALUE")
            continue
        at = Place(SET, line, len(path) + 2)
        tree: Tree | None = Scalar(at, (), "")
        if value.strip():
            inner = Report()
            tree = read_tree(value, SET, inner)
            for problem in inner.problems:
                report.add(problem.code, problem.message, _moved_place(problem.place, at), problem.fix)
        if tree is not None:
            result.append(_Setting(path.strip(), moved(tree, at), place))
    return result


def _moved_place(place: Place | None, start: Place) -> Place:
    """Return where a place within a `--set` value is on the command line."""
    column = place.column - 1 if place and place.line == 1 else 0
    return Place(start.file, start.line, start.column + column)


def _apply(settings: Sequence[_Setting], scope: Scope, report: Report) -> list[Change]:
    """Give parameters their values; return what is set in nodes."""
    changes = []
    for one in settings:
        node = _node_path(one.path)
        if one.path in scope.params:
            value = scope.resolve(one.value)
            scope.values[one.path] = fit(scope.params[one.path], value, report)
        elif node is not None:
            changes.append(_change(*node, one.value, one.place, scope))
        else:
            fix = suggestion(one.path, scope.params, what="the params") + "; a node's is set by NODE.PARAM"
            report.add("unknown-param", f"the topology has no param {shown(one.path)}", one.place, fix)
    return changes


def _node_path(path: str) -> tuple[str, str] | None:
    """Return the node and the parameter that a path names, or None when it names none."""
    node, _, param = path.rpartition(".")
    if path.startswith("nodes.") and node.endswith(".params"):
        node = node.removeprefix("nodes.").removesuffix(".params")
    return (node, param) if ID.fullmatch(node) and PARAM_NAME.fullmatch(param) else None


def _change(node: str, param: str, value: Tree, place: Place, scope: Scope) -> Change:
    params = mapping(place, {param: value}, {param: place})
    return Change(node, mapping(place, {"params": params}, {"params": place}), scope, "", place)


class _Assembly:
    """Puts the parts of an expansion together into a topology."""

    def __init__(self, tree: Map, scope: Scope, expansion: Expansion, files: Files, report: Report) -> None:
        self.tree = tree
        self.scope = scope
        self.expansion = expansion
        self.files = files
        self.report = report
        self.fields = Fields(report)

    def topology(self) -> Topology:
        """Return the topology; raise TopologyError when anything was found."""
        entries = self.tree.entries
        name = self._text("topology")
        if self.fields.lacks(self.tree, "topology", FILE_KEYS):
            self.report.add("missing-key", "the topology has no name", self.tree.place, "add topology: NAME")
        if name is not None and not PARAM_NAME.fullmatch(name):
            fix = "use letters, digits and _, beginning with a letter"
            message = f"{shown(name)} cannot be the name of a topology"
            self.report.add("bad-name", message, entries["topology"].place, fix)
        about = self._text("about")
        nodes = self.expansion.nodes()
        wires, feedback = self._wires()
        processes = {
            placement.name: placement.place(nodes, self.expansion.budget)
            for placement in self.expansion.placements.values()
        }
        found = self._variants(nodes)
        run = run_options(self.tree, self.scope, self.fields)
        self.report.raise_if_any()
        return Topology(
            name=name or "",
            about=about or "",
            origin=Origin(entries["topology"].place if "topology" in entries else self.tree.place),
            params={one: setting(self.scope.value(one)) for one in self.scope.params},
            nodes=nodes,
            wires=wires,
            hubs=self.expansion.hubs,
            processes=processes,
            feedback=feedback,
            variants=found,
            files=self.files.texts,
            run=run,
        )

    def _text(self, key: str) -> str | None:
        tree = self.tree.entries.get(key)
        return None if tree is None else self.fields.text(self.scope.resolve(tree), f"{key!r}")

    def _wires(self) -> tuple[tuple[Wire, ...], tuple[tuple[PortRef, PortRef, Origin], ...]]:
        """Return all wires, node by node, and the feedback lines with offered names followed."""
        passage = Passage(self.expansion.templates, self.report)
        loops: list[tuple[PortRef, PortRef, Origin]] = []
        for first, last in self.expansion.feedback:
            loops += [
                (begin, end, first.origin)
                for begin in passage.inside(first.ref, first, reading=True)
                for end in passage.inside(last.ref, last, reading=False)
            ]
        named = {(begin, end) for begin, end, _ in loops}
        wires: list[Wire] = []
        for draft in self.expansion.drafts.values():
            for port, found in draft.inputs.items():
                target = PortRef(draft.id, port)
                sources = [(ref, one) for one in found for ref in passage.inside(one.ref, one, reading=True)]
                for rank, (ref, one) in enumerate(sources):
                    wires.append(Wire(ref, target, one.policy, rank, one.origin, (ref, target) in named))
            for port, found in draft.outputs.items():
                source = PortRef(draft.id, port)
                for one in found:
                    wires.append(Wire(source, one.ref, one.policy, 0, one.origin, (source, one.ref) in named))
        return self._closed_through_hubs(wires, named), tuple(loops)

    @staticmethod
    def _closed_through_hubs(wires: list[Wire], named: set[tuple[PortRef, PortRef]]) -> tuple[Wire, ...]:
        """Mark a reader of a hub as feedback when a line names the writer and the reader, with the hub between."""
        publishers: dict[PortRef, list[PortRef]] = {}
        for wire in wires:
            if wire.target.hub:
                publishers.setdefault(wire.target, []).append(wire.source)
        return tuple(
            _as_feedback(wire)
            if wire.source.hub and any((one, wire.target) in named for one in publishers.get(wire.source, ()))
            else wire
            for wire in wires
        )

    def _variants(self, nodes: Mapping[str, NodeDecl]) -> dict[str, Variant]:
        result = {}
        for name, (variant, changes) in variants(self.tree, self.scope, self.fields).items():
            result[name] = variant
            for path, value in changes.entries.items():
                place, node = changes.keys[path], _node_path(path)
                if path in self.scope.params:
                    fit(self.scope.params[path], value, self.report)
                elif node is None:
                    fix = suggestion(path, self.scope.params, what="the params") + "; a node's is named NODE.PARAM"
                    message = f"variant {name!r} sets {shown(path)}, which is no param"
                    self.report.add("unknown-param", message, place, fix)
                elif node[0] not in nodes:
                    fix = suggestion(node[0], nodes, what="the nodes")
                    message = f"variant {name!r} sets a param of node {node[0]!r}, which is not there"
                    self.report.add("unknown-node", message, place, fix)
        return result


def _as_feedback(wire: Wire) -> Wire:
    return Wire(wire.source, wire.target, wire.policy, wire.rank, wire.origin, feedback=True)
