"""Numbers with units: exact conversion, and refusal of another dimension by name."""

import pytest

from engine import units


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("5m", "s", 300),
        ("500ms", "s", 0.5),
        ("30 s", "s", 30),
        ("1.5 h", "m", 90),
        ("1d", "h", 24),
        ("250us", "ns", 250_000),
        ("3ns", "s", 3e-9),
        ("2 bps", "bps", 2),
        ("0.1%", "bps", 10),
        ("25 bps", "1", 0.0025),
        ("3 %", "1", 0.03),
        ("512MiB", "B", 536_870_912),
        ("1 GB", "MB", 1000),
        ("5", "s", 5),
        ("-1e3", "bps", -1000),
        (" 7 USD ", "USD", 7),
        ("2 1/price", "1/price", 2),
    ],
)
def test_convert(text, unit, value):
    result = units.convert(text, unit)
    assert result == value
    assert isinstance(result, int) == (value == int(value))


def test_conversion_is_exact_where_binary_arithmetic_is_not():
    assert units.convert("0.3 s", "ms") == 300
    assert units.convert("1.1 %", "bps") == 110


@pytest.mark.parametrize(
    ("text", "unit", "message"),
    [
        ("5 bps", "s", "needs s (time), got bps (fraction); use one of s, ns, us, µs, ms, m, min, h, d"),
        ("5m", "B", "needs B (bytes), got m (time); use one of B, KiB, MiB, GiB, kB, KB, MB, GB"),
        ("5 EUR", "USD", "needs a number in USD, got one in 'EUR'"),
        ("5 s", "USD", "needs a number in USD, got one in s (time)"),
        ("5 sec", "s", "needs s (time), got 'sec'; use one of s, ns, us, µs, ms, m, min, h, d"),
        ("soon", "s", "needs a number in s, such as '5 s', got 'soon'"),
        ("", "s", "needs a number in s, such as '5 s', got ''"),
        ("nan", "s", "needs a number in s, such as '5 s', got 'nan'"),
        ("1e999 s", "s", "'1e999 s' is too large"),
    ],
)
def test_refusals(text, unit, message):
    with pytest.raises(units.UnitError) as caught:
        units.convert(text, unit)
    assert str(caught.value) == message


def test_an_enormous_exponent_costs_nothing():
    with pytest.raises(units.UnitError):
        units.convert("1e999999999", "s")


def test_seconds_and_bytes():
    assert units.seconds(5) == 5.0
    assert units.seconds("10m") == 600.0
    assert units.byte_count("1KiB") == 1024
    assert units.byte_count(7.0) == 7
    with pytest.raises(units.UnitError, match=r"needs a whole number of bytes, got 1\.5"):
        units.byte_count(1.5)


@pytest.mark.parametrize(
    ("written", "wanted", "clashes"),
    [
        ("ms", "s", True),
        ("bps", "1", True),
        ("bps", "1/quote", True),
        ("s", "B", True),
        ("1/USD", "1/quote", False),
        ("1", "1/day", False),
        ("m", "min", False),
        ("", "s", False),
        ("s", "", False),
    ],
)
def test_units_clash_when_a_number_means_something_else(written, wanted, clashes):
    assert units.clash(written, wanted) is clashes
    assert units.clash(wanted, written) is clashes
