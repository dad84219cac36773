"""The run's kill switch, node by node: what is there is taken back, nothing new begins, and only a person re-arms."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.desk import Desk
from support.markets import PERP, book, cancel, exposure, inventory, place, trade, update
from support.pools import POOL, START_NS, command, lp_position, lp_state, pool_state

from engine.run.journal import Journal
from engine.testing import NodeUnderTest, run_node
from nodes.executors.simulated_lp import SimulatedLp
from nodes.hedgers.passive import PassiveHedger
from nodes.messages import RangeTarget
from nodes.models.rebalancer import Rebalancer
from nodes.risk.gate import RiskGate
from nodes.risk.lp_gate import LpGate
from nodes.venues.sim.exchange import SimulatedExchange

START_S = START_NS // 10**9
WHY = "stop all, says the desk"


def gate() -> NodeUnderTest:
    return run_node(RiskGate, instrument=PERP, max_order_size=10, max_order_value=50_000, max_net_base=20)


def hedger() -> NodeUnderTest:
    return run_node(PassiveHedger, instrument=PERP, tick_size="0.1", lot_size="0.01", max_order_size=3, band_base=1)


def venue() -> NodeUnderTest:
    return run_node(SimulatedExchange, instrument=PERP, tick_size="0.1", order_latency_s=0.1, cancel_latency_s=0.1)


def lp_gate() -> NodeUnderTest:
    return run_node(LpGate, now_s=START_S, max_value_quote=10_000)


def lp() -> NodeUnderTest:
    return run_node(SimulatedLp, now_s=START_S, fee=500, quote_is_token0=True, base=10, quote=20_000, native=1)


def rebalancer() -> NodeUnderTest:
    return run_node(Rebalancer, now_s=START_S)


def restarted(old: NodeUnderTest, make: Callable[[], NodeUnderTest], folder: Path) -> NodeUnderTest:
    """Return a new node that has got the journaled state of `old` back, after a crash of its process alone."""
    new = make()
    with closing(Journal(folder / "state.sqlite")) as journal:
        journal.save(old.host, {})
        journal.restore(new.host)
    new.resume()
    return new


def rules(sent: list[tuple[str, Any]]) -> list[tuple[bool, str, str]]:
    return [(one.passed, one.rule, one.detail) for name, one in sent if name == "verdict"]


def test_the_gate_lets_through_cancels_alone_also_after_a_restart(tmp_path: Path) -> None:
    node = gate()
    node.on_book(book())
    node.on_exposure(exposure(10.0))
    node.on_order(place("a", "sell", "2000.1", "1"))
    assert node.halt(WHY) == []
    for each in (node, restarted(node, gate, tmp_path)):
        reducing, adding = place("b", "sell", "2000.1", "1"), place("c", "buy", "2000", "1")
        assert rules(each.on_order(reducing)) == rules(each.on_order(adding)) == [(False, "kill_switch", WHY)]
        sent = each.on_order(cancel("a"))
        assert rules(sent)[0][:2] == (True, "cancel")
        assert sent[1] == ("approved", cancel("a"))
        each.rearm()
        assert rules(each.on_order(reducing))[0][0], "an id that was refused was not used up"


def test_a_rearmed_gate_is_no_looser_than_it_was() -> None:
    node = gate()
    node.on_book(book())
    node.on_exposure(exposure(10.0))
    node.input_stale("book", "halt")
    node.input_recovered("book")
    node.halt(WHY)
    node.rearm()
    assert rules(node.on_order(place("a", "buy", "2000", "1")))[0][1] == "halted"


def test_the_hedger_takes_its_order_back_and_places_none(tmp_path: Path) -> None:
    node = hedger()
    node.on_book(book())
    ((_, placed),) = node.on_exposure(exposure(5.0))
    node.on_update(update(placed.client_order_id, "open", size="3"))
    ((_, asked),) = node.halt(WHY)
    assert (asked.action, asked.client_order_id) == ("cancel", placed.client_order_id)
    assert node.halt(WHY) == [], "it has been asked for"
    node.on_update(update(placed.client_order_id, "canceled", size="3"))
    node.at(2.0)
    new = restarted(node, hedger, tmp_path)
    for each in (node, new):
        each.at(2.0)
        assert each.on_book(book(1999.0, 1999.1, at_s=2.0)) == each.on_exposure(exposure(6.0, at_s=2.0)) == []
        ((_, again),) = each.rearm()
        assert (again.action, again.side) == ("place", "sell")


def test_a_hedger_that_comes_back_halted_asks_once_after_its_order(tmp_path: Path) -> None:
    node = hedger()
    node.on_book(book())
    ((_, placed),) = node.on_exposure(exposure(5.0))
    new = hedger()
    with closing(Journal(tmp_path / "state.sqlite")) as journal:
        journal.save(node.host, {})
        journal.restore(new.host)
    ((_, asked),) = new.resume()
    assert (asked.action, asked.client_order_id) == ("cancel", placed.client_order_id)
    assert new.halt(WHY) == []


def test_the_venue_cancels_what_rests_and_what_is_on_its_way_and_refuses_the_rest(tmp_path: Path) -> None:
    node = venue()
    node.on_book(book())
    node.on_order(place("rests", "sell", "2000.5", "1"))
    node.at(0.1)
    node.on_order(place("travels", "sell", "2000.5", "1"))
    ended = [(one.client_order_id, one.status) for _, one in node.halt(WHY)]
    assert ended == [("rests", "canceled"), ("travels", "rejected")]
    for each in (node, restarted(node, venue, tmp_path)):
        ((_, answer),) = each.on_order(place("new", "sell", "2000.5", "1"))
        assert (answer.status, WHY in answer.reason) == ("rejected", True)
        each.at(1.0)
        assert each.on_trade(trade(2001.0, 50.0, "buy", 1.0)) == []
        each.rearm()
        each.on_book(book(at_s=1.0))
        ((_, answer),) = each.on_order(place("new", "sell", "2000.5", "1"))
        assert answer.status == "rejected", "an id is used once"
        each.on_order(place("newer", "sell", "2000.5", "1"))
        assert [one.status for _, one in each.at(2.0)] == ["open"]


def test_the_lp_gate_refuses_withdrawals_too(tmp_path: Path) -> None:
    node = lp_gate()
    node.on_pool(pool_state(2_000.0))
    node.on_lp(lp_state(positions=(lp_position(),)))
    node.halt(WHY)
    move, out = command(1_900.0, 2_100.0), command(0.0, 0.0, action="withdraw")
    for each in (node, restarted(node, lp_gate, tmp_path)):
        assert rules(each.on_command(move)) == rules(each.on_command(out)) == [(False, "kill_switch", WHY)]
        each.rearm()
        assert [name for name, _ in each.on_command(move)] == ["verdict", "approved"]


def test_the_lp_refuses_commands_and_carries_out_the_one_that_was_sent(tmp_path: Path) -> None:
    node = lp()
    node.on_pool(pool_state(2_000.0))
    node.on_command(command(1_900.0, 2_100.0))
    node.halt(WHY)
    node.at(START_S + 12)
    assert node.confirmed == "c1"
    for each in (node, restarted(node, lp, tmp_path)):
        ((name, verdict),) = each.on_command(command(1_950.0, 2_050.0, command_id="c2"))
        assert (name, verdict.passed, WHY in verdict.detail) == ("verdict", False, True)
        each.rearm()
        ((name, state),) = each.on_command(command(1_950.0, 2_050.0, command_id="c2"))
        assert (name, state.pending) == ("state", "c2")


def test_the_rebalancer_asks_for_nothing_until_it_is_rearmed(tmp_path: Path) -> None:
    node = rebalancer()
    node.on_lp(lp_state())
    node.halt(WHY)
    target = RangeTarget(POOL, START_NS, 2_000.0, 1_900.0, 2_100.0, 2_000.0)
    for each in (node, restarted(node, rebalancer, tmp_path)):
        assert each.on_target(target) == each.on_pool(pool_state(2_000.0)) == []
        each.input_stale("pool", "withdraw")
        assert each.on_lp(lp_state(positions=(lp_position(),))) == []
        each.input_recovered("pool")
        each.rearm()
        ((_, asked),) = each.on_lp(lp_state())
        assert asked.action == "rebalance"


@pytest.mark.parametrize(
    "order", [("gate", "hedger", "venue"), ("venue", "gate", "hedger"), ("hedger", "venue", "gate")]
)
def test_the_whole_desk_stops_whoever_is_told_first(order: tuple[str, ...]) -> None:
    desk = Desk()
    desk.send(0.0, book())
    desk.send(0.1, inventory(6.0))
    desk.send(0.5, book(at_s=0.5))
    assert desk.host.nodes["venue"].orders
    for node_id in order:
        desk.host.call(desk.host.nodes[node_id], "halt", (WHY,))
    fills = len(desk.sent("venue.fill"))
    for step in range(1, 20):
        desk.send(float(step), inventory(6.0 + step, sequence=step + 1))
        desk.send(step + 0.2, book(2000.0 + step, 2000.1 + step, at_s=step + 0.2))
        desk.send(step + 0.3, trade(2100.0, 500.0, "buy", step + 0.3))
    assert not desk.host.nodes["venue"].orders
    assert len(desk.sent("venue.fill")) == fills
    assert all(one.action == "cancel" for one in desk.sent("gate.approved")[1:])
    for node_id in order:
        desk.host.call(desk.host.nodes[node_id], "rearm", ())
    desk.send(21.0, book(2020.0, 2020.1, at_s=21.0))
    desk.send(22.0, inventory(30.0, sequence=40))
    desk.send(25.0, book(2020.0, 2020.1, at_s=25.0))
    assert desk.host.nodes["venue"].orders
