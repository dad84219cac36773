"""Checks of loops: every cycle passes a wire that is named in `feedback`, and every name there is needed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from difflib import get_close_matches

import networkx as nx

from engine.errors import Problem
from engine.topology.model import PortRef
from engine.topology.rules import Graph, Link, problem_at

Pair = tuple[PortRef, PortRef]

CODES = {
    "cycle": "A loop of wires passes no wire that is named under `feedback`.",
    "feedback-unknown": "A line under `feedback` names no wire.",
    "feedback-needless": "A line under `feedback` names a wire that is on no loop.",
}


def problems(graph: Graph) -> list[Problem]:
    """Return the problems of loops."""
    named, found = _feedback(graph)
    return [*found, *_cycles(graph, named)]


def _feedback(graph: Graph) -> tuple[set[Pair], list[Problem]]:
    """Return the wires that feedback names, or probably meant, and the problems of its lines."""
    by_name: dict[Pair, list[Link]] = {}
    for link in graph.links:
        for pair in link.names:
            by_name.setdefault(pair, []).append(link)
    wires = {(wire.source, wire.target): None for wire in graph.topology.wires} | dict.fromkeys(by_name)
    parts = nx.strongly_connected_components(graph.network)
    part_of = {node: index for index, part in enumerate(parts) for node in part}
    named: set[Pair] = set()
    found: list[Problem] = []
    for source, target, origin in graph.topology.feedback:
        pair, line = (source, target), f"{source} -> {target}"
        if pair not in wires:
            lines = {f"{a} -> {b}": (a, b) for a, b in wires}
            near = get_close_matches(line, lines, 1, 0.6)
            named.update(lines[other] for other in near)
            into = [f"{a} -> {b}" for a, b in wires if b == target]
            fix = f"did you mean {near[0]!r}?" if near else f"wires into {target}: {', '.join(into) or 'none'}"
            message = f"feedback names {line}, but there is no such wire"
            found.append(problem_at("feedback-unknown", message, origin, fix))
        elif pair in named:
            message, fix = f"feedback names {line} twice", "leave one of them out"
            found.append(problem_at("feedback-needless", message, origin, fix, severity="warning"))
        elif pair in by_name and all(part_of[one.source.id] != part_of[one.target.id] for one in by_name[pair]):
            message, fix = f"feedback names {line}, which is on no loop", "leave the line out"
            found.append(problem_at("feedback-needless", message, origin, fix, severity="warning"))
        named.add(pair)
    return named, found


def _cycles(graph: Graph, named: set[Pair]) -> Iterator[Problem]:
    place = {node_id: index for index, node_id in enumerate(graph.topology.nodes)}
    links = [link for link in graph.links if link.fits and not link.feedback and named.isdisjoint(link.names)]
    while loop := _shortest_loop(links, place):
        # The loop is told from its earliest node; the wires that lead back to it are the ones to name.
        last, first = loop[-1], loop[0].source
        closing = [link for link in links if link.source is last.source and link.target is first]
        chain = " -> ".join([f"{link.source.id}.{link.output.name}" for link in loop] + [first.id])
        lines = ", ".join(dict.fromkeys(f"{link.wire.source} -> {link.wire.target}" for link in closing))
        fix = f"if the loop is meant, name it: feedback: [{lines}]"
        yield problem_at("cycle", f"loop that no feedback line names: {chain}", last.wire, fix)
        links = [link for link in links if link not in closing]


def _shortest_loop(links: list[Link], place: dict[str, int]) -> list[Link]:
    """Return the links of a shortest loop through the earliest declared node that is on one, or nothing."""
    after: dict[str, list[Link]] = {}
    network: nx.DiGraph[str] = nx.DiGraph()
    for link in links:
        after.setdefault(link.source.id, []).append(link)
        network.add_edge(link.source.id, link.target.id)
    looped = [
        min(part, key=place.__getitem__)
        for part in nx.strongly_connected_components(network)
        if len(part) > 1 or any(network.has_edge(node, node) for node in part)
    ]
    if not looped:
        return []
    start = min(looped, key=place.__getitem__)
    reached: dict[str, Link] = {}
    queue = deque([start])
    while queue:
        node = queue.popleft()
        for link in after.get(node, []):
            if link.target.id == start:
                path = [link]
                while path[-1].source.id != start:
                    path.append(reached[path[-1].source.id])
                return path[::-1]
            if link.target.id not in reached:
                reached[link.target.id] = link
                queue.append(link.target.id)
    return []
