"""Tests beside topologies: messages in, messages out, virtual time. `<name>.test.yaml` is read and run here.

A test names the nodes that run; what they read from other nodes is given by `send`, what they send is compared by
`expect`. Steps are in order of time.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_type_hints

import msgspec

from engine import units
from engine.clock import Clock, seconds_to_ns
from engine.errors import PipelineError, Place, Problem
from engine.message import Message
from engine.run.host import Host, Port
from engine.topology.load import load_topology
from engine.topology.plan import Plan, make_plan
from engine.topology.report import Report, suggestion
from engine.topology.yaml_tree import Listing, Map, Scalar, Tree, decode, kind, plain, read_tree

CLOSE = 1e-9
FILE_KEYS = ("topology", "about", "tests")
TEST_KEYS = ("about", "nodes", "set", "seed", "start", "steps")
STEP_KEYS = ("at", "send", "expect", "expect_nothing")


@dataclass(slots=True)
class Outcome:
    """What became of one test. It passed when it has no problems."""

    file: str
    name: str
    problems: list[Problem] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.problems


@dataclass(frozen=True, slots=True)
class _Test:
    name: str
    place: Place
    nodes: tuple[str, ...]
    sets: tuple[str, ...]
    seed: int
    start_s: float
    steps: tuple[Map, ...]


def run_tests(path: Path) -> Iterator[Outcome]:
    """Run every test of one file. Raises TopologyError when the file cannot be read as tests."""
    report = Report()
    text = decode(path.read_bytes(), str(path), report)
    tree = read_tree(text, str(path), report) if text is not None else None
    report.raise_if_any()
    root = _mapping(tree, report, FILE_KEYS, Place(str(path), 1, 1))
    topology = root.entries.get("topology")
    if not isinstance(topology, Scalar) or not isinstance(topology.value, str):
        report.stop("test-format", "a test file names its topology", root.place, "add `topology: NAME.yaml`")
    file = path.parent / plain(topology) if topology is not None else path
    tests = _mapping(root.entries.get("tests"), report, None, root.place)
    read = [_read_test(name, item, report) for name, item in tests.entries.items()]
    report.raise_if_any()
    for test in read:
        yield _run(str(path), file, test)


def _read_test(name: str, tree: Tree, report: Report) -> _Test:
    body = _mapping(tree, report, TEST_KEYS, tree.place)
    steps = body.entries.get("steps")
    if not isinstance(steps, Listing) or not steps.items:
        report.stop(
            "test-format", f"test {name!r} has no steps", body.place, "add `steps:` with `at`, `send`, `expect`"
        )
    changed = body.entries.get("set")
    values = plain(changed) if isinstance(changed, Map) else {}
    return _Test(
        name=name,
        place=body.place,
        nodes=tuple(plain(body.entries["nodes"])) if "nodes" in body.entries else (),
        sets=tuple(f"{key}={msgspec.json.encode(value).decode()}" for key, value in values.items()),
        seed=plain(body.entries["seed"]) if "seed" in body.entries else 0,
        start_s=units.seconds(plain(body.entries["start"])) if "start" in body.entries else 0.0,
        steps=tuple(_mapping(step, report, STEP_KEYS, body.place) for step in getattr(steps, "items", ())),
    )


def _mapping(tree: Tree | None, report: Report, keys: tuple[str, ...] | None, place: Place) -> Map:
    if not isinstance(tree, Map):
        found = kind(tree) if tree is not None else "nothing"
        report.stop("test-format", f"needs a mapping here, found {found}", tree.place if tree else place)
        raise AssertionError  # stop() raises
    for key in tree.entries:
        if keys is not None and key not in keys:
            report.add("test-format", f"no key {key!r} here", tree.keys[key], suggestion(key, keys, what="keys"))
    return tree


def _run(file: str, topology_file: Path, test: _Test) -> Outcome:
    outcome = Outcome(file, test.name)
    with TemporaryDirectory() as folder:
        plan = make_plan(load_topology([topology_file], list(test.sets)), Path(folder))
        ids = {node.id for node in plan.nodes}
        chosen = test.nodes or tuple(ids)
        for name in chosen:
            if name not in ids:
                fix = suggestion(name, ids, what="nodes")
                outcome.problems.append(Problem("test-unknown-node", f"no node {name!r}", test.place, fix))
        if outcome.problems:
            return outcome
        stage = _Stage(plan, frozenset(chosen), test, folder)
        try:
            for step in test.steps:
                outcome.problems += stage.play(step)
        except PipelineError as error:
            outcome.problems.append(Problem("test-node-failed", str(error), test.place))
    return outcome


class _Stage:
    """The chosen nodes in a host, with the outputs of the others played by hand."""

    def __init__(self, plan: Plan, chosen: frozenset[str], test: _Test, folder: str) -> None:
        self.host = Host(Clock(seconds_to_ns(test.start_s)), test.seed, folder)
        self.start_ns = self.host.clock.now_ns
        self.sent: dict[str, deque[Message]] = {}
        self.outside: dict[str, Port] = {}
        for node in plan.nodes:
            if node.id in chosen:
                self.host.add(node.id, node.cls, node.params)
            else:
                for name, out in node.cls.spec.outputs.items():
                    port = Port(node.id, name, out.message)
                    self.host.ports[node.id, name] = self.outside[f"{node.id}.{name}"] = port
        for (node_id, name), port in self.host.ports.items():
            if node_id in chosen:
                queue = self.sent[f"{node_id}.{name}"] = deque()
                self.host.tap((port.node, port.name), queue.append)
        for wire in plan.wires:
            if wire.target[0] in chosen:
                stale = wire.policy.on_stale
                self.host.wire(wire.source, wire.target, (stale.after_s, stale.action) if stale else None)
        self.host.start()

    def play(self, step: Map) -> Iterator[Problem]:
        """Move the clock, send what is given, make the calls that are due, compare what was sent."""
        at = step.entries.get("at")
        if at is not None:
            now_ns = self.start_ns + seconds_to_ns(units.seconds(plain(at)))
            if now_ns < self.host.clock.now_ns:
                yield Problem(
                    "test-format", "this step is earlier than the one before", at.place, "order the steps by time"
                )
                return
            self.host.call_due(now_ns)
            self.host.clock.now_ns = now_ns
        for name, tree in _ports(step, "send"):
            yield from self._send(name, tree)
        self.host.call_due(self.host.clock.now_ns + 1)
        for name, tree in _ports(step, "expect"):
            yield from self._expect(name, tree)
        quiet = step.entries.get("expect_nothing")
        for item in quiet.items if isinstance(quiet, Listing) else ():
            name = str(plain(item))
            if name not in self.sent:
                yield self._unknown(name, self.sent, item.place)
            elif self.sent[name]:
                yield Problem("test-unexpected", f"{name} sent {_text(self.sent[name][0])}", item.place)

    def _send(self, name: str, tree: Tree) -> Iterator[Problem]:
        port = self.outside.get(name)
        if port is None:
            yield self._unknown(name, self.outside, tree.place)
            return
        for item in tree.items if isinstance(tree, Listing) else (tree,):
            made = message_of(port.message, item, self.host.clock.now_ns)
            if isinstance(made, Problem):
                yield made
            else:
                self.host.inject(port, made)

    def _expect(self, name: str, tree: Tree) -> Iterator[Problem]:
        queue = self.sent.get(name)
        if queue is None:
            yield self._unknown(name, self.sent, tree.place)
            return
        for item in tree.items if isinstance(tree, Listing) else (tree,):
            if not queue:
                yield Problem("test-missing", f"{name} sent nothing more", item.place)
                continue
            message = queue.popleft()
            for key, expected in item.entries.items() if isinstance(item, Map) else ():
                if key not in message.__struct_fields__:
                    fix = suggestion(key, message.__struct_fields__, what="fields")
                    yield Problem(
                        "test-unknown-field", f"{type(message).__name__} has no field {key!r}", expected.place, fix
                    )
                elif not matches(getattr(message, key), plain(expected)):
                    found = f"{name}: {key} is {getattr(message, key)!r}, expected {plain(expected)!r}"
                    yield Problem("test-differs", found, expected.place, f"the whole message: {_text(message)}")

    @staticmethod
    def _unknown(name: str, known: dict[str, Any], place: Place) -> Problem:
        return Problem(
            "test-unknown-port", f"no output {name!r} to use here", place, suggestion(name, known, what="outputs")
        )


def _ports(step: Map, key: str) -> Iterator[tuple[str, Tree]]:
    tree = step.entries.get(key)
    if isinstance(tree, Map):
        yield from tree.entries.items()


def message_of(cls: type[Message], tree: Tree, now_ns: int) -> Message | Problem:
    """Return the message that a mapping of fields describes. Times that are not given are the clock's."""
    if not isinstance(tree, Map):
        return Problem("test-format", f"needs the fields of a {cls.__name__}, found {kind(tree)}", tree.place)
    hints = get_type_hints(cls, include_extras=True)
    values: dict[str, Any] = {}
    for key, item in tree.entries.items():
        if key not in cls.__struct_fields__:
            fix = suggestion(key, cls.__struct_fields__, what="fields")
            return Problem("test-unknown-field", f"{cls.__name__} has no field {key!r}", tree.keys[key], fix)
        value = plain(item)
        if isinstance(value, float) and not math.isfinite(value):
            return Problem("test-format", f"{key} is not finite", item.place)
        try:
            values[key] = msgspec.convert(value, hints[key], strict=False)
        except msgspec.ValidationError as error:
            return Problem("test-format", f"{key}: {error}", item.place)
    required = cls.__struct_fields__[: len(cls.__struct_fields__) - len(cls.__struct_defaults__)]
    for key in required:
        if key not in values:
            if not key.endswith("_time_ns"):
                return Problem("test-format", f"{cls.__name__} needs the field {key!r}", tree.place)
            values[key] = now_ns
    return cls(**values)


def matches(found: Any, expected: Any) -> bool:
    """Tell whether a field is as expected: numbers within 1e-9, `{near: x, within: y}`, texts and lists exactly."""
    if isinstance(expected, dict) and set(expected) == {"near", "within"}:
        return found is not None and abs(float(found) - float(expected["near"])) <= float(expected["within"])
    if isinstance(found, Decimal):
        return not isinstance(expected, bool) and _decimal(expected) == found
    if isinstance(found, float) and isinstance(expected, int | float):
        return math.isclose(found, expected, rel_tol=CLOSE, abs_tol=CLOSE)
    return bool(msgspec.to_builtins(found) == expected)


def _decimal(value: Any) -> Decimal | None:
    try:
        return Decimal(str(value))
    except ArithmeticError:
        return None


def _text(message: Message) -> str:
    return repr(message)[:400]
