"""Make the nodes and wires of a plan in a host."""

from __future__ import annotations

from engine.run.host import Host
from engine.topology.plan import Plan


def build(plan: Plan, host: Host) -> None:
    """Put every node of the plan into `host` and join them."""
    for node in plan.nodes:
        host.add(node.id, node.cls, node.params)
    for wire in plan.wires:
        stale = wire.policy.on_stale
        host.wire(wire.source, wire.target, (stale.after_s, stale.action) if stale else None, feedback=wire.feedback)
