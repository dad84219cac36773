"""Tests beside topologies: messages in, messages out, virtual time.

A test names the nodes that run; what they read from other nodes is given by `send`, what they send is compared by
`expect`. `engine/run/scenario_file.py` reads the files.
"""

from __future__ import annotations

import math
import typing
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_type_hints

import msgspec

from engine.clock import Clock, seconds_to_ns
from engine.errors import PipelineError, Place, Problem, TopologyError
from engine.message import Message
from engine.run.host import Host
from engine.run.port import Port
from engine.run.scenario_file import Named, Step, Test, read_test_file
from engine.topology.check import checked
from engine.topology.load import SET, load_topology, resolve_secrets
from engine.topology.model import Topology
from engine.topology.plan import Plan, PlannedNode, make_plan
from engine.topology.report import suggestion
from engine.topology.tree import Listing, Map, Tree, kind, plain

CLOSE = 1e-9


@dataclass(slots=True)
class Outcome:
    """What became of one test. It passed when it has no problems."""

    file: str
    name: str
    problems: list[Problem] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.problems


def run_tests(path: Path, word: str = "") -> Iterator[Outcome]:
    """Run the tests of one file whose names contain `word`.

    Raises TopologyError when the file cannot be read as tests, or its topology has problems.
    """
    file = read_test_file(path)
    topologies: dict[tuple[str, ...], Topology] = {}
    for test in file.tests:
        if word not in test.name:
            continue
        outcome = Outcome(str(path), test.name)
        try:
            if test.sets not in topologies:
                topologies[test.sets] = checked(load_topology([file.topology], test.sets), offline=True)
            _run(topologies[test.sets], test, outcome)
        except TopologyError as error:
            ours = [each for each in error.problems if each.place is not None and each.place.file == SET]
            if not ours:
                raise
            outcome.problems += [replace(each, place=test.sets_place) for each in ours]
        yield outcome


def _run(topology: Topology, test: Test, outcome: Outcome) -> None:
    with TemporaryDirectory() as folder:
        # A test never reads a secret: each is filled in with a text that says what it stands for.
        plan = make_plan(resolve_secrets(topology, "secret {}".format), Path(folder))
        chosen = _chosen(plan, test, outcome)
        if outcome.problems:
            return
        place = test.place
        try:
            stage = _Stage(plan, chosen, test, folder)
            for step in test.steps:
                place = step.place
                outcome.problems += stage.play(step)
        except PipelineError as error:
            outcome.problems.append(Problem("test-node-failed", str(error), place))


def _chosen(plan: Plan, test: Test, outcome: Outcome) -> frozenset[str]:
    """Return the nodes that run: those that the test names, otherwise all; never a history or a driver."""
    nodes = {node.id: node for node in plan.nodes}
    for named in test.nodes:
        if named.name not in nodes:
            fix = suggestion(named.name, nodes, what="nodes")
            outcome.problems.append(Problem("test-unknown-node", f"no node {named.name!r}", named.place, fix))
        elif _is_played(nodes[named.name]):
            message = f"node {named.name!r} brings messages from outside; in a test they are given by `send`"
            outcome.problems.append(Problem("test-format", message, named.place, "take it out of `nodes`"))
    if test.nodes:
        return frozenset(named.name for named in test.nodes)
    return frozenset(node.id for node in plan.nodes if not _is_played(node))


def _is_played(node: PlannedNode) -> bool:
    return node.cls.spec.is_history or node.cls.spec.is_driver


class _Stage:
    """The chosen nodes in a host, with the outputs of the others played by hand."""

    def __init__(self, plan: Plan, chosen: frozenset[str], test: Test, folder: str) -> None:
        self.start_ns = seconds_to_ns(test.start_s)
        self.host = Host(Clock(self.start_ns), test.seed, folder)
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
                on_stale = (stale.after_s, stale.action) if stale else None
                self.host.wire(wire.source, wire.target, on_stale, feedback=wire.feedback)
        self.host.start()

    def play(self, step: Step) -> Iterator[Problem]:
        """Move the clock, send what is given, make the calls that are due, compare what was sent."""
        now_ns = self.start_ns + seconds_to_ns(step.at_s)
        self.host.call_due(now_ns)
        self.host.clock.now_ns = now_ns
        for named in step.send:
            yield from self._send(named)
        self.host.call_due(now_ns + 1)
        for named in step.expect:
            yield from self._expect(named)
        for named in step.expect_nothing:
            if named.name not in self.sent:
                yield self._unknown(named, self.sent)
            elif queue := self.sent[named.name]:
                yield Problem("test-unexpected", f"{named.name} sent {_text(queue[0])}", named.place)

    def _send(self, named: Named) -> Iterator[Problem]:
        port = self.outside.get(named.name)
        if port is None:
            yield self._unknown(named, self.outside)
            return
        for item in named.messages:
            try:
                message = message_of(port.message, item, self.host.clock.now_ns)
            except _DoesNotFit as error:
                yield error.problem
            else:
                self.host.inject(port, message)

    def _expect(self, named: Named) -> Iterator[Problem]:
        queue = self.sent.get(named.name)
        if queue is None:
            yield self._unknown(named, self.sent)
            return
        for item in named.messages:
            if not queue:
                yield Problem("test-missing", f"{named.name} sent nothing more", item.place)
                continue
            message = queue.popleft()
            for key, expected in item.entries.items():
                if key not in message.__struct_fields__:
                    yield _unknown_field(type(message), key, item.keys[key])
                elif not matches(getattr(message, key), plain(expected)):
                    found = f"{named.name}: {key} is {_text(getattr(message, key))}, expected {plain(expected)!r}"
                    yield Problem("test-differs", found, expected.place, f"the whole message: {_text(message)}")

    def _unknown(self, named: Named, known: dict[str, Any]) -> Problem:
        fix = suggestion(named.name, known, what="outputs")
        if known is self.outside and named.name in self.sent:
            fix = "its node runs in this test: leave it out of `nodes` to send by hand"
        elif known is self.sent and named.name in self.outside:
            fix = "its node does not run in this test: add it to `nodes` to expect what it sends"
        return Problem("test-unknown-port", f"no output {named.name!r} to use here", named.place, fix)


