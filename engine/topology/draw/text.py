"""The graph as text of at most 100 columns: processes, their nodes, and where every port leads."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from engine.topology.draw.scene import NodeView, PortView, Scene, WireView, clean

WIDTH = 100
LOOP = "↺"


def draw_text(scene: Scene, width: int = WIDTH) -> str:
    """Return the scene as lines of at most `width` columns (a word longer than that is broken)."""
    blocks = [list(_head(scene, width))]
    for process in scene.processes:
        title = f"process {process.name} · {process.about}" if process.name else "in no process"
        blocks.append([*_wrapped(f"▌ {title}", "    ", width)])
        blocks += [list(_node(scene, scene.nodes[node_id], width)) for node_id in process.nodes]
    if scene.hubs:
        blocks.append(list(_hubs(scene, width)))
    if any(wire.feedback for wire in scene.wires):
        blocks.append([f"{LOOP} feedback: the wire closes a loop"])
    return "\n\n".join("\n".join(line.rstrip() for line in block) for block in blocks) + "\n"


def _head(scene: Scene, width: int) -> Iterator[str]:
    things = (("node", scene.nodes), ("wire", scene.wires), ("hub", scene.hubs))
    counts = ", ".join(f"{len(all_)} {word}{'' if len(all_) == 1 else 's'}" for word, all_ in things if all_)
    yield from _wrapped(f"{scene.name} · {counts or 'no nodes'}", "  ", width)
    if scene.about:
        yield from _wrapped(scene.about, "", width)


def _node(scene: Scene, node: NodeView, width: int) -> Iterator[str]:
    yield from _wrapped(f"{node.layer:>3}  {node.id:<15} {node.use}", " " * 8, width)
    if node.trouble:
        yield from _wrapped(f"     ! {node.trouble}", " " * 7, width)
    if scene.with_params:
        written = "; ".join(str(param) for param in node.params if param.written)
        if written:
            yield from _wrapped(f"     set {written}", " " * 9, width)
    name_width = max((len(port.name) for port in (*node.inputs, *node.outputs)), default=0)
    type_width = max((len(port.message) for port in (*node.inputs, *node.outputs)), default=0)
    for word, ports in (("in", node.inputs), ("out", node.outputs)):
        for index, port in enumerate(ports):
            columns = f"{clean(port.name):<{name_width}}  {port.message:<{type_width}}"
            start = f"     {word if index == 0 else '':<3} {columns}  "
            ends = _arrivals(scene, node, port) if word == "in" else _departures(scene, node, port)
            yield from _listed(start, ends, width)


def _arrivals(scene: Scene, node: NodeView, port: PortView) -> list[str]:
    found = [wire for wire in scene.wires if not wire.target.hub and _meets(wire, node, port, "target")]
    return [f"← {clean(str(wire.source))}{_loop(wire)}{_policy(wire)}" for wire in found] or ["← nothing"]


def _departures(scene: Scene, node: NodeView, port: PortView) -> list[str]:
    found = [wire for wire in scene.wires if not wire.source.hub and _meets(wire, node, port, "source")]
    ends = [f"{clean(str(wire.target))}{_loop(wire)}{_policy(wire) if wire.target.hub else ''}" for wire in found]
    return ["→ " + ", ".join(ends)] if ends else ["→ nothing"]


def _meets(wire: WireView, node: NodeView, port: PortView, end: str) -> bool:
    ref = wire.source if end == "source" else wire.target
    return clean(ref.node) == node.id and ref.port == port.name


def _loop(wire: WireView) -> str:
    return f" {LOOP}" if wire.feedback else ""


def _policy(wire: WireView) -> str:
    return f" [{wire.policy}]" if wire.policy else ""


def _hubs(scene: Scene, width: int) -> Iterator[str]:
    yield "▌ hubs · publishers' ports → subscribers' port"
    for name, hub in scene.hubs.items():
        yield from _wrapped(f"     {hub.name:<15} {hub.ports}  ({hub.codec})", " " * 21, width)
        for topic in hub.topics:
            for wire in scene.wires:
                if wire.target.hub and (wire.target.node, clean(wire.target.port)) == (name, topic):
                    yield from _wrapped(f"       {topic}  ← {clean(str(wire.source))}", " " * 11, width)
            for wire in scene.wires:
                if wire.source.hub and (wire.source.node, clean(wire.source.port)) == (name, topic):
                    yield from _wrapped(f"       {topic}  → {clean(str(wire.target))}", " " * 11, width)


def _listed(start: str, ends: list[str], width: int) -> Iterator[str]:
    indent = start
    for end in ends:
        for line in textwrap.wrap(end, max(width - len(start), 20), subsequent_indent="  ", break_on_hyphens=False):
            yield from _fitted(indent + line, width)
            indent = " " * len(start)


def _fitted(line: str, width: int) -> list[str]:
    # Names so long that no column is left for the wires are broken like any other line.
    return [line] if len(line) <= width else textwrap.wrap(line, width, subsequent_indent=" " * 9)


def _wrapped(text: str, indent: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent=indent, drop_whitespace=True, break_on_hyphens=False) or [""]
