"""What can go wrong on purpose. Every switch is off until it is set."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any


class BadFault(ValueError):
    """A switch that does not exist, or a value that it does not take."""


@dataclass(slots=True)
class Faults:
    """The switches. Those that count down (`_next`) go off by themselves."""

    stuck_below_tip_wei: int = field(default=0, metadata={"doc": "Blocks leave out what tips less a gas."})
    base_fee_wei: int = field(default=0, metadata={"doc": "Base fee of every new block; 0 lets EIP-1559 decide."})
    receipt_delay_blocks: int = field(default=0, metadata={"doc": "A receipt is served this many blocks late."})
    receipts_dropped_next: int = field(default=0, metadata={"doc": "Receipts of the next n transactions never show."})
    transactions_lost_next: int = field(default=0, metadata={"doc": "The next n are accepted and then forgotten."})
    stale_head_block: int = field(default=-1, metadata={"doc": "The node goes no further than this block; -1 is off."})
    chain_id: int = field(default=0, metadata={"doc": "Chain id that the node claims; 0 is the true one."})
    logs_empty: bool = field(default=False, metadata={"doc": "eth_getLogs finds nothing."})
    rate_limited_next: int = field(default=0, metadata={"doc": "HTTP 429 (an error on a websocket) n times."})
    timeout_next: int = field(default=0, metadata={"doc": "The next n requests are ignored, and never answered."})
    answers_lost_next: int = field(default=0, metadata={"doc": "The next n are carried out, and never answered."})
    delay_s: float = field(default=0.0, metadata={"doc": "Every answer is this late."})
    websockets_refused_next: int = field(default=0, metadata={"doc": "The next n websocket connections get a 503."})
    websocket_silent: bool = field(default=False, metadata={"doc": "Subscriptions stay open and say nothing."})
    methods: list[str] = field(
        default_factory=list, metadata={"doc": "Those of requests (429, timeout, lost, late): only these."}
    )

    def set(self, **values: Any) -> None:
        """Set switches by name; raise BadFault before any is set when one is unknown or has another type."""
        known = {one.name: one for one in fields(self)}
        for name, value in values.items():
            if name not in known:
                raise BadFault(f"no fault {name!r}; there are {', '.join(known)}")
            expected = type(getattr(Faults(), name))
            if expected is float and type(value) is int:
                continue
            if type(value) is not expected:
                raise BadFault(f"fault {name!r} takes a {expected.__name__}, not {value!r}")
        for name, value in values.items():
            setattr(self, name, value)

    def clear(self) -> None:
        """Turn everything off."""
        self.set(**asdict(Faults()))

    def take(self, counter: str) -> bool:
        """Use up one of a counting switch; return whether there was one."""
        left = getattr(self, counter)
        if left > 0:
            setattr(self, counter, left - 1)
        return bool(left > 0)

    def concerns(self, method: str) -> bool:
        """Return whether faults of single requests are meant for this method."""
        return not self.methods or method in self.methods

    def values(self) -> dict[str, Any]:
        """Return all switches as they are."""
        return asdict(self)
