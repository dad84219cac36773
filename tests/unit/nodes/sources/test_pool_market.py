"""The stand-in market around a pool's price."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.markets import PERP
from support.pools import pool_state

from engine.testing import run_node
from nodes._lib.book_model import read_book_model
from nodes.sources.pool_market import PoolMarket

MODEL = Path(__file__).parents[4] / "data" / "book_model_binance_usdm_ethusdt.json"


def test_the_book_lies_half_a_spread_around_the_price_on_ticks():
    node = run_node(PoolMarket, instrument=PERP, tick_size=0.1, half_spread_bps=1, touch_base=7)
    ((name, book),) = node.on_pool(pool_state(2000.03, 1.0))
    assert (name, book.bid_price, book.ask_price, book.bid_size, book.ask_size) == ("book", 1999.8, 2000.3, 7, 7)
    assert book.receive_time_ns == book.event_time_ns == pool_state(1.0, 1.0).event_time_ns


@pytest.mark.parametrize("price", [2000.0, 2000.005, 0.37, 99_999.99])
def test_the_spread_is_at_least_a_tick_and_never_crossed(price):
    node = run_node(PoolMarket, instrument=PERP, half_spread_bps=0)
    book = node.on_pool(pool_state(price))[-1][1]
    assert 0 < book.bid_price < book.ask_price
    assert book.ask_price - book.bid_price == pytest.approx(0.01) or book.ask_price - book.bid_price == pytest.approx(
        0.02
    )


def test_a_move_prints_the_volume_of_its_side_before_the_new_book():
    node = run_node(PoolMarket, instrument=PERP, volume_share=0.5)
    node.on_pool(pool_state(2000.0))
    up = node.on_pool(pool_state(2001.0, base_in=9 * 10**18, quote_in=4002 * 10**6))
    assert [name for name, _ in up] == ["trade", "book"]
    assert (up[0][1].aggressor, up[0][1].price, up[0][1].size) == ("buy", 2001.0, pytest.approx(1.0))
    down = node.on_pool(pool_state(1999.5, base_in=3 * 10**18, quote_in=4002 * 10**6))
    assert (down[0][1].aggressor, down[0][1].size) == ("sell", 1.5)
    assert [name for name, _ in node.on_pool(pool_state(1999.5, base_in=10**18))] == ["book"]


def test_a_measured_model_replaces_the_numbers():
    model = read_book_model(MODEL)
    node = run_node(PoolMarket, instrument=PERP, model=str(MODEL), touch_base=1e6, half_spread_bps=100)
    book = node.on_pool(pool_state(2000.0))[-1][1]
    assert book.bid_size == model.touch_depth_base
    assert book.ask_price - book.bid_price < 2000.0 * 2e-4


@pytest.mark.parametrize("price", [0.0, -1.0, float("nan"), float("inf")])
def test_a_price_that_is_none_makes_no_market(price):
    good = pool_state(2000.0)
    bad = type(good)(**{name: getattr(good, name) for name in good.__struct_fields__} | {"price": price})
    assert run_node(PoolMarket, instrument=PERP).on_pool(bad) == []


def test_a_book_that_says_nothing_new_may_wait():
    node = run_node(PoolMarket, instrument=PERP, refresh_s=60)

    def sent(price: float, second: float) -> list[str]:
        return [name for name, _ in node.on_pool(pool_state(price, second))]

    assert sent(2000.0, 0) == ["book"]
    assert sent(2000.0, 59) == []
    assert sent(2000.0, 60) == ["book"]
    assert sent(2001.0, 61) == ["book"]
    assert sent(2001.0, 120) == []
    assert sent(2001.0, 121) == ["book"]
