"""Pictures: the DOT text laid out by the `graphviz-pure` program, which needs no system Graphviz and no fonts."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from engine.errors import PipelineError
from engine.topology.draw.dot import draw_dot
from engine.topology.draw.palette import DARK, LIGHT
from engine.topology.draw.scene import Scene

PROGRAM = "graphviz-pure"
DEADLINE_S = 60.0
PNG_DPI = 144
PNG_PIXELS = 12_000
"""Longest side of a PNG; a larger graph is drawn at fewer dots per inch."""
SIZE = re.compile(r'<svg width="([\d.]+)pt" height="([\d.]+)pt"')


class NoPicture(PipelineError):
    """The layout program is missing, failed or took too long."""


def draw_svg(scene: Scene) -> str:
    """Return the scene as SVG that follows the reader's light or dark setting; raise NoPicture."""
    svg = laid_out_svg(scene)
    style = f"<style>@media (prefers-color-scheme: dark) {{ {dark_rules('')} }}</style>"
    start = svg.index("<g ")
    return svg[:start] + style + "\n" + svg[start:]


def draw_png(scene: Scene) -> bytes:
    """Return the scene as PNG on a light ground; raise NoPicture."""
    width, height = (float(size) for size in SIZE.findall(laid_out_svg(scene))[0])
    dpi = min(PNG_DPI, PNG_PIXELS * 72 / max(width, height))
    return _run("png", draw_dot(scene), f"-Gdpi={dpi:.0f}")


def laid_out_svg(scene: Scene, *, wire_labels: bool = True, rankdir: str = "") -> str:
    """Return the bare SVG element, in light colours, as `draw_dot` is asked for it; raise NoPicture."""
    text = _run("svg", draw_dot(scene, wire_labels=wire_labels, rankdir=rankdir)).decode()
    return text[text.index("<svg ") :]


def dark_rules(scope: str) -> str:
    """Return the style rules, below the selector `scope`, that turn each light colour of the SVG into its dark one."""
    rules = []
    for word, light in LIGHT.items():
        rules += [
            f'{scope} [fill="{light}"] {{ fill: {DARK[word]} }}',
            f'{scope} [stroke="{light}"] {{ stroke: {DARK[word]} }}',
        ]
    return " ".join([*rules, f"{scope} text:not([fill]) {{ fill: {DARK['ink']} }}"]).strip()


def _run(format: str, dot: str, *options: str) -> bytes:
    try:
        done = subprocess.run(
            [_program(), f"-T{format}", *options],
            input=dot.encode(),
            capture_output=True,
            timeout=DEADLINE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        fix = "draw one process (--process NAME), or --format dot"
        raise NoPicture(f"{PROGRAM} did not lay the graph out in {DEADLINE_S:g} s; {fix}") from None
    if done.returncode != 0 or not done.stdout:
        reason = done.stderr.decode(errors="replace").strip().partition("\n")[0] or f"exit code {done.returncode}"
        raise NoPicture(f"{PROGRAM} could not lay the graph out: {reason}")
    return done.stdout


def _program() -> str:
    # Beside this Python first: a virtual environment that is not activated is not on the PATH.
    beside = Path(sys.executable).with_name(PROGRAM)
    found = str(beside) if beside.is_file() else shutil.which(PROGRAM)
    if found is None:
        raise NoPicture(
            f"svg, png and html need {PROGRAM}: pip install 'asymmetric-lp[graph]'; text, dot and mermaid do not"
        )
    return found
