"""The flat topology as plain data and as text that loads again, each value with its origin; and what two differ in."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from engine.errors import Place
from engine.registry import node_class
from engine.topology.disguise import HIDDEN, LOOKS_SECRET, PUBLIC_NAME
from engine.topology.model import (
    HubDecl,
    NodeDecl,
    Origin,
    ProcessDecl,
    Restart,
    RunOptions,
    Secret,
    SecretRef,
    SecretText,
    Setting,
    Topology,
    Variant,
    Wire,
)

Path = tuple[str, ...]
PLAIN_TEXT = re.compile(r"[A-Za-z_/][\w./+-]*")
LITERAL = re.compile(r"\$\{(?!run\.(?:dir|id)\})")
"""A `${` that is text: only the run's own marks are still references once all is resolved."""
_UNSET = Setting(None, Origin(Place("", 1, 1)))
WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"})


@dataclass(frozen=True, slots=True)
class Flat:
    """A flat topology as nested dicts, lists and scalars; `origins` tells by path where a value was written."""

    data: dict[str, Any]
    origins: dict[Path, Origin]


def flatten(topology: Topology) -> Flat:
    """Return the topology as plain data, secrets hidden."""
    origins: dict[Path, Origin] = {("topology",): topology.origin}
    data: dict[str, Any] = {"topology": topology.name}
    if topology.about:
        data["about"] = topology.about
    if topology.hubs:
        data["hubs"] = {name: _hub(hub, origins) for name, hub in topology.hubs.items()}
    data["nodes"] = {node.id: _node(node, topology, origins) for node in topology.nodes.values()}
    if topology.feedback:
        lines = []
        for index, (source, target, origin) in enumerate(topology.feedback):
            lines.append(f"{source} -> {target}")
            origins["feedback", str(index)] = origin
        data["feedback"] = lines
    if topology.processes:
        data["processes"] = {name: _process(process, origins) for name, process in topology.processes.items()}
    if topology.run != RunOptions():
        data["run"] = _run(topology.run)
        origins["run",] = topology.run.origin
    if topology.variants:
        data["variants"] = {
            name: {**({"about": variant.about} if variant.about else {}), "set": _changes(variant, topology)}
            for name, variant in topology.variants.items()
        }
        origins.update({("variants", name): variant.origin for name, variant in topology.variants.items()})
    return Flat(data, origins)


def _hub(hub: HubDecl, origins: dict[Path, Origin]) -> dict[str, Any]:
    origins["hubs", hub.name] = hub.origin
    result: dict[str, Any] = {"publish": list(hub.publish), "subscribe": hub.subscribe, "codec": hub.codec}
    if hub.outside:
        result["outside"] = list(hub.outside)
    return {**result, **_written({"listen": hub.listen, "machine": hub.machine})}


def _process(process: ProcessDecl, origins: dict[Path, Origin]) -> dict[str, Any]:
    origins["processes", process.name] = process.origin
    result: dict[str, Any] = {"nodes": list(process.nodes)}
    restart = process.restart
    if restart != Restart():
        result["restart"] = {
            "policy": restart.policy,
            "max": restart.max,
            "window": restart.window_s,
            "then": restart.then,
        }
    facts = {
        "memory": process.memory_bytes,
        "cpus": process.cpus,
        "files": process.files,
        "start_timeout": process.start_timeout_s,
        "liveness": process.liveness_s,
        "listen": None if process.listen is None else str(process.listen),
        "machine": process.machine,
    }
    return {**result, **_written(facts)}


def _run(run: RunOptions) -> dict[str, Any]:
    default = RunOptions()
    log = run.log
    facts = {
        "speed": run.speed,
        "record": None if run.record == default.record else run.record,
        "free_disk": None if run.free_disk_bytes == default.free_disk_bytes else run.free_disk_bytes,
        "disk": run.disk_bytes,
        "keep_runs": run.keep_runs_bytes,
        "log": None if log == default.log else {"level": log.level, "size": log.size_bytes, "keep": log.keep},
        "keys": run.keys,
    }
    return _written(facts)


def _written(facts: dict[str, Any]) -> dict[str, Any]:
    """Return what has a value; the rest was not written."""
    return {name: value for name, value in facts.items() if value is not None}


