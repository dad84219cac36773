"""The whole loop on a made market: a step of exposure is hedged, calmly and the same way every time."""

from __future__ import annotations

import random
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from support.desk import Desk
from support.markets import book, inventory, trade

from engine.wire.codec import decode_state, encode_state


def run(seconds: int = 600, step_base: float = 5.0, seed: int = 3, **settings: Any) -> Desk:
    """A book every 0.5 s that walks by ticks, a trade at a touch every second, and a step of LP inventory at 10 s."""
    chance = random.Random(seed)
    desk = Desk(**settings)
    mid_ticks = 20_000
    desk.send(0.0, inventory(0.0, sequence=1))
    for half in range(seconds * 2):
        at_s = half * 0.5 + 0.25
        mid_ticks += chance.choice((-1, 0, 0, 1))
        bid, ask = (mid_ticks - 1) / 10, (mid_ticks + 1) / 10
        desk.send(at_s, book(bid, ask, chance.uniform(0.5, 3), chance.uniform(0.5, 3), at_s=at_s))
        if half % 2:
            aggressor = chance.choice(("buy", "sell"))
            desk.send(
                at_s, trade(ask if aggressor == "buy" else bid, round(chance.uniform(0.1, 4), 2), aggressor, at_s)
            )
        if half == 20:
            desk.send(at_s, inventory(step_base, sequence=2))
    return desk


@pytest.mark.parametrize("step_base", [5.0, -5.0])
@pytest.mark.parametrize("target", ["edge", "zero"])
def test_a_step_is_brought_back_within_the_band_by_resting(step_base, target):
    desk = run(step_base=step_base, hedger={"target": target})
    assert abs(desk.net_base) <= (0.51 if target == "edge" else 0.01)
    fills = desk.sent("venue.fill")
    assert {fill.liquidity for fill in fills} == {"maker"}
    assert {fill.side for fill in fills} == {"sell" if step_base > 0 else "buy"}
    position = desk.sent("venue.position")[-1]
    signed = sum((fill.size if fill.side == "buy" else -fill.size for fill in fills), Decimal(0))
    assert position.size == signed
    assert float(position.size) + step_base == pytest.approx(desk.net_base)
    assert all(verdict.passed for verdict in desk.sent("gate.verdict"))


def test_exposure_never_grows_on_the_way():
    desk = run()
    nets = [message.net_base for message in desk.sent("net.exposure") if message.net_base is not None]
    after = nets[nets.index(5.0) :]
    assert all(later <= earlier for earlier, later in pairwise(after))
    assert min(after) >= 0.0


def test_two_runs_send_the_same():
    assert run(200).log == run(200).log


def test_a_taker_is_done_in_seconds_and_pays_for_it():
    desk = run(60, hedger={"style": "taker"})
    assert abs(desk.net_base) <= 0.51
    assert {fill.liquidity for fill in desk.sent("venue.fill")} == {"taker"}
    assert desk.sent("venue.position")[-1].fees == sum((fill.fee for fill in desk.sent("venue.fill")), Decimal(0))


def test_outside_the_wide_band_it_crosses_and_inside_it_rests():
    desk = run(hedger={"style": "maker_then_taker", "cross_band_base": 2})
    liquidity = [fill.liquidity for fill in desk.sent("venue.fill")]
    assert {"maker", "taker"} == set(liquidity)
    assert abs(desk.net_base) <= 0.51


def test_one_order_at_a_time_even_when_the_venue_is_slow():
    desk = run(venue={"order_latency_s": 0.9, "cancel_latency_s": 0.7})
    open_ids: set[str] = set()
    most = 0
    for _, name, message in desk.log:
        if name == "gate.approved" and message.action == "place":
            open_ids.add(message.client_order_id)
        elif name == "venue.update" and message.status in ("filled", "canceled", "rejected", "expired"):
            open_ids.discard(message.client_order_id)
        most = max(most, len(open_ids))
    assert most == 1
    assert abs(desk.net_base) <= 0.51


def test_a_gate_that_blocks_does_not_jam_the_hedger():
    desk = run(gate={"max_order_size": "1"})
    assert desk.sent("venue.fill") == []
    blocked = desk.sent("gate.verdict")
    assert {verdict.rule for verdict in blocked} == {"order_size"}
    assert 5 < len(blocked) < 25  # the wait grows: no storm of requests


@pytest.mark.parametrize("style", ["maker", "taker"])
def test_the_state_of_every_node_survives_the_codec(style):
    desk = run(25, hedger={"style": style})
    for node in desk.host.nodes.values():
        fields = {name: getattr(node, name) for name in node.spec.state}
        types = {name: field.type for name, field in node.spec.state.items()}
        assert decode_state(encode_state(fields), types) == fields


def test_stop_leaves_no_open_order():
    desk = run(11)
    desk.host.call_due(12_000_000_000)
    assert desk.host.nodes["venue"].orders
    desk.stop()
    assert not desk.host.nodes["venue"].orders
    assert desk.sent("venue.update")[-1].status == "canceled"
