"""Read `<name>.test.yaml`: a topology, and tests as steps in order of time. All that is wrong is told at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from engine import units
from engine.errors import Place
from engine.topology.report import Report, suggestion
from engine.topology.tree import Listing, Map, Scalar, Tree, kind, plain
from engine.topology.yaml_tree import decode, read_tree

FILE_KEYS = ("topology", "about", "tests")
TEST_KEYS = ("about", "nodes", "set", "seed", "start", "steps")
STEP_KEYS = ("at", "send", "expect", "expect_nothing")


@dataclass(frozen=True, slots=True)
class Named:
    """A name of a node or port, and where it is written; with the messages that are written under it."""

    name: str
    place: Place
    messages: tuple[Map, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One moment: what is sent then, and what has been sent by then. `at_s` counts from the test's start."""

    place: Place
    at_s: float
    send: tuple[Named, ...]
    expect: tuple[Named, ...]
    expect_nothing: tuple[Named, ...]


@dataclass(frozen=True, slots=True)
class Test:
    """One test. `sets` are values as `--set` takes them, written at `sets_place`; no `nodes` means all of them."""

    name: str
    place: Place
    nodes: tuple[Named, ...]
    sets: tuple[str, ...]
    sets_place: Place
    seed: int
    start_s: float
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class TestFile:
    """What one test file says."""

    topology: Path
    tests: tuple[Test, ...]


def read_test_file(path: Path) -> TestFile:
    """Read a test file. Raises TopologyError with all that is wrong with it."""
    report = Report()
    text = decode(path.read_bytes(), str(path), report)
    tree = read_tree(text, str(path), report) if text is not None else None
    report.raise_if_any()
    reader = _Reader(report)
    root = reader.map(tree, "the file", Place(str(path), 1, 1), FILE_KEYS)
    topology = root.entries.get("topology")
    if not (isinstance(topology, Scalar) and isinstance(topology.value, str)):
        report.add("test-format", "a test file names its topology", root.place, "add `topology: NAME.yaml`")
    elif not (path.parent / topology.value).is_file():
        report.add("test-format", f"no file {topology.value!r} beside this one", topology.place)
    tests = reader.map(root.entries.get("tests"), "`tests`", root.place)
    if "tests" in root.entries and not tests.entries:
        report.add("test-format", "there is no test in this file", tests.place, "add tests: a name, and `steps`")
    found = tuple(reader.test(name, item, tests.keys[name]) for name, item in tests.entries.items())
    report.raise_if_any()
    return TestFile(path.parent / plain(root.entries["topology"]), found)


class _Reader:
    """Turns trees into tests, and reports what does not fit; what it returns then is of no use, but harmless."""

    def __init__(self, report: Report) -> None:
        self.report = report

    def test(self, name: str, tree: Tree, place: Place) -> Test:
        body = self.map(tree, f"test {name!r}", place, TEST_KEYS)
        entries = body.entries
        steps = entries.get("steps")
        if isinstance(tree, Map) and not (isinstance(steps, Listing) and steps.items):
            fix = "add `steps:`, a list of `at`, `send`, `expect`"
            self._add(f"test {name!r} has no steps", steps.place if steps else place, fix)
        sets = self.map(entries["set"], "`set`", body.place) if "set" in entries else None
        read, at_s = [], 0.0
        for item in steps.items if isinstance(steps, Listing) else ():
            read.append(self.step(item, at_s))
            at_s = read[-1].at_s
        return Test(
            name=name,
            place=place,
            nodes=self.names(entries.get("nodes"), "`nodes`"),
            sets=tuple(
                f"{key}={msgspec.json.encode(plain(value)).decode()}"
                for key, value in (sets.entries.items() if sets else ())
            ),
            sets_place=sets.place if sets else place,
            seed=self.seed(entries.get("seed")),
            start_s=self.seconds(entries.get("start"), 0.0),
            steps=tuple(read),
        )

    def step(self, tree: Tree, before_s: float) -> Step:
        body = self.map(tree, "a step", tree.place, STEP_KEYS)
        entries: Mapping[str, Tree] = body.entries
        if not set(entries) & {"send", "expect", "expect_nothing"}:
            self._add("this step does nothing", body.place, "add `send`, `expect` or `expect_nothing`")
        at = entries.get("at")
        at_s = self.seconds(at, before_s)
        if at is not None and at_s < before_s:
            self._add("this step is earlier than the one before", at.place, "order the steps by time")
        return Step(
            place=body.place,
            at_s=max(at_s, before_s),
            send=self.messages(entries.get("send"), "`send`"),
            expect=self.messages(entries.get("expect"), "`expect`"),
            expect_nothing=self.names(entries.get("expect_nothing"), "`expect_nothing`"),
        )

    def messages(self, tree: Tree | None, what: str) -> tuple[Named, ...]:
        """Read `node.output: {field: value}`, or a list of messages under one output."""
        if tree is None:
            return ()
        body = self.map(tree, what, tree.place)
        return tuple(
            Named(
                name,
                body.keys[name],
                tuple(
                    self.map(one, f"a message of {name}", item.place)
                    for one in (item.items if isinstance(item, Listing) else (item,))
                ),
            )
            for name, item in body.entries.items()
        )

    def names(self, tree: Tree | None, what: str) -> tuple[Named, ...]:
        """Read a list of names, or one name."""
        items = tree.items if isinstance(tree, Listing) else () if tree is None else (tree,)
        result = []
        for item in items:
            if isinstance(item, Scalar) and isinstance(item.value, str):
                result.append(Named(item.value, item.place))
            else:
                self._add(f"{what} is a list of names, found {kind(item)}", item.place)
        return tuple(result)

    def seconds(self, tree: Tree | None, otherwise: float) -> float:
        if tree is None:
            return otherwise
        value: Any = plain(tree)
        try:
            if isinstance(value, str | int | float) and not isinstance(value, bool):
                seconds = units.seconds(value)
                if 0 <= seconds < 1e12:
                    return seconds
                self._add(f"{value!r} is no time: it must not be negative, nor beyond 1e12 s", tree.place)
                return otherwise
        except units.UnitError as error:
            self._add(str(error), tree.place)
            return otherwise
        self._add(f"needs a time such as 5s, found {kind(tree)}", tree.place)
        return otherwise

    def seed(self, tree: Tree | None) -> int:
        value: Any = 0 if tree is None else plain(tree)
        if tree is not None and (isinstance(value, bool) or not isinstance(value, int)):
            self._add(f"`seed` is a whole number, found {kind(tree)}", tree.place)
            return 0
        return int(value)

    def map(self, tree: Tree | None, what: str, place: Place, keys: tuple[str, ...] | None = None) -> Map:
        if not isinstance(tree, Map):
            found = kind(tree) if tree is not None else "nothing"
            self._add(f"{what} needs a mapping, found {found}", tree.place if tree else place)
            return Map(place)
        for key in tree.entries:
            if keys is not None and key not in keys:
                self._add(f"no key {key!r} here", tree.keys[key], suggestion(key, keys, what="keys"))
        return tree

    def _add(self, message: str, place: Place, fix: str = "") -> None:
        self.report.add("test-format", message, place, fix)
