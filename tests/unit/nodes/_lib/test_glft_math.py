"""The exact and the asymptotic solution against 50-digit numbers, each other and what must hold for any input."""

from decimal import Decimal, localcontext
from math import inf, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.model_numbers import near, numbers

from nodes._lib.glft import BoundedGlft, Market, ceil_tick, closed_form, floor_tick, quote_ticks

CASES = [case for name in ("glft_exact", "glft_asymptotic", "glft_variants") for case in numbers(name)["cases"]]
COSTS = numbers("glft_variants")["execution_cost"]
COEFFICIENTS = numbers("gueant2017_coefficients")


def market_of(i):
    return Market(
        A=i["A"],
        k=i["k"],
        gamma=i["gamma"],
        sigma=i["sigma"],
        lot=i["Delta"],
        xi=i["hamiltonian_xi"],
        drift=i["drift_mu"],
        impact=i["impact_xi"],
    )


def equals(distances, expected, rel):
    for ours, side in zip(distances, ("delta_b", "delta_a"), strict=True):
        assert ours == (None if expected[side] is None else near(expected[side], rel))


@pytest.mark.parametrize("case", CASES)
def test_exact_stationary_and_closed_form(case):
    i = case["inputs"]
    market = market_of(i)
    penalty = i["terminal_penalty_per_unit"]
    solution = BoundedGlft(market, i["Q"], lambda base: penalty * abs(base))
    assert market.alpha == near(case["alpha"], 1e-12)
    assert market.eta == near(case["eta"], 1e-12)
    assert solution.smallest_eigenvalue == near(case["smallest_eigenvalue"], 1e-9)
    exact, stationary, linear = solution.at(i["time_to_horizon"]), solution.stationary(), closed_form(market)
    for quote in case["quotes"]:
        equals(exact.distances(quote["q"]), quote["exact"], 1e-9)
        equals(stationary.distances(quote["q"]), quote["stationary"], 1e-9)
        equals(linear.distances(quote["q"] * i["Delta"]), quote["closed_form"], 1e-12)
        if "spread" in quote["exact"]:
            assert sum(exact.distances(quote["q"])) == near(quote["exact"]["spread"], 1e-9)


@pytest.mark.parametrize("case", COSTS)
def test_execution_cost(case):
    i = case["inputs"]
    market = Market(A=i["A"], k=i["k"], gamma=i["gamma"], sigma=i["sigma"], cost=i["cost"])
    equals(BoundedGlft(market, i["Q"]).stationary().distances(i["q"]), case, 1e-9)


@pytest.mark.parametrize("case", COEFFICIENTS["cases"])
def test_coefficients(case):
    i = case["inputs"]
    form = closed_form(Market(i["A"], i["k"], i["gamma"], i["sigma"], i["Delta"], i["xi"]))
    for field in ("c1", "c2", "half_spread", "skew"):
        assert getattr(form, field) == near(case[field], 1e-12)


def test_coefficients_printed_in_the_hftbacktest_example():
    printed, i = COEFFICIENTS["hftbacktest_example"], COEFFICIENTS["cases"][0]["inputs"]
    form = closed_form(Market(i["A"], i["k"], i["gamma"], i["sigma"]))
    assert form.half_spread == near(printed["half_spread_tick"], 1e-12)
    assert form.skew == near(printed["skew"], 1e-12)


def values_in_decimal(market, bound, time_left, steps=40):
    """Return v for whole lots up to a factor, by Taylor series with 50 digits."""
    with localcontext(prec=50):
        alpha, eta, lots = Decimal(market.alpha), Decimal(market.eta), range(-bound, bound + 1)
        growth = [alpha * (bound**2 - n**2) for n in lots]
        h, values = Decimal(time_left) / steps, [Decimal(1)] * len(growth)
        for _ in range(steps):
            term = values
            for order in range(1, 160):
                padded = [Decimal(0), *term, Decimal(0)]
                term = [
                    (growth[j] * padded[j + 1] + eta * (padded[j] + padded[j + 2])) * h / order
                    for j in range(len(growth))
                ]
                values = [a + b for a, b in zip(values, term, strict=True)]
            values = [value / max(values) for value in values]
        return values


def test_quotes_keep_their_digits_where_values_are_tiny():
    market, bound = Market(A=0.2, k=0.3, gamma=0.02, sigma=1.5), 24
    values = values_in_decimal(market, bound, 60.0)
    assert min(values) / max(values) < Decimal("1e-25")  # eigenvectors would be noise here
    table = BoundedGlft(market, bound).at(60.0)
    for q in range(-bound, bound):
        log_ratio = float((values[q + bound] / values[q + bound + 1]).ln())
        assert table.distances(q)[0] == near(market.premium + log_ratio / market.k, 1e-10)


def test_a_day_and_a_year_reach_the_stationary_quotes():
    solution = BoundedGlft(Market(A=0.9, k=0.3, gamma=0.01, sigma=0.3), 20)
    stationary = solution.stationary()
    for time_left in (86_400.0, 31_536_000.0):
        assert solution.at(time_left).bids == pytest.approx(stationary.bids, rel=1e-10)


def test_at_the_horizon_only_the_penalty_counts():
    market = Market(A=0.9, k=0.3, gamma=0.01, sigma=0.3)
    bid, ask = BoundedGlft(market, 5, lambda base: 0.5 * abs(base)).at(0.0).distances(2)
    assert bid == near(market.premium + 0.5, 1e-12)
    assert ask == near(market.premium - 0.5, 1e-12)


