"""Refuse numbers that no formula can use, in words that say what to give instead."""

from __future__ import annotations

from math import inf


def require_positive(**values: float) -> None:
    """Raise ValueError unless every value is finite and above 0."""
    for name, value in values.items():
        if not 0.0 < value < inf:
            raise ValueError(f"{name} is {value}: give a finite number above 0")


def require_non_negative(**values: float) -> None:
    """Raise ValueError unless every value is finite and not below 0."""
    for name, value in values.items():
        if not 0.0 <= value < inf:
            raise ValueError(f"{name} is {value}: give a finite number, 0 or above")


def require_finite(**values: float) -> None:
    """Raise ValueError for NaN and infinities."""
    for name, value in values.items():
        if not -inf < value < inf:
            raise ValueError(f"{name} is {value}: give a finite number")


def require_fraction(**values: float) -> None:
    """Raise ValueError unless every value lies in [0, 1)."""
    for name, value in values.items():
        if not 0.0 <= value < 1.0:
            raise ValueError(f"{name} is {value}: give a fraction from 0 up to, not including, 1 (5 bps is 0.0005)")


def require_range(lower: float, upper: float) -> None:
    """Raise ValueError unless 0 < lower < upper < infinity."""
    if not 0.0 < lower < upper < inf:
        raise ValueError(f"range [{lower}, {upper}]: give finite prices with 0 < lower < upper")
