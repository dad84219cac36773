"""Hedge bands against reference numbers and a simulation, passive quotes and their signs, the silent LP."""

from math import inf, nan, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.model_numbers import near, numbers

from nodes._lib import clmm, hedging

CASES = numbers("range_fee_hedge")["hedge_band"]


@pytest.mark.parametrize("case", CASES)
def test_band(case):
    i = case["inputs"]
    market = {"gamma": i["gamma"], "sigma": i["sigma"]}
    width = hedging.hedge_band(
        i["cost_per_unit"], i["lp_gamma"], inventory_noise=i["inventory_noise_per_sqrt_time"], **market
    )
    assert width == near(case["half_width"], 1e-10)
    assert hedging.hedge_band(i["cost_per_unit"], i["lp_gamma"], **market) == near(case["whalley_wilmott"], 1e-10)
    assert hedging.running_cost(width, **market) == near(case["running_cost"], 1e-10)


def test_no_other_band_loses_less():
    # Exposure is a random walk kept in ±H by trades to the edge; count risk and cost for H and for its neighbours.
    cost, noise, gamma, sigma = 2.0, 0.5, 0.01, 3.0
    best = hedging.hedge_band(cost, 0.0, gamma=gamma, sigma=sigma, inventory_noise=noise)
    random = np.random.default_rng(2)
    steps, dt, paths = 4000, 0.02, 400
    moves = noise * sqrt(dt) * random.standard_normal((steps, paths))

    def loss(width):
        exposure, total = np.zeros(paths), 0.0
        for move in moves:
            exposure = exposure + move
            kept = np.clip(exposure, -width, width)
            total += cost * np.abs(exposure - kept).mean() + gamma * sigma**2 * (kept**2).mean() / 2 * dt
            exposure = kept
        return total / (steps * dt)

    at_best = loss(best)
    assert at_best < loss(0.6 * best)
    assert at_best < loss(1.6 * best)
    assert at_best == pytest.approx(hedging.running_cost(best, gamma, sigma), rel=0.1)


def test_band_limits():
    market = {"gamma": 1e-4, "sigma": 1.5}
    assert hedging.hedge_band(0.0, -0.05, **market, smallest=0.01) == 0.01
    assert hedging.hedge_band(0.9, -0.05, **market, largest=1.0) == 1.0
    assert hedging.hedge_band(0.9, 0.0, gamma=1e-4, sigma=0.0, inventory_noise=0.1, largest=5.0) == 5.0
    assert hedging.hedge_band(0.9, -0.05, gamma=1e-4, sigma=0.0) == hedging.hedge_band(0.9, 0.05, **market)


def test_merton_band():
    assert hedging.merton_band(0.5, 2.0, 0.001) == near((0.75 * 0.0625 * 0.001) ** (1 / 3), 1e-12)
    assert hedging.merton_band(1.0, 2.0, 0.001) == 0.0


@given(st.floats(-1e3, 1e3), st.floats(0, 1e2), st.floats(0, 1))
def test_a_hedge_ends_inside_the_band_and_never_overshoots(error, width, inside):
    left = error + hedging.hedge_trade(error, width, inside)
    assert abs(left) <= width + 1e-9
    assert left * error >= -1e-9
    if abs(error) <= width:
        assert hedging.hedge_trade(error, width, inside) == 0


def test_a_breach_trades_to_the_edge():
    assert hedging.hedge_trade(5.0, 2.0) == -3.0
    assert hedging.hedge_trade(-5.0, 2.0) == 3.0
    assert hedging.hedge_trade(5.0, 2.0, inside=1.0) == -5.0


def test_micro_price_leans_to_the_thin_side():
    assert hedging.micro_price(100.0, 3.0, 101.0, 1.0) == 100.75
    assert hedging.micro_price(100.0, 0.0, 101.0, 1.0) == 100.0


@given(st.floats(1, 1e5), st.floats(0.01, 10), st.floats(0, 2), st.floats(-50, 50), st.floats(0, 20))
def test_long_exposure_lowers_both_quotes(fair, half_spread, skew, exposure, more):
    bid, ask = hedging.skewed_quotes(fair, half_spread, skew, exposure)
    later = hedging.skewed_quotes(fair, half_spread, skew, exposure + more)
    assert bid < ask
    assert later[0] <= bid + 1e-9
    assert later[1] <= ask + 1e-9


@given(st.floats(0.01, 10), st.floats(-20, 20), st.floats(0.1, 10))
def test_the_reducing_side_is_quoted_in_full(size, exposure, bound):
    bid_size, ask_size = hedging.skewed_sizes(size, exposure, bound)
    assert (ask_size if exposure > 0 else bid_size) == size
    assert 0 <= (bid_size if exposure > 0 else ask_size) <= size
    if abs(exposure) >= bound:
        assert min(bid_size, ask_size) == 0
    assert hedging.skewed_sizes(size, 0.0, bound) == (size, size)


@given(st.floats(0.5, 2))
def test_the_base_of_a_position_lies_between_its_limits(place):
    low, high = hedging.lp_base_limits(1000.0, 1500.0, 2500.0)
    assert low <= clmm.amounts(1000.0, 1500.0, 2500.0, 2000.0 * place)[0] <= high


@pytest.mark.parametrize(
    ("other", "low", "high", "excess"),
    [
        (-5.0, 0.0, 10.0, 0.0),  # short 5 to long 5
        (-5.0, 0.0, 20.0, 0.0),  # only some holdings breach
        (-15.0, 0.0, 2.0, -3.0),  # short 13 at best, of 10
        (12.0, 1.0, 5.0, 3.0),
        (10.0, 0.0, 5.0, 0.0),
    ],
)
def test_a_silent_lp_matters_only_when_every_holding_breaches(other, low, high, excess):
    assert hedging.certain_excess(other, low, high, limit=10.0) == pytest.approx(excess)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: hedging.hedge_band(1.0, 1.0, gamma=0.0, sigma=1.0), "gamma is 0.0"),
        (lambda: hedging.hedge_band(nan, 1.0, gamma=1.0, sigma=1.0), "cost is nan"),
        (lambda: hedging.hedge_band(1.0, 1.0, gamma=1.0, sigma=1.0, smallest=2.0, largest=1.0), "below the smallest"),
        (lambda: hedging.hedge_trade(nan, 1.0), "error is nan"),
        (lambda: hedging.hedge_trade(1.0, 1.0, 2.0), "inside is 2.0"),
        (lambda: hedging.micro_price(1.0, 0.0, 2.0, 0.0), "total_size is 0.0"),
        (lambda: hedging.skewed_quotes(1.0, 1.0, -1.0, 1.0), "skew is -1.0"),
        (lambda: hedging.skewed_sizes(1.0, 1.0, 0.0), "bound is 0.0"),
        (lambda: hedging.certain_excess(inf, 0.0, 1.0, 1.0), "other_exposure is inf"),
        (lambda: hedging.certain_excess(0.0, 2.0, 1.0, 1.0), "lower end first"),
    ],
)
def test_bad_input_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
