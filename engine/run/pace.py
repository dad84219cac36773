"""Pace: how the time that nodes see follows the wall clock."""

from __future__ import annotations

import time
from dataclasses import dataclass

from engine.clock import NS_PER_S


@dataclass(frozen=True, slots=True)
class Pace:
    """At `wall_ns` of the wall clock nodes see `data_ns`; from then on `speed` of their seconds pass in one of ours.

    All processes of a run share one pace, so that their clocks agree. The default is the wall clock itself.
    """

    data_ns: int = 0
    wall_ns: int = 0
    speed: float = 1.0

    def __post_init__(self) -> None:
        if not self.speed > 0:
            raise ValueError(f"speed must be above 0, got {self.speed}")

    def now_ns(self) -> int:
        """Return the time that nodes see now."""
        since_ns = time.time_ns() - self.wall_ns
        return self.data_ns + (since_ns if self.speed == 1.0 else round(since_ns * self.speed))

    def wait_s(self, until_ns: int) -> float:
        """Return how many of our seconds it takes until nodes see `until_ns`; negative when it has passed."""
        return (until_ns - self.now_ns()) / NS_PER_S / self.speed
