"""The order of a venue's trade ids."""

from __future__ import annotations

import re

_NUMBERS = re.compile(r"\d+")


def trade_key(trade_id: str) -> tuple[int, ...]:
    """Return what sorts trade ids of one instrument in the order of their trades; () for "" (before every trade).

    The numbers in the id decide, so that "9" comes before "10" and "ETH-9" before "ETH-10". Raises ValueError for an id
    without a number: it cannot be told whether a position contains such a trade.
    """
    if trade_id.isdigit():
        return (int(trade_id),)
    key = tuple(int(number) for number in _NUMBERS.findall(trade_id))
    if trade_id and not key:
        raise ValueError(f"trade id {trade_id!r} holds no number, so it has no place in the order of trades")
    return key
