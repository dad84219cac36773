"""Whatever the bar: its path touches its four prices, stays inside, and trades its volume."""

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from nodes._lib.book_model import bar_path, path_volumes

PRICES = st.floats(0.01, 1e6, allow_nan=False)


@st.composite
def bars(draw):
    """Return (open, high, low, close); corners coincide often."""
    low, high = sorted(draw(st.tuples(PRICES, PRICES)))
    inside = st.one_of(st.sampled_from([low, high]), st.floats(low, high))
    return draw(inside), high, low, draw(inside)


@given(bars(), st.integers(3, 60))
def test_path_touches_all_four_and_stays_inside(bar, points):
    open_, high, low, close = bar
    path = bar_path(open_, high, low, close, points)
    assert len(path) == points + 1
    assert (path[0], path[-1]) == (open_, close)
    assert (min(path), max(path)) == (low, high)
    first, second = (low, high) if close >= open_ else (high, low)
    assert second in path[path.index(first) :]
    assert path == bar_path(open_, high, low, close, points)


@given(bars(), st.integers(3, 60))
def test_path_turns_only_at_the_extremes(bar, points):
    path = bar_path(*bar, points)
    moves = [after - before for before, after in pairwise(path) if after != before]
    turns = sum((one > 0) != (two > 0) for one, two in pairwise(moves))
    assert turns <= 2


@given(bars(), st.integers(3, 60), st.floats(0, 1e9))
def test_volume_is_conserved_and_never_negative(bar, points, volume):
    volumes = path_volumes(bar_path(*bar, points), volume)
    assert len(volumes) == points
    assert min(volumes) >= 0
    assert math.isclose(math.fsum(volumes), volume, rel_tol=1e-9, abs_tol=1e-300)
