"""The flat sections of a file: hubs, feedback lines, processes and variants."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

from engine.errors import Place
from engine.topology.fields import Fields
from engine.topology.model import (
    HubDecl,
    Origin,
    Policy,
    ProcessDecl,
    Restart,
    TcpAddress,
    Variant,
)
from engine.topology.report import shown
from engine.topology.substitute import Budget, Scope
from engine.topology.tree import Broken, Listing, Map, Tree, plain
from engine.topology.values import origin
from engine.topology.writers import TOPIC, TOPIC_FORM, Writer, joined, port_named

HUB_KEYS = ("publish", "subscribe", "codec", "outside", "listen", "machine")
PROCESS_KEYS = (
    "nodes", "restart", "memory", "cpus", "files", "start_timeout", "liveness", "listen", "machine",
)  # fmt: skip
RESTART_KEYS = ("policy", "max", "window", "then")
RESTART_POLICIES: tuple[Literal["never", "on_failure", "always"], ...] = ("never", "on_failure", "always")
AFTERWARDS: tuple[Literal["halt", "stop", "go_on"], ...] = ("halt", "stop", "go_on")
MIN_MEMORY_BYTES = 32 << 20
"""An interpreter with the engine in it does not live on less."""
MIN_FILES = 64
MAX_CPUS = 1024
RESERVED_PROCESSES = {
    "hubs": "the process of the hubs",
    "supervisor": "the process that watches over the others",
    "operator": "whoever looks into a run",
}
VARIANT_KEYS = ("about", "set")
WILD = "*?["
PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
"""Names of processes and variants become names of folders and files, so that a path can hide in none of them."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a process may use, and how long it may be silent."""

    memory_bytes: int | None = None
    cpus: float | None = None
    files: int | None = None
    start_timeout_s: float | None = None
    liveness_s: float | None = None


