"""The graph as one self-contained HTML file: pan, zoom, details on hover, highlighted neighbours.

It holds two drawings, boxes only and boxes with ports; the first is shown where the second would be too small to read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from html import escape

import msgspec

from engine.topology.draw.dot import element_ids, end_of
from engine.topology.draw.page_assets import BUTTONS, SCRIPT, STYLE
from engine.topology.draw.palette import DARK, LIGHT, kind_of, tints
from engine.topology.draw.picture import dark_rules, laid_out_svg
from engine.topology.draw.scene import NodeView, Scene, WireView, clean

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def draw_page(scene: Scene) -> str:
    """Return the page; it loads nothing from anywhere. Raises NoPicture as `draw_svg` does."""
    ids = element_ids(scene)
    wires = [
        [*(ids.get(end_of(scene, end), "") for end in (wire.source, wire.target)), _wire(wire)] for wire in scene.wires
    ]
    details = {ids[name]: "".join(_node(node)) for name, node in scene.nodes.items()}
    for name, hub in scene.hubs.items():
        topics = "".join(f"<li>{_text(topic)}</li>" for topic in hub.topics)
        text = f"<h2>{_text(hub.name)}</h2><p>hub · {_text(hub.ports)} · {_text(hub.codec)}</p><ul>{topics}</ul>"
        details[ids[f"hub:{name}"]] = text
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{_text(scene.name)}</title>
<style>
{_variables()}
{STYLE}
</style>
</head>
<body>
<div id="view">{_boxes(scene)}{laid_out_svg(replace(scene, overview=False), wire_labels=False)}</div>
<aside id="details" hidden></aside>
<nav>
<div id="legend">{"".join(_legend(scene))}</div>
<div id="tools">{BUTTONS}</div>
</nav>
<script type="application/json" id="data">{_json({"wires": wires, "details": details})}</script>
<script>
{SCRIPT}
</script>
</body>
</html>
"""


def _boxes(scene: Scene) -> str:
    # Both drawings have the same element ids; those of this one start with "o".
    svg = laid_out_svg(replace(scene, overview=True), rankdir="LR")
    return svg.replace(' id="', ' id="o')


def _wire(wire: WireView) -> str:
    loop = " · feedback" if wire.feedback else ""
    policy = f"<p>{_text(wire.policy)}{loop}</p>" if wire.policy or loop else ""
    return (
        f"<h3>{_text(str(wire.source))} → {_text(str(wire.target))}</h3>"
        f"<p><code>{_text(wire.message) or 'any message'}</code></p>{policy}"
    )


def _variables() -> str:
    # The reader's setting decides unless the button has been pressed: then the root carries data-theme.
    light = " ".join(f"--{word}: {value};" for word, value in LIGHT.items())
    dark = " ".join(f"--{word}: {value};" for word, value in DARK.items())
    unless = ":root:not([data-theme=light])"
    return (
        f":root {{ {light} color-scheme: light; }}\n"
        f"@media (prefers-color-scheme: dark) {{ {unless} {{ {dark} color-scheme: dark; }} {dark_rules(unless)} }}\n"
        f":root[data-theme=dark] {{ {dark} color-scheme: dark; }} {dark_rules(':root[data-theme=dark]')}"
    )


def _legend(scene: Scene) -> Iterator[str]:
    used = {kind_of(node.use) for node in scene.nodes.values()}
    for kind, tint in tints(scene).items():
        if kind in used:
            yield f'<span><i style="background:var(--{tint})"></i>{_text(kind)}</span>'
    if scene.hubs:
        yield '<span><i style="background:var(--hub)"></i>hub: publish → subscribe</span>'
    if any(wire.feedback for wire in scene.wires):
        yield '<span><b class="loop"></b>feedback</span>'
    yield "<span>hover: parameters of a box, policy of a wire · click: neighbours · drag, wheel: move, zoom</span>"


def _node(node: NodeView) -> Iterator[str]:
    place = f" · process {_text(node.process)}" if node.process else ""
    yield f"<h2>{_text(node.id)}</h2><p><code>{_text(node.use)}</code>{place}</p>"
    if node.trouble:
        yield f'<p class="trouble">{_text(node.trouble)}</p>'
    for text in (node.about, node.doc):
        if text:
            yield f"<p>{_prose(text)}</p>"
    if node.params:
        yield "<table><tr><th>parameter</th><th>value</th><th>meaning</th></tr>"
        for param in node.params:
            value = f"{_text(param.value)} <small>{_text(param.unit)}</small>"
            yield f'<tr class="{"written" if param.written else "default"}"><td>{_text(param.name)}</td>'
            yield f"<td>{value}</td><td>{_prose(param.doc)}</td></tr>"
        yield "</table>"
    for word, ports in (("inputs", node.inputs), ("outputs", node.outputs)):
        if ports:
            yield f"<table><tr><th>{word}</th><th>message</th><th></th></tr>"
            for port in ports:
                yield (f"<tr><td>{_text(port.name)}</td><td>{_text(port.message)}</td><td>{_prose(port.doc)}</td></tr>")
            yield "</table>"


def _text(text: str) -> str:
    return escape(clean(text))


def _prose(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", _text(text))


def _json(value: object) -> str:
    # Inside a script element only "<" could end it.
    return msgspec.json.encode(value).decode().replace("<", "\\u003c")