def _node(node: NodeDecl, topology: Topology, origins: dict[Path, Origin]) -> dict[str, Any]:
    at = ("nodes", node.id)
    origins[at] = node.origin
    origins[*at, "use"] = node.use_origin
    result: dict[str, Any] = {"use": node.use}
    if node.about:
        result["about"] = node.about
    inputs: dict[str, Any] = {}
    outputs: dict[str, Any] = {}
    for wire in topology.wires:
        if not wire.target.hub and wire.target.node == node.id:
            _append(inputs, (*at, "in", wire.target.port), _writer(wire), wire.origin, origins)
        elif wire.target.hub and wire.source.node == node.id:
            _append(outputs, (*at, "out", wire.source.port), str(wire.target), wire.origin, origins)
    if inputs:
        result["in"] = inputs
    if outputs:
        result["out"] = outputs
    if node.params:
        hidden, paths = _special_params(node)
        result["params"] = {
            name: _value(name, setting, name in hidden, name in paths) for name, setting in node.params.items()
        }
        origins.update({(*at, "params", name): setting.origin for name, setting in node.params.items()})
    return result


def _append(ports: dict[str, Any], path: Path, value: Any, origin: Origin, origins: dict[Path, Origin]) -> None:
    """Add one end of a wire: alone it stands for itself, with others it is one item of a list."""
    name = path[-1]
    if name not in ports:
        ports[name] = value
        origins[path] = origin
        return
    if not isinstance(ports[name], list):
        ports[name] = [ports[name]]
        origins[*path, "0"] = origins[path]
    origins[*path, str(len(ports[name]))] = origin
    ports[name].append(value)


def _writer(wire: Wire) -> Any:
    policy = wire.policy
    facts: dict[str, Any] = {"policy": policy.kind, "by": policy.by, "n": policy.n, "ttl": policy.ttl_s}
    if policy.on_stale is not None:
        facts["on_stale"] = {"after": policy.on_stale.after_s, "action": policy.on_stale.action}
    said = _written(facts)
    return {"from": str(wire.source), **said} if said else str(wire.source)


def _special_params(node: NodeDecl) -> tuple[set[str], set[str]]:
    """Return the names of the node's params that are secret, or may be since nobody declares them, and of its paths."""
    try:
        params = node_class(node.use).spec.params
    except Exception:  # noqa: BLE001  a type that cannot be used is for `check` to report; here all is kept secret
        return {name for name, setting in node.params.items() if not isinstance(setting.value, int | float)}, set()
    secret = {name for name, param in params.items() if param.secret}
    if secret:
        # A name that is misspelt may be the name of a secret.
        secret |= node.params.keys() - params.keys()
    return secret, {name for name, param in params.items() if param.path}


def _changes(variant: Variant, topology: Topology) -> dict[str, Any]:
    """Return what a variant sets, with the secrets among it hidden."""
    result: dict[str, Any] = {}
    for path, value in variant.set.items():
        node = topology.nodes.get(path.removeprefix("nodes.").rpartition(".")[0].removesuffix(".params"))
        name = path.rpartition(".")[2]
        hidden = node is not None and name in _special_params(replace(node, params={name: _UNSET}))[0]
        result[path] = _covered(value) if hidden else _shown(value, name)
    return result


def _value(name: str, setting: Setting, hidden: bool, path: bool) -> Any:
    if hidden:
        return _covered(setting.value)
    value = _shown(setting.value, name)
    if path and not setting.secret:
        return _rooted(value, os.path.dirname(os.path.abspath(setting.origin.place.file)))
    return value


