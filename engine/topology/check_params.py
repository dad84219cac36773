"""Checks of node parameters: names, types, bounds, units, secrets in clear and addresses in the open."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from engine import units
from engine.errors import Place, Problem
from engine.spec import NodeSpec, ParamSpec
from engine.topology.disguise import LOOKS_SECRET, PUBLIC_NAME
from engine.topology.model import NodeDecl, Origin, SecretRef, SecretText, Setting
from engine.topology.rules import Graph, nearest, problem_at

CODES = {
    "unknown-param": "A node is given a parameter that its type does not declare.",
    "missing-param": "A parameter without a default is not given.",
    "bad-param": "A parameter's value does not fit its type, bounds, choices or unit.",
    "unit-mismatch": "A number passes from a parameter in one unit to a parameter in another.",
    "secret-in-clear": "A secret, or what looks like one, is written out in the file.",
    "plain-tcp": "An address leaves this machine over TCP without encryption.",
}

TCP_HOST = re.compile(r"^tcp://(\[[^\]]*\]|[^:/]*)")
LOOPBACK = re.compile(r"^(?:127(?:\.\d+){3}|localhost|\[::1\])$")


def problems(graph: Graph) -> list[Problem]:
    """Return the problems of all parameters of all nodes."""
    return [
        problem
        for node_id, spec in graph.specs.items()
        for problem in _node_problems(graph, graph.topology.nodes[node_id], spec)
    ]


def _node_problems(graph: Graph, node: NodeDecl, spec: NodeSpec) -> Iterator[Problem]:
    meant: set[str] = set()
    for name, setting in node.params.items():
        if name in spec.params:
            yield from _value_problems(node, spec.params[name], setting)
            continue
        near = nearest(name, spec.params.keys() - node.params.keys()) or nearest(name, spec.params)
        if near:
            meant.add(near)
        where = f"`pipeline nodes show {node.use}` lists {_all_of(len(spec.params))}"
        fix = f"did you mean {near!r}? {where}" if near else where
        if not spec.params:
            fix = f"{node.use} takes no params; leave it out"
        message = f"node {node.id!r} ({node.use}) has no param {name!r}"
        place = graph.key_place(setting.origin.place, name)
        yield problem_at("unknown-param", message, setting.origin, fix, place=place)
        if near and spec.params[near].secret:
            # What was meant for a secret is one, whatever its name; the line must not be printed either.
            yield from _clear_problems(node, replace(spec.params[near], name=name), setting)
    for name, param in spec.params.items():
        if param.required and name not in node.params and name not in meant:
            message = f"node {node.id!r} ({node.use}) needs param {name!r}: {param.doc.rstrip('.')}"
            example = f"   (a number in {param.unit})" if param.unit not in ("", "1") else ""
            yield problem_at("missing-param", message, node, f"params: {{{name}: ...}}{example}")


def _all_of(count: int) -> str:
    words = {1: "its only one", 2: "both", 3: "all three", 4: "all four", 5: "all five", 6: "all six"}
    return words.get(count, f"all {count}")


def _clear_problems(node: NodeDecl, param: ParamSpec, setting: Setting) -> Iterator[Problem]:
    where = f"param {param.name!r} of node {node.id!r} ({node.use})"
    for place in _secrets_in_clear(param, setting):
        what = "is a secret" if param.secret else "looks like a private key or password"
        name = param.name.upper()
        fix = f"write ${{secret:{name}}}; the value goes into $PIPELINE_SECRET_{name} or the file .secrets/{name}"
        yield problem_at(
            "secret-in-clear", f"{where} {what}, and is written in clear", setting.origin, fix, place=place
        )


def _value_problems(node: NodeDecl, param: ParamSpec, setting: Setting) -> Iterator[Problem]:
    where = f"param {param.name!r} of node {node.id!r} ({node.use})"
    clear = list(_clear_problems(node, param, setting))
    yield from clear
    if clear:
        return
    reason = misfit(param, setting)
    if reason:
        fix = f"{param.doc.rstrip('.')}" + (f", in {param.unit}" if param.unit not in ("", "1") else "")
        if not param.required and not param.secret:
            fix += f"; the default is {param.default!r}"
        yield problem_at("bad-param", f"{where}: {reason}", setting.origin, fix)
    else:
        yield from _unit_problems(where, param, setting)
    for path, text in _texts(setting.value):
        found = TCP_HOST.match(text)
        if found and not LOOPBACK.match(found[1]):
            message = f"{where}: {text!r} is reachable from, or reaches, other machines without encryption"
            fix = "use tcp://127.0.0.1:PORT, and carry it between machines in a tunnel"
            yield problem_at("plain-tcp", message, setting.origin, fix, place=setting.places.get(path))


def _unit_problems(where: str, param: ParamSpec, setting: Setting) -> Iterator[Problem]:
    if units.clash(setting.unit, param.unit) and not isinstance(setting.value, str):
        # The mistake is where the value is handed over, not where it is written.
        at, used = (setting.origin.used[-1], setting.origin.used[:-1]) if setting.origin.used else (None, ())
        message = f"{where} is in {param.unit}, and is given a number in {setting.unit}"
        fix = f"declare the topology's param in {param.unit}"
        notes = (("the number", setting.origin.place),)
        yield problem_at("unit-mismatch", message, Origin(at or setting.origin.place, used), fix, notes=notes)
    for path, unit in setting.units.items():
        # What is inside a mapping may be of several kinds, and its type says nothing of their units.
        if path.replace(".", "").isdigit() and units.clash(unit, param.unit):
            message = f"{where} is in {param.unit}, and item {path} is a number in {unit}"
            fix = f"declare the topology's param in {param.unit}"
            inside = [("the number", setting.places[path])] if path in setting.places else []
            yield problem_at("unit-mismatch", message, setting.origin, fix, notes=inside)


def misfit(param: ParamSpec, setting: Setting) -> str | None:
    """Return why a value does not fit its parameter, or None when it does; secrets are judged when resolved."""
    value = setting.value
    if setting.secret or _has_secret(value):
        return None if param.secret else "a secret may only go into a param that is declared secret"
    if param.unit:
        try:
            value = units.converted(value, param.unit)
        except ValueError as error:
            return str(error)
    try:
        param.convert(value)
    except ValueError as error:
        # What was written is shown, not what its unit made of it.
        return str(error).replace(f"got {value!r}", f"got {setting.value!r}")
    return None


def _secrets_in_clear(param: ParamSpec, setting: Setting) -> Iterator[Place | None]:
    if param.secret:
        if not isinstance(setting.value, dict | list):
            if setting.value not in ("", None) and not _has_secret(setting.value):
                yield None
            return
        for path, item in _leaves(setting.value):
            if item not in ("", None) and not _has_secret(item):
                yield setting.places.get(path)
        return
    for path, text in _texts(setting.value):
        if LOOKS_SECRET.search(text) and not PUBLIC_NAME.search(path.rpartition(".")[2] or param.name):
            yield setting.places.get(path)


def _has_secret(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_has_secret(item) for item in value.values())
    if isinstance(value, list):
        return any(_has_secret(item) for item in value)
    return isinstance(value, SecretRef | SecretText)


def _texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield (path, text) of every text within a value."""
    return ((where, item) for where, item in _leaves(value, path) if isinstance(item, str))


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (path, item) of everything within a value that holds nothing itself."""
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in pairs:
            yield from _leaves(item, f"{path}.{key}" if path else str(key))
    else:
        yield path, value
