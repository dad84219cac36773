"""Pool states made by hand, in either token order, for tests of nodes around a pool."""

from __future__ import annotations

from math import floor

from nodes._lib.pool_position import sqrt_of_price
from nodes._lib.ticks import TICK_SPACING, Orientation
from nodes.messages import LpCommand, LpPosition, LpState, PoolState

START_NS = 1_704_412_800 * 10**9
POOL = "ETH-USDC-5"


def orientation(quote_is_token0: bool = True, fee: int = 500) -> Orientation:
    return Orientation(18, 6, quote_is_token0, TICK_SPACING[fee])


def pool_state(price: float, seconds: float = 0.0, *, quote_is_token0: bool = True, **fields: object) -> PoolState:
    """A state at `price`, `seconds` after the start; other fields as given."""
    values: dict[str, object] = {
        "pool": POOL,
        "event_time_ns": START_NS + round(seconds * 1e9),
        "block": 1 + int(seconds),
        "price": price,
        "price_low": price,
        "price_high": price,
        "sqrt_price_x96": sqrt_of_price(orientation(quote_is_token0), price),
        "tick": floor(orientation(quote_is_token0).tick(price)),
        "liquidity": 10**19,
        "base_in": 0,
        "quote_in": 0,
    }
    return PoolState(**(values | fields))


def command(
    lower: float, upper: float, command_id: str = "c1", action: str = "rebalance", **fields: object
) -> LpCommand:
    values: dict[str, object] = {
        "command_id": command_id,
        "pool": POOL,
        "action": action,
        "event_time_ns": START_NS,
        "price": (lower + upper) / 2,
        "lower_price": lower,
        "upper_price": upper,
        "reason": "test",
    }
    return LpCommand(**(values | fields))


def lp_position(
    base: int = 10**18, quote: int = 2_000 * 10**6, lower: float = 1_900.0, upper: float = 2_100.0, **fields: object
) -> LpPosition:
    values: dict[str, object] = {
        "position_id": "1",
        "lower_price": lower,
        "upper_price": upper,
        "lower_tick": 0,
        "upper_tick": 10,
        "liquidity": 10**15,
        "base_amount": base,
        "quote_amount": quote,
    }
    return LpPosition(**(values | fields))


def lp_state(price: float = 2_000.0, seconds: float = 0.0, **fields: object) -> LpState:
    values: dict[str, object] = {
        "pool": POOL,
        "event_time_ns": START_NS + round(seconds * 1e9),
        "block": 1 + int(seconds),
        "price": price,
        "positions": (),
        "wallet_base": 0,
        "wallet_quote": 0,
        "native_base": 10**18,
        "fees_base": 0,
        "fees_quote": 0,
        "gas_base": 0,
        "swap_base": 0,
        "swap_quote": 0,
        "base_decimals": 18,
        "quote_decimals": 6,
    }
    return LpState(**(values | fields))
