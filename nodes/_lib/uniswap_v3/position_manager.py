"""The periphery: NFT positions with their own fee accounting, and single-pool swaps with bounds.

Source: NonfungiblePositionManager and SwapRouter of Uniswap v3-periphery 1.4.4. All NFTs with one range share one
position of the pool, owned by the manager; the manager keeps apart what each is owed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from nodes._lib.uniswap_v3.integers import I256_MAX, U128, require
from nodes._lib.uniswap_v3.liquidity_amounts import liquidity_for_amounts
from nodes._lib.uniswap_v3.pool import Pool, PositionInfo, earned
from nodes._lib.uniswap_v3.tick_math import MAX_SQRT_RATIO, MIN_SQRT_RATIO, sqrt_ratio_at_tick

MANAGER = "NonfungiblePositionManager"


@dataclass(slots=True)
class NftPosition:
    """One NFT: its range, liquidity, fee growth inside when last updated, and what may be collected."""

    lower: int
    upper: int
    liquidity: int
    fee_growth_inside0_last_x128: int
    fee_growth_inside1_last_x128: int
    tokens_owed0: int = 0
    tokens_owed1: int = 0


@dataclass(slots=True)
class PositionManager:
    """The manager of one pool's NFTs. `deadline` is a block time (s) after which a call reverts."""

    pool: Pool
    owner: str = MANAGER
    nfts: dict[int, NftPosition] = field(default_factory=dict)
    next_id: int = 1

    def mint(
        self, lower: int, upper: int, desired: tuple[int, int], least: tuple[int, int], deadline: int
    ) -> tuple[int, int, int, int]:
        """Open a position; return (id, liquidity, token0 paid, token1 paid)."""
        liquidity, paid = self._add_liquidity(lower, upper, desired, least, deadline)
        held = self._held(lower, upper)
        nft_id = self.next_id
        self.next_id += 1
        self.nfts[nft_id] = NftPosition(
            lower, upper, liquidity, held.fee_growth_inside0_last_x128, held.fee_growth_inside1_last_x128
        )
        return nft_id, liquidity, *paid

    def increase_liquidity(
        self, nft_id: int, desired: tuple[int, int], least: tuple[int, int], deadline: int
    ) -> tuple[int, int, int]:
        """Add to a position; return (liquidity added, token0 paid, token1 paid)."""
        nft = self._nft(nft_id)
        liquidity, paid = self._add_liquidity(nft.lower, nft.upper, desired, least, deadline)
        self._take_fees(nft)
        nft.liquidity += liquidity
        return liquidity, *paid

    def decrease_liquidity(self, nft_id: int, liquidity: int, least: tuple[int, int], deadline: int) -> tuple[int, int]:
        """Take liquidity out; what comes free is owed with the fees, and leaves with `collect`."""
        nft = self._nft(nft_id)
        _check_deadline(self.pool, deadline)
        require(liquidity > 0)
        require(nft.liquidity >= liquidity)
        with self.pool.transaction():
            freed = self.pool.burn(self.owner, nft.lower, nft.upper, liquidity)
            require(_at_least(freed, least), "Price slippage check")
        self._take_fees(nft)
        nft.tokens_owed0 = nft.tokens_owed0 + freed[0] & U128
        nft.tokens_owed1 = nft.tokens_owed1 + freed[1] & U128
        nft.liquidity -= liquidity
        return freed

    def collect(self, nft_id: int, most0: int, most1: int) -> tuple[int, int]:
        """Pay out what a position is owed, fees until now included, at most this much of each token."""
        nft = self._nft(nft_id)
        require(most0 > 0 or most1 > 0)
        if nft.liquidity > 0:
            self.pool.burn(self.owner, nft.lower, nft.upper, 0)
            self._take_fees(nft)
        wanted0, wanted1 = min(most0, nft.tokens_owed0), min(most1, nft.tokens_owed1)
        paid = self.pool.collect(self.owner, nft.lower, nft.upper, wanted0, wanted1)
        # The pool may hold a unit less than the sum of what its NFTs are owed; the contract writes off what was asked.
        nft.tokens_owed0 -= wanted0
        nft.tokens_owed1 -= wanted1
        return paid

    def burn(self, nft_id: int) -> None:
        """Destroy an NFT that is empty and has nothing to collect."""
        nft = self._nft(nft_id)
        require(nft.liquidity == 0 and nft.tokens_owed0 == 0 and nft.tokens_owed1 == 0, "Not cleared")
        del self.nfts[nft_id]

    def _nft(self, nft_id: int) -> NftPosition:
        require(nft_id in self.nfts, "Invalid token ID")
        return self.nfts[nft_id]

    def _held(self, lower: int, upper: int) -> PositionInfo:
        return self.pool.positions[self.owner, lower, upper]

    def _take_fees(self, nft: NftPosition) -> None:
        held = self._held(nft.lower, nft.upper)
        inside0, inside1 = held.fee_growth_inside0_last_x128, held.fee_growth_inside1_last_x128
        owed0 = earned(inside0, nft.fee_growth_inside0_last_x128, nft.liquidity)
        owed1 = earned(inside1, nft.fee_growth_inside1_last_x128, nft.liquidity)
        nft.tokens_owed0 = nft.tokens_owed0 + owed0 & U128
        nft.tokens_owed1 = nft.tokens_owed1 + owed1 & U128
        nft.fee_growth_inside0_last_x128, nft.fee_growth_inside1_last_x128 = inside0, inside1

    def _add_liquidity(
        self, lower: int, upper: int, desired: tuple[int, int], least: tuple[int, int], deadline: int
    ) -> tuple[int, tuple[int, int]]:
        _check_deadline(self.pool, deadline)
        liquidity = liquidity_for_amounts(
            self.pool.sqrt_price_x96, sqrt_ratio_at_tick(lower), sqrt_ratio_at_tick(upper), *desired
        )
        with self.pool.transaction():
            paid = self.pool.mint(self.owner, lower, upper, liquidity)
            require(_at_least(paid, least), "Price slippage check")
        return liquidity, paid


