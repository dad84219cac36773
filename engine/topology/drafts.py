"""Nodes in the making: what a file writes, and what other files, overlays and `--set` write over it."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.errors import Place
from engine.topology.fields import Fields
from engine.topology.merge import over
from engine.topology.model import NodeDecl, Origin
from engine.topology.substitute import Scope
from engine.topology.tree import Broken, Map, Tree
from engine.topology.values import origin, setting
from engine.topology.writers import Writer, hub_targets, is_null, writers

CHANGE_KEYS = ("use", "about", "params", "in", "out")
NODE_KEYS = (*CHANGE_KEYS, "for_each", "as")


@dataclass(slots=True)
class Change:
    """What a file, an overlay or `--set` changes in a node that is declared elsewhere."""

    id: str
    tree: Tree
    scope: Scope
    prefix: str
    place: Place
    matched: bool = False


Changes = dict[str, list[Change]]
"""Changes by node id, the innermost first: the last one wins."""


@dataclass(slots=True)
class Draft:
    """A node whose references are filled in and whose ports are absolute."""

    id: str
    origin: Origin
    use: Tree | None = None
    about: Tree | None = None
    params: dict[str, Tree] = field(default_factory=dict)
    inputs: dict[str, list[Writer]] = field(default_factory=dict)
    outputs: dict[str, list[Writer]] = field(default_factory=dict)
    misspelt: bool = False
    """Another key was meant to be `use`; that has been reported."""

    def write(self, tree: Map, scope: Scope, prefix: str, fields: Fields) -> None:
        """Write what `tree` says over what is there; null removes a parameter or a wire."""
        what = f"node {self.id!r}"
        entries = tree.entries
        self.misspelt = self.misspelt or not ("use" in entries or fields.lacks(tree, "use", NODE_KEYS))
        self.use = scope.resolve(entries["use"]) if "use" in entries else self.use
        self.about = scope.resolve(entries["about"]) if "about" in entries else self.about
        parts: dict[str, dict[str, Tree]] = {}
        for key, form in (("params", "{NAME: value}"), ("in", "{PORT: NODE.PORT}"), ("out", "{PORT: hub:NAME/TOPIC}")):
            filled = scope.resolve(entries[key]) if key in entries else None
            found = fields.map(filled, f"{key!r} of {what}", f"write {key}: {form}")
            parts[key] = found.entries if found else {}
        for name, value in parts["params"].items():
            if is_null(value) and name in self.params:
                del self.params[name]
            else:
                self.params[name] = over(self.params[name], value) if name in self.params else value
        for port, value in parts["in"].items():
            self.inputs.pop(port, None)
            if not is_null(value):
                self.inputs[port] = writers(value, prefix, f"input {port!r} of {what}", fields)
        for port, value in parts["out"].items():
            self.outputs.pop(port, None)
            if not is_null(value):
                self.outputs[port] = hub_targets(value, prefix, f"output {port!r} of {what}", fields)

    def finished(self, fields: Fields) -> NodeDecl | None:
        """Return the node's declaration, or None (reported) when it has no type."""
        what = f"node {self.id!r}"
        if self.use is None:
            if not self.misspelt:
                message, fix = f"{what} names no type", "add use: TYPE; `pipeline nodes list` shows the types"
                fields.report.add("missing-key", message, self.origin.place, fix, used=self.origin.used)
            return None
        use = fields.text(self.use, f"'use' of {what}", "write use: TYPE")
        about = fields.text(self.about, f"'about' of {what}")
        if use is None:
            return None
        params = {name: setting(tree) for name, tree in self.params.items() if not isinstance(tree, Broken)}
        return NodeDecl(self.id, use, params, self.origin, origin(self.use), about or "")
