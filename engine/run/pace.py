"""Pace: how the time that nodes see follows the wall clock, and what it does when that clock is set."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field

from engine.clock import NS_PER_S

STEP_NS = NS_PER_S
"""A wall clock that departs so far from elapsed time between two looks has been set; less is its correction."""
AHEAD_S = 5.0
"""How far the time that a process gets back may be ahead: a resumed run goes on from the slowest of its processes."""

log = logging.getLogger("clock")


def elapsed_ns() -> int:
    """Return time that nobody can set; it goes on while the machine sleeps, as does the age of what was received."""
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Wall:
    """The wall clock, except that it goes on evenly when it is set back by more than 1 s.

    If it followed, no timer would be made and nothing would grow old until the clock had come to where it was, since
    the time of a node never goes back. `shift_ns` is what it is ahead since then; setting the clock forward takes up
    that first. Beyond that it is followed forward: what was received before is then old, and those who act on it
    refuse to.
    """

    def __init__(self) -> None:
        self.shift_ns = 0
        self._since_ns = time.time_ns() - elapsed_ns()

    def now_ns(self) -> int:
        """Return nanoseconds since 1970-01-01 UTC, as the clock says plus the shift."""
        wall_ns = time.time_ns()
        since_ns = wall_ns - elapsed_ns()
        step_ns = since_ns - self._since_ns
        self._since_ns = since_ns
        if not -STEP_NS < step_ns < STEP_NS:
            self._was_set(step_ns)
        return wall_ns + self.shift_ns

    def _was_set(self, step_ns: int) -> None:
        self.shift_ns = max(0, self.shift_ns - step_ns)
        log.critical(
            "the wall clock was set %s by %.1f s; nodes' time is now %.1f s ahead of it. See to the machine's clock "
            "(NTP), then begin the run again with --resume",
            "forward" if step_ns > 0 else "back",
            abs(step_ns) / NS_PER_S,
            self.shift_ns / NS_PER_S,
        )

    def go_ahead(self, ns: int) -> None:
        """Be ahead of the clock by so much more."""
        self.shift_ns += ns
        log.critical(
            "the wall clock is %.1f s behind the time that this process had reached before it ended; nodes' time goes "
            "on from there. See to the machine's clock (NTP)",
            ns / NS_PER_S,
        )


@dataclass(frozen=True, slots=True)
class Pace:
    """At `wall_ns` of the wall clock nodes see `data_ns`; from then on `speed` of their seconds pass in one of ours.

    All processes of a run share one pace, so that their clocks agree. The default is the wall clock itself.
    """

    data_ns: int = 0
    wall_ns: int = 0
    speed: float = 1.0
    wall: Wall = field(default_factory=Wall, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.speed > 0:
            raise ValueError(f"speed must be above 0, got {self.speed}")

    def now_ns(self) -> int:
        """Return the time that nodes see now."""
        since_ns = self.wall.now_ns() - self.wall_ns
        return self.data_ns + (since_ns if self.speed == 1.0 else round(since_ns * self.speed))

    def wait_s(self, until_ns: int) -> float:
        """Return how many of our seconds it takes until nodes see `until_ns`; negative when it has passed."""
        return (until_ns - self.now_ns()) / NS_PER_S / self.speed

    def go_on_from(self, reached_ns: int) -> None:
        """Take up a time that nodes had reached before: where the wall clock is far behind it, it no longer counts."""
        ahead_s = self.wait_s(reached_ns)
        if ahead_s > AHEAD_S:
            self.wall.go_ahead(round(ahead_s * NS_PER_S))
