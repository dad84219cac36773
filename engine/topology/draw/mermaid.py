"""The graph in Mermaid's language, for pages that draw it themselves (Markdown on code hosts)."""

from __future__ import annotations

from collections.abc import Iterator

from engine.topology.draw.dot import element_ids, end_of, outside
from engine.topology.draw.palette import LIGHT
from engine.topology.draw.scene import NodeView, Scene, WireView, clean

ENTITIES = {ord(char): f"#{ord(char)};" for char in "#&<>\"'`\\[]{}()|;%*_~$"}
# Code points that mean something to Mermaid or its Markdown are written as entities; the underscore of a name stays.
del ENTITIES[ord("_")]


def draw_mermaid(scene: Scene) -> str:
    """Return the scene as a left-to-right flowchart with a subgraph per process."""
    return "\n".join(_lines(scene)) + "\n"


def _lines(scene: Scene) -> Iterator[str]:
    ids = element_ids(scene)
    yield "flowchart LR"
    for index, process in enumerate(scene.processes):
        if process.name:
            yield f'  subgraph p{index}["{_text(process.name)}"]'
        for node_id in process.nodes:
            indent = "    " if process.name else "  "
            yield f'{indent}{ids[node_id]}["{_box(scene, scene.nodes[node_id])}"]'
        if process.name:
            yield "  end"
    for name, hub in scene.hubs.items():
        yield f'  {ids[f"hub:{name}"]}{{{{"<b>{_text(hub.name)}</b><br/>{_text(hub.ports)}"}}}}:::hub'
    for index, name in enumerate(outside(scene)):
        ids[name] = f"x{index}"
        yield f'  {ids[name]}["{_text(name.removeprefix("outside:"))}"]:::outside'
    for wire in scene.wires:
        arrow = "-. {} .->" if wire.feedback else "-- {} -->"
        label = f'"{_label(wire)}"'
        yield f"  {ids[end_of(scene, wire.source)]} {arrow.format(label)} {ids[end_of(scene, wire.target)]}"
    loops = [str(index) for index, wire in enumerate(scene.wires) if wire.feedback]
    if loops:
        yield f"  linkStyle {','.join(loops)} stroke:{LIGHT['feedback']},stroke-dasharray:5 4"
    yield f"  classDef hub fill:{LIGHT['hub']},stroke:{LIGHT['line']},color:{LIGHT['ink']}"
    yield f"  classDef outside fill:none,stroke:{LIGHT['line']},stroke-dasharray:2 3"


def _box(scene: Scene, node: NodeView) -> str:
    lines = [f"<b>{_text(node.id)}</b>", _text(node.use)]
    if scene.with_params:
        lines += [f"<small>{_text(str(param))}</small>" for param in node.params if param.written]
    return "<br/>".join(lines)


def _label(wire: WireView) -> str:
    path = f"{wire.source.port} → {wire.target.port}" if wire.source.port != wire.target.port else wire.source.port
    carried = " · ".join(part for part in (wire.message, wire.policy) if part)
    return "<br/>".join(_text(part) for part in (path, carried) if part)


def _text(text: str) -> str:
    return clean(text).translate(ENTITIES) or " "
