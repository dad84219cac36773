"""Time as nodes see it: constant while one handler runs."""

from __future__ import annotations

NS_PER_S = 1_000_000_000


class Clock:
    """The only source of time for nodes. The host sets `now_ns` before each handler; nodes only read it."""

    __slots__ = ("now_ns",)

    def __init__(self, now_ns: int = 0) -> None:
        self.now_ns = now_ns
        """Nanoseconds since 1970-01-01 UTC."""

    @property
    def now_s(self) -> float:
        """Seconds since 1970-01-01 UTC (float64: good to about 0.2 µs)."""
        return self.now_ns / NS_PER_S


def seconds_to_ns(seconds: float) -> int:
    """Return `seconds` as whole nanoseconds."""
    return round(seconds * NS_PER_S)
