"""Expand a topology: includes, loops and references become flat nodes and wires.

Names in a file are relative to the prefix under which it is included; hubs belong to the whole run. Included nodes
come before a file's own. Expansion knows no node types.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from engine.errors import Place
from engine.topology.drafts import CHANGE_KEYS, NODE_KEYS, Change, Changes, Draft
from engine.topology.fields import Fields
from engine.topology.files import Files
from engine.topology.loops import element_name, turns
from engine.topology.model import HubDecl, NodeDecl, Origin, PortRef
from engine.topology.params import declared, fit
from engine.topology.report import Report, near, shown, suggestion
from engine.topology.sections import Placement, feedback_lines, hubs, placements
from engine.topology.substitute import Budget, Scope
from engine.topology.template import Template, check_targets, declared_template
from engine.topology.tree import Broken, Map, Tree, through
from engine.topology.writers import ID, Writer, hub_targets, is_null, joined, writers

MAX_INCLUDES_DEEP = 8
COST_OF_INCLUDE = 500

FILE_KEYS = (
    "topology", "about", "params", "include", "ports", "hubs", "nodes", "feedback", "processes", "run", "variants",
)  # fmt: skip
ROOT_ONLY = {"run": "what holds for the run belongs", "variants": "variants belong"}
INCLUDE_FORMS = {"with": "{PARAM: value}", "in": "{NODE.PORT: NODE.PORT}", "out": "{NODE.PORT: hub:NAME/TOPIC}"}
INCLUDE_KEYS = ("file", "as", "with", "in", "out", "for_each")


@dataclass(frozen=True, slots=True)
class _File:
    """One use of one file."""

    tree: Map
    scope: Scope
    prefix: str
    chain: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Include:
    """One use of an include: its parts, filled in."""

    name: str
    tree: Map
    prefix: str
    place: Place
    used: tuple[Place, ...]
    given: Map | None
    inputs: Map | None
    outputs: Map | None


class Expansion:
    """Expands files into drafts; `report` gathers what is wrong."""

    def __init__(self, files: Files, report: Report, env: Mapping[str, str]) -> None:
        self.files = files
        self.report = report
        self.env = env
        self.fields = Fields(report)
        self.budget = Budget(report)
        self.drafts: dict[str, Draft] = {}
        self.hubs: dict[str, HubDecl] = {}
        self.placements: dict[str, Placement] = {}
        self.feedback: list[tuple[Writer, Writer]] = []
        self.templates: dict[str, Template] = {}
        self.declared: dict[str, Origin] = {}
        """Every node that was declared, also one that a change removed."""

    def scope(self, tree: Map, used: tuple[Place, ...]) -> Scope:
        """Return the scope of a file, its parameters declared and none given yet."""
        params = self.fields.section(tree, "params", "{NAME: {type: ..., doc: ...}}")
        return Scope(self.report, self.budget, self.env, declared(params, self.report) if params else {}, used=used)

    def root(self, tree: Map, scope: Scope, changes: list[Change]) -> None:
        """Expand the topology itself under the changes that were given from outside."""
        by_id: Changes = {}
        for change in changes:
            by_id.setdefault(change.id, []).append(change)
        template = declared_template(tree, tree.place.file, "", self.fields)
        self._file(_File(tree, scope, "", (tree.place.file,)), by_id)
        check_targets(template, [*self.declared, *self.templates], self.report)
        self._report_unmatched(changes)

    def nodes(self) -> dict[str, NodeDecl]:
        """Return the finished nodes; one without a type is reported and left out."""
        finished = (draft.finished(self.fields) for draft in self.drafts.values())
        return {node.id: node for node in finished if node is not None}

    # --- files and includes -------------------------------------------------------------------------------------

    def _file(self, file: _File, changes: Changes) -> None:
        self.fields.known_keys(file.tree, "a topology", FILE_KEYS)
        for name in file.scope.params:
            file.scope.value(name)
        includes = list(self._includes(file))
        prefixes = {include.prefix for include in includes} - {file.prefix}
        nodes = self.fields.section(file.tree, "nodes", "{ID: {use: TYPE}}")
        own: list[Change] = []
        for key, tree in nodes.entries.items() if nodes else ():
            node_id = joined(file.prefix, key)
            if nodes and any(node_id.startswith(f"{prefix}.") for prefix in prefixes):
                own.append(Change(node_id, tree, file.scope, file.prefix, nodes.keys[key]))
        within = dict(changes)
        for change in own:
            within[change.id] = [change, *within.get(change.id, [])]
        for include in includes:
            self._include(file, include, within)
        self._report_unmatched(own)
        spoken_of = {change.id for change in own}
        for key, tree in nodes.entries.items() if nodes else ():
            if nodes and joined(file.prefix, key) not in spoken_of:
                self._node(file, key, tree, nodes.keys[key], changes)
        hubs(file.tree, file.scope, self.hubs, self.fields)
        self.feedback += feedback_lines(file.tree, file.scope, file.prefix, self.fields)
        placements(file.tree, file.scope, file.prefix, self.placements, self.fields)

    def _includes(self, file: _File) -> Iterator[_Include]:
        tree = file.tree.entries.get("include")
        for item in self.fields.items(tree, "'include'", "write include: [{file: PATH, as: PREFIX}]"):
            entry = self.fields.map(item, "an item of 'include'", "write {file: PATH, as: PREFIX}")
            if entry is None:
                continue
            self.fields.known_keys(entry, "an include", INCLUDE_KEYS)
            if "file" not in entry.entries:
                if self.fields.lacks(entry, "file", INCLUDE_KEYS):
                    self.report.add("missing-key", "an include names no file", entry.place, "add file: PATH")
                continue
            loop = entry.entries.get("for_each")
            scopes = [file.scope] if loop is None else turns(loop, "an include", file.scope, self.fields)
            for scope in scopes:
                include = self._one_include(file, entry, scope)
                if include is not None:
                    yield include

    def _one_include(self, file: _File, entry: Map, scope: Scope) -> _Include | None:
        entries = entry.entries
        where = scope.resolve(entries["file"])
        name = self.fields.text(where, "'file' of an include")
        prefix = ""
        if "as" in entries:
            tree = scope.resolve(entries["as"])
            text = self.fields.text(tree, "'as' of an include")
            if text is None:
                return None
            if not ID.fullmatch(text):
                fix = "use small letters, digits and _, beginning with a letter"
                self.report.add("bad-id", f"{shown(text)} cannot be a prefix", tree.place, fix, used=tree.used)
                return None
            prefix = text
        elif "for_each" in entries:
            message, fix = "an include in a for_each has no 'as'", "add as: ${NAME}, so that each has its own prefix"
            self.report.add("missing-key", message, entry.place, fix, used=scope.used)
            return None
        if name is None:
            return None
        # A file is found beside the file in which its name stands, also when the name came from a parameter.
        found = self.files.included(name, Broken(entries["file"].place, scope.used))
        if found is None:
            return None
        parts: dict[str, Map | None] = {}
        for key, form in INCLUDE_FORMS.items():
            written = entries.get(key)
            filled = None if written is None else scope.resolve(written)
            parts[key] = self.fields.map(filled, f"{key!r} of an include", f"write {key}: {form}")
        return _Include(
            name=found[0],
            tree=found[1],
            prefix=joined(file.prefix, prefix),
            place=entry.place,
            used=scope.used,
            given=parts["with"],
            inputs=parts["in"],
            outputs=parts["out"],
        )

    def _include(self, file: _File, include: _Include, changes: Changes) -> None:
        if include.name in file.chain:
            chain = " -> ".join([*file.chain[file.chain.index(include.name) :], include.name])
            message = f"files include each other: {chain}"
            self.report.add("include-cycle", message, include.place, "remove one of the includes", used=include.used)
            return
        if len(file.chain) > MAX_INCLUDES_DEEP:
            message = f"includes are nested deeper than {MAX_INCLUDES_DEEP}"
            self.report.add("include-depth", message, include.place, "include it further up", used=include.used)
            return
        if include.prefix != file.prefix and include.prefix in self.templates:
            message = f"two includes have the prefix {include.prefix!r}"
            self.report.add("duplicate-prefix", message, include.place, "give each its own `as`", used=include.used)
            return
        self.budget.spend(COST_OF_INCLUDE + include.tree.size, include.place)
        scope = self.scope(include.tree, (*include.used, include.place))
        self._give(include, scope)
        inner = _File(include.tree, scope, include.prefix, (*file.chain, include.name))
        template = declared_template(include.tree, include.name, include.prefix, self.fields)
        if include.prefix != file.prefix:
            self.templates[include.prefix] = template
        for key, belongs in ROOT_ONLY.items():
            if key not in include.tree.entries:
                continue
            place = include.tree.keys[key]
            message = f"{belongs} to the topology itself, not to a file that it includes"
            self.report.add("root-only", message, place, f"move {key!r} there", used=scope.used)
        before = {*self.declared, *self.templates}
        self._file(inner, changes)
        inside = [name for name in (*self.declared, *self.templates) if name not in before]
        check_targets(template, inside, self.report)
        self._wire_template(file, include, template)

    def _give(self, include: _Include, scope: Scope) -> None:
        """Hand the values of `with` to the included file."""
        if include.given is None:
            return
        for name, tree in include.given.entries.items():
            if name not in scope.params:
                message = f"{include.name} has no param {shown(name)}"
                open_params = [one for one in scope.params if one not in include.given.entries]
                fix = suggestion(name, open_params or scope.params, what="its params")
                self.report.add("unknown-param", message, include.given.keys[name], fix, used=include.used)
                meant = near(name, open_params)
                if meant is not None:
                    scope.values[meant] = Broken(tree.place, tree.used)
                continue
            self.budget.spend(tree.size, include.place)
            given = through(tree, include.place)
            scope.values[name] = fit(scope.params[name], given, self.report)

    def _wire_template(self, file: _File, include: _Include, template: Template) -> None:
        inputs = include.inputs.entries if include.inputs else {}
        for name, tree in inputs.items():
            what = f"input {name!r} of {include.name}"
            offer = template.inputs.get(name)
            if offer is None:
                place = include.inputs.keys[name] if include.inputs else tree.place
                self._refuse_offer(include, "in", name, list(template.inputs), place)
                continue
            found = writers(tree, file.prefix, what, self.fields)
            for target in offer.targets:
                draft = self.drafts.get(target.node)
                if draft is not None:
                    draft.inputs.setdefault(target.port, []).extend(found)
                elif target.node in self.templates:
                    self._wire_deeper(target, found)
        meant = {near(name, template.inputs) for name in inputs if name not in template.inputs}
        for name, offer in template.inputs.items():
            if name not in inputs and name not in meant and not offer.optional:
                message = f"{include.name} needs a wire into {name!r}" + (f": {offer.doc}" if offer.doc else "")
                fix = f"add in: {{{name}: NODE.PORT}}"
                notes = (("declared here", offer.place),)
                self.report.add("template-port-open", message, include.place, fix, notes=notes, used=include.used)
        outputs = include.outputs.entries if include.outputs else {}
        for name, tree in outputs.items():
            offer = (template.outputs or {}).get(name)
            if offer is None:
                place = include.outputs.keys[name] if include.outputs else tree.place
                self._refuse_offer(include, "out", name, list(template.outputs or {}), place)
                continue
            for source in offer.targets:
                draft = self.drafts.get(source.node)
                if draft is not None:
                    found = hub_targets(tree, file.prefix, f"output {name!r} of {include.name}", self.fields)
                    draft.outputs.setdefault(source.port, []).extend(found)

    def _wire_deeper(self, target: PortRef, found: list[Writer]) -> None:
        offer = self.templates[target.node].inputs.get(target.port)
        for inner in offer.targets if offer else ():
            draft = self.drafts.get(inner.node)
            if draft is not None:
                draft.inputs.setdefault(inner.port, []).extend(found)
            elif inner.node in self.templates and inner != target:
                self._wire_deeper(inner, found)

    def _refuse_offer(self, include: _Include, key: str, name: str, offered: list[str], place: Place) -> None:
        message = f"{include.name} offers no {key}put {shown(name)}"
        fix = suggestion(name, offered, what="it offers") + f"; or add it there: ports: {{{key}: {{{name}: ...}}}}"
        self.report.add("template-port-unknown", message, place, fix, used=include.used)

    # --- nodes --------------------------------------------------------------------------------------------------

    def _node(self, file: _File, key: str, tree: Tree, place: Place, changes: Changes) -> None:
        if "${" in key:
            file.scope.check_key(key, place)
            return
        what = f"node {key!r}"
        if not ID.fullmatch(key):
            fix = "use small letters, digits and _, beginning with a letter"
            self.report.add("bad-id", f"{shown(key)} cannot be the id of a node", place, fix, used=file.scope.used)
            return
        entry = self.fields.map(tree, what, f"write {key}: {{use: TYPE}}")
        if entry is None:
            return
        loop, name = entry.entries.get("for_each"), entry.entries.get("as")
        if loop is None:
            if name is not None:
                message = f"{what} has an 'as' but no 'for_each'"
                self.report.add("unknown-key", message, entry.keys["as"], "its id is its key; remove `as`")
            self._draft(joined(file.prefix, key), entry, Origin(place, file.scope.used), file, changes)
            return
        for scope in turns(loop, what, file.scope, self.fields):
            node_id = self._looped_id(key, entry, scope, file.scope)
            if node_id is None:
                break  # the other turns have the same mistake
            at, turn = Origin(place, scope.used), replace(file, scope=scope)
            self._draft(joined(file.prefix, node_id), entry, at, turn, changes)

    def _looped_id(self, key: str, entry: Map, scope: Scope, outer: Scope) -> str | None:
        name = entry.entries.get("as")
        if name is not None:
            tree = scope.resolve(name)
            text = self.fields.text(tree, f"'as' of node {key!r}")
        else:
            element = element_name(scope, outer)
            if any(isinstance(value, Broken) for value in scope.variables.values()):
                return None
            text = f"{key}_{element}" if element is not None else ""
        if text is None or ID.fullmatch(text):
            return text
        message = f"the nodes of {key!r} have no id of their own"
        if text:
            message = f"{shown(text)} cannot be the id of a node"
        fix = "add as: an id with ${...} in it, of small letters, digits and _"
        self.report.add("bad-id", message, (name or entry).place, fix, used=scope.used)
        return None

    def _draft(self, node_id: str, entry: Map, at: Origin, file: _File, changes: Changes) -> None:
        self.budget.spend(entry.size, at.place)
        first = self.declared.setdefault(node_id, at)
        if first is not at:
            message, fix = f"two nodes have the id {node_id!r}", "give one of them another id"
            notes = (("the other one", first.place),)
            self.report.add("duplicate-node", message, at.place, fix, notes=notes, used=at.used)
            return
        draft = Draft(node_id, at)
        self.fields.known_keys(entry, f"node {node_id!r}", NODE_KEYS)
        draft.write(entry, file.scope, file.prefix, self.fields)
        removed = False
        for change in changes.get(node_id, ()):
            change.matched = True
            removed = is_null(change.tree)
            if removed:
                continue
            tree = self.fields.map(change.tree, f"node {node_id!r}", "write {params: {NAME: value}}")
            if tree is not None:
                self.fields.known_keys(tree, f"a change of node {node_id!r}", CHANGE_KEYS)
                draft.write(tree, change.scope, change.prefix, self.fields)
        if not removed:
            self.drafts[node_id] = draft

    def _report_unmatched(self, changes: list[Change]) -> None:
        for change in changes:
            if not change.matched:
                message = f"there is no node {change.id!r} to change"
                fix = suggestion(change.id, self.drafts, what="the nodes")
                self.report.add("unknown-node", message, change.place, fix, used=change.scope.used)