def exact_input_single(
    pool: Pool, zero_for_one: bool, amount_in: int, *, least_out: int, deadline: int, sqrt_price_limit_x96: int = 0
) -> int:
    """Swap an exact input through the router; return what came out. Revert when it is less than `least_out`."""
    _check_deadline(pool, deadline)
    require(amount_in <= I256_MAX)
    with pool.transaction():
        swapped = pool.swap(zero_for_one, amount_in, _limit(zero_for_one, sqrt_price_limit_x96))
        out = -(swapped.amount1 if zero_for_one else swapped.amount0)
        require(out >= least_out, "Too little received")
    return out


def exact_output_single(
    pool: Pool, zero_for_one: bool, amount_out: int, *, most_in: int, deadline: int, sqrt_price_limit_x96: int = 0
) -> int:
    """Swap for an exact output through the router; return what went in. Revert when it is more than `most_in`."""
    _check_deadline(pool, deadline)
    require(amount_out <= I256_MAX)
    with pool.transaction():
        swapped = pool.swap(zero_for_one, -amount_out, _limit(zero_for_one, sqrt_price_limit_x96))
        paid, got = (swapped.amount0, -swapped.amount1) if zero_for_one else (swapped.amount1, -swapped.amount0)
        require(sqrt_price_limit_x96 != 0 or got == amount_out)
        require(paid <= most_in, "Too much requested")
    return paid


def _limit(zero_for_one: bool, sqrt_price_limit_x96: int) -> int:
    return sqrt_price_limit_x96 or (MIN_SQRT_RATIO + 1 if zero_for_one else MAX_SQRT_RATIO - 1)


def _check_deadline(pool: Pool, deadline: int) -> None:
    require(pool.time <= deadline, "Transaction too old")


def _at_least(amounts: tuple[int, int], least: tuple[int, int]) -> bool:
    return amounts[0] >= least[0] and amounts[1] >= least[1]
