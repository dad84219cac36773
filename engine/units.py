"""Numbers written with their unit: `5m`, `500 ms`, `2 bps`, `512MiB`."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any, NamedTuple


class Dimension(NamedTuple):
    """A family of units that convert into each other; `scale` is each unit in terms of the first one."""

    name: str
    scale: dict[str, Fraction]


TIME = Dimension(
    "time",
    {
        "s": Fraction(1),
        "ns": Fraction(1, 10**9),
        "us": Fraction(1, 10**6),
        "µs": Fraction(1, 10**6),
        "ms": Fraction(1, 10**3),
        "m": Fraction(60),
        "min": Fraction(60),
        "h": Fraction(3600),
        "d": Fraction(86400),
    },
)
BYTES = Dimension(
    "bytes",
    {
        "B": Fraction(1),
        "KiB": Fraction(2**10),
        "MiB": Fraction(2**20),
        "GiB": Fraction(2**30),
        "kB": Fraction(10**3),
        "KB": Fraction(10**3),
        "MB": Fraction(10**6),
        "GB": Fraction(10**9),
    },
)
FRACTION = Dimension("fraction", {"1": Fraction(1), "%": Fraction(1, 100), "bps": Fraction(1, 10**4)})
DIMENSIONS = (TIME, BYTES, FRACTION)

MAX_NUMBER = 10**300

# The lengths are bounded so that no text, however odd, makes an enormous number.
NUMBER_WITH_UNIT = re.compile(
    r"([-+]?(?:[0-9]{1,60}(?:\.[0-9]{0,60})?|\.[0-9]{1,60})(?:[eE][-+]?[0-9]{1,3})?)\s*(.{0,60})"
)


class UnitError(ValueError):
    """The text is no number, or its unit is of another dimension."""


def convert(text: str, unit: str) -> int | float:
    """Return the number that `text` means, in `unit`: an int when it is whole, otherwise a float.

    Text without a unit is already in `unit`. Units outside the known dimensions fit only themselves. Raise UnitError
    when the text is no number or its unit does not convert.
    """
    found = NUMBER_WITH_UNIT.fullmatch(text.strip())
    if found is None:
        raise UnitError(f"needs a number in {unit or '1'}, such as {_example(unit)!r}, got {_short(text)}")
    number, written = Fraction(found[1]), found[2].strip()
    if written not in ("", unit):
        number *= _factor(written, unit)
    if abs(number) > MAX_NUMBER:
        raise UnitError(f"{_short(text)} is too large")
    if number.denominator == 1:
        return int(number)
    return float(number)


def converted(value: Any, unit: str) -> Any:
    """Return `value` with text turned into numbers in `unit`, also within lists; raise UnitError."""
    if isinstance(value, str):
        return convert(value, unit)
    return [converted(item, unit) for item in value] if isinstance(value, list) else value


def seconds(value: str | int | float) -> float:
    """Return a time in seconds from a number of seconds or text such as `10m`."""
    return float(convert(value, "s") if isinstance(value, str) else value)


def byte_count(value: str | int | float) -> int:
    """Return a whole number of bytes from a number or text such as `512MiB`."""
    count = convert(value, "B") if isinstance(value, str) else value
    if count != int(count):
        raise UnitError(f"needs a whole number of bytes, got {value!r}")
    return int(count)


def dimension_of(unit: str) -> Dimension | None:
    """Return the dimension that `unit` belongs to, or None for a unit that stands alone."""
    return next((dimension for dimension in DIMENSIONS if unit in dimension.scale), None)


def clash(written: str, wanted: str) -> bool:
    """Tell whether a number in one unit is known to mean something else in the other.

    Two units that stand alone may be two names of one (`1/count`, `1/piece`) and do not clash; nor does a plain number
    (`1`) with such a unit, as a count with `1/day`.
    """
    source, target = dimension_of(written), dimension_of(wanted)
    if not written or not wanted or written == wanted or (source is None and target is None):
        return False
    if source is None or target is None:
        return "1" not in (written, wanted)
    return source is not target or source.scale[written] != target.scale[wanted]


def _factor(written: str, unit: str) -> Fraction:
    source, target = dimension_of(written), dimension_of(unit)
    if source is not None and source is target:
        return source.scale[written] / source.scale[unit]
    if target is None:
        raise UnitError(f"needs a number in {unit or '1'}, got one in {_named(written, source)}")
    known = ", ".join(target.scale)
    raise UnitError(f"needs {_named(unit, target)}, got {_named(written, source)}; use one of {known}")


def _named(unit: str, dimension: Dimension | None) -> str:
    return f"{unit} ({dimension.name})" if dimension else _short(unit)


def _example(unit: str) -> str:
    return f"5 {unit}" if unit and unit != "1" else "5"


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
