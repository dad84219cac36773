"""Volatility from prices that are irregular in time."""

from __future__ import annotations

from math import exp, log, sqrt
from random import Random

import pytest
from support.pools import pool_state

from engine.testing import run_node
from nodes.models.ewma_volatility import EwmaVolatility

SECONDS_PER_YEAR = 31_536_000


def feed(prices: list[tuple[float, float]], **params: float) -> list:
    node = run_node(EwmaVolatility, **params)
    return [message for seconds, price in prices for _, message in node.on_price(pool_state(price, seconds))]


def test_one_return_gives_its_own_rate():
    (value,) = feed([(0, 2_000.0), (40, 2_010.0)], half_life_s=600, warm_up_s=60)
    assert value.annualised == pytest.approx(abs(log(2_010 / 2_000)) / sqrt(40) * sqrt(SECONDS_PER_YEAR), rel=1e-12)
    assert not value.warm


def test_weights_decay_in_time():
    returns = [(30.0, 0.001), (90.0, -0.002), (5.0, 0.0005)]
    path, price, now = [(0.0, 2_000.0)], 2_000.0, 0.0
    for seconds, r in returns:
        now, price = now + seconds, price * exp(r)
        path.append((now, price))
    value = feed(path, half_life_s=60, warm_up_s=100)[-1]
    ends = [30.0, 120.0, 125.0]
    weights = [
        0.5 ** ((125 - end) / 60) - 0.5 ** ((125 - end + dt) / 60) for end, (dt, _) in zip(ends, returns, strict=True)
    ]
    rate = sum(w * r * r / dt for w, (dt, r) in zip(weights, returns, strict=True)) / sum(weights)
    assert value.annualised == pytest.approx(sqrt(rate * SECONDS_PER_YEAR), rel=1e-9)
    assert value.warm


def test_a_known_volatility_is_found_whatever_the_spacing():
    random, price, now, path = Random(7), 2_000.0, 0.0, []
    for _ in range(20_000):
        dt = random.choice([1.0, 12.0, 60.0])
        now += dt
        price *= exp(random.gauss(0.0, 0.6 * sqrt(dt / SECONDS_PER_YEAR)))
        path.append((now, price))
    # A half-life of a day in returns of 24 s on average: about 10,000 of them, so 1 % of error.
    assert feed(path, half_life_s=86_400.0)[-1].annualised == pytest.approx(0.6, rel=0.03)


def test_events_inside_a_block_and_at_the_same_instant_are_no_observations():
    node = run_node(EwmaVolatility)
    node.on_price(pool_state(2_000.0, 0))
    assert node.on_price(pool_state(2_100.0, 12, block_closed=False)) == []
    ((_, value),) = node.on_price(pool_state(2_001.0, 12))
    assert node.on_price(pool_state(2_090.0, 12)) == []
    assert value.price == 2_001.0


def test_a_still_price_has_no_volatility_and_no_nan():
    values = feed([(12.0 * number, 2_000.0) for number in range(100)])
    assert all(value.annualised == 0.0 for value in values)
    assert len(values) == 99


def test_a_sampling_interval_skips_what_comes_too_soon():
    assert len(feed([(0, 2_000.0), (10, 2_001.0), (59, 2_002.0), (60, 2_003.0)], sample_s=60)) == 1
