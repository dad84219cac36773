"""Ticks against 50-digit numbers, and the way there and back in every token order."""

from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.model_numbers import near, numbers

from nodes._lib.ticks import (
    MAX_TICK,
    TICK_SPACING,
    Orientation,
    ceil_to_spacing,
    floor_to_spacing,
    price_at_tick,
    raw_tick,
    tick_at_price,
)


@pytest.mark.parametrize("case", numbers("clmm_position")["ticks"])
def test_ticks(case):
    i = case["inputs"]
    scale, spacing = (i["decimals0"], i["decimals1"]), i["tick_spacing"]
    assert tick_at_price(i["price"], *scale) == case["tick_floor"]
    tick = raw_tick(i["price"], *scale)
    assert floor_to_spacing(tick, spacing) == case["lower_usable"]
    assert ceil_to_spacing(tick, spacing) == case["upper_usable"]
    assert price_at_tick(case["tick_floor"], *scale) == near(case["price_at_tick"], 1e-12)


orientations = st.builds(
    Orientation,
    base_decimals=st.sampled_from([18, 8, 6]),
    quote_decimals=st.sampled_from([6, 18]),
    quote_is_token0=st.booleans(),
    spacing=st.sampled_from(sorted(TICK_SPACING.values())),
)
ticks = st.integers(-MAX_TICK + 1000, MAX_TICK - 1000)


@given(orientations, ticks)
def test_every_tick_comes_back(pool, tick):
    assert pool.tick(pool.price(tick)) == tick


@given(orientations, ticks, st.integers(1, 500))
def test_a_range_on_the_spacing_comes_back_exactly(pool, tick, width):
    lower_tick = floor_to_spacing(tick, pool.spacing)
    upper_tick = lower_tick + min(width * pool.spacing, MAX_TICK // pool.spacing * pool.spacing - lower_tick)
    lower, upper = pool.prices(lower_tick, upper_tick)
    assert 0 < lower < upper
    assert pool.range_ticks(lower, upper) == (lower_tick, upper_tick)


prices = st.floats(1e-3, 1e6)


@given(orientations, prices, st.floats(1e-6, 2))
def test_a_range_is_widened_and_never_tightened(pool, lower, log_width):
    upper = lower * 2.718281828**log_width
    low, high = pool.range_ticks(lower, upper)
    assert low < high
    assert low % pool.spacing == high % pool.spacing == 0
    got_lower, got_upper = pool.prices(low, high)
    assert got_lower <= lower * (1 + 1e-10)
    assert got_upper >= upper * (1 - 1e-10)
    assert log(got_upper / got_lower) <= log_width + 2.001e-4 * pool.spacing


@given(prices, st.floats(1e-3, 1))
def test_token_order_only_mirrors_the_ticks(lower, log_width):
    upper = lower * 2.718281828**log_width
    low, high = Orientation(18, 6, False, 10).range_ticks(lower, upper)
    assert Orientation(18, 6, True, 10).range_ticks(lower, upper) == (-high, -low)


@given(orientations, prices, st.floats(0, 1))
def test_one_sided_ranges_never_straddle_the_price(pool, price, log_width):
    tick = int(pool.tick(price) // 1)
    base = pool.base_only_ticks(tick, price * 2.718281828**log_width)
    quote = pool.quote_only_ticks(tick, price * 2.718281828**-log_width)
    for low, high in (base, quote):
        assert low < high
        assert low % pool.spacing == high % pool.spacing == 0
        assert tick < low or tick >= high  # the contract's own test of being out of range
    assert pool.prices(*base)[0] >= price * (1 - 1e-10)  # base is sold above the price
    assert pool.prices(*quote)[1] <= price * (1 + 1e-10)
    assert pool.prices(*base)[1] >= price * 2.718281828**log_width * (1 - 1e-10)
    assert pool.prices(*quote)[0] <= price * 2.718281828**-log_width * (1 + 1e-10)


def test_the_inner_end_moves_away_from_the_price():
    pool = Orientation(18, 6, False, 10)
    assert pool.base_only_ticks(199045, pool.price(199200)) == (199050, 199200)
    assert pool.quote_only_ticks(199045, pool.price(198900)) == (198900, 199040)
    assert pool.base_only_ticks(199050, pool.price(199200))[0] == 199060  # at the tick itself a range is entered
    assert pool.quote_only_ticks(199050, pool.price(198900))[1] == 199050
    mirrored = Orientation(18, 6, True, 10)
    assert mirrored.base_only_ticks(199045, mirrored.price(198900)) == (198900, 199040)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Orientation(18, 6, False, 10).tick(-1.0), "price is -1.0"),
        (lambda: Orientation(18, 6, False, 10).range_ticks(2.0, 1.0), "0 < lower < upper"),
        (lambda: Orientation(18, 6, False, 10).base_only_ticks(MAX_TICK, 1.0), "check price, decimals, token order"),
    ],
)
def test_bad_input_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