def _covered(value: Any) -> Any:
    """Return the value of a secret param: references stay, all else that is written out is hidden."""
    if isinstance(value, SecretRef | SecretText):
        return _shown(value, "")
    if isinstance(value, dict):
        return {str(key): _covered(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_covered(item) for item in value]
    return value if value in ("", None) or isinstance(value, bool) else HIDDEN


def _shown(value: Any, name: str) -> Any:
    """Return a value to be printed; `name` tells what is a public hash from what looks like a key."""
    if isinstance(value, dict):
        return {str(key): _shown(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(item, str(index)) for index, item in enumerate(value)]
    text = written(value)
    return LOOKS_SECRET.sub(HIDDEN, text) if isinstance(text, str) and not PUBLIC_NAME.search(name) else text


def written(value: Any) -> Any:
    """Return a value as a file would have it: references written out, a literal `${` as `$${`, a read secret hidden."""
    if isinstance(value, Secret):
        return HIDDEN
    if isinstance(value, SecretRef):
        return f"${{secret:{value.name}}}"
    if isinstance(value, SecretText):
        return "".join(written(part) for part in value.parts)
    if isinstance(value, dict):
        return {str(key): written(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [written(item) for item in value]
    return LITERAL.sub("$${", value) if isinstance(value, str) else value


def _rooted(value: Any, folder: str) -> Any:
    """Return a file path from the root: the flat text may be kept in another folder than what it came from."""
    if isinstance(value, list):
        return [_rooted(item, folder) for item in value]
    if not isinstance(value, str) or not value or value.startswith("${"):
        return value
    return os.path.normpath(os.path.join(folder, value))


# --- text ---------------------------------------------------------------------------------------------------------


def as_yaml(flat: Flat, *, origins: bool = False) -> str:
    """Return the flat topology as YAML; with `origins` each line ends in the file and line its value came from."""
    lines = list(_lines(runnable(flat), (), 0))
    if not origins:
        return "\n".join(text for text, _ in lines)
    width = min(60, max(len(text) for text, _ in lines))
    result = []
    for text, path in lines:
        origin = flat.origins.get(path)
        result.append(f"{text:<{width}}  # {chain(origin)}" if origin else text)
    return "\n".join(result)


def runnable(flat: Flat) -> dict[str, Any]:
    """Return what runs: without variants, which set params that are resolved here."""
    return {key: value for key, value in flat.data.items() if key != "variants"}


def chain(origin: Origin) -> str:
    """Return where a thing was written and through which places it was used, innermost first."""
    return " used in ".join(_short(place) for place in (origin.place, *reversed(origin.used)))


def _short(place: Place) -> str:
    relative = os.path.relpath(place.file) if os.path.isabs(place.file) else place.file
    return f"{place.file if relative.startswith('..') else relative}:{place.line}"


def _lines(value: Any, path: Path, depth: int) -> Iterator[tuple[str, Path]]:
    indent = "  " * depth
    for key, item in value.items():
        below = (*path, key)
        name = scalar(key)
        if isinstance(item, dict) and item and not _is_leaf(item, path):
            yield f"{indent}{name}:", below
            yield from _lines(item, below, depth + 1)
        elif isinstance(item, list) and len(item) > 1 and path[-1:] in ((), ("in",), ("out",)):
            yield f"{indent}{name}:", below
            for index, part in enumerate(item):
                yield f"{indent}  - {inline(part)}", (*below, str(index))
        else:
            yield f"{indent}{name}: {inline(item)}", below


def _is_leaf(item: dict[str, Any], path: Path) -> bool:
    # A wire with its policy, and a param that is a mapping, each stay on one line.
    return path[-1:] in (("in",), ("params",), ("set",)) or "policy" in item


def inline(value: Any) -> str:
    """Return a value in YAML's flow style."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{scalar(key)}: {inline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(inline, value)) + "]"
    return scalar(value)


def scalar(value: Any) -> str:
    """Return a scalar as strict YAML, quoted where it would be read as something else."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    text = str(value)
    if PLAIN_TEXT.fullmatch(text) and text.lower() not in WORDS:
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return quoted if quoted.isprintable() else "".join(map(_escaped, quoted))


def _escaped(character: str) -> str:
    """Return a character as YAML's double quotes hold it; JSON leaves controls above ASCII as they are."""
    return character if character.isprintable() else f"\\U{ord(character):08x}"


# --- differences --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that only one of two topologies has, or that they have otherwise; None where it is missing."""

    path: str
    before: Any
    after: Any
    kind: str

    def __str__(self) -> str:
        if self.kind == "added":
            return f"+ {self.path}: {inline(self.after)}"
        if self.kind == "removed":
            return f"- {self.path}: {inline(self.before)}"
        return f"~ {self.path}: {inline(self.before)} -> {inline(self.after)}"


def differences(before: Flat, after: Flat) -> list[Difference]:
    """Return what differs, in the order of the files, what is only in `after` last."""
    old, new = dict(_leaves(before.data, ())), dict(_leaves(after.data, ()))
    result = []
    for path, value in old.items():
        if path not in new:
            result.append(Difference(_dotted(path), value, None, "removed"))
        elif new[path] != value or type(new[path]) is not type(value):
            result.append(Difference(_dotted(path), value, new[path], "changed"))
    result += [Difference(_dotted(path), None, value, "added") for path, value in new.items() if path not in old]
    return result


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict) and value and path[-2:-1] not in (("in",), ("params",), ("set",)):
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    elif path == ("feedback",):
        for line in value:
            yield (*path, line), True
    else:
        yield path, value


def _dotted(path: Path) -> str:
    return ".".join(path)
