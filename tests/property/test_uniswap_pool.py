"""A pool under any order of operations: no wei is made, none is lost but to rounding in the pool's favour."""

from __future__ import annotations

from hypothesis import assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from nodes._lib.uniswap_v3.integers import U128, Revert
from nodes._lib.uniswap_v3.pool import Pool
from nodes._lib.uniswap_v3.tick_math import MAX_SQRT_RATIO, MIN_SQRT_RATIO, sqrt_ratio_at_tick

SPACINGS = {100: 1, 500: 10, 3000: 60, 10000: 200}
OWNERS = st.sampled_from(["ann", "bob"])
NEAR = st.integers(-40, 40)
AMOUNT = st.integers(1, 10**24)


class PoolMachine(RuleBasedStateMachine):
    """`paid` and `got` are what people have put in and taken out of each token."""

    @initialize(
        fee=st.sampled_from(sorted(SPACINGS)), tick=st.integers(-200_000, 200_000), share=st.sampled_from([0, 4, 10])
    )
    def begin(self, fee: int, tick: int, share: int) -> None:
        self.pool = Pool(fee, SPACINGS[fee], time=1_700_000_000)
        self.pool.initialize(sqrt_ratio_at_tick(tick) + 1)
        self.pool.set_fee_protocol(share, share)
        self.paid, self.got = [0, 0], [0, 0]

    def range(self, low: int, wide: int) -> tuple[int, int]:
        spacing = self.pool.tick_spacing
        lower = (self.pool.tick // spacing + low) * spacing
        return lower, lower + wide * spacing

    @rule(owner=OWNERS, low=NEAR, wide=st.integers(1, 60), amount=AMOUNT)
    def mint(self, owner: str, low: int, wide: int, amount: int) -> None:
        before = repr(self.pool)
        try:
            amounts = self.pool.mint(owner, *self.range(low, wide), amount)
        except Revert:
            assert repr(self.pool) == before, "a call that reverts changes nothing"
            return
        self.move(amounts)

    @rule(pick=st.integers(0, 1000), part=st.integers(0, 100))
    def burn(self, pick: int, part: int) -> None:
        assume(self.pool.positions)
        key = sorted(self.pool.positions)[pick % len(self.pool.positions)]
        liquidity = self.pool.positions[key].liquidity
        assume(liquidity or part)
        try:
            freed = self.pool.burn(*key, liquidity * part // 100)
        except Revert as error:
            assert error.reason == "NP"
            return
        assert freed[0] >= 0 and freed[1] >= 0

    @rule(pick=st.integers(0, 1000))
    def collect(self, pick: int) -> None:
        assume(self.pool.positions)
        key = sorted(self.pool.positions)[pick % len(self.pool.positions)]
        paid = self.pool.collect(*key, U128, U128)
        self.move((-paid[0], -paid[1]))

    @rule(zero_for_one=st.booleans(), amount=st.one_of(AMOUNT, AMOUNT.map(lambda x: -x)), far=st.integers(1, 3_000))
    def swap(self, zero_for_one: bool, amount: int, far: int) -> None:
        tick = self.pool.tick + (-far if zero_for_one else far)
        limit = min(max(sqrt_ratio_at_tick(max(-887_272, min(887_271, tick))), MIN_SQRT_RATIO + 1), MAX_SQRT_RATIO - 1)
        before = repr(self.pool)
        try:
            swapped = self.pool.swap(zero_for_one, amount, limit)
        except Revert:
            assert repr(self.pool) == before
            return
        given, taken = (swapped.amount0, swapped.amount1) if zero_for_one else (swapped.amount1, swapped.amount0)
        assert given >= 0 >= taken, "one token goes in, the other comes out"
        assert given <= amount if amount > 0 else -taken <= -amount
        self.move((swapped.amount0, swapped.amount1))

    @rule(amount0=AMOUNT, amount1=AMOUNT)
    def flash(self, amount0: int, amount1: int) -> None:
        amount0, amount1 = min(amount0, self.pool.balance0), min(amount1, self.pool.balance1)
        fee0, fee1 = (-(-amount * self.pool.fee // 10**6) for amount in (amount0, amount1))
        try:
            paid = self.pool.flash(amount0, amount1, amount0 + fee0, amount1 + fee1)
        except Revert as error:
            assert error.reason == "L"
            return
        self.move(paid)

    @rule(seconds=st.integers(0, 10_000))
    def wait(self, seconds: int) -> None:
        self.pool.time += seconds

    def move(self, amounts: tuple[int, int]) -> None:
        for token, amount in enumerate(amounts):
            if amount > 0:
                self.paid[token] += amount
            else:
                self.got[token] -= amount

    @invariant()
    def what_is_here_came_in(self) -> None:
        if hasattr(self, "pool"):
            assert [self.pool.balance0, self.pool.balance1] == [p - g for p, g in zip(self.paid, self.got, strict=True)]

    @invariant()
    def active_liquidity_is_that_of_the_positions_in_range(self) -> None:
        if hasattr(self, "pool"):
            held = sum(p.liquidity for (_, lo, hi), p in self.pool.positions.items() if lo <= self.pool.tick < hi)
            assert self.pool.liquidity == held

    def teardown(self) -> None:
        """Everybody leaves: all that is owed can be paid, and next to nothing remains."""
        if not hasattr(self, "pool"):
            return
        for key, position in sorted(self.pool.positions.items()):
            if position.liquidity:
                self.pool.burn(*key, position.liquidity)
            self.collect_all(key)
        assert not self.pool.ticks and not self.pool.bitmap and self.pool.liquidity == 0
        owed = self.pool.protocol_fees0, self.pool.protocol_fees1
        assert self.pool.balance0 >= owed[0] and self.pool.balance1 >= owed[1]

    def collect_all(self, key: tuple[str, int, int]) -> None:
        position = self.pool.positions[key]
        owed = position.tokens_owed0, position.tokens_owed1
        assert self.pool.collect(*key, U128, U128) == owed, "what is owed is there"


PoolMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestPool = PoolMachine.TestCase
