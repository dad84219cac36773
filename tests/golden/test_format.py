"""The example of the format: what it expands to, and that the flat text loads into the same graph again."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from engine.topology.flat import as_yaml, flatten
from engine.topology.load import load_topology

FORMAT = Path(__file__).parent / "format"
REWRITE = os.environ.get("REWRITE_GOLDEN") == "1"


def test_the_example_expands_to_its_flat_text(monkeypatch):
    monkeypatch.chdir(FORMAT)
    text = as_yaml(flatten(load_topology(["design_example.yaml"], ["fee_tier=3000"], {})), origins=True) + "\n"
    golden = FORMAT / "design_example.flat.txt"
    if REWRITE:
        golden.write_text(text, "utf-8")
    assert text == golden.read_text("utf-8")


def test_the_flat_text_loads_into_the_same_graph(tmp_path):
    first = load_topology([FORMAT / "design_example.yaml"], [], {})
    path = tmp_path / "flat.yaml"
    path.write_text(as_yaml(flatten(first)), "utf-8")
    again = load_topology([path], [], {})
    assert flatten(again).data == flatten(first).data
    assert list(again.nodes) == list(first.nodes)
    assert [replace(wire, origin=first.origin) for wire in again.wires] == [
        replace(wire, origin=first.origin) for wire in first.wires
    ]


def test_the_example_is_what_it_says():
    topology = load_topology([FORMAT / "design_example.yaml"], [], {})
    assert topology.nodes["pool"].params["fee"].value == 500
    assert topology.nodes["binance.orders"].use == "venues.binance_usdm.orders"
    assert sum(wire.feedback for wire in topology.wires) == 4
    assert topology.processes["binance"].nodes == ("binance.quotes", "binance.orders", "binance.positions")
