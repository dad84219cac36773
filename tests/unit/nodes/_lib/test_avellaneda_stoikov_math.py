"""Avellaneda and Stoikov's formulas against 50-digit numbers, the paper's tables and what must hold for any input."""

from math import inf, nan, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.model_numbers import near, numbers

from nodes._lib import avellaneda_stoikov as model

QUOTES = numbers("as_quotes")
TABLES = numbers("as2008_tables")


@pytest.mark.parametrize("case", QUOTES["finite"])
def test_finite_horizon(case):
    i = case["inputs"]
    risk = {"gamma": i["gamma"], "sigma": i["sigma"], "time_left": i["T"] - i["t"]}
    assert model.reservation_price(i["s"], i["q"], **risk) == near(case["reservation"], 1e-12)
    bid, ask = model.indifference_prices(i["s"], i["q"], **risk)
    assert bid == near(case["reservation_bid"], 1e-12)
    assert ask == near(case["reservation_ask"], 1e-12)
    assert (bid + ask) / 2 == near(case["reservation"], 1e-12)
    assert model.optimal_spread(k=i["k"], **risk) == near(case["spread"], 1e-12)
    assert model.quotes(i["s"], i["q"], k=i["k"], **risk) == (near(case["bid"], 1e-12), near(case["ask"], 1e-12))
    distances = model.quote_distances(i["q"], k=i["k"], **risk)
    assert distances == (near(case["delta_b"], 1e-12), near(case["delta_a"], 1e-12))


@pytest.mark.parametrize("case", QUOTES["infinite"])
def test_infinite_horizon(case):
    i = case["inputs"]
    omega = model.discount_rate(i["gamma"], i["sigma"], i["q_max"])
    assert omega == near(case["omega"], 1e-12)
    bid, ask = model.discounted_indifference_prices(i["s"], i["q"], gamma=i["gamma"], sigma=i["sigma"], omega=omega)
    assert (bid, ask) == (near(case["r_bid"], 1e-12), near(case["r_ask"], 1e-12))


def simulate(gamma, strategy, spread_rule, fill, paths, seed):
    """Trade the paper's market; return arrays of profit and final inventory, and the mean spread."""
    p = TABLES["parameters"]
    sigma, k, dt = p["sigma"], p["k"], p["dt"]
    steps = round(p["T"] / dt)
    random = np.random.default_rng(seed)
    mid, q, cash, spreads = np.full(paths, float(p["s"])), np.zeros(paths), np.zeros(paths), 0.0
    for step in range(steps):
        left = p["T"] - step * dt
        full = model.optimal_spread(gamma=gamma, k=k, sigma=sigma, time_left=left)
        log_only = 2 * model.arrival_premium(gamma, k)
        if strategy == "symmetric":
            spread = (
                log_only
                if spread_rule == "log_only"
                else model.mean_spread(gamma=gamma, k=k, sigma=sigma, horizon=p["T"])
            )
            centre = mid
        else:
            spread = log_only if spread_rule == "log_only" else full
            centre = mid - q * model.inventory_risk(gamma, sigma, left)
        spreads += spread
        bid, ask = centre - spread / 2, centre + spread / 2

        def filled(distance):
            expected = p["A"] * np.exp(-k * distance) * dt
            odds = expected if fill == "linear" else -np.expm1(-expected)
            return random.random(paths) < odds

        bought, sold = filled(mid - bid), filled(ask - mid)
        cash += sold * ask - bought * bid
        q += bought.astype(float) - sold
        mid += sigma * sqrt(dt) * (1 - 2 * random.integers(0, 2, paths))
    return cash + q * mid, q, spreads / steps


PATHS = 6000


@pytest.fixture(scope="module")
def simulated():
    return {
        (row["gamma"], row["strategy"], row["spread_rule"], row["fill"]): simulate(
            row["gamma"], row["strategy"], row["spread_rule"], row["fill"], PATHS, seed=index
        )
        for index, row in enumerate(TABLES["resimulated"])
    }


@pytest.mark.parametrize("row", TABLES["resimulated"], ids=lambda row: f"{row['gamma']}-{row['strategy']}")
def test_resimulated_tables(simulated, row):
    profit, q, spread = simulated[row["gamma"], row["strategy"], row["spread_rule"], row["fill"]]
    assert spread == near(row["average_spread"], 1e-9)
    error = sqrt(row["profit_se"] ** 2 + profit.var() / PATHS)
    assert abs(profit.mean() - row["profit_mean"]) < 4 * error
    q_error = sqrt(row["final_q_std"] ** 2 / row["paths"] + q.var() / PATHS)
    assert abs(q.mean() - row["final_q_mean"]) < 4 * q_error
    assert profit.std() == near(row["profit_std"], 0.05)
    assert q.std() == near(row["final_q_std"], 0.05)


@pytest.mark.parametrize("row", TABLES["published_2008"], ids=lambda row: f"{row[0]}-{row[1]}")
def test_published_tables(simulated, row):
    gamma, strategy, average_spread, profit_mean, profit_std, q_mean, q_std = row
    profit, q, _ = simulated[gamma, strategy, "full", "linear"]
    p = TABLES["parameters"]
    mean_spread = model.mean_spread(gamma=gamma, k=p["k"], sigma=p["sigma"], horizon=p["T"])
    assert abs(mean_spread - average_spread) <= 0.005
    published, ours = sqrt(p["simulations"]), sqrt(PATHS)
    assert abs(profit.mean() - profit_mean) < 0.05 + 4 * (profit_std / published + profit.std() / ours)
    assert abs(q.mean() - q_mean) < 0.05 + 4 * (q_std / published + q.std() / ours)


parameters = st.fixed_dictionaries(
    {
        "gamma": st.floats(1e-8, 10),
        "k": st.floats(1e-3, 1e3),
        "sigma": st.floats(0, 100),
        "time_left": st.floats(0, 1e4),
    }
)
inventories = st.floats(-1e3, 1e3)


@given(inventories, parameters)
def test_quotes_are_ordered_and_mirror_with_inventory(q, p):
    bid, ask = model.quote_distances(q, **p)
    assert bid + ask > 0
    assert model.quote_distances(-q, **p) == (ask, bid)


@given(inventories, st.floats(1e-3, 100), parameters)
def test_more_inventory_never_raises_a_quote(q, more, p):
    bid, ask = model.quote_distances(q, **p)
    later_bid, later_ask = model.quote_distances(q + more, **p)
    assert later_bid >= bid
    assert later_ask <= ask


@given(st.floats(1e-3, 1e3))
def test_risk_aversion_of_zero_is_the_limit(k):
    assert model.arrival_premium(0.0, k) == 1 / k
    assert model.arrival_premium(1e-9 * k, k) == near(1 / k, 1e-8)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: model.quote_distances(0, gamma=0.1, k=0.0, sigma=1, time_left=1),
            "k is 0.0: give a finite number above",
        ),
        (lambda: model.quote_distances(nan, gamma=0.1, k=1, sigma=1, time_left=1), "q is nan"),
        (lambda: model.quotes(inf, 0, gamma=0.1, k=1, sigma=1, time_left=1), "mid is inf"),
        (lambda: model.optimal_spread(gamma=0.1, k=1, sigma=nan, time_left=1), "sigma is nan"),
        (lambda: model.reservation_price(1, 0, gamma=0.1, sigma=1, time_left=-1), "time_left is -1"),
        (
            lambda: model.discounted_indifference_prices(100, 10, gamma=0.1, sigma=2, omega=1.0),
            "q_max of at least 10",
        ),
    ],
)
def test_bad_input_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