markets = st.builds(
    Market,
    A=st.floats(0.01, 100),
    k=st.floats(0.05, 10),
    gamma=st.floats(1e-4, 0.5),
    sigma=st.floats(0.05, 2),
    lot=st.floats(0.1, 5),
)


@settings(max_examples=60, deadline=None)
@given(markets, st.integers(1, 12), st.floats(0, 1e4))
def test_exact_quotes_are_ordered_symmetric_and_monotone(market, bound, time_left):
    solution = BoundedGlft(market, bound)
    for table in (solution.at(time_left), solution.stationary()):
        assert table.asks[::-1] == pytest.approx(table.bids, rel=1e-8, abs=1e-9)
        assert all(later >= bid - 1e-9 * (1 + abs(bid)) for bid, later in zip(table.bids, table.bids[1:], strict=False))
        for lots in range(1 - bound, bound):
            assert sum(table.distances(lots)) > 0
        assert table.distances(bound)[0] is None
        assert table.distances(-bound)[1] is None


@given(markets, st.floats(-100, 100), st.floats(0, 10))
def test_closed_form_is_ordered_symmetric_and_monotone(market, q, more):
    form = closed_form(market)
    bid, ask = form.distances(q)
    assert bid + ask > 0
    assert form.distances(-q) == (ask, bid)
    later_bid, later_ask = form.distances(q + more)
    assert later_bid >= bid
    assert later_ask <= ask
    assert form.reservation_price(1000.0, q) == pytest.approx(1000.0 + (ask - bid) / 2)


def test_between_lots_quotes_are_linear_and_beyond_the_bound_one_sided():
    table = BoundedGlft(Market(A=0.9, k=0.3, gamma=0.01, sigma=0.3), 3).stationary()
    low, high = table.distances(1), table.distances(2)
    assert table.distances(1.25) == tuple(pytest.approx(0.75 * a + 0.25 * b) for a, b in zip(low, high, strict=True))
    assert table.distances(2.5)[0] is None  # one more lot would pass the bound
    assert table.distances(2)[0] is not None
    assert table.distances(7) == (None, table.distances(3)[1])
    assert table.distances(-7) == (table.distances(-3)[0], None)
    assert table.distances(nan) == (None, None)


# --- ticks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bid", "ask", "expected"),
    [
        (99.97, 100.23, (999, 1003)),  # floored, ceiled
        (100.3, 100.5, (1003, 1005)),  # already on ticks, though 100.3 / 0.1 is not a whole float
        (101.7, 102.0, (1008, 1020)),  # would cross the best ask
        (99.0, 99.1, (990, 1003)),  # would cross the best bid
    ],
)
def test_rounding_never_tightens_and_never_crosses(bid, ask, expected):
    assert quote_ticks(bid, ask, 0.1, best_bid=100.2, best_ask=100.9) == expected


def test_a_spread_too_small_is_widened_on_both_sides():
    assert quote_ticks(100.0, 100.2, 0.1, best_bid=99.9, best_ask=100.3, min_spread_ticks=5) == (998, 1004)
    assert quote_ticks(100.0, 100.2, 0.1, best_bid=99.9, best_ask=100.3, min_spread_ticks=2) == (1000, 1002)


@given(
    st.floats(1, 1e5),
    st.floats(-50, 50),
    st.floats(1e-6, 50),
    st.sampled_from([0.01, 0.1, 0.5, 1.0]),
    st.integers(1, 9),
)
def test_rounded_quotes_are_post_only_and_wide_enough(mid, shift, width, tick, least):
    best_bid, best_ask = floor_tick(mid, tick) - 1, floor_tick(mid, tick) + 2
    if best_bid < 1:
        return
    bid, ask = mid + shift - width, mid + shift + width
    bid_tick, ask_tick = quote_ticks(bid, ask, tick, best_bid * tick, best_ask * tick, min_spread_ticks=least)
    assert bid_tick < best_ask
    assert ask_tick > best_bid
    assert ask_tick - bid_tick >= least
    assert bid_tick * tick <= bid * (1 + 1e-12) + 1e-9
    assert ask_tick * tick >= ask * (1 - 1e-12) - 1e-9


@given(st.integers(1, 10**9), st.sampled_from([0.01, 0.1, 0.5, 0.05, 0.001, 1e-5]))
def test_prices_on_a_tick_stay_there(ticks, size):
    assert floor_tick(ticks * size, size) == ticks == ceil_tick(ticks * size, size)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Market(A=0, k=1, gamma=1, sigma=1), "A is 0: give a finite number above 0"),
        (lambda: Market(A=1, k=nan, gamma=1, sigma=1), "k is nan"),
        (lambda: Market(A=1, k=1, gamma=1, sigma=1, xi=-1), "xi is -1"),
        (lambda: Market(A=1, k=1, gamma=1, sigma=1, drift=inf), "drift is inf"),
        (lambda: BoundedGlft(Market(A=1, k=1, gamma=1, sigma=1), 0), "give at least 1"),
        (lambda: BoundedGlft(Market(A=1, k=1, gamma=1, sigma=1), 2, lambda base: inf), "return the cost"),
        (lambda: BoundedGlft(Market(A=1, k=1, gamma=1, sigma=1), 2).at(-1.0), "time_left is -1"),
        (lambda: BoundedGlft(Market(A=1e-9, k=9, gamma=9, sigma=9), 30).stationary(), "lower the bound or gamma"),
        (lambda: quote_ticks(1, nan, 0.1, 1, 2), "ask is nan"),
        (lambda: quote_ticks(1, 2, 0, 1, 2), "tick_size is 0"),
    ],
)
def test_bad_input_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