@dataclass(frozen=True, slots=True)
class Placement:
    """A process whose patterns are not expanded yet."""

    name: str
    patterns: tuple[tuple[str, Place], ...]
    origin: Origin
    restart: Restart
    limits: Limits
    listen: TcpAddress | None
    machine: str | None

    def place(self, nodes: Iterable[str], budget: Budget) -> ProcessDecl:
        """Return the process with the nodes that its patterns match, in the order of the graph."""
        ids = list(nodes)
        exact = {pattern for pattern, _ in self.patterns}
        wild = [pattern for pattern in exact if any(mark in pattern for mark in WILD)]
        budget.spend(len(wild) * (1 + len(ids) // 2), self.origin.place)
        chosen = [node for node in ids if node in exact or any(fnmatchcase(node, pattern) for pattern in wild)]
        return ProcessDecl(
            name=self.name,
            nodes=tuple(chosen),
            origin=self.origin,
            restart=self.restart,
            patterns=self.patterns,
            listen=self.listen,
            machine=self.machine,
            **asdict(self.limits),
        )


def hubs(file: Map, scope: Scope, found: dict[str, HubDecl], fields: Fields) -> None:
    """Add a file's hubs; the same file included twice declares them once."""
    tree = fields.section(file, "hubs", "{NAME: {publish: [6000], subscribe: 7000}}")
    for name, value in tree.entries.items() if tree else ():
        place = tree.keys[name] if tree else value.place
        hub = _hub(name, scope.resolve(value), Origin(place, scope.used), fields)
        if hub is None:
            continue
        first = found.setdefault(name, hub)
        if first.origin.place != place:
            message = f"two hubs are called {name!r}; hubs belong to the whole run"
            notes = (("the other one", first.origin.place),)
            fields.report.add("duplicate-hub", message, place, "declare it once", notes=notes, used=scope.used)


def _hub(name: str, tree: Tree, at: Origin, fields: Fields) -> HubDecl | None:
    what = f"hub {name!r}"
    hub = fields.map(tree, what, "write {publish: [6000], subscribe: 7000}")
    if hub is None:
        return None
    fields.known_keys(hub, what, HUB_KEYS)
    for key in ("publish", "subscribe"):
        if fields.lacks(hub, key, HUB_KEYS):
            fields.report.add("missing-key", f"{what} has no {key!r}", at.place, f"add {key}: PORT", used=at.used)
    ports = [
        fields.whole(item, f"a port of {what}", 1, 65535)
        for item in fields.items(hub.entries.get("publish"), f"'publish' of {what}", "write publish: [6000]")
    ]
    subscribe = fields.whole(hub.entries.get("subscribe"), f"'subscribe' of {what}", 1, 65535)
    publish = hub.entries.get("publish")
    if isinstance(publish, Listing) and not publish.items:
        fix = "write publish: [6000]"
        fields.report.add("bad-value", f"'publish' of {what} has no port", publish.place, fix, used=publish.used)
    codec = fields.choice(hub.entries.get("codec"), f"'codec' of {what}", ("msgpack", "json"))
    listen = fields.host(hub.entries.get("listen"), f"'listen' of {what}")
    machine = _machine(hub.entries.get("machine"), what, fields)
    if subscribe is None:
        return None
    numbers = tuple(port for port in ports if port is not None)
    return HubDecl(
        name=name,
        publish=numbers,
        subscribe=subscribe,
        codec="json" if codec == "json" else "msgpack",
        origin=at,
        listen=listen,
        machine=machine,
        outside=_topics(hub.entries.get("outside"), what, fields),
    )


def _topics(tree: Tree | None, what: str, fields: Fields) -> tuple[str, ...]:
    topics: list[str] = []
    for item in fields.items(tree, f"'outside' of {what}", "write outside: [TOPIC]"):
        text = fields.text(item, f"a topic of {what}")
        if text is None:
            continue
        if not TOPIC.fullmatch(text):
            message = f"{shown(text)} cannot be a topic of {what}"
            fields.report.add("bad-value", message, item.place, TOPIC_FORM, used=item.used)
        elif text in topics:
            message = f"'outside' of {what} lists topic {shown(text)} twice"
            fields.report.add("bad-value", message, item.place, "leave one of them out", used=item.used)
        topics.append(text)
    return tuple(topics)


def feedback_lines(file: Map, scope: Scope, prefix: str, fields: Fields) -> list[tuple[Writer, Writer]]:
    """Return the wires that a file's feedback names."""
    result = []
    for item in fields.items(file.entries.get("feedback"), "'feedback'", "write feedback: [A.OUT -> B.IN]"):
        tree = scope.resolve(item)
        text = fields.text(tree, "a feedback line", "write A.OUT -> B.IN")
        if text is None:
            continue
        ends = [port_named(end.strip(), prefix) for end in text.split("->")]
        source, target = ends if len(ends) == 2 else (None, None)
        if source is None or target is None:
            message = f"{shown(text)} names no wire"
            fields.report.add("bad-port", message, tree.place, "write A.OUT -> B.IN", used=tree.used)
            continue
        at = origin(tree)
        result.append((Writer(source, Policy(), at, prefix), Writer(target, Policy(), at, prefix)))
    return result


def _is_plain(name: str, what: str, tree: Map, fields: Fields) -> bool:
    if PLAIN_NAME.fullmatch(name):
        return True
    fix = "use at most 64 letters, digits and _, beginning with a letter"
    fields.report.add("bad-name", f"{shown(name)} cannot be the name of {what}", tree.keys[name], fix)
    return False


def placements(file: Map, scope: Scope, prefix: str, found: dict[str, Placement], fields: Fields) -> None:
    """Add a file's processes."""
    tree = fields.section(file, "processes", "{NAME: {nodes: [ID]}}")
    for key, value in tree.entries.items() if tree else ():
        at = Origin(tree.keys[key] if tree else value.place, scope.used)
        name = joined(prefix, key)
        if tree and not _is_plain(key, "a process", tree, fields):
            continue
        if name in RESERVED_PROCESSES:
            message = f"{name!r} cannot be the name of a process: it means {RESERVED_PROCESSES[name]}"
            fields.report.add("bad-name", message, at.place, "choose another name", used=at.used)
            continue
        placement = _placement(name, scope.resolve(value), at, prefix, fields)
        if placement is None:
            continue
        first = found.setdefault(name, placement)
        if first is not placement:
            notes = (("the other one", first.origin.place),)
            message = f"two processes are called {name!r}"
            fields.report.add("duplicate-process", message, at.place, "rename one", notes=notes, used=at.used)


def _placement(name: str, tree: Tree, at: Origin, prefix: str, fields: Fields) -> Placement | None:
    what = f"process {name!r}"
    listed, entries = tree, {}
    if not isinstance(tree, Listing):
        process = fields.map(tree, what, "write {nodes: [ID]}")
        if process is None:
            return None
        fields.known_keys(process, what, PROCESS_KEYS)
        entries = process.entries
        if fields.lacks(process, "nodes", PROCESS_KEYS):
            fields.report.add("missing-key", f"{what} has no 'nodes'", at.place, "add nodes: [ID]", used=at.used)
        listed = entries.get("nodes", Broken(tree.place))
    patterns = []
    if isinstance(listed, Listing) and not listed.items:
        fix = "name a node, or leave the process out"
        fields.report.add("bad-value", f"{what} hosts no node", listed.place, fix, used=listed.used)
    for item in fields.items(listed, f"'nodes' of {what}", "write nodes: [ID]"):
        text = fields.text(item, f"a node of {what}")
        if text is not None:
            patterns.append((joined(prefix, text), item.place))
    return Placement(
        name=name,
        patterns=tuple(patterns),
        origin=at,
        restart=_restart(entries.get("restart"), what, fields),
        limits=Limits(
            memory_bytes=fields.bytes(entries.get("memory"), f"'memory' of {what}", MIN_MEMORY_BYTES),
            cpus=fields.number(entries.get("cpus"), f"'cpus' of {what}", MAX_CPUS),
            files=fields.whole(entries.get("files"), f"'files' of {what}", MIN_FILES),
            start_timeout_s=fields.seconds(entries.get("start_timeout"), f"'start_timeout' of {what}"),
            liveness_s=fields.seconds(entries.get("liveness"), f"'liveness' of {what}"),
        ),
        listen=fields.tcp_address(entries.get("listen"), f"'listen' of {what}"),
        machine=_machine(entries.get("machine"), what, fields),
    )


def _machine(tree: Tree | None, what: str, fields: Fields) -> str | None:
    """Return the name of a machine; it stands on the command line, and in no path."""
    text = fields.text(tree, f"'machine' of {what}")
    if tree is None or text is None or PLAIN_NAME.fullmatch(text):
        return text
    fix = "use at most 64 letters, digits and _, beginning with a letter"
    fields.report.add("bad-name", f"{shown(text)} cannot be the name of a machine", tree.place, fix, used=tree.used)
    return None


def _restart(tree: Tree | None, what: str, fields: Fields) -> Restart:
    restart = fields.map(tree, f"'restart' of {what}", "write restart: {policy: on_failure, max: 5, window: 10m}")
    default = Restart()
    if restart is None:
        return default
    fields.known_keys(restart, f"'restart' of {what}", RESTART_KEYS)
    entries = restart.entries
    chosen = fields.choice(entries.get("policy"), f"'policy' of {what}", RESTART_POLICIES)
    limit = fields.whole(entries.get("max"), f"'max' of {what}")
    window_s = fields.seconds(entries.get("window"), f"'window' of {what}")
    then = fields.choice(entries.get("then"), f"'then' of {what}", AFTERWARDS)
    return Restart(
        next((policy for policy in RESTART_POLICIES if policy == chosen), default.policy),
        default.max if limit is None else limit,
        default.window_s if window_s is None else window_s,
        next((word for word in AFTERWARDS if word == then), default.then),
    )


def variants(file: Map, scope: Scope, fields: Fields) -> dict[str, tuple[Variant, Map]]:
    """Return the topology's variants, each with the tree of what it sets."""
    result: dict[str, tuple[Variant, Map]] = {}
    tree = fields.section(file, "variants", "{NAME: {set: {PARAM: value}}}")
    for name, value in tree.entries.items() if tree else ():
        what = f"variant {name!r}"
        if tree and not _is_plain(name, "a variant", tree, fields):
            continue
        variant = fields.map(scope.resolve(value), what, "write {about: ..., set: {PARAM: value}}")
        if variant is None:
            continue
        fields.known_keys(variant, what, VARIANT_KEYS)
        about = fields.text(variant.entries.get("about"), f"'about' of {what}")
        changes = fields.map(variant.entries.get("set"), f"'set' of {what}", "write set: {PARAM: value}")
        at = Origin(tree.keys[name] if tree else value.place)
        if changes is None:
            if fields.lacks(variant, "set", VARIANT_KEYS):
                fields.report.add("missing-key", f"{what} sets nothing", at.place, "add set: {PARAM: value}")
            continue
        values: Any = plain(changes)
        result[name] = (Variant(name, about or "", values, at), changes)
    return result
