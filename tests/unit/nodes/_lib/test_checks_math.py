"""Numbers that no formula can use are refused by name."""

from math import inf, nan

import pytest

from nodes._lib import checks


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (checks.require_positive, [1e-300, 1, 1e300], [0, -1, nan, inf, -inf]),
        (checks.require_non_negative, [0, 1e300], [-1e-300, nan, inf, -inf]),
        (checks.require_finite, [0, -1e300], [nan, inf, -inf]),
        (checks.require_fraction, [0, 0.5], [-0.1, 1, nan, inf]),
    ],
)
def test_what_is_let_through(check, good, bad):
    for value in good:
        check(first=1 / 2, fee=value)
    for value in bad:
        with pytest.raises(ValueError, match=r"^fee is .*: give a"):
            check(first=1 / 2, fee=value)


@pytest.mark.parametrize("ends", [(2, 1), (1, 1), (0, 1), (-1, 1), (1, inf), (nan, 1), (1, nan)])
def test_ranges(ends):
    checks.require_range(1, 2)
    with pytest.raises(ValueError, match="0 < lower < upper"):
        checks.require_range(*ends)
