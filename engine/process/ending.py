"""The orderly end of a process's nodes: each is stopped once everything before it has come to its end."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from engine.run.host import Host
from engine.topology.plan import Plan


class Ending:
    """Stop the nodes of one process along the graph, whatever process the nodes before them live in.

    A node is stopped when all writers of its inputs have closed; those of feedback wires do not count, or a loop would
    wait for itself. Its handlers may still be called by feedback, but what it sends after its end goes nowhere.
    `end` tells other processes that a node sends nothing more; `stop_rest` does not, since this process may come back.
    """

    def __init__(self, host: Host, plan: Plan, node_ids: Iterable[str], end: Callable[[str], None]) -> None:
        self.host = host
        self.left = list(node_ids)
        self.begun = False
        self._end = end
        self._before = {
            node_id: {wire.source for wire in plan.wires if wire.target[0] == node_id and not wire.feedback}
            for node_id in self.left
        }

    @property
    def done(self) -> bool:
        """Whether every node has been stopped."""
        return not self.left

    def begin(self) -> None:
        """Stop what has nothing before it; `advance()` goes on from there."""
        self.begun = self.host.stopping = True
        self.advance()

    def advance(self) -> None:
        """Stop every node whose writers have all closed; a node's failure to stop is raised, the others' turn comes."""
        progress = self.begun
        while progress and self.left:
            progress = False
            for node_id in list(self.left):
                if all(self.host.ports[source].closed for source in self._before[node_id]):
                    self.left.remove(node_id)
                    progress = True
                    try:
                        self._stop(node_id)
                    finally:
                        self._end(node_id)

    def stop_rest(self) -> None:
        """Stop all nodes that are left, without waiting for what comes before them or telling what comes after."""
        self.host.stopping = True
        while self.left:
            self._stop(self.left.pop(0))

    def _stop(self, node_id: str) -> None:
        host = self.host
        node = host.nodes[node_id]
        try:
            host.call(node, "stop", ())
        finally:
            host.close(node_id)
            host.silence(node)
