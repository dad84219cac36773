"""Checks of delivery policies: what the message demands, what the port refuses, and fields that have no effect."""

from __future__ import annotations

from collections.abc import Iterator

from engine.errors import Problem
from engine.message import Message
from engine.spec import In
from engine.topology.model import LOSSY_KINDS, OnStale, Wire
from engine.topology.rules import Graph, did_you_mean, problem_at

CODES = {
    "policy-lossy": "A policy that may lose messages is put on a wire whose message must not be lost.",
    "policy-refused": "The input's port refuses this policy.",
    "policy-fields": "A field of the policy does not fit its kind, or names no field of the message.",
    "stale-action-unknown": "`on_stale` names an action that the node does not offer.",
    "stale-conflict": "Two wires into the same input declare different `on_stale`.",
}


def problems(graph: Graph) -> list[Problem]:
    """Return the problems of delivery policies."""
    found: list[Problem] = []
    stale: dict[tuple[str, str], tuple[OnStale, Wire]] = {}
    for wire in graph.topology.wires:
        port = graph.input(wire.target)
        if port is None:
            continue
        carried = _carried(graph, wire, port)
        found += _lossy(graph, wire, port, carried)
        found += _fields(graph, wire, port, carried)
        found += _stale(graph, wire)
        if wire.policy.on_stale is None:
            continue
        first, at = stale.setdefault((wire.target.node, wire.target.port), (wire.policy.on_stale, wire))
        if first != wire.policy.on_stale:
            message = (
                f"{wire.target} is declared stale after {wire.policy.on_stale.after_s:g} s here and after "
                f"{first.after_s:g} s elsewhere; an input is silent when all its writers are"
            )
            if first.action != wire.policy.on_stale.action:
                message = (
                    f"on_stale of {wire.target} asks for {wire.policy.on_stale.action!r} here and for "
                    f"{first.action!r} elsewhere; an input has one"
                )
            notes = [("declared first here", at.origin.place)]
            found.append(problem_at("stale-conflict", message, wire, "declare the same on both wires", notes=notes))
    return found


def _carried(graph: Graph, wire: Wire, port: In) -> type[Message]:
    """Return what the wire carries, by its writer: an input may read messages of several types."""
    messages = [link.output.message for link in graph.into(wire.target.node) if link.wire is wire and link.fits]
    reliable = [message for message in messages if message.delivery == "reliable"]
    return next(iter([*reliable, *messages]), port.message)


def _lossy(graph: Graph, wire: Wire, port: In, message: type[Message]) -> Iterator[Problem]:
    kind = wire.policy.kind
    if kind in LOSSY_KINDS and message.delivery == "reliable":
        text = f"{kind} may lose messages, but {message.__name__} on {wire.source} -> {wire.target} must all arrive"
        fix = f"leave the policy out: the default here is {port.policy}"
        yield problem_at("policy-lossy", text, wire, fix, place=graph.word_place(wire.origin.place, kind))
    elif kind is not None and kind in port.refuses:
        text = f"input {wire.target} refuses the policy {kind}"
        fix = f"leave the policy out: the default here is {port.policy}"
        yield problem_at("policy-refused", text, wire, fix, place=graph.word_place(wire.origin.place, kind))
    if wire.policy.ttl_s is not None and message.delivery == "reliable":
        text = f"ttl drops what is too old, but {message.__name__} on {wire.source} -> {wire.target} must all arrive"
        fix = "leave ttl out; on_stale tells the reader that the input is silent"
        yield problem_at("policy-lossy", text, wire, fix, place=graph.word_place(wire.origin.place, "ttl"))


def _fields(graph: Graph, wire: Wire, port: In, message: type[Message]) -> Iterator[Problem]:
    policy = wire.policy
    kind = policy.kind or port.policy
    fields = message.__struct_fields__
    if policy.by is not None:
        if kind != "conflate":
            yield _field(
                graph, wire, "by", f"`by` belongs to conflate, and the policy here is {kind}", "leave `by` out"
            )
        elif policy.by not in fields:
            fix = did_you_mean(policy.by, fields, f"its fields are: {', '.join(fields)}")
            yield _field(
                graph, wire, policy.by, f"conflate by {policy.by!r}: {message.__name__} has no such field", fix
            )
    if policy.n is not None:
        if kind != "drop_oldest":
            yield _field(
                graph, wire, "n", f"`n` belongs to drop_oldest, and the policy here is {kind}", "leave `n` out"
            )
        elif policy.n < 1:
            yield _field(graph, wire, "n", f"drop_oldest keeps at least 1 message, not {policy.n}", "n: 1000")
    elif kind == "drop_oldest" and (port.n is None or port.policy != "drop_oldest"):
        yield _field(graph, wire, "drop_oldest", "drop_oldest needs `n`, the number of messages to keep", "n: 1000")
    if policy.ttl_s is not None and policy.ttl_s <= 0:
        yield _field(graph, wire, "ttl", f"ttl must be above 0, not {policy.ttl_s:g} s", "ttl: 5s")
    if policy.on_stale is not None and policy.on_stale.after_s <= 0:
        yield _field(
            graph, wire, "after", f"on_stale.after must be above 0, not {policy.on_stale.after_s:g} s", "after: 5s"
        )


def _field(graph: Graph, wire: Wire, word: str, message: str, fix: str) -> Problem:
    place = graph.word_place(wire.origin.place, word)
    return problem_at("policy-fields", f"{wire.source} -> {wire.target}: {message}", wire, fix, place=place)


def _stale(graph: Graph, wire: Wire) -> Iterator[Problem]:
    on_stale = wire.policy.on_stale
    if on_stale is None:
        return
    node = graph.topology.nodes[wire.target.node]
    actions = graph.specs[node.id].stale_actions
    if on_stale.action not in actions:
        offered = "; ".join(f"{name} ({meaning.rstrip('.')})" for name, meaning in actions.items())
        otherwise = f"it offers: {offered}" if actions else f"leave on_stale out: {node.use} offers no action"
        message = f"node {node.id!r} ({node.use}) has no stale action {on_stale.action!r}"
        fix = did_you_mean(on_stale.action, actions, otherwise)
        place = graph.word_place(wire.origin.place, on_stale.action)
        yield problem_at("stale-action-unknown", message, wire, fix, place=place)
