"""What the run's kill switch does to a node that acts on a market or chain."""

from __future__ import annotations

from engine import Node, state


class Stoppable(Node):
    """Base of nodes that the kill switch stops: `killed` holds its reason until a person has re-armed the run.

    It is declared state, so that a process that comes back stopped stays stopped before anybody has told it so.
    """

    killed: str = state("", doc="Why the kill switch has stopped this node; empty while it has not.")

    def halt(self, reason: str) -> None:
        self.killed = reason or "no reason was given"

    def rearm(self) -> None:
        self.killed = ""
