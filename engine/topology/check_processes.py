"""Checks of what lies between processes: what must arrive, machines that reach each other, addresses in the open."""

from __future__ import annotations

from collections.abc import Iterator

from engine.errors import Problem
from engine.topology.model import HubDecl, ProcessDecl
from engine.topology.rules import Graph, Link, problem_at

CODES = {
    "machine-unreachable": "Processes of two machines are joined, and one says nowhere where it is reached.",
    "policy-unacknowledged": "A message that must arrive goes to another process on a wire that does not repeat it.",
}


def problems(graph: Graph) -> list[Problem]:
    """Return the problems of wires between processes, and of addresses that other machines can reach."""
    placed = {node_id: process for process in graph.topology.processes.values() for node_id in process.nodes}
    found: list[Problem] = []
    unreachable: dict[str, Problem] = {}
    for link in graph.links:
        if not link.fits:
            continue
        writer, reader = placed.get(link.source.id), placed.get(link.target.id)
        if writer is None or reader is None or writer is reader:
            continue
        # What the ends of a wire through a hub have to say to each other goes directly.
        ends: tuple[ProcessDecl | HubDecl, ...] = (writer, reader)
        if link.published is None:
            found += _unacknowledged(graph, link, writer, reader)
        else:
            ends = (graph.topology.hubs[link.wire.source.node], writer, reader)
        for end in ends:
            for other in (writer, reader):
                named = f"{type(end).__name__} {end.name}"
                if end.listen is None and end.machine != other.machine and named not in unreachable:
                    unreachable[named] = _unreachable(link, end, other)
    return [*found, *unreachable.values(), *_in_the_open(graph)]


def _unacknowledged(graph: Graph, link: Link, writer: ProcessDecl, reader: ProcessDecl) -> Iterator[Problem]:
    kind = link.wire.policy.kind
    if link.message.delivery != "reliable" or (kind or link.input.policy) != "block":
        return
    message = (
        f"{link.message.__name__} on {link} must arrive, also when process {reader.name!r} or {writer.name!r} "
        "starts again in between; block does not repeat it"
    )
    place = graph.word_place(link.wire.origin.place, kind) if kind else None
    yield problem_at("policy-unacknowledged", message, link.wire, "policy: reliable", place=place)


def _unreachable(link: Link, end: ProcessDecl | HubDecl, other: ProcessDecl) -> Problem:
    what = "hub" if isinstance(end, HubDecl) else "process"
    message = (
        f"{link} leads from one machine to another: process {other.name!r} is on {_machine(other)}, and {what} "
        f"{end.name!r} on {_machine(end)} has no address there"
    )
    fix = "add listen: tcp://ADDRESS:PORT" if what == "process" else "add listen: ADDRESS"
    if what == "process":
        fix += "; both ends need one, since acknowledgements come back"
    return problem_at("machine-unreachable", message, end, fix, notes=[("the wire", link.wire.origin.place)])


def _machine(end: ProcessDecl | HubDecl) -> str:
    return f"machine {end.machine!r}" if end.machine else "the machine without a name"


def _in_the_open(graph: Graph) -> Iterator[Problem]:
    if graph.topology.run.keys is not None:
        return
    ends: list[tuple[str, HubDecl | ProcessDecl]] = [("hub", hub) for hub in graph.topology.hubs.values()]
    ends += [("process", process) for process in graph.topology.processes.values()]
    for what, end in ends:
        if end.listen is not None:
            message = f"{what} {end.name!r} listens on {end.listen}, and this topology has no keys"
            fix = "add run: {keys: FOLDER}, and make them with `pipeline keys init FILE`"
            yield problem_at("plain-tcp", message, end, fix)
