"""What one hop inside a process costs, against a bare chain of Python calls.

Both chains have the same number of links. The bare one passes one object on; ours makes a new typed message at each
hop and goes through the production host: outbox, counters, cause, deferred delivery.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

from engine import In, Message, Node, Out
from engine.clock import Clock
from engine.run.backtest import few_collections
from engine.run.host import Host

LINKS = 20
ROUNDS = 2_000


class Reading(Message):
    """A small message: one number and its time."""

    value: float
    event_time_ns: int


class Relay(Node):
    """Pass a reading on as a new message."""

    source = In(Reading, doc="What to pass on.")
    result = Out(Reading, doc="The same reading, made anew.")

    def on_source(self, message: Reading) -> None:
        self.result(value=message.value, event_time_ns=message.event_time_ns)


class _Link:
    def __init__(self, following: Callable[[Reading], None]) -> None:
        self.following = following

    def on_source(self, message: Reading) -> None:
        self.following(message)


def bare_chain() -> Callable[[Reading], None]:
    """Return the first call of a bare chain."""

    def end(message: Reading) -> None:
        pass

    following: Callable[[Reading], None] = end
    for _ in range(LINKS):
        following = _Link(following).on_source
    return following


def host_chain() -> Callable[[Reading], None]:
    """Return the injection of a message into a chain of relays in a host."""
    host = Host(Clock())
    for index in range(LINKS + 1):
        host.add(f"relay{index}", Relay, {})
    for index in range(LINKS):
        host.wire((f"relay{index}", "result"), (f"relay{index + 1}", "source"))
    port = host.ports["relay0", "result"]
    return lambda message: host.inject(port, message)


def ns_per_link(chain: Callable[[Reading], None]) -> float:
    """Return the time of one link in ns, over `ROUNDS` passes."""
    message = Reading(1.0, 2)
    started = time.perf_counter_ns()
    for _ in range(ROUNDS):
        chain(message)
    return (time.perf_counter_ns() - started) / ROUNDS / LINKS


def measure(repeats: int = 9) -> dict[str, float]:
    """Return medians over `repeats` rounds, both chains in turn within each round."""
    bare, ours = bare_chain(), host_chain()
    with few_collections():
        pairs = [(ns_per_link(bare), ns_per_link(ours)) for _ in range(repeats)]
    return {
        "bare_ns": median(pair[0] for pair in pairs),
        "hop_ns": median(pair[1] for pair in pairs),
        "ratio": median(pair[1] / pair[0] for pair in pairs),
    }


if __name__ == "__main__":
    print(measure())
