"""Colours of the pictures, each once for light and once for dark."""

from __future__ import annotations

from engine.topology.draw.scene import Scene

LIGHT = {
    "paper": "#fbfcfd",
    "box": "#ffffff",
    "ink": "#17202a",
    "soft": "#5f6b7a",
    "line": "#aab4c0",
    "wire": "#55657a",
    "cluster": "#f0f3f7",
    "hub": "#fff6d1",
    "feedback": "#c8322b",
    "tint0": "#dcebfb",
    "tint1": "#e6e3fa",
    "tint2": "#fdeccf",
    "tint3": "#d8f1e0",
    "tint4": "#fbdfe2",
    "tint5": "#d5f0f0",
    "tint6": "#e7eaee",
}
DARK = {
    "paper": "#11161c",
    "box": "#1b222b",
    "ink": "#e8edf3",
    "soft": "#9aa7b6",
    "line": "#46525f",
    "wire": "#93a4b8",
    "cluster": "#161c24",
    "hub": "#4d4519",
    "feedback": "#ff7b72",
    "tint0": "#1d3a57",
    "tint1": "#342f5e",
    "tint2": "#55401a",
    "tint3": "#1d4a31",
    "tint4": "#5a2730",
    "tint5": "#17494b",
    "tint6": "#333c47",
}
TINTS = [word for word in LIGHT if word.startswith("tint")]


def kind_of(use: str) -> str:
    """Return the first part of a node type, as `models` of `models.average`: what pictures colour nodes by."""
    return use.partition(".")[0]


def tints(scene: Scene) -> dict[str, str]:
    """Return the tint of each kind of node in the scene, kinds in order of first appearance along the graph."""
    kinds = dict.fromkeys(kind_of(node.use) for node in scene.nodes.values())
    return {kind: TINTS[index % len(TINTS)] for index, kind in enumerate(kinds)}
