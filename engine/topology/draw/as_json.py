"""The graph as JSON, for other programs: nodes, wires, hubs and processes."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from engine.topology.draw.scene import NodeView, Scene, clean


def draw_json(scene: Scene) -> str:
    """Return the scene as JSON; ports are written `node.port`, a hub's `hub:name/topic`."""
    page: dict[str, Any] = {
        "name": scene.name,
        "about": scene.about,
        "nodes": [_node(scene, node) for node in scene.nodes.values()],
        "wires": [
            {
                "from": clean(str(wire.source)),
                "to": clean(str(wire.target)),
                "message": wire.message,
                "policy": wire.policy,
                "feedback": wire.feedback,
            }
            for wire in scene.wires
        ],
        "hubs": [dataclasses.asdict(hub) for hub in scene.hubs.values()],
        "processes": [dataclasses.asdict(process) for process in scene.processes],
    }
    return json.dumps(page, indent=1) + "\n"


def _node(scene: Scene, node: NodeView) -> dict[str, Any]:
    fields = dataclasses.asdict(node)
    if not scene.with_params:
        del fields["params"]
    return fields
