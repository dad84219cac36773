"""The graph as one self-contained HTML file: the SVG, with pan, zoom, details on hover and highlighted neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

import msgspec

from engine.topology.draw.dot import element_ids, end_of
from engine.topology.draw.page_assets import BUTTONS, SCRIPT, STYLE
from engine.topology.draw.palette import DARK, LIGHT, kind_of, tints
from engine.topology.draw.picture import dark_rules, laid_out_svg
from engine.topology.draw.scene import NodeView, Scene, clean


def draw_page(scene: Scene) -> str:
    """Return the page; it loads nothing from anywhere. Raises NoPicture as `draw_svg` does."""
    ids = element_ids(scene)
    wires = [[ids.get(end_of(scene, end), "") for end in (wire.source, wire.target)] for wire in scene.wires]
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
<title>{_text(scene.name)}</title>
<style>
{_variables()}
{STYLE}
</style>
</head>
<body>
<div id="view">{laid_out_svg(scene)}</div>
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
    yield "<span>drag to move, wheel to zoom, hover for parameters, click for neighbours</span>"


def _node(node: NodeView) -> Iterator[str]:
    place = f" · process {_text(node.process)}" if node.process else ""
    yield f"<h2>{_text(node.id)}</h2><p><code>{_text(node.use)}</code>{place}</p>"
    if node.trouble:
        yield f'<p class="trouble">{_text(node.trouble)}</p>'
    for text in (node.about, node.doc):
        if text:
            yield f"<p>{_text(text)}</p>"
    if node.params:
        yield "<table><tr><th>parameter</th><th>value</th><th>meaning</th></tr>"
        for param in node.params:
            value = f"{_text(param.value)} <small>{_text(param.unit)}</small>"
            yield f'<tr class="{"written" if param.written else "default"}"><td>{_text(param.name)}</td>'
            yield f"<td>{value}</td><td>{_text(param.doc)}</td></tr>"
        yield "</table>"
    for word, ports in (("inputs", node.inputs), ("outputs", node.outputs)):
        if ports:
            yield f"<table><tr><th>{word}</th><th>message</th><th></th></tr>"
            for port in ports:
                yield (f"<tr><td>{_text(port.name)}</td><td>{_text(port.message)}</td><td>{_text(port.doc)}</td></tr>")
            yield "</table>"


def _text(text: str) -> str:
    return escape(clean(text))


def _json(value: object) -> str:
    # Inside a script element only "<" could end it.
    return msgspec.json.encode(value).decode().replace("<", "\\u003c")
