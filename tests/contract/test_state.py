"""Declared state is all that a node needs to go on: cut, journaled and restored, it sends what it would have sent."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest

from engine.clock import Clock
from engine.message import Message
from engine.run.backtest import backtest
from engine.run.build import build
from engine.run.host import Host
from engine.run.journal import Journal
from engine.run.replay import ReplayHost, feed
from engine.run.segment import Row, read_recording
from engine.testing import run_node
from engine.topology.load import load_topology
from engine.topology.plan import Plan, make_plan
from engine.wire.codec import decode_state, encode_state, encoder
from nodes.messages import Book
from nodes.models.expression import ExpressionModel

BACKTESTS = Path(__file__).parents[2] / "topologies" / "backtest"
SPANS = {
    "asymmetric_lp": ("pool.end=2024-01-05 03:00:00", "binance.quotes.end=2024-01-05 03:00:00"),
    "polygon_days": ("pool.end=2023-08-13 08:00:00",),
    "venue_capture": ("quotes.best_prices=false", "quotes.depth_levels=2"),
}
CUTS = (0.21, 0.5, 0.83)


@cache
def plan_of(name: str) -> Plan:
    """Return a shipped graph without its sinks, which keep what they know in files of their own."""
    topology = load_topology([BACKTESTS / f"{name}.yaml"], SPANS[name])
    kept = {node_id: node for node_id, node in topology.nodes.items() if not node.use.startswith("sinks.")}
    wires = tuple(wire for wire in topology.wires if wire.target.hub or wire.target.node in kept)
    return make_plan(replace(topology, nodes=kept, wires=wires, processes={}), Path())


@dataclass(frozen=True)
class Recorded:
    """A plan, and what its nodes were given in a run of it."""

    plan: Plan
    rows: list[Row]


@pytest.fixture(scope="module", params=sorted(SPANS))
def recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    plan = plan_of(request.param)
    folder = tmp_path_factory.mktemp(request.param)
    backtest(plan, folder, seed=4)
    return Recorded(plan, [row for row in read_recording(folder / "recordings") if row.kind != "out"])


def replayed(host: ReplayHost, rows: list[Row]) -> dict[str, list[tuple[str, bytes]]]:
    """Give the nodes what was recorded; return what each of them sent."""
    sent: dict[str, list[tuple[str, bytes]]] = defaultdict(list)
    for row in rows:
        feed(host, row, {})
        sent[row.node] += host.take()
    return sent


def replay_host(plan: Plan) -> ReplayHost:
    host = ReplayHost(Clock(), seed=4)
    for planned in plan.nodes:
        host.add(planned.id, planned.cls, planned.params)
    return host


def reactors(plan: Plan) -> list[str]:
    return [planned.id for planned in plan.nodes if not planned.cls.spec.is_history]


def test_a_node_goes_on_from_its_state_alone(recorded: Recorded, tmp_path: Path) -> None:
    plan, rows = recorded.plan, recorded.rows
    whole = replayed(replay_host(plan), rows)
    assert sum(map(len, whole.values())) > 500
    for number, part in enumerate(CUTS):
        cut = int(len(rows) * part)
        before, after = replay_host(plan), replay_host(plan)
        first = replayed(before, rows[:cut])
        with closing(Journal(tmp_path / f"{number}.sqlite")) as journal:
            journal.save(before, {})
            journal.restore(after)
        rest = replayed(after, rows[cut:])
        wrong = [node_id for node_id in reactors(plan) if first[node_id] + rest[node_id] != whole[node_id]]
        assert not wrong, f"cut at {part:.0%}: {[first_difference(one, first, rest, whole) for one in wrong]}"


def first_difference(node_id: str, first: dict, rest: dict, whole: dict) -> str:
    expected = whole[node_id][len(first[node_id]) :]
    for index, (one, other) in enumerate(zip(rest[node_id], expected, strict=False)):
        if one != other:
            return f"{node_id}, message {index} after the cut: {one} instead of {other}"
    return f"{node_id}: {len(rest[node_id])} messages after the cut instead of {len(expected)}"


def events(plan: Plan) -> Iterator[tuple[int, str, Message]]:
    """Yield (time, history, message) of all histories, in order of time."""
    host = Host(Clock())
    build(plan, host)
    rows = [
        (now_ns, rank, index, planned.id, message)
        for rank, planned in enumerate(plan.nodes)
        if planned.cls.spec.is_history
        for index, (now_ns, message) in enumerate(host.nodes[planned.id].history())  # type: ignore[attr-defined]
    ]
    for now_ns, _, _, node_id, message in sorted(rows, key=lambda row: row[:3]):
        yield now_ns, node_id, message


class Graph:
    """A plan in a host of its own, driven row by row, with all that it sends."""

    def __init__(self, plan: Plan) -> None:
        self.host = Host(Clock(), seed=4)
        build(plan, self.host)
        self.sent: list[tuple[int, str, bytes]] = []
        for (node_id, name), port in self.host.ports.items():
            self.host.tap((node_id, name), self._note(f"{node_id}.{name}", encoder(port.message)))

    def _note(self, port: str, encode):
        return lambda message: self.sent.append((self.host.clock.now_ns, port, encode(message)))

    def feed(self, rows: list[tuple[int, str, Message]]) -> None:
        ports = {(port.node, port.message): port for port in self.host.ports.values()}
        for now_ns, node_id, message in rows:
            self.host.call_due(now_ns)
            self.host.clock.now_ns = now_ns
            self.host.inject(ports[node_id, type(message)], message)


@pytest.mark.parametrize("name", sorted(SPANS))
def test_a_graph_goes_on_with_its_timers_and_watches(name: str, tmp_path: Path) -> None:
    plan = plan_of(name)
    rows = list(events(plan))
    cut = len(rows) * 2 // 3
    whole, before, after = Graph(plan), Graph(plan), Graph(plan)
    for graph in (whole, before):
        graph.host.clock.now_ns = rows[0][0]
        graph.host.start()
    whole.feed(rows)
    before.feed(rows[:cut])
    with closing(Journal(tmp_path / "state.sqlite")) as journal:
        journal.save(before.host, {"pool": cut})
        assert journal.restore(after.host) == ({"pool": cut}, b"")
    after.feed(rows[cut:])
    assert after.sent == whole.sent[len(before.sent) :]


def test_start_leaves_restored_state_as_it_is(recorded: Recorded) -> None:
    host = replay_host(recorded.plan)
    replayed(host, recorded.rows[: len(recorded.rows) // 2])
    for node in host.nodes.values():
        kept = encode_state({name: getattr(node, name) for name in node.spec.state})
        node.start()
        assert encode_state({name: getattr(node, name) for name in node.spec.state}) == kept, node.id


def test_state_is_encodable_at_any_time(recorded: Recorded) -> None:
    host = replay_host(recorded.plan)
    step = max(1, len(recorded.rows) // 40)
    for begin in range(0, len(recorded.rows), step):
        replayed(host, recorded.rows[begin : begin + step])
        for node in host.nodes.values():
            fields = {name: getattr(node, name) for name in node.spec.state}
            types = {name: field.type for name, field in node.spec.state.items()}
            assert decode_state(encode_state(fields), types) == fields, node.id


def test_an_expression_goes_on_with_what_its_inputs_said(tmp_path: Path) -> None:
    def book(number: float) -> Book:
        return Book("ETH-USDT", 1, 1, number, 1.0, number + 1.0, 1.0)

    nodes = [run_node(ExpressionModel, expression="a.bid_price / b.bid_price") for _ in range(2)]
    nodes[0].on_a(book(math.inf))
    nodes[0].on_b(book(2.0))
    with closing(Journal(tmp_path / "state.sqlite")) as journal:
        journal.save(nodes[0].host, {})
        journal.restore(nodes[1].host)
    assert nodes[1].node.withheld == 1
    for node in nodes:
        assert node.on_b(book(4.0)) == []
        assert [message.value for _, message in node.on_a(book(10.0))] == [2.5]
