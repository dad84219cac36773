"""The graph in Graphviz's language: a cluster per process, a box with ports per node, an own shape per hub."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from engine.topology.draw.palette import LIGHT, kind_of, tints
from engine.topology.draw.scene import HubView, NodeView, PortView, Scene, WireView, clean
from engine.topology.model import PortRef

SHOWN = 44
"""Longest value that is written out in a box."""


def draw_dot(scene: Scene, *, wire_labels: bool = True, rankdir: str = "") -> str:
    """Return the scene as a DOT graph. Nodes, wires and hubs carry an `id` and a `class` for style sheets.

    Without `wire_labels` the arrows are bare, for a page that tells message and policy when one is pointed at.
    Without `rankdir` an overview reads from top to bottom, which suits a page of text; else sources are on the left.
    """
    return "\n".join(_lines(scene, wire_labels and not scene.overview, rankdir)) + "\n"


GRAPH = {
    "newrank": "true",
    "nodesep": "0.2",
    "ranksep": "0.4",
    "pad": "0.3",
    "fontname": "Helvetica",
    "fontsize": "20",
    "bgcolor": LIGHT["paper"],
    "fontcolor": LIGHT["ink"],
    "labelloc": "t",
    "labeljust": "l",
}
NODE = {
    "shape": "plain",
    "fontname": "Helvetica",
    "fontsize": "11",
    "fontcolor": LIGHT["ink"],
    "color": LIGHT["line"],
}
EDGE = {
    "fontname": "Helvetica",
    "fontsize": "8.5",
    "fontcolor": LIGHT["soft"],
    "color": LIGHT["wire"],
    "arrowsize": "0.6",
}
PROCESS = {"style": "rounded,filled", "color": LIGHT["line"], "fillcolor": LIGHT["cluster"], "margin": "14"}
BOX = f'border="1" cellborder="0" cellspacing="0" cellpadding="3" color="{LIGHT["line"]}" bgcolor="{LIGHT["box"]}"'
HUB = {"shape": "hexagon", "style": "filled", "fillcolor": LIGHT["hub"], "margin": "0.05,0.03"}


def element_ids(scene: Scene) -> dict[str, str]:
    """Return the element id of every node ("n0", ...) and hub ("h0", ...) by its name in the DOT text."""
    ids = {name: f"n{index}" for index, name in enumerate(scene.nodes)}
    ids.update({f"hub:{name}": f"h{index}" for index, name in enumerate(scene.hubs)})
    return ids


def end_of(scene: Scene, ref: PortRef) -> str:
    """Return the name in the DOT text of the thing at the end of a wire: a node, a hub or something outside."""
    if ref.hub:
        return f"hub:{ref.node}"
    return ref.node if ref.node in scene.nodes else f"outside:{ref}"


def outside(scene: Scene) -> list[str]:
    """Return the names in the DOT text of what wires lead to and the scene does not hold."""
    names = dict.fromkeys(end_of(scene, end) for wire in scene.wires for end in (wire.source, wire.target))
    return [name for name in names if name.startswith("outside:")]


def quoted(text: str) -> str:
    """Return the text as a DOT string; Graphviz's own escapes (`\\N`) lose their meaning."""
    return '"' + clean(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _lines(scene: Scene, wire_labels: bool, rankdir: str) -> Iterator[str]:
    yield f"digraph {quoted(scene.name)} {{"
    graph = GRAPH | {"rankdir": rankdir or ("TB" if scene.overview else "LR")}
    yield f"  graph [{_attributes(graph)}, label={_title(scene)}]"
    yield f"  node [{_attributes(NODE)}]"
    yield f"  edge [{_attributes(EDGE)}]"
    ids, colours = element_ids(scene), tints(scene)
    for index, process in enumerate(scene.processes):
        indent = "    " if process.name else "  "
        if process.name:
            yield f"  subgraph cluster_{index} {{"
            title = _process_title(process.name, process.about)
            yield f'    graph [class="process", {_attributes(PROCESS)}, label={title}]'
        for node_id in process.nodes:
            box = _box(scene, scene.nodes[node_id], LIGHT[colours[kind_of(scene.nodes[node_id].use)]])
            yield f'{indent}{quoted(node_id)} [id={ids[node_id]}, class="node-box", label={box}]'
        if process.name:
            yield "  }"
    joined = {end_of(scene, end) for wire in scene.wires for end in (wire.source, wire.target)}
    for name, hub in scene.hubs.items():
        key = f"hub:{name}"
        if key not in joined:
            continue  # a hub that no wire touches is only a number; `text` lists it
        yield f'  {quoted(key)} [id={ids[key]}, class="hub", {_attributes(HUB)}, label={_hub(hub)}]'
    for name in outside(scene):
        label = quoted(name.removeprefix("outside:"))
        yield f'  {quoted(name)} [class="outside", shape=plaintext, fontcolor="{LIGHT["soft"]}", label={label}]'
    drawn = set()
    for index, wire in enumerate(scene.wires):
        ends = (_end(scene, wire, "source"), _end(scene, wire, "target"))
        if scene.overview and ends in drawn:
            continue
        drawn.add(ends)
        yield f"  {ends[0]} -> {ends[1]} [{_wire(wire, index, wire_labels)}]"
    yield "}"


def _attributes(values: dict[str, str]) -> str:
    return ", ".join(f'{name}="{value}"' for name, value in values.items())


def _hub(hub: HubView) -> str:
    codec = f'<font point-size="8" color="{LIGHT["soft"]}">hub, {_html(hub.codec)}</font>'
    return f"<<b>{_html(hub.name)}</b><br/>{_html(hub.ports)}<br/>{codec}>"


def _title(scene: Scene) -> str:
    # Rows of a table: lines of unequal size in one text would overlap.
    rows = [f'<tr><td align="left"><font point-size="20"><b>{_html(scene.name)}</b></font></td></tr>']
    if scene.about:
        about = f'<font point-size="11" color="{LIGHT["soft"]}">{_html(_short(scene.about, 160))}</font>'
        rows.append(f'<tr><td align="left">{about}</td></tr>')
    return f'<<table border="0" cellspacing="0" cellpadding="2">{"".join(rows)}</table>>'


def _process_title(name: str, about: str) -> str:
    soft = LIGHT["soft"]
    return (
        f'<<font point-size="13"><b>{_html(name)}</b></font>'
        f'<font point-size="9" color="{soft}">  process, {_html(about)}</font>>'
    )


def _box(scene: Scene, node: NodeView, colour: str) -> str:
    use = f'<font point-size="9" color="{LIGHT["soft"]}">{_html(node.use)}</font>'
    title = f'<b>{_html(node.id)}</b><br align="left"/>{use}<br align="left"/>'
    if scene.overview:
        return f'<<table {BOX}><tr><td bgcolor="{colour}" align="left" cellpadding="5">{title}</td></tr></table>>'
    rows = [f'<tr><td colspan="2" bgcolor="{colour}" align="left" cellpadding="5">{title}</td></tr>']
    if node.trouble:
        trouble = _html(_short(node.trouble, SHOWN))
        rows.append(_wide(f'<font point-size="9" color="{LIGHT["feedback"]}">{trouble}</font>'))
    for index in range(max(len(node.inputs), len(node.outputs))):
        left = _port(node.inputs, index, "i", "left")
        right = _port(node.outputs, index, "o", "right")
        rows.append(f"<tr>{left}{right}</tr>")
    written = [param for param in node.params if param.written] if scene.with_params else []
    if written:
        lines = "".join(f'{_html(_short(str(param), SHOWN))}<br align="left"/>' for param in written)
        rows.append("<hr/>" + _wide(f'<font point-size="9" color="{LIGHT["soft"]}">{lines}</font>'))
    return f"<<table {BOX}>{''.join(rows)}</table>>"


def _wide(content: str) -> str:
    return f'<tr><td colspan="2" align="left">{content}</td></tr>'


def _port(ports: tuple[PortView, ...], index: int, letter: str, align: str) -> str:
    if index >= len(ports):
        return "<td></td>"
    port = ports[index]
    message = ""
    if port.message and letter == "o":
        message = f'<font point-size="8.5" color="{LIGHT["soft"]}">{_html(port.message)}  </font>'
    return f'<td port="{letter}{index}" align="{align}">{message}{_html(port.name)}</td>'


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _end(scene: Scene, wire: WireView, side: str) -> str:
    ref = wire.source if side == "source" else wire.target
    name = end_of(scene, ref)
    if scene.overview or name.startswith(("hub:", "outside:")):
        return quoted(name)
    node = scene.nodes[ref.node]
    ports, letter, compass = (node.outputs, "o", "e") if side == "source" else (node.inputs, "i", "w")
    index = next(index for index, port in enumerate(ports) if port.name == ref.port)
    return f"{quoted(name)}:{letter}{index}:{compass}"


def _wire(wire: WireView, index: int, labelled: bool) -> str:
    attributes = [f'id="w{index}"', f'class="{"wire feedback" if wire.feedback else "wire"}"']
    topic = next((end.port for end in (wire.source, wire.target) if end.hub), "")
    label = [_html(text) for text in (topic, wire.message, _short(wire.policy, SHOWN)) if text]
    if label and labelled:
        attributes.append(f"label=<{'<br/>'.join(label)}>")
    if wire.feedback:
        red = LIGHT["feedback"]
        attributes.append(f'style=dashed, color="{red}", fontcolor="{red}", constraint=false')
    return ", ".join(attributes)


def _html(text: str) -> str:
    return escape(clean(text)) or " "
