"""Run attribution and ledger over a scripted world in one host, as a topology would."""

from __future__ import annotations

from pathlib import Path

import msgspec
from support.scripted_world import NS, START_S, World

from engine.clock import Clock
from engine.node import Node
from engine.run.host import Host
from nodes.messages import LedgerClosed
from nodes.models.attribution import Attribution
from nodes.sinks.ledger import Ledger


def params(cls: type[Node], **given) -> dict:
    """Return all parameters of a node class, the given ones converted."""
    return {
        name: spec.convert(given[name]) if name in given else spec.default for name, spec in cls.spec.params.items()
    }


def run_world(
    out: Path, world: World, *, attribution: bool = True, skip: tuple[str, ...] = (), **ledger
) -> LedgerClosed:
    """Run a world to its end and return the closed ledger in `out`; ports in `skip` are not wired."""
    host = Host(Clock(START_S * NS - 1), 0, str(out))
    if attribution:
        host.add("pnl", Attribution, params(Attribution))
    host.add("ledger", Ledger, params(Ledger, labels={"topology": "scripted"}, **ledger))
    if attribution:
        host.wire(("pnl", "pnl"), ("ledger", "pnl"))
    closed: list = []
    host.tap(("ledger", "closed"), closed.append)
    host.start()
    for time_s, port, message in world.messages():
        if port in skip:
            continue
        now_ns = round(time_s * NS)
        host.call_due(now_ns)
        host.clock.now_ns = now_ns
        for node in host.nodes.values():
            if port in node.spec.inputs:
                host.call(node, f"on_{port}", (message,))
    for node in host.nodes.values():
        host.call(node, "stop", ())
    return msgspec.structs.replace(closed[0], path=str(out / closed[0].path))
