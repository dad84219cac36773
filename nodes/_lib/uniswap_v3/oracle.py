"""The pool's own record of past ticks and liquidity, a ring of observations. Source: Oracle of v3-core 1.0.1."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from nodes._lib.uniswap_v3.integers import U32, U160, require, truncated_div, wrap_signed


class Observation(NamedTuple):
    """One observation: block time (s), sum of tick · seconds, sum of seconds / liquidity (X128)."""

    time: int
    tick_cumulative: int
    seconds_per_liquidity_x128: int
    initialized: bool = True


_EMPTY = Observation(0, 0, 0, False)


def transform(last: Observation, time: int, tick: int, liquidity: int) -> Observation:
    """Return the observation at a later time, tick and liquidity having stood since the last."""
    passed = (time - last.time) & U32
    return Observation(
        time,
        wrap_signed(last.tick_cumulative + tick * passed, 56),
        (last.seconds_per_liquidity_x128 + (passed << 128) // max(liquidity, 1)) & U160,
    )


@dataclass(slots=True)
class Oracle:
    """The ring. `cardinality` entries are in use, `cardinality_next` once it has come round."""

    observations: list[Observation] = field(default_factory=list)
    index: int = 0
    cardinality: int = 0
    cardinality_next: int = 0

    def initialize(self, time: int) -> None:
        """Write the first observation."""
        self.observations = [Observation(time, 0, 0)]
        self.cardinality = self.cardinality_next = 1

    def copy_of_next(self) -> tuple[int, int, int, int, Observation | None]:
        """Return what one more `write` or `grow` can change, for `restore`."""
        after = self.index + 1
        if after == self.cardinality == self.cardinality_next or after >= len(self.observations):
            after = 0
        overwritten = self.observations[after] if self.observations else None
        return self.index, self.cardinality, self.cardinality_next, after, overwritten

    def restore(self, kept: tuple[int, int, int, int, Observation | None]) -> None:
        """Take back one `write` or `grow`."""
        self.index, self.cardinality, self.cardinality_next, after, overwritten = kept
        if overwritten is not None:
            self.observations[after] = overwritten

    def write(self, time: int, tick: int, liquidity: int) -> None:
        """Write an observation, at most one per block time; tick and liquidity are those before the change."""
        last = self.observations[self.index]
        if last.time == time:
            return
        if self.cardinality_next > self.cardinality and self.index == self.cardinality - 1:
            self.cardinality = self.cardinality_next
        self.index = (self.index + 1) % self.cardinality
        self.observations[self.index] = transform(last, time, tick, liquidity)

    def grow(self, cardinality_next: int) -> None:
        """Make room for more observations, which are used once the ring has come round."""
        require(self.cardinality_next > 0, "I")
        if cardinality_next > self.cardinality_next:
            room = cardinality_next - len(self.observations)
            self.observations += [Observation(1, 0, 0, False)] * room
            self.cardinality_next = cardinality_next

    def observe_one(self, time: int, seconds_ago: int, tick: int, liquidity: int) -> tuple[int, int]:
        """Return (tick cumulative, seconds per liquidity X128) some seconds ago; revert with OLD beyond memory."""
        if seconds_ago == 0:
            last = self.observations[self.index]
            if last.time != time:
                last = transform(last, time, tick, liquidity)
            return last.tick_cumulative, last.seconds_per_liquidity_x128
        target = (time - seconds_ago) & U32
        before, after = self._around(time, target, tick, liquidity)
        if target == before.time:
            return before.tick_cumulative, before.seconds_per_liquidity_x128
        if target == after.time:
            return after.tick_cumulative, after.seconds_per_liquidity_x128
        between = (after.time - before.time) & U32
        passed = (target - before.time) & U32
        # The tick part is divided first and multiplied then, as there.
        rate = truncated_div(after.tick_cumulative - before.tick_cumulative, between)
        liquid = (after.seconds_per_liquidity_x128 - before.seconds_per_liquidity_x128) & U160
        return (
            wrap_signed(before.tick_cumulative + rate * passed, 56),
            (before.seconds_per_liquidity_x128 + liquid * passed // between) & U160,
        )

    def observe(self, time: int, seconds_agos: list[int], tick: int, liquidity: int) -> tuple[list[int], list[int]]:
        """Return both cumulatives for each of several times ago."""
        require(self.cardinality > 0, "I")
        found = [self.observe_one(time, ago, tick, liquidity) for ago in seconds_agos]
        return [ticks for ticks, _ in found], [seconds for _, seconds in found]

    def _around(self, time: int, target: int, tick: int, liquidity: int) -> tuple[Observation, Observation]:
        newest = self.observations[self.index]
        if _not_after(time, newest.time, target):
            return newest, _EMPTY if newest.time == target else transform(newest, target, tick, liquidity)
        oldest = self.observations[(self.index + 1) % self.cardinality]
        if not oldest.initialized:
            oldest = self.observations[0]
        require(_not_after(time, oldest.time, target), "OLD")
        return self._search(time, target)

    def _search(self, time: int, target: int) -> tuple[Observation, Observation]:
        low = (self.index + 1) % self.cardinality
        high = low + self.cardinality - 1
        while True:
            middle = (low + high) // 2
            before = self.observations[middle % self.cardinality]
            if not before.initialized:
                low = middle + 1
                continue
            after = self.observations[(middle + 1) % self.cardinality]
            begun = _not_after(time, before.time, target)
            if begun and _not_after(time, target, after.time):
                return before, after
            if begun:
                low = middle + 1
            else:
                high = middle - 1


def _not_after(time: int, a: int, b: int) -> bool:
    """Tell whether a is not after b, two times in 32 bits that are both not after `time`, which may have wrapped."""
    if a <= time and b <= time:
        return a <= b
    return (a if a > time else a + U32 + 1) <= (b if b > time else b + U32 + 1)
