"""Net exposure: levels, fills counted once, undefined until known."""

from __future__ import annotations

from typing import Any

import pytest
from support.markets import PERP, fill, inventory, position

from engine.errors import NodeFailed
from engine.testing import NodeUnderTest, run_node
from engine.wire.codec import decode_state, encode_state
from nodes._lib.trade_ids import trade_key
from nodes.models.net_exposure import NetExposureModel


def net(**params: Any) -> NodeUnderTest:
    return run_node(NetExposureModel, **params)


def last(sent: list) -> Any:
    assert sent, "nothing was sent"
    return sent[-1][1]


def test_it_is_undefined_until_every_declared_source_and_instrument_was_seen():
    node = net(sources=["a", "b"], instruments=[PERP])
    assert last(node.on_lp(inventory(2.0, source="a"))).unknown == (PERP, "b")
    assert last(node.on_lp(inventory(3.0, source="b"))).net_base is None
    known = last(node.on_position(position("-1")))
    assert (known.net_base, known.lp_base, known.venue_base, known.unknown) == (4.0, 5.0, -1.0, ())


def test_without_declarations_one_source_is_enough():
    assert last(net().on_lp(inventory(2.0))).net_base == 2.0


def test_a_source_that_was_not_declared_makes_it_undefined():
    node = net(sources=["a"])
    node.on_lp(inventory(2.0, source="a"))
    odd = last(node.on_lp(inventory(1.0, source="x")))
    assert (odd.net_base, odd.unknown) == (None, ("undeclared:x",))


def test_an_older_level_is_ignored_and_a_new_epoch_wins():
    node = net()
    node.on_lp(inventory(2.0, sequence=5, epoch=1))
    assert node.on_lp(inventory(9.0, sequence=4, epoch=1)) == []
    assert last(node.on_lp(inventory(3.0, sequence=1, epoch=2))).net_base == 3.0
    assert node.on_lp(inventory(9.0, sequence=99, epoch=1)) == []


def test_nothing_is_sent_without_a_change_until_the_repeat_is_due():
    node = net(repeat_s=60)
    node.on_lp(inventory(2.0, sequence=1))
    node.at(59.0)
    assert node.on_lp(inventory(2.0, sequence=2)) == []
    node.at(60.0)
    assert last(node.on_lp(inventory(2.0, sequence=3))).event_time_ns == 60_000_000_000


def test_a_fill_counts_before_its_position_and_not_again_with_it():
    node = net()
    node.on_lp(inventory(5.0))
    assert last(node.on_fill(fill("1", "sell", "2"))).net_base == 3.0
    assert node.on_fill(fill("1", "sell", "2")) == []
    assert node.on_position(position("-2", "1")) == []
    assert node.on_fill(fill("1", "sell", "2")) == []
    assert last(node.on_fill(fill("2", "buy", "1"))).venue_base == -1.0


def test_a_position_that_is_older_than_the_known_one_is_ignored():
    node = net()
    node.on_lp(inventory(0.0))
    node.on_position(position("-3", "10"))
    assert node.on_position(position("-2", "9")) == []
    assert last(node.on_position(position("-4", "11"))).venue_base == -4.0


def test_bases_of_several_instruments_add_up_and_must_be_the_same_asset():
    node = net()
    node.on_lp(inventory(5.0))
    node.on_position(position("-2", "1", instrument="ETH-USDT-PERP"))
    assert last(node.on_position(position("-1", "1", instrument="ETH-USDC"))).net_base == 2.0
    with pytest.raises(NodeFailed, match="sums ETH, but is wired to BTC-USDT"):
        node.on_position(position("1", instrument="BTC-USDT"))


def test_stale_sources_must_each_speak_again():
    node = net(sources=["a", "b"])
    node.on_lp(inventory(1.0, source="a"))
    node.on_lp(inventory(2.0, source="b"))
    assert last(node.input_stale("lp", "undefined")).net_base is None
    assert last(node.on_lp(inventory(1.0, sequence=2, source="a"))).unknown == ("b",)
    assert last(node.on_lp(inventory(2.0, sequence=2, source="b"))).net_base == 3.0


def test_a_level_that_is_not_finite_is_not_known():
    assert last(net().on_lp(inventory(float("nan")))).net_base is None


def test_its_state_survives_the_codec():
    node = net()
    node.on_lp(inventory(5.0))
    node.on_fill(fill("7", "sell", "2"))
    fields = {name: getattr(node.node, name) for name in NetExposureModel.spec.state}
    types = {name: spec.type for name, spec in NetExposureModel.spec.state.items()}
    assert decode_state(encode_state(fields), types) == fields


def test_trade_ids_sort_as_numbers():
    ids = ["", "9", "10", "ETH-11", "12-1", "12-2"]
    assert sorted(reversed(ids), key=trade_key) == ids
    with pytest.raises(ValueError, match="holds no number"):
        trade_key("abc")
