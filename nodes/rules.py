"""Rules of trading over the graph: risk gates, the way back of fills, stale inputs, instruments along wires."""

from __future__ import annotations

from collections.abc import Iterator

from engine.errors import Problem
from engine.topology.model import NodeDecl
from engine.topology.rules import Graph, Link, Rule, problem_at
from nodes.messages import Conversion, Fill, LpCommand, OrderRequest, OrderUpdate

COMMANDS = (OrderRequest, LpCommand)
"""Messages that make an executor move money."""

RELAYS = frozenset({"executors", "venues"})
"""Kinds of nodes that may pass on commands between a gate and an executor."""


def is_executor(graph: Graph, node: NodeDecl) -> bool:
    """Return whether a node acts on a market or chain: an executor or a venue's order node that reads commands."""
    parts = node.use.split(".")
    acts = parts[0] == "executors" or (parts[0] == "venues" and parts[-1] in ("orders", "exchange"))
    return acts and any(_is_command(port.message) for port in graph.specs[node.id].inputs.values())


def _is_command(message: type) -> bool:
    return issubclass(message, COMMANDS)


def _executors(graph: Graph) -> Iterator[NodeDecl]:
    for node_id in graph.specs:
        node = graph.topology.nodes[node_id]
        if is_executor(graph, node):
            yield node


def ungated_order(graph: Graph) -> Iterator[Problem]:
    """Walk back from each executor along its commands, up to risk nodes; what is met before one sends unjudged orders.

    Only executors and venues may stand between a gate and an executor, and only to pass on what they are given:
    whatever else sends a command may have made it.
    """
    reported: list[Link] = []
    for executor in _executors(graph):
        seen: set[tuple[str, str]] = set()
        chains: list[tuple[Link, ...]] = [(link,) for link in _commands_into(graph, executor.id)]
        while chains:
            chain = chains.pop(0)
            sender, port = chain[0].source, chain[0].output
            if graph.kind(sender) == "risk" or (sender.id, port.name) in seen:
                continue
            seen.add((sender.id, port.name))
            before = _commands_into(graph, sender.id)
            if before and graph.kind(sender) in RELAYS:
                chains += [(link, *chain) for link in before]
                continue
            if chain[0] in reported:
                continue  # told of an executor in between
            reported.append(chain[0])
            path = " -> ".join([f"{link.source.id}.{link.output.name}" for link in chain] + [executor.id])
            message = f"{port.message.__name__} reaches executor {executor.id!r} past every risk gate: {path}"
            fix = f"put a risk node between: in: {{{chain[-1].input.name}: GATE.approved}} in {executor.id!r}"
            yield problem_at("ungated-order", message, chain[-1].wire, fix)


def _commands_into(graph: Graph, node_id: str) -> list[Link]:
    return [link for link in graph.into(node_id) if _is_command(link.output.message)]


def fills_lost(graph: Graph) -> Iterator[Problem]:
    """Demand that each executor's fills and updates reach a node from which its orders come."""
    import networkx as nx

    for executor in _executors(graph):
        back = [
            name
            for name, out in graph.specs[executor.id].outputs.items()
            if issubclass(out.message, Fill | OrderUpdate)
        ]
        if not back:
            continue
        upstream = nx.ancestors(graph.network, executor.id)
        for name in back:
            readers = graph.out_of(executor.id, name)
            # Feedback makes everything upstream of everything: only nodes that lead to the orders by their own count.
            if any(
                link.target.id in upstream and _leads_to_orders(graph, link.target.id, executor.id) for link in readers
            ):
                continue
            message = f"output {name!r} of executor {executor.id!r} comes back to nothing that its orders come from"
            orders = ", ".join(dict.fromkeys(link.source.id for link in _commands_into(graph, executor.id)))
            fix = (
                f"wire {executor.id}.{name} to what decides on its orders (they come from {orders or 'nowhere'}), "
                "and name the wire in feedback"
            )
            yield problem_at("fills-lost", message, executor, fix)


def _leads_to_orders(graph: Graph, node_id: str, executor_id: str) -> bool:
    """Return whether a path of wires leads from a node to the executor's commands without passing the executor."""
    seen = {executor_id}
    stack = [link.source.id for link in _commands_into(graph, executor_id)]
    while stack:
        at = stack.pop()
        if at == node_id:
            return True
        if at not in seen:
            seen.add(at)
            stack += [link.source.id for link in graph.into(at)]
    return False


def stale_undeclared(graph: Graph) -> Iterator[Problem]:
    """Demand `on_stale` on each input on whose silence deciding is dangerous."""
    reported: set[tuple[str, str]] = set()
    for link in graph.links:
        key = (link.target.id, link.input.name)
        if not link.input.critical or key in reported:
            continue
        if any(other.wire.policy.on_stale for other in graph.into(*key)):
            continue
        reported.add(key)
        actions = graph.specs[link.target.id].stale_actions
        meant = "; ".join(f"{name}: {meaning}" for name, meaning in actions.items())
        first = next(iter(actions), "ACTION")
        source = link.wire.source
        message = (
            f"{link.target.id}.{link.input.name} decides about money, and nothing says what holds when it is silent"
        )
        fix = f"in: {{{link.input.name}: {{from: {_quoted(str(source))}, on_stale: {{after: 5s, action: {first}}}}}}}"
        if meant:
            fix += f"   ({meant})"
        yield problem_at("stale-undeclared", message, link.wire, fix)