class _DoesNotFit(Exception):
    """A written message does not fit its type."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.message)


def message_of(cls: type[Message], item: Map, now_ns: int) -> Message:
    """Return the message that a mapping of fields describes. Times that are not given are the clock's."""
    hints = get_type_hints(cls)
    values: dict[str, Any] = {}
    for key, tree in item.entries.items():
        if key not in cls.__struct_fields__:
            raise _DoesNotFit(_unknown_field(cls, key, item.keys[key]))
        values[key] = _value_of(hints[key], key, tree, now_ns)
    required = cls.__struct_fields__[: len(cls.__struct_fields__) - len(cls.__struct_defaults__)]
    for key in required:
        if key not in values:
            if not key.endswith("_time_ns"):
                raise _DoesNotFit(Problem("test-format", f"{cls.__name__} needs the field {key!r}", item.place))
            values[key] = now_ns
    return cls(**values)


def _value_of(hint: Any, key: str, tree: Tree, now_ns: int) -> Any:
    # A message within a message is written as a mapping too, a tuple of them as a list of mappings.
    if isinstance(hint, type) and issubclass(hint, Message):
        if not isinstance(tree, Map):
            message = f"{key} needs the fields of a {hint.__name__}, found {kind(tree)}"
            raise _DoesNotFit(Problem("test-format", message, tree.place))
        return message_of(hint, tree, now_ns)
    parts = typing.get_args(hint)
    if typing.get_origin(hint) is tuple and len(parts) == 2 and parts[1] is ... and isinstance(tree, Listing):
        return tuple(_value_of(parts[0], key, item, now_ns) for item in tree.items)
    value = plain(tree)
    if hint is Decimal and isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)  # through its shortest text, never through binary digits
    try:
        return msgspec.convert(value, hint)
    except msgspec.ValidationError as error:
        raise _DoesNotFit(Problem("test-format", f"{key}: {error}", tree.place)) from None


def _unknown_field(cls: type[Message], key: str, place: Place) -> Problem:
    fix = suggestion(key, cls.__struct_fields__, what="fields")
    return Problem("test-unknown-field", f"{cls.__name__} has no field {key!r}", place, fix)


def matches(found: Any, expected: Any) -> bool:
    """Tell whether a field is as expected.

    Numbers within 1e-9 or `{near: x, within: y}`, Decimals by their value, texts exactly; of a list every item, of a
    message within a message the fields that are written.
    """
    if isinstance(expected, dict):
        if set(expected) == {"near", "within"}:
            return _is_near(found, expected["near"], expected["within"])
        if isinstance(found, msgspec.Struct):
            names = found.__struct_fields__
            return all(key in names and matches(getattr(found, key), value) for key, value in expected.items())
    if isinstance(expected, list):
        same_length = isinstance(found, tuple | list) and len(found) == len(expected)
        return same_length and all(map(matches, found, expected))
    if isinstance(found, bool) or isinstance(expected, bool):
        return found is expected
    if isinstance(found, Decimal):
        return _decimal(expected) == found
    if isinstance(found, float) and isinstance(expected, int | float):
        return math.isclose(found, expected, rel_tol=CLOSE, abs_tol=CLOSE)
    return bool(msgspec.to_builtins(found) == expected)


def _is_near(found: Any, near: Any, within: Any) -> bool:
    numbers = (found, near, within)
    if not all(isinstance(each, int | float | Decimal) and not isinstance(each, bool) for each in numbers):
        return False
    return abs(float(found) - float(near)) <= float(within)


def _decimal(value: Any) -> Decimal | None:
    try:
        return Decimal(str(value))
    except ArithmeticError:
        return None


def _text(value: Any) -> str:
    return repr(value)[:400]
