"""Fill in `${...}` on parsed values.

A scalar that is exactly one reference takes the value's type and structure; within text the value becomes text.
Nothing that is filled in is parsed again, so no value can add keys or structure. `$${` writes a literal `${`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from engine.errors import Place
from engine.topology.model import SecretRef, SecretText
from engine.topology.params import Param, fit
from engine.topology.report import Report, shown, suggestion
from engine.topology.tree import Broken, Listing, Map, Scalar, Tree, kind, listing, mapping
from engine.topology.yaml_tree import MAX_DEPTH

MAX_CHAIN = 64
MAX_TEXT = 1 << 16
MAX_SPENT = 250_000

RUN_MARKS = ("run.dir", "run.id")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_TOKEN = re.compile(r"\$\$\{|\$\{([^{}]*)(\}?)")
_DOTTED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)*")


class Budget:
    """Bounds what references, loops and includes may make together."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.left = MAX_SPENT

    def spend(self, amount: int, place: Place) -> None:
        """Take `amount` values from the budget; raise TopologyError when it is used up."""
        self.left -= amount
        if self.left < 0:
            message = f"the topology expands to more than {MAX_SPENT:,} values"
            self.report.stop("expansion-limit", message, place, "shorten the lists, or include less")


@dataclass(slots=True)
class Scope:
    """The names that references in one file may use; a file sees nothing of who includes it."""

    report: Report
    budget: Budget
    env: Mapping[str, str]
    params: dict[str, Param] = field(default_factory=dict)
    variables: dict[str, Tree] = field(default_factory=dict)
    used: tuple[Place, ...] = ()
    """Through which includes and loops this file is used, outermost first."""
    values: dict[str, Tree] = field(default_factory=dict)
    active: list[str] = field(default_factory=list)
    file_scope: Scope | None = None
    """The scope of the whole file, where this one belongs to a turn of a loop: params never see a loop's names."""

    def inside(self, variables: dict[str, Tree], used: tuple[Place, ...]) -> Scope:
        """Return the scope of one turn of a loop."""
        home = self.file_scope or self
        return replace(self, variables={**self.variables, **variables}, used=used, file_scope=home)

    def resolve(self, tree: Tree) -> Tree:
        """Return the tree with all references filled in; what cannot be is reported and becomes Broken."""
        if isinstance(tree, Scalar):
            if isinstance(tree.value, str) and "${" in tree.value:
                return self._filled(tree, tree.value)
            return replace(tree, used=(*self.used, *tree.used)) if self.used else tree
        used = (*self.used, *tree.used)
        result: Tree = tree
        if isinstance(tree, Listing):
            result = listing(tree.place, [self.resolve(item) for item in tree.items], used)
        elif isinstance(tree, Map):
            for key in tree.entries:
                self.check_key(key, tree.keys[key])
            result = mapping(
                tree.place, {key: self.resolve(value) for key, value in tree.entries.items()}, tree.keys, used
            )
        if result.depth > MAX_DEPTH:
            message = f"values are nested deeper than {MAX_DEPTH}"
            self.report.add("reference-depth", message, tree.place, used=self.used)
            return Broken(tree.place, used)
        return result

    def value(self, name: str) -> Tree:
        """Return a parameter's value: what was given for it, or its default."""
        if self.file_scope is not None:
            return self.file_scope.value(name)
        if name in self.values:
            return self.values[name]
        param = self.params[name]
        if name in self.active:
            cycle = " -> ".join([*self.active[self.active.index(name) :], name])
            message = f"the default of param {name!r} needs itself: {cycle}"
            self.report.add("param-cycle", message, param.place, "give one of them a value of its own", used=self.used)
            return Broken(param.place)
        if len(self.active) >= MAX_CHAIN:
            message = f"params refer to each other more than {MAX_CHAIN} deep"
            self.report.add("reference-depth", message, param.place, "declare what is referred to first")
            return Broken(param.place)
        self.active.append(name)
        default = param.default
        result = fit(param, self.resolve(default), self.report) if default is not None else self._missing(param)
        self.active.pop()
        self.values[name] = result
        return result

    def _missing(self, param: Param) -> Tree:
        via = self.used[-1] if self.used else None
        fix = f"give it: with: {{{param.name}: ...}}" if via else f"give it: --set {param.name}=..."
        notes = (("declared here", param.place),) if via else ()
        message = f"param {param.name!r} is not given and has no default" + (f": {param.doc}" if param.doc else "")
        self.report.add("missing-param", message, via or param.place, fix, notes=notes, used=self.used[:-1])
        return Broken(param.place)

    def check_key(self, key: str, place: Place) -> None:
        """Report a key that holds a reference: what is filled in never makes structure."""
        if "${" in key:
            fix = "write the key out; node ids in a for_each come from its `as:`"
            self.report.add("reference-in-key", f"key {shown(key)} holds a reference", place, fix, used=self.used)

    def _filled(self, tree: Scalar, text: str) -> Tree:
        whole = _TOKEN.fullmatch(text)
        if whole and whole[1] is not None:
            return self._whole(tree, whole)
        parts: list[str | SecretRef] = []
        broken = False
        for part in self._parts(tree, text):
            if part is None:
                broken = True
            elif isinstance(part, SecretText):
                parts.extend(part.parts)
            else:
                parts.append(part)
        used = (*self.used, *tree.used)
        length = sum(len(part) for part in parts if isinstance(part, str))
        self.budget.spend(1 + length // 64, tree.place)
        if length > MAX_TEXT:
            message = f"the text grows past {MAX_TEXT:,} characters"
            self.report.add("reference-text", message, tree.place, used=self.used)
            broken = True
        if broken:
            return Broken(tree.place, used)
        if any(isinstance(part, SecretRef) for part in parts):
            return Scalar(tree.place, used, _joined(parts))
        return Scalar(tree.place, used, "".join(map(str, parts)))

    def _whole(self, tree: Scalar, token: re.Match[str]) -> Tree:
        value = self._lookup(tree, token)
        if not isinstance(value, Tree):
            return value if value is not None else Broken(tree.place, (*self.used, *tree.used))
        self.budget.spend(value.size, tree.place)
        if value.place == tree.place:
            return value  # it comes from outside, and is written nowhere else than here
        return replace(value, used=(*value.used, tree.place))

    def _parts(self, tree: Scalar, text: str) -> Iterator[str | SecretRef | SecretText | None]:
        """Yield the pieces of a text; None for each that could not be found."""
        end = 0
        for token in _TOKEN.finditer(text):
            yield text[end : token.start()]
            end = token.end()
            if token[1] is None:
                yield "${"
                continue
            value = self._lookup(tree, token)
            yield None if value is None or isinstance(value, Broken) else self._as_text(tree, token, value)
        yield text[end:]

    def _as_text(self, tree: Scalar, token: re.Match[str], value: Tree) -> str | SecretRef | SecretText | None:
        if isinstance(value, Scalar) and value.value is not None:
            if isinstance(value.value, bool):
                return "true" if value.value else "false"
            if isinstance(value.value, str | SecretRef | SecretText):
                return value.value
            return str(value.value)
        message = f"{token[0]} is {kind(value)}, and cannot become part of a text"
        self.report.add("reference-kind", message, tree.place, "let it be the whole value", used=self.used)
        return None

    def _lookup(self, tree: Scalar, token: re.Match[str]) -> Tree | None:
        """Return what a reference stands for; None when that was reported."""
        name = token[1].strip()
        used = (*self.used, *tree.used)
        if not token[2]:
            message = f"the reference {shown(token[0])} has no closing brace"
            self.report.add(
                "reference-syntax", message, tree.place, "close it, or write $${ for the text ${", used=used
            )
            return None
        scheme, colon, rest = name.partition(":")
        if colon and scheme in ("env", "secret"):
            return self._from_outside(tree, scheme, rest, used)
        if name in RUN_MARKS:
            return Scalar(tree.place, used, f"${{{name}}}")
        if not _DOTTED.fullmatch(name):
            fix = "write ${param}, ${env:NAME}, ${secret:NAME} or ${run.dir}; $${ for the text ${"
            self.report.add("reference-syntax", f"{shown(token[0])} is not a reference", tree.place, fix, used=used)
            return None
        first, *path = name.split(".")
        if first in self.variables:
            found: Tree = self.variables[first]
        elif first in self.params:
            found = self.value(first)
        else:
            known = [*self.variables, *self.params]
            fix = suggestion(first, known, what="known here")
            if first == "run":
                fix = "the run has ${run.dir} and ${run.id}"
            self.report.add("unknown-reference", f"there is no {shown(first)} to refer to", tree.place, fix, used=used)
            return None
        return self._field(tree, first, path, found)

    def _field(self, tree: Scalar, name: str, path: list[str], found: Tree) -> Tree | None:
        for step in path:
            if isinstance(found, Broken):
                return found
            child = found.entries.get(step) if isinstance(found, Map) else None
            if isinstance(found, Listing) and step.isascii() and step.isdecimal() and int(step[:9]) < len(found.items):
                child = found.items[int(step)]
            if child is None:
                known = list(found.entries) if isinstance(found, Map) else []
                fix = suggestion(step, known, what="it has") if known else ""
                message = f"{name!r} is {kind(found)} and has no {shown(step)}"
                self.report.add("unknown-reference", message, tree.place, fix, used=self.used)
                return None
            name, found = f"{name}.{step}", child
        return found

    def _from_outside(self, tree: Scalar, scheme: str, rest: str, used: tuple[Place, ...]) -> Tree | None:
        name, separator, default = rest.partition(":-")
        if not NAME.fullmatch(name) or (separator and scheme == "secret"):
            what = "an environment variable" if scheme == "env" else "a secret"
            fix = "write ${env:NAME} or ${env:NAME:-default}" if scheme == "env" else "write ${secret:NAME}"
            self.report.add("reference-syntax", f"{shown(rest)} does not name {what}", tree.place, fix, used=used)
            return None
        if scheme == "secret":
            return Scalar(tree.place, used, SecretRef(name))
        if name not in self.env and not separator:
            fix = f"export {name}=..., or give a default: ${{env:{name}:-...}}"
            message = f"environment variable {name} is not set"
            self.report.add("env-missing", message, tree.place, fix, used=used)
            return None
        text = self.env.get(name, default)
        if len(text) > MAX_TEXT or "\0" in text:
            self.report.add("env-missing", f"environment variable {name} cannot be used as text", tree.place, used=used)
            return None
        return Scalar(tree.place, used, text, from_env=True)


def _joined(parts: list[str | SecretRef]) -> SecretText | SecretRef:
    result: list[str | SecretRef] = []
    for part in parts:
        if isinstance(part, str) and result and isinstance(result[-1], str):
            result[-1] += part
        elif part != "":
            result.append(part)
    return SecretText(tuple(result))
