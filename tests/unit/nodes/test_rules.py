"""Rules of trading over graphs made by hand."""

from __future__ import annotations

import pytest
from support.graphs import TopologyBuilder
from support.packages import only_packages

from engine.topology.check import check
from engine.topology.model import OnStale
from nodes.rules import RULES, split_pair


@pytest.fixture(autouse=True)
def sample_desk():
    with only_packages("support.sample_desk", rules=RULES):
        yield


def market(instrument: str = "ETH-USDT-PERP") -> TopologyBuilder:
    return TopologyBuilder().node("market", "sources.market", instrument=instrument)


def desk(builder: TopologyBuilder | None = None, **maker) -> TopologyBuilder:
    """Market, maker, gate, desk and ledger: a topology without a problem."""
    return (
        (builder or market())
        .node("maker", "hedgers.maker", **maker)
        .node("gate", "risk.gate")
        .node("desk", "executors.desk")
        .node("ledger", "sinks.ledger")
        .wire("market.book -> maker.book", on_stale=OnStale(5.0, "cancel"))
        .wire("maker.order -> gate.order", "gate.approved -> desk.order")
        .wire("desk.fill -> maker.fill", "desk.update -> maker.update")
        .wire("desk.fill -> ledger.entry", "gate.approved -> ledger.entry")
        .feedback("desk.fill -> maker.fill", "desk.update -> maker.update")
    )


def without(builder: TopologyBuilder, *lines: str) -> TopologyBuilder:
    builder.wires = [wire for wire in builder.wires if f"{wire.source} -> {wire.target}" not in lines]
    builder.loops = [(a, b, origin) for a, b, origin in builder.loops if f"{a} -> {b}" not in lines]
    return builder


def problems(builder: TopologyBuilder):
    return check(builder.build())


def codes(builder: TopologyBuilder) -> list[str]:
    return [problem.code for problem in problems(builder)]


def test_a_right_desk_has_no_problem():
    assert codes(desk()) == []


def test_an_order_past_the_gate_is_found_though_another_passes():
    ledger, problem = problems(desk().wire("maker.order -> desk.order"))
    assert (problem.code, ledger.code) == ("ungated-order", "unledgered")
    assert "maker.order -> desk" in problem.message


def test_an_order_that_is_sent_on_unjudged_is_found():
    builder = desk().node("slicer", "executors.slicer").wire("maker.order -> slicer.order", "slicer.part -> desk.order")
    (problem,) = [problem for problem in problems(builder) if problem.severity == "error"]
    assert problem.code == "ungated-order"
    assert "maker.order -> slicer" in problem.message


def test_an_executor_may_pass_on_what_a_gate_approved():
    builder = without(desk(), "gate.approved -> desk.order", "gate.approved -> ledger.entry")
    builder.node("slicer", "executors.slicer")
    builder.wire("gate.approved -> slicer.order", "slicer.part -> desk.order", "slicer.part -> ledger.entry")
    assert "ungated-order" not in codes(builder)


def test_a_hedger_behind_the_gate_needs_a_gate_of_its_own():
    builder = without(desk(), "gate.approved -> desk.order")
    builder.node("mirror", "hedgers.mirror")
    builder.wire("market.book -> mirror.book", "gate.approved -> mirror.order", "mirror.out -> desk.order")
    assert "ungated-order" in codes(builder)


def test_an_order_through_a_hub_is_found():
    builder = without(desk(), "gate.approved -> desk.order").hub("orders", (6002,), 7003)
    builder.wire("maker.order -> hub:orders/request", "hub:orders/request -> desk.order")
    assert "ungated-order" in codes(builder)


@pytest.mark.parametrize("line", ["desk.fill -> maker.fill", "desk.update -> maker.update"])
def test_fills_and_updates_come_back(line):
    (problem,) = problems(without(desk(), line))
    assert problem.code == "fills-lost"
    assert problem.message.startswith(f"output {line.split()[0][5:]!r}")


def test_fills_that_come_back_to_another_desk_are_lost():
    builder = without(desk(), "desk.fill -> maker.fill")
    builder.node("other", "hedgers.maker").wire("desk.fill -> other.fill")
    builder.wire("market.book -> other.book", on_stale=OnStale(5.0, "cancel"))
    assert "fills-lost" in codes(builder)


def test_critical_inputs_declare_what_holds_when_stale():
    builder = without(desk(), "market.book -> maker.book").wire("market.book -> maker.book")
    (problem,) = problems(builder)
    assert problem.code == "stale-undeclared"
    assert "on_stale: {after: 5s, action: cancel}" in problem.fix


@pytest.mark.parametrize(
    ("instrument", "expected"),
    [
        ("ETH-USDT", []),
        ("ETH-USDT-PERP", []),
        ("BTC-USDT-PERP", ["pair-mismatch"]),
        ("ETH-USDC", ["pair-mismatch"]),
        ("no pair", []),
    ],
)
def test_pairs_agree(instrument, expected):
    assert codes(desk(instrument=instrument)) == expected


def test_another_quote_passes_with_a_conversion():
    builder = desk(market().node("rate", "sources.rate"), instrument="ETH-USDC").wire("rate.rate -> maker.rate")
    assert codes(builder) == []
    other_base = desk(market().node("rate", "sources.rate"), instrument="BTC-USDC").wire("rate.rate -> maker.rate")
    assert codes(other_base) == ["pair-mismatch"]


def test_an_order_is_not_converted():
    builder = desk(market("ETH-USDC").node("rate", "sources.rate"), instrument="ETH-USDC")
    builder.node("strict", "risk.strict_gate", instrument="ETH-USDT")
    builder.wire("maker.order -> strict.order", "rate.rate -> strict.rate", "strict.approved -> desk.order")
    (problem,) = [problem for problem in problems(builder) if problem.severity == "error"]
    assert problem.code == "pair-mismatch"
    assert "strict.order trades ETH-USDT" in problem.message


def test_a_pair_is_followed_through_a_node_that_takes_it_over():
    builder = without(desk(instrument="BTC-USDT"), "market.book -> maker.book")
    builder.node("mirror", "hedgers.mirror").wire("market.book -> mirror.book", "mirror.out -> gate.order")
    builder.wire("mirror.copy -> maker.book", on_stale=OnStale(5.0, "cancel"))
    assert codes(builder) == ["pair-mismatch"]


@pytest.mark.parametrize("line", ["desk.fill -> ledger.entry", "gate.approved -> ledger.entry"])
def test_what_no_sink_keeps_is_a_warning(line):
    (problem,) = problems(without(desk(), line))
    assert (problem.code, problem.severity) == ("unledgered", "warning")
    assert line.split()[0] in problem.message


def test_split_pair():
    assert split_pair("eth-usdc-5") == ("ETH", "USDC")
    assert split_pair("ETH") is None
    assert split_pair("-USDC") is None
