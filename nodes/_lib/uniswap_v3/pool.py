"""A pool: ticks, positions, fee growth, protocol fee and oracle, and every call that changes them.

Source: UniswapV3Pool, Tick and Position of Uniswap v3-core 1.0.1. A call either does all of what the contract does or
raises `Revert` and changes nothing. Signs of returned amounts are those of the contract: above 0 the pool takes in.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import NamedTuple, TypeVar

from nodes._lib.uniswap_v3 import tick_bitmap
from nodes._lib.uniswap_v3.integers import (
    I256_MAX,
    Q128,
    U32,
    U128,
    U160,
    U256,
    add_delta,
    mul_div,
    mul_div_rounding_up,
    require,
    wrap_signed,
)
from nodes._lib.uniswap_v3.oracle import Oracle
from nodes._lib.uniswap_v3.sqrt_price_math import amount0_delta_signed, amount1_delta_signed
from nodes._lib.uniswap_v3.swap_math import FEE_UNITS, compute_swap_step
from nodes._lib.uniswap_v3.tick_math import (
    MAX_SQRT_RATIO,
    MAX_TICK,
    MIN_SQRT_RATIO,
    MIN_TICK,
    max_liquidity_per_tick,
    sqrt_ratio_at_tick,
    tick_at_sqrt_ratio,
)

I128_MAX = (1 << 127) - 1
Key = TypeVar("Key")
Record = TypeVar("Record")


@dataclass(slots=True)
class TickInfo:
    """What the pool knows of an initialised tick. "Outside" is the side on which the price is not."""

    liquidity_gross: int = 0
    liquidity_net: int = 0
    fee_growth_outside0_x128: int = 0
    fee_growth_outside1_x128: int = 0
    tick_cumulative_outside: int = 0
    seconds_per_liquidity_outside_x128: int = 0
    seconds_outside: int = 0


@dataclass(slots=True)
class PositionInfo:
    """A position of the pool: liquidity, fee growth inside when last updated, and what may be collected."""

    liquidity: int = 0
    fee_growth_inside0_last_x128: int = 0
    fee_growth_inside1_last_x128: int = 0
    tokens_owed0: int = 0
    tokens_owed1: int = 0


class Step(NamedTuple):
    """One step of a swap: how far it went, with which liquidity, and the fee of which `protocol_fee` is a part."""

    sqrt_price_x96: int
    liquidity: int
    amount_in: int
    amount_out: int
    fee: int
    protocol_fee: int


class Swapped(NamedTuple):
    """What a swap did. Amounts are signed: above 0 the pool takes in, below 0 it pays out."""

    amount0: int
    amount1: int
    steps: tuple[Step, ...]


PositionKey = tuple[str, int, int]
"""(owner, lower tick, upper tick)."""


@dataclass(slots=True)
class Pool:
    """One pool. `fee` in hundredths of a bip; prices are sqrtPriceX96, amounts raw units, times seconds."""

    fee: int
    tick_spacing: int
    sqrt_price_x96: int = 0
    tick: int = 0
    liquidity: int = 0
    fee_protocol0: int = 0
    """The protocol takes 1/n of the fee in token0; 0 for none."""
    fee_protocol1: int = 0
    fee_growth_global0_x128: int = 0
    fee_growth_global1_x128: int = 0
    protocol_fees0: int = 0
    protocol_fees1: int = 0
    balance0: int = 0
    balance1: int = 0
    time: int = 0
    """Block time; whoever calls sets it."""
    ticks: dict[int, TickInfo] = field(default_factory=dict)
    bitmap: dict[int, int] = field(default_factory=dict)
    positions: dict[PositionKey, PositionInfo] = field(default_factory=dict)
    oracle: Oracle = field(default_factory=Oracle)
    _undo: _Undo | None = field(default=None, repr=False, compare=False)

    # --- set-up -----------------------------------------------------------------------------------------------

    def initialize(self, sqrt_price_x96: int) -> None:
        """Set the first price; revert with AI when there is one."""
        require(self.sqrt_price_x96 == 0, "AI")
        self.tick = tick_at_sqrt_ratio(sqrt_price_x96)
        self.sqrt_price_x96 = sqrt_price_x96
        self.oracle.initialize(self.time & U32)

    # --- liquidity --------------------------------------------------------------------------------------------

    def mint(self, owner: str, lower: int, upper: int, amount: int) -> tuple[int, int]:
        """Add liquidity to a position; return what the owner has to pay of both tokens."""
        self._require_unlocked()
        require(amount > 0)
        require(amount <= I128_MAX)
        with self.transaction():
            amount0, amount1 = self._modify_position((owner, lower, upper), amount)
            self.balance0 += amount0
            self.balance1 += amount1
        return amount0, amount1

    def burn(self, owner: str, lower: int, upper: int, amount: int) -> tuple[int, int]:
        """Take liquidity out of a position; what comes free is owed, with the fees. 0 brings the fees up to date."""
        self._require_unlocked()
        require(amount <= I128_MAX)
        with self.transaction():
            amount0, amount1 = self._modify_position((owner, lower, upper), -amount)
            amount0, amount1 = -amount0, -amount1
            if amount0 or amount1:
                position = self.positions[owner, lower, upper]
                position.tokens_owed0 = position.tokens_owed0 + amount0 & U128
                position.tokens_owed1 = position.tokens_owed1 + amount1 & U128
        return amount0, amount1

    def collect(self, owner: str, lower: int, upper: int, requested0: int, requested1: int) -> tuple[int, int]:
        """Pay out what a position is owed, at most what is requested; fees since its last update are not in it."""
        self._require_unlocked()
        position = self.positions.get((owner, lower, upper)) or PositionInfo()
        amount0, amount1 = min(requested0, position.tokens_owed0), min(requested1, position.tokens_owed1)
        self._require_balance(amount0, amount1)
        position.tokens_owed0 -= amount0
        position.tokens_owed1 -= amount1
        self.balance0 -= amount0
        self.balance1 -= amount1
        return amount0, amount1

    def _modify_position(self, key: PositionKey, delta: int) -> tuple[int, int]:
        _, lower, upper = key
        _check_ticks(lower, upper)
        self._update_position(key, delta)
        if delta == 0:
            return 0, 0
        if self.tick < lower:
            return amount0_delta_signed(sqrt_ratio_at_tick(lower), sqrt_ratio_at_tick(upper), delta), 0
        if self.tick >= upper:
            return 0, amount1_delta_signed(sqrt_ratio_at_tick(lower), sqrt_ratio_at_tick(upper), delta)
        self.oracle.write(self.time & U32, self.tick, self.liquidity)
        amount0 = amount0_delta_signed(self.sqrt_price_x96, sqrt_ratio_at_tick(upper), delta)
        amount1 = amount1_delta_signed(sqrt_ratio_at_tick(lower), self.sqrt_price_x96, delta)
        self.liquidity = add_delta(self.liquidity, delta)
        return amount0, amount1

    def _update_position(self, key: PositionKey, delta: int) -> None:
        _, lower, upper = key
        flipped = []
        if delta:
            for tick, is_upper in ((lower, False), (upper, True)):
                if self._update_tick(tick, delta, is_upper):
                    flipped.append(tick)
            if flipped and self._undo is not None and self._undo.bitmap is None:
                self._undo.bitmap = dict(self.bitmap)
            for tick in flipped:
                tick_bitmap.flip_tick(self.bitmap, tick, self.tick_spacing)
        inside = self.fee_growth_inside(lower, upper)
        position = self.positions.get(key) or PositionInfo()
        if self._undo is not None and key not in self._undo.positions:
            self._undo.positions[key] = replace(position) if key in self.positions else None
        update_position(position, delta, *inside)
        self.positions[key] = position
        if delta < 0:
            for tick in flipped:
                del self.ticks[tick]

    def _update_tick(self, tick: int, delta: int, is_upper: bool) -> bool:
        """Change a tick's liquidity; return whether it has become or ceased to be initialised."""
        self._keep(tick)
        info = self.ticks.get(tick)
        before = info.liquidity_gross if info else 0
        after = add_delta(before, delta)
        require(after <= max_liquidity_per_tick(self.tick_spacing), "LO")
        if info is None:
            info = self.ticks[tick] = TickInfo()
            if tick <= self.tick:
                info.fee_growth_outside0_x128 = self.fee_growth_global0_x128
                info.fee_growth_outside1_x128 = self.fee_growth_global1_x128
                info.tick_cumulative_outside, info.seconds_per_liquidity_outside_x128 = self._cumulatives()
                info.seconds_outside = self.time & U32
        info.liquidity_gross = after
        net = info.liquidity_net - delta if is_upper else info.liquidity_net + delta
        require(-I128_MAX - 1 <= net <= I128_MAX)
        info.liquidity_net = net
        return (after == 0) != (before == 0)

    def fee_growth_inside(self, lower: int, upper: int) -> tuple[int, int]:
        """Return fee growth per liquidity within a range, modulo 2^256: only its differences mean anything."""
        low, high = self.ticks.get(lower) or TickInfo(), self.ticks.get(upper) or TickInfo()
        globals_ = self.fee_growth_global0_x128, self.fee_growth_global1_x128
        outside = (
            (low.fee_growth_outside0_x128, high.fee_growth_outside0_x128),
            (low.fee_growth_outside1_x128, high.fee_growth_outside1_x128),
        )
        inside = []
        for whole, (of_lower, of_upper) in zip(globals_, outside, strict=True):
            below = of_lower if self.tick >= lower else whole - of_lower
            above = of_upper if self.tick < upper else whole - of_upper
            inside.append(whole - below - above & U256)
        return inside[0], inside[1]

    # --- swaps ------------------------------------------------------------------------------------------------

    def swap(self, zero_for_one: bool, amount: int, sqrt_price_limit_x96: int) -> Swapped:
        """Swap an exact input (`amount` above 0) or for an exact output (below 0), no further than the limit."""
        require(amount != 0, "AS")
        require(-I256_MAX - 1 <= amount <= I256_MAX)
        self._require_unlocked()
        limit, price = sqrt_price_limit_x96, self.sqrt_price_x96
        within = MIN_SQRT_RATIO < limit < price if zero_for_one else price < limit < MAX_SQRT_RATIO
        require(within, "SPL")
        if self._undo is not None:
            return self._swap(zero_for_one, amount, limit)
        self._undo = undo = _Undo(self)  # as `transaction` does, without its cost
        try:
            return self._swap(zero_for_one, amount, limit)
        except BaseException:
            undo.restore()
            raise
        finally:
            self._undo = None

    def _swap(self, zero_for_one: bool, amount: int, limit: int) -> Swapped:
        exact_input = amount > 0
        share = self.fee_protocol0 if zero_for_one else self.fee_protocol1
        growth = self.fee_growth_global0_x128 if zero_for_one else self.fee_growth_global1_x128
        price, tick, liquidity, remaining, calculated = self.sqrt_price_x96, self.tick, self.liquidity, amount, 0
        protocol_fees, crossing = 0, None
        steps = []
        while remaining and price != limit:
            start = price
            next_tick, initialized = tick_bitmap.next_tick_within_one_word(
                self.bitmap, tick, self.tick_spacing, zero_for_one
            )
            next_tick = max(MIN_TICK, min(MAX_TICK, next_tick))
            next_price = sqrt_ratio_at_tick(next_tick)
            target = max(next_price, limit) if zero_for_one else min(next_price, limit)
            price, amount_in, amount_out, fee = compute_swap_step(price, target, liquidity, remaining, self.fee)
            if exact_input:
                remaining -= amount_in + fee
                calculated -= amount_out
            else:
                remaining += amount_out
                calculated += amount_in + fee
            cut = fee // share if share else 0
            protocol_fees += cut
            if liquidity:
                growth = growth + ((fee - cut << 128) // liquidity) & U256
            steps.append(Step(price, liquidity, amount_in, amount_out, fee, cut))
            if price == next_price:
                if initialized:
                    crossing = crossing or self._cumulatives()
                    net = self._cross(next_tick, zero_for_one, growth, crossing)
                    liquidity = add_delta(liquidity, -net if zero_for_one else net)
                tick = next_tick - 1 if zero_for_one else next_tick
            elif price != start:
                tick = tick_at_sqrt_ratio(price)
        require(-I256_MAX - 1 <= calculated <= I256_MAX)
        if tick != self.tick:
            self.oracle.write(self.time & U32, self.tick, self.liquidity)
        self.sqrt_price_x96, self.tick, self.liquidity = price, tick, liquidity
        if zero_for_one:
            self.fee_growth_global0_x128 = growth
            self.protocol_fees0 = self.protocol_fees0 + protocol_fees & U128
        else:
            self.fee_growth_global1_x128 = growth
            self.protocol_fees1 = self.protocol_fees1 + protocol_fees & U128
        specified = amount - remaining
        amounts = (specified, calculated) if zero_for_one == exact_input else (calculated, specified)
        self._require_balance(-amounts[0], -amounts[1])
        self.balance0 += amounts[0]
        self.balance1 += amounts[1]
        return Swapped(*amounts, tuple(steps))

    def _cross(self, tick: int, zero_for_one: bool, growth: int, cumulatives: tuple[int, int]) -> int:
        """Turn a tick's outside to its other side; return its net liquidity."""
        self._keep(tick)
        info = self.ticks[tick]
        growth0 = growth if zero_for_one else self.fee_growth_global0_x128
        growth1 = self.fee_growth_global1_x128 if zero_for_one else growth
        info.fee_growth_outside0_x128 = growth0 - info.fee_growth_outside0_x128 & U256
        info.fee_growth_outside1_x128 = growth1 - info.fee_growth_outside1_x128 & U256
        info.tick_cumulative_outside = wrap_signed(cumulatives[0] - info.tick_cumulative_outside, 56)
        info.seconds_per_liquidity_outside_x128 = cumulatives[1] - info.seconds_per_liquidity_outside_x128 & U160
        info.seconds_outside = self.time - info.seconds_outside & U32
        return info.liquidity_net

    # --- flash, protocol fee, oracle --------------------------------------------------------------------------

    def flash(self, amount0: int, amount1: int, repaid0: int, repaid1: int) -> tuple[int, int]:
        """Lend both tokens within one call; return what was paid on top, all of which is fee."""
        self._require_unlocked()
        require(self.liquidity > 0, "L")
        fee0 = mul_div_rounding_up(amount0, self.fee, FEE_UNITS)
        fee1 = mul_div_rounding_up(amount1, self.fee, FEE_UNITS)
        self._require_balance(amount0, amount1)
        paid0, paid1 = repaid0 - amount0, repaid1 - amount1
        require(paid0 >= fee0, "F0")
        require(paid1 >= fee1, "F1")
        if paid0:
            cut = paid0 // self.fee_protocol0 if self.fee_protocol0 else 0
            self.protocol_fees0 = self.protocol_fees0 + cut & U128
            grown = mul_div(paid0 - cut, Q128, self.liquidity)
            self.fee_growth_global0_x128 = self.fee_growth_global0_x128 + grown & U256
        if paid1:
            cut = paid1 // self.fee_protocol1 if self.fee_protocol1 else 0
            self.protocol_fees1 = self.protocol_fees1 + cut & U128
            grown = mul_div(paid1 - cut, Q128, self.liquidity)
            self.fee_growth_global1_x128 = self.fee_growth_global1_x128 + grown & U256
        self.balance0 += paid0
        self.balance1 += paid1
        return paid0, paid1

    def set_fee_protocol(self, fee_protocol0: int, fee_protocol1: int) -> None:
        """Set the protocol's share of fees to 1/n for n = 4..10, or 0 for none, by token."""
        self._require_unlocked()
        require(all(n == 0 or 4 <= n <= 10 for n in (fee_protocol0, fee_protocol1)))
        self.fee_protocol0, self.fee_protocol1 = fee_protocol0, fee_protocol1

    def collect_protocol(self, requested0: int, requested1: int) -> tuple[int, int]:
        """Pay out protocol fees; asked for all of them, the contract leaves one unit behind."""
        self._require_unlocked()
        amount0, amount1 = min(requested0, self.protocol_fees0), min(requested1, self.protocol_fees1)
        amount0 -= amount0 > 0 and amount0 == self.protocol_fees0
        amount1 -= amount1 > 0 and amount1 == self.protocol_fees1
        self._require_balance(amount0, amount1)
        self.protocol_fees0 -= amount0
        self.protocol_fees1 -= amount1
        self.balance0 -= amount0
        self.balance1 -= amount1
        return amount0, amount1

    def increase_observation_cardinality(self, cardinality_next: int) -> None:
        """Make the oracle remember more."""
        self._require_unlocked()
        self.oracle.grow(cardinality_next)

    def observe(self, seconds_agos: list[int]) -> tuple[list[int], list[int]]:
        """Return tick cumulatives and seconds per liquidity (X128) as of some times ago."""
        return self.oracle.observe(self.time & U32, seconds_agos, self.tick, self.liquidity)

    def snapshot_cumulatives_inside(self, lower: int, upper: int) -> tuple[int, int, int]:
        """Return (tick cumulative, seconds per liquidity X128, seconds) within a range; differences matter."""
        _check_ticks(lower, upper)
        require(lower in self.ticks)
        require(upper in self.ticks)
        low, high = self.ticks[lower], self.ticks[upper]
        ticks = low.tick_cumulative_outside, high.tick_cumulative_outside
        liquid = low.seconds_per_liquidity_outside_x128, high.seconds_per_liquidity_outside_x128
        seconds = low.seconds_outside, high.seconds_outside
        if self.tick < lower:
            inside = ticks[0] - ticks[1], liquid[0] - liquid[1], seconds[0] - seconds[1]
        elif self.tick >= upper:
            inside = ticks[1] - ticks[0], liquid[1] - liquid[0], seconds[1] - seconds[0]
        else:
            now_ticks, now_liquid = self._cumulatives()
            inside = now_ticks - sum(ticks), now_liquid - sum(liquid), self.time - sum(seconds)
        return wrap_signed(inside[0], 56), inside[1] & U160, inside[2] & U32

    def _cumulatives(self) -> tuple[int, int]:
        return self.oracle.observe_one(self.time & U32, 0, self.tick, self.liquidity)

    # --- guards -----------------------------------------------------------------------------------------------

    def _require_unlocked(self) -> None:
        require(self.sqrt_price_x96 > 0, "LOK")

    def _require_balance(self, amount0: int, amount1: int) -> None:
        require(amount0 <= self.balance0 and amount1 <= self.balance1, "TF")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Take back all that was changed within when it reverts; one within another is part of it."""
        if self._undo is not None:
            yield
            return
        self._undo = undo = _Undo(self)
        try:
            yield
        except BaseException:
            undo.restore()
            raise
        finally:
            self._undo = None

    def _keep(self, tick: int) -> None:
        """Remember a tick as it is, before it changes."""
        if self._undo is not None and tick not in self._undo.ticks:
            info = self.ticks.get(tick)
            self._undo.ticks[tick] = replace(info) if info else None


class _Undo:
    """What a transaction may have to take back: numbers, and the few records that it touches."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.numbers = _numbers(pool)
        self.ticks: dict[int, TickInfo | None] = {}
        self.positions: dict[PositionKey, PositionInfo | None] = {}
        self.bitmap: dict[int, int] | None = None
        self.oracle = pool.oracle.copy_of_next()

    def restore(self) -> None:
        pool = self.pool
        for name, value in zip(_NUMBERS, self.numbers, strict=True):
            setattr(pool, name, value)
        _put_back(pool.ticks, self.ticks)
        _put_back(pool.positions, self.positions)
        if self.bitmap is not None:
            pool.bitmap = self.bitmap
        pool.oracle.restore(self.oracle)


_NUMBERS = tuple(name for name, kind in Pool.__annotations__.items() if kind == "int")
_numbers = attrgetter(*_NUMBERS)


def _put_back(records: dict[Key, Record], kept: dict[Key, Record | None]) -> None:
    for key, record in kept.items():
        if record is None:
            records.pop(key, None)
        else:
            records[key] = record


def _check_ticks(lower: int, upper: int) -> None:
    require(lower < upper, "TLU")
    require(lower >= MIN_TICK, "TLM")
    require(upper <= MAX_TICK, "TUM")


def update_position(position: PositionInfo, delta: int, inside0_x128: int, inside1_x128: int) -> None:
    """Add the fees since the last update to what a position is owed, then change its liquidity."""
    liquidity = position.liquidity
    if delta == 0:
        require(liquidity > 0, "NP")
    else:
        position.liquidity = add_delta(liquidity, delta)
    owed0 = earned(inside0_x128, position.fee_growth_inside0_last_x128, liquidity)
    owed1 = earned(inside1_x128, position.fee_growth_inside1_last_x128, liquidity)
    position.fee_growth_inside0_last_x128 = inside0_x128
    position.fee_growth_inside1_last_x128 = inside1_x128
    position.tokens_owed0 = position.tokens_owed0 + owed0 & U128
    position.tokens_owed1 = position.tokens_owed1 + owed1 & U128


def earned(inside_x128: int, last_x128: int, liquidity: int) -> int:
    """Return fees of a liquidity while fee growth inside went from `last` on: rounded down, wrapped to 128 bits."""
    return mul_div(inside_x128 - last_x128 & U256, liquidity, Q128) & U128
