"""What nodes do when a run goes on after an interruption, during which the world went on without them."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from support.pools import command, pool_state
from support.scripted_world import NS, PERP, book, fill, venue_position

from engine.run.journal import Journal
from engine.testing import NodeUnderTest, run_node
from nodes.executors.simulated_lp import SimulatedLp
from nodes.hedgers.passive import PassiveHedger
from nodes.messages import NetExposure, OrderRequest, OrderUpdate, Trade
from nodes.models.inventory import Inventory
from nodes.models.net_exposure import NetExposureModel
from nodes.risk.gate import RiskGate
from nodes.sources.scripted_delta import ScriptedDelta
from nodes.venues.sim.exchange import SimulatedExchange


def moved(old: NodeUnderTest, new: NodeUnderTest, folder: Path) -> NodeUnderTest:
    """Give `new` the journaled state of `old`, and return it."""
    journal = Journal(folder / "state.sqlite")
    journal.save(old.host, {})
    journal.restore(new.host)
    journal.close()
    return new


def exposure(net: float | None, at_s: float = 0.0) -> NetExposure:
    return NetExposure("ETH", round(at_s * NS), net, net or 0.0, 0.0)


def test_the_hedger_asks_what_became_of_its_order(tmp_path: Path):
    settings = {"instrument": PERP, "max_order_size": 3, "band_base": 0.1}
    old = run_node(PassiveHedger, **settings)
    old.on_book(book(0.0, 2000.0))
    ((_, placed),) = old.on_exposure(exposure(5.0))
    order_id = placed.client_order_id
    old.on_update(OrderUpdate(order_id, "1", PERP, 0, "open", "sell", Decimal("2000.05"), Decimal(3), Decimal(0)))
    new = moved(old, run_node(PassiveHedger, **settings), tmp_path)
    ((name, asked),) = new.resume()
    assert (name, asked.action, asked.client_order_id) == ("order", "cancel", order_id)
    assert new.on_book(book(0.5, 2000.0)) == [], "no second order before the answer"
    new.at(4.9)
    ((_, again),) = new.at(5.0)
    assert again.action == "cancel"


def test_net_exposure_is_undefined_until_everybody_has_spoken_again(tmp_path: Path):
    script = run_node(ScriptedDelta, steps=[[0, 5]], source="s")
    ((_, delta),) = script.at(0.0)
    settings = {"sources": ["s"], "instruments": [PERP]}
    old = run_node(NetExposureModel, **settings)
    old.on_lp(delta)
    ((_, known),) = old.on_position(venue_position(0.0, "-2"))
    assert known.net_base == 3.0
    new = moved(old, run_node(NetExposureModel, **settings), tmp_path)
    ((_, unknown),) = new.resume()
    assert (unknown.net_base, unknown.unknown) == (None, (PERP, "s"))
    ((_, half),) = new.on_lp(delta)
    assert half.net_base is None
    ((_, again),) = new.on_position(venue_position(1.0, "-2"))
    assert again.net_base == 3.0


def test_a_level_begins_a_new_epoch(tmp_path: Path):
    old = run_node(ScriptedDelta, now_s=100.0, steps=[[0, 5]])
    ((_, first),) = old.at(100.0)
    new = moved(old, run_node(ScriptedDelta, now_s=200.0, steps=[[0, 5]]), tmp_path)
    assert new.at(200.0)[0][1].epoch == first.epoch, "restored, but not interrupted"
    new.resume()
    ((_, later),) = new.at(210.0)
    assert (later.epoch > first.epoch, later.sequence, later.delta_base) == (True, 1, 5.0)


def test_the_latches_of_the_gate_are_not_released_by_a_restart(tmp_path: Path):
    settings = {
        "instrument": PERP, "max_order_size": 5, "max_order_value": 50_000, "max_net_base": 100, "max_repeats": 1,
    }  # fmt: skip

    def verdict(gate: NodeUnderTest, order_id: str) -> str:
        order = OrderRequest("place", order_id, PERP, 0, "sell", Decimal(2000), Decimal(1))
        return gate.on_order(order)[0][1].rule

    old = run_node(RiskGate, **settings)
    old.on_book(book(0.0, 2000.0))
    old.on_exposure(exposure(50.0))
    assert [verdict(old, "a"), verdict(old, "b"), verdict(old, "c")] == ["all", "repetition", "latched"]
    new = moved(old, run_node(RiskGate, **settings), tmp_path)
    new.resume()
    assert verdict(new, "d") == "latched"


def test_the_gate_counts_on_under_the_limits_of_today(tmp_path: Path):
    settings = {"instrument": PERP, "max_order_size": 5, "max_order_value": 50_000, "max_net_base": 100}
    old = run_node(RiskGate, **settings)
    old.on_book(book(0.0, 2000.0))
    old.on_exposure(exposure(50.0))
    for number in range(3):
        old.on_order(OrderRequest("place", str(number), PERP, 0, "sell", Decimal(2000), Decimal(1)))
    new = moved(old, run_node(RiskGate, max_repeats=3, **settings), tmp_path)
    ((_, verdict),) = new.on_order(OrderRequest("place", "3", PERP, 0, "sell", Decimal(2000), Decimal(1)))
    assert verdict.rule == "repetition"


def test_the_venue_tells_its_orders_and_position_again_and_trades_on_no_old_book(tmp_path: Path):
    settings = {"instrument": PERP, "order_latency_s": 0.1}
    old = run_node(SimulatedExchange, **settings)
    old.on_book(book(0.0, 2000.0))
    old.on_order(OrderRequest("place", "rests", PERP, 0, "sell", Decimal("2001"), Decimal(2)))
    old.at(0.1)
    old.on_trade(Trade(PERP, 0, 0, 2001.5, 0.5, "buy"))
    old.on_order(OrderRequest("place", "travels", PERP, 0, "sell", Decimal("1990"), Decimal(1), post_only=False))
    new = moved(old, run_node(SimulatedExchange, **settings), tmp_path)
    (_, update), (name, position) = new.resume()
    assert (update.client_order_id, update.status, update.filled_size) == ("rests", "partially_filled", Decimal("0.5"))
    assert (name, position.size, position.last_trade_id) == ("position", Decimal("-0.5"), "1")
    ((_, rejected),) = new.at(1.0)
    assert (rejected.client_order_id, rejected.status, rejected.reason) == ("travels", "rejected", "no valid market")
    new.on_book(book(1.0, 2000.0))
    sent = new.on_trade(Trade(PERP, 0, 0, 2001.5, 9.0, "buy"))
    assert [(name, one.trade_id) for name, one in sent if name == "fill"] == [("fill", "2")], "ids go on"


def test_an_order_sent_again_after_a_restart_is_known(tmp_path: Path):
    settings = {"instrument": PERP, "order_latency_s": 0.0}
    order = OrderRequest("place", "a", PERP, 0, "sell", Decimal("2001"), Decimal(2))
    old = run_node(SimulatedExchange, **settings)
    old.on_book(book(0.0, 2000.0))
    old.on_order(order)
    new = moved(old, run_node(SimulatedExchange, **settings), tmp_path)
    new.resume()
    new.on_book(book(1.0, 2000.0))
    ((_, answer),) = new.on_order(order)
    assert (answer.status, len(new.node.orders)) == ("open", 1)


def test_the_lp_and_its_inventory_tell_their_levels_again(tmp_path: Path):
    settings = {"fee": 500, "quote_is_token0": True, "base": 10, "quote": 20_000}
    old = run_node(SimulatedLp, now_s=100.0, **settings)
    old.on_pool(pool_state(2_000.0))
    old.on_command(command(1_900.0, 2_100.0))
    new = moved(old, run_node(SimulatedLp, now_s=100.0, **settings), tmp_path / "lp")
    ((_, state),) = new.resume()
    assert state.pending == "c1"
    assert new.on_command(command(1_900.0, 2_100.0))[0][0] == "verdict", "one command id is acted on once"
    ((_, done),) = new.at(112.0)
    assert (done.confirmed, len(done.positions)) == ("c1", 2)
    before = run_node(Inventory, now_s=100.0, source="s")
    ((_, first),) = before.on_lp(state)
    after = moved(before, run_node(Inventory, now_s=101.0, source="s"), tmp_path / "inventory")
    after.at(101.0)
    after.resume()
    ((_, level),) = after.on_lp(state)
    assert (level.epoch > first.epoch, level.sequence, level.delta_base) == (True, 1, first.delta_base)


def test_a_fill_told_again_after_a_restart_is_counted_once(tmp_path: Path):
    settings = {"instruments": [PERP]}
    script = run_node(ScriptedDelta, steps=[[0, 5]], source="s")
    ((_, delta),) = script.at(0.0)
    old = run_node(NetExposureModel, **settings)
    old.on_lp(delta)
    old.on_position(venue_position(0.0, "0"))
    sold = fill(1.0, "1", "-2", "2000")
    ((_, known),) = old.on_fill(sold)
    new = moved(old, run_node(NetExposureModel, **settings), tmp_path)
    new.resume()
    new.on_lp(delta)
    ((_, again),) = new.on_position(venue_position(1.0, "-2", last_trade_id="1"))
    assert new.on_fill(sold) == []
    assert (again.net_base, again.filled) == (3.0, known.filled)