def _quoted(text: str) -> str:
    return f'"{text}"' if ":" in text else text


def split_pair(instrument: str) -> tuple[str, str] | None:
    """Return (base, quote) of BASE-QUOTE, BASE-QUOTE-PERP or BASE-QUOTE-FEE; None for text of another form."""
    parts = instrument.upper().split("-")
    return (parts[0], parts[1]) if len(parts) >= 2 and all(parts[:2]) else None


def pair_mismatch(graph: Graph) -> Iterator[Problem]:
    """Follow the instrument of each market along its wires: base agrees, and another quote needs a conversion."""
    markets = _Markets(graph)
    for link in graph.links:
        written, read = markets.of_output(link), markets.of_input(link)
        if written is None or read is None:
            continue
        (base, quote), (wanted_base, wanted_quote) = written, read
        line = f"{link.source.id}.{link.output.name} is a market in {base}-{quote}"
        target = f"{link.target.id}.{link.input.name}"
        if base != wanted_base:
            message = f"{line}, but {target} is set to {wanted_base}-{wanted_quote}"
            yield problem_at(
                "pair-mismatch", message, link.wire, "join markets of the same base, or correct the instrument"
            )
        elif quote != wanted_quote and _is_command(link.message):
            message = f"{line}, but {target} trades {wanted_base}-{wanted_quote}"
            yield problem_at("pair-mismatch", message, link.wire, "give both the same instrument")
        elif quote != wanted_quote and not _converts(graph, link):
            message = f"{line}, but {target} counts in {wanted_quote}, and nothing converts {quote} to {wanted_quote}"
            fix = (
                f"wire a Conversion of {quote} into {wanted_quote} to node {link.target.id!r}, "
                f"or use a market in {wanted_quote}"
            )
            yield problem_at("pair-mismatch", message, link.wire, fix)


def _converts(graph: Graph, link: Link) -> bool:
    if link.input.tags.get("quote") == "any" or link.output.tags.get("quote") == "any":
        return True
    return any(issubclass(other.input.message, Conversion) for other in graph.into(link.target.id))


class _Markets:
    """The pair that each port carries, by its tag: a param that holds the instrument, or `in:` and an input's name."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def of_output(self, link: Link) -> tuple[str, str] | None:
        return self._pair(link.source, link.output.tags.get("pair"), frozenset())

    def of_input(self, link: Link) -> tuple[str, str] | None:
        tag = link.input.tags.get("pair", "")
        # What an input takes over from another input of the same node is compared with that one's market.
        return self._pair(link.target, tag, frozenset({(link.target.id, link.input.name)}))

    def _pair(self, node: NodeDecl, tag: str | None, seen: frozenset[tuple[str, str]]) -> tuple[str, str] | None:
        if not tag:
            return None
        if tag.startswith("in:"):
            key = (node.id, tag[3:])
            if key in seen:
                return None
            for link in self.graph.into(*key):
                found = self._pair(link.source, link.output.tags.get("pair"), seen | {key})
                if found:
                    return found
            return None
        setting = node.params.get(tag)
        spec = self.graph.specs[node.id].params.get(tag)
        value = setting.value if setting else spec.default if spec else None
        return split_pair(value) if isinstance(value, str) else None


def unledgered(graph: Graph) -> Iterator[Problem]:
    """Warn of fills and orders that no sink keeps."""
    for executor in _executors(graph):
        fills = [
            f"{executor.id}.{name}"
            for name, out in graph.specs[executor.id].outputs.items()
            if issubclass(out.message, Fill) and not _reaches_sink(graph, executor.id, name)
        ]
        orders = [
            f"{link.source.id}.{link.output.name}"
            for link in _commands_into(graph, executor.id)
            if not _reaches_sink(graph, link.source.id, link.output.name)
        ]
        lost = [*orders, *fills]
        if lost:
            message = f"no sink keeps {', '.join(dict.fromkeys(lost))} of executor {executor.id!r}"
            fix = "wire it to a sinks.ledger node" if len(lost) == 1 else "wire them to a sinks.ledger node"
            yield problem_at("unledgered", message, executor, fix, severity="warning")


def _reaches_sink(graph: Graph, node_id: str, port: str) -> bool:
    return any(graph.kind(link.target) == "sinks" for link in graph.out_of(node_id, port))


RULES = [
    Rule("ungated-order", "Every path of orders or commands to an executor passes a risk gate.", ungated_order),
    Rule("fills-lost", "Every executor's fills and updates come back to what ordered them.", fills_lost),
    Rule("stale-undeclared", "Every input that moves money declares what happens when it is silent.", stale_undeclared),
    Rule("pair-mismatch", "Base agrees along a wire, and another quote has a conversion.", pair_mismatch),
    Rule("unledgered", "Fills and orders are kept by a sink.", unledgered),
]
