"""Wires that misbehave: nodes that stand between an output and an input, by the chance of their own stream."""

from __future__ import annotations

from engine import NS_PER_S, In, Message, Node, Out, param, state
from nodes.messages import (
    Book,
    Fill,
    InventoryDelta,
    LpCommand,
    LpState,
    OrderRequest,
    OrderUpdate,
    PoolState,
    VenuePosition,
)

SHORTEST_S = 0.001


class FaultyLink(Node):
    """Pass messages on late, and while the link is faulty also twice, out of order, or not at all.

    A link that is `in_order` lets no message overtake another; its repeats are late copies, as a writer sends them that
    has missed an acknowledgement. A `lossless` one drops nothing. `silence` cuts the link for a time: what comes
    meanwhile is lost, or where the link is lossless kept until it is over. `mend` ends all faults.
    """

    arriving = In(Message, doc="From the writer; a subclass names the message.")
    leaving = Out(Message, doc="To the reader.")

    mean_delay_s: float = param(0.05, unit="s", minimum=0, doc="Mean of an exponential delay.")
    longest_delay_s: float = param(3.0, unit="s", minimum=0, doc="No delay is longer.")
    drop: float = param(0.0, unit="fraction", minimum=0, maximum=1, doc="Part of the messages that is lost.")
    repeat: float = param(0.0, unit="fraction", minimum=0, maximum=1, doc="Part of the messages that comes twice.")
    in_order: bool = param(False, doc="Whether messages keep their order.")
    lossless: bool = param(False, doc="Whether none is lost.")

    last_due_ns: int = state(0, doc="When the last message that keeps its order is passed on.")
    silent_until_ns: int = state(0, doc="Until when the link is cut.")
    mended: bool = state(False, doc="Whether it has become a good wire.")

    def on_arriving(self, message: Message) -> None:
        now_ns, chance = self.now_ns, self.random
        if self.mended:
            self._pass_at(now_ns + round(SHORTEST_S * NS_PER_S), message)
            return
        if not self.lossless and (now_ns < self.silent_until_ns or chance.random() < self.drop):
            return
        self._pass_at(max(now_ns, self.silent_until_ns) + self._delay_ns(), message)
        if chance.random() < self.repeat:
            self._pass_at(max(now_ns, self.silent_until_ns) + self._delay_ns(), message, copy=True)

    def silence(self, seconds: float) -> None:
        """Cut the link for so many seconds from now."""
        self.silent_until_ns = self.now_ns + round(seconds * NS_PER_S)

    def mend(self) -> None:
        """Make it a good wire from now on; what is under way still arrives."""
        self.mended = True

    def pass_on(self, message: Message) -> None:
        """Hand over what has been under way."""
        self.leaving.whole(message)

    def _delay_ns(self) -> int:
        if not self.mean_delay_s:
            return 0
        delay_s = self.random.expovariate(1 / self.mean_delay_s)
        return round(min(delay_s, self.longest_delay_s) * NS_PER_S)

    def _pass_at(self, due_ns: int, message: Message, copy: bool = False) -> None:
        if self.in_order:
            due_ns = max(due_ns, self.last_due_ns)
            if not copy:
                self.last_due_ns = due_ns
        self.after((due_ns - self.now_ns) / NS_PER_S, self.pass_on, message)


class BookLink(FaultyLink):
    """Carry books."""

    arriving = In(Book, doc="From the writer.")
    leaving = Out(Book, doc="To the reader.")


class DeltaLink(FaultyLink):
    """Carry inventory deltas."""

    arriving = In(InventoryDelta, doc="From the writer.")
    leaving = Out(InventoryDelta, doc="To the reader.")


class OrderLink(FaultyLink):
    """Carry orders and cancels."""

    arriving = In(OrderRequest, doc="From the writer.")
    leaving = Out(OrderRequest, doc="To the reader.")


class UpdateLink(FaultyLink):
    """Carry order updates."""

    arriving = In(OrderUpdate, doc="From the writer.")
    leaving = Out(OrderUpdate, doc="To the reader.")


class FillLink(FaultyLink):
    """Carry fills."""

    arriving = In(Fill, doc="From the writer.")
    leaving = Out(Fill, doc="To the reader.")


class PositionLink(FaultyLink):
    """Carry positions."""

    arriving = In(VenuePosition, doc="From the writer.")
    leaving = Out(VenuePosition, doc="To the reader.")


class PoolLink(FaultyLink):
    """Carry pool states."""

    arriving = In(PoolState, doc="From the writer.")
    leaving = Out(PoolState, doc="To the reader.")


class LpStateLink(FaultyLink):
    """Carry LP states."""

    arriving = In(LpState, doc="From the writer.")
    leaving = Out(LpState, doc="To the reader.")


class CommandLink(FaultyLink):
    """Carry commands to the LP."""

    arriving = In(LpCommand, doc="From the writer.")
    leaving = Out(LpCommand, doc="To the reader.")
