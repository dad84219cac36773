"""An LP inventory that follows a script, for trying a hedge without a pool."""

from __future__ import annotations

from decimal import Decimal

from engine import Node, Out, param, state
from nodes.messages import InventoryDelta


class ScriptedDelta(Node):
    """Send an inventory level that moves in steps at given times, and repeat it in between."""

    simulated = "a script stands in for the inventory of an LP"

    delta = Out(InventoryDelta, doc="The level, at each step and every `period_s`.")

    steps: list[tuple[float, float]] = param(
        unit="[s, base]", doc="Pairs of seconds since the start, in ascending order, and the level from then on."
    )
    source: str = param("script:step:none", doc="Name of the LP source.")
    pool: str = param("script", doc="Name of the pool.")
    base_decimals: int = param(18, minimum=0, unit="1", doc="Decimals of the base token.")
    period_s: float = param(10.0, unit="s", exclusiveMinimum=0, doc="The level is repeated after this time.")

    level: float = state(0.0, doc="The level that holds now, base.")
    epoch: int = state(0, doc="Time of the start, ns.")
    sequence: int = state(0, doc="Messages sent in this epoch.")

    def start(self) -> None:
        times = [at for at, _ in self.steps]
        if times != sorted(times) or any(at < 0 for at in times):
            raise ValueError(f"steps of {self.id!r} must be in ascending order of time, from 0 s: {times}")
        self.epoch = self.epoch or self.now_ns
        for index, (at_s, _) in enumerate(self.steps):
            self.after(at_s, self.step, index)

    def resume(self) -> None:
        # What was sent after the last checkpoint is not known: readers must see a new writer.
        self.epoch, self.sequence = self.now_ns, 0

    def step(self, index: int) -> None:
        """Move to the level of step `index`."""
        if index == 0:
            self.every(self.period_s, self.send)
        self.level = self.steps[index][1]
        self.send()

    def send(self) -> None:
        """Send the level once."""
        self.sequence += 1
        self.delta(
            source=self.source,
            pool=self.pool,
            event_time_ns=self.now_ns,
            block=0,
            block_hash="",
            expires_block=0,
            epoch=self.epoch,
            sequence=self.sequence,
            delta_base_wei=int(Decimal(repr(self.level)).scaleb(self.base_decimals)),
            delta_base=self.level,
            base_target=0.0,
            base_in_positions=self.level,
            base_uncollected=0.0,
            base_in_wallet=0.0,
            quote_total=0.0,
            pending_base_change=0.0,
            price=0.0,
            sqrt_price=0.0,
            positions=(),
            value_usd=0.0,
            usd_rate=0.0,
            inventory_ratio=0.0,
            target_ratio=0.0,
            deviation=0.0,
        )
