"""Drawings of a topology: text for the terminal, DOT, Mermaid, SVG, PNG, a page and JSON.

`make_scene` gathers once what there is to see; each format is a pure function from that scene to text or bytes.
The same scene gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable

from engine.topology.draw.scene import Scene, make_scene

__all__ = ["FORMATS", "Scene", "draw", "make_scene"]


def _text(scene: Scene) -> bytes:
    from engine.topology.draw.text import draw_text

    return draw_text(scene).encode()


def _dot(scene: Scene) -> bytes:
    from engine.topology.draw.dot import draw_dot

    return draw_dot(scene).encode()


def _mermaid(scene: Scene) -> bytes:
    from engine.topology.draw.mermaid import draw_mermaid

    return draw_mermaid(scene).encode()


def _svg(scene: Scene) -> bytes:
    from engine.topology.draw.picture import draw_svg

    return draw_svg(scene).encode()


def _png(scene: Scene) -> bytes:
    from engine.topology.draw.picture import draw_png

    return draw_png(scene)


def _html(scene: Scene) -> bytes:
    from engine.topology.draw.page import draw_page

    return draw_page(scene).encode()


def _json(scene: Scene) -> bytes:
    from engine.topology.draw.as_json import draw_json

    return draw_json(scene).encode()


FORMATS: dict[str, Callable[[Scene], bytes]] = {
    "text": _text,
    "dot": _dot,
    "mermaid": _mermaid,
    "svg": _svg,
    "png": _png,
    "html": _html,
    "json": _json,
}


def draw(scene: Scene, format: str) -> bytes:
    """Return the scene in one of FORMATS; raise PipelineError when a picture needs a program that is missing."""
    return FORMATS[format](scene)
