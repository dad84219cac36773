"""Drawings: what each format shows, that names cannot break out of it, and that bytes repeat."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from support.graphs import TopologyBuilder
from support.packages import only_packages

from engine.errors import UsageError
from engine.spec import ParamSpec
from engine.topology.draw import FORMATS, draw, make_scene
from engine.topology.draw.picture import NoPicture
from engine.topology.draw.scene import ParamView, _params, layers_of
from engine.topology.model import OnStale, PortRef, SecretRef, Setting, Topology

EVIL = '</script><b>"x"&\\N\x1b[31m`;]|{\u202e'


@pytest.fixture(autouse=True)
def sample_nodes():
    with only_packages("support.sample_nodes"):
        yield


def greenhouse() -> Topology:
    build = TopologyBuilder()
    build.node("air", "sources.thermometer", sensor="south", period_s=30)
    build.node("mean", "models.average", half_life_s="5m")
    build.node("control", "controls.window")
    build.node("window", "sinks.window")
    build.node("log", "sinks.log")
    build.wire("air.reading -> mean.reading", "air.level -> hub:water/level", "hub:water/level -> log.anything")
    build.wire("mean.average -> control.average", on_stale=OnStale(30.0, "close"))
    build.wire("control.command -> window.command", "window.done -> control.done", "window.done -> log.anything")
    build.hub("water", (6001, 6002), 7001)
    build.feedback("window.done -> control.done")
    build.process("inside", ("air", "mean", "log"))
    build.process("roof", ("control", "window"))
    return build.build()


def text_of(topology: Topology, format: str, **options) -> str:
    return draw(make_scene(topology, **options), format).decode()


def test_text_lists_processes_ports_policies_hubs_and_loops():
    text = text_of(greenhouse(), "text")
    lines = text.splitlines()
    assert lines[0] == "greenhouse · 5 nodes, 7 wires, 1 hub"
    assert "▌ process inside · restart on failure, at most 5 in 600 s" in lines
    assert "  1  air             sources.thermometer" in lines
    assert "     set sensor = south; period_s = 30 s" in lines
    assert "     out reading  Reading  → mean.reading" in lines
    assert "         level    Level    → hub:water/level" in lines
    assert "     in  reading     Reading  ← air.reading [conflate by sensor]" in lines
    assert "         correction  Reading  ← nothing" in lines
    assert "     in  average  Reading  ← mean.average [block, stale after 30 s: close]" in lines
    assert "         done     Command  ← window.done ↺ [reliable]" in lines
    assert "     out done     Command  → control.done ↺, log.anything" in lines
    assert "     in  anything  any  ← hub:water/level [block]" in lines
    assert "     water           6001, 6002 → 7001  (msgpack)" in lines
    assert "       level  ← air.level" in lines
    assert lines[-1] == "↺ feedback: the wire closes a loop"
    assert all(len(line) <= 100 for line in lines)


def test_a_plain_number_has_no_unit():
    assert str(ParamView("points", "12", "")) == "points = 12"
    spec = {"points": ParamSpec(int, 12, "How many.", "1"), "span": ParamSpec(float, 2.0, "How long.", "s")}
    assert [str(view) for view in _params(spec, {})] == ["points = 12", "span = 2 s"]


def test_text_fits_100_columns_whatever_the_names():
    build = TopologyBuilder().node("a" * 90, "models." + "b" * 80, **{"p" * 60: "v" * 90}).node("z", "sinks.log")
    build.wire(*(f"{'a' * 90}.{'o' * 40}{index} -> z.anything" for index in range(3)))
    text = text_of(build.build(), "text")
    assert all(len(line) <= 100 for line in text.splitlines())
    assert re.sub(r"\s", "", text).count("o" * 40) == 6


def test_nodes_stand_in_order_along_the_graph():
    scene = make_scene(greenhouse())
    assert {name: node.layer for name, node in scene.nodes.items()} == {
        "air": 1, "mean": 2, "control": 3, "window": 4, "log": 5,
    }  # fmt: skip


def test_layers_of_a_loop_that_is_not_named_still_end():
    wires = [(PortRef("a", "o"), PortRef("b", "i")), (PortRef("b", "o"), PortRef("a", "i"))]
    assert layers_of(["a", "b", "c"], wires) == {"c": 1, "a": 1, "b": 2}


def test_dot_has_clusters_ports_labels_hub_and_red_feedback():
    dot = text_of(greenhouse(), "dot")
    assert dot.count("subgraph cluster_") == 2
    assert '"air":o0:e -> "mean":i0:w [id="w0", class="wire", label=<Reading<br/>conflate by sensor>]' in dot
    assert '"hub:water" [id=h0, class="hub", shape="hexagon"' in dot
    assert "6001, 6002 → 7001" in dot
    loops = [line for line in dot.splitlines() if "style=dashed" in line]
    assert len(loops) == 1
    assert '"window":o0:e -> "control":i1:w' in loops[0]
    assert "constraint=false" in loops[0]
    assert "period_s = 30 s" in dot
    assert "period_s" not in text_of(greenhouse(), "dot", with_params=False)


def test_an_overview_is_boxes_and_one_arrow_for_all_wires_between_two_of_them():
    dot = text_of(greenhouse(), "dot", overview=True)
    assert 'rankdir="TB"' in dot
    assert "period_s" not in dot
    assert "port=" not in dot
    arrows = [line.split(" [")[0].strip() for line in dot.splitlines() if " -> " in line]
    assert len(arrows) == len(set(arrows))
    assert '"control" -> "window"' in arrows
    assert 'rankdir="LR"' in text_of(greenhouse(), "dot")


def test_pictures_leave_out_a_hub_that_no_wire_touches():
    build = TopologyBuilder()
    build.node("air", "sources.thermometer")
    build.hub("water", (6001,), 7001)
    topology = build.build()
    assert "water" in text_of(topology, "text")
    assert "water" not in text_of(topology, "dot")


def test_mermaid_has_subgraphs_labels_and_red_feedback():
    lines = text_of(greenhouse(), "mermaid").splitlines()
    assert lines[0] == "flowchart LR"
    assert '  subgraph p0["inside"]' in lines
    assert '  n0 -- "reading<br/>Reading · conflate by sensor" --> n1' in lines
    assert '  n3 -. "done<br/>Command · reliable" .-> n2' in lines
    assert "  linkStyle 5 stroke:#c8322b,stroke-dasharray:5 4" in lines
    assert '  h0{{"<b>water</b><br/>6001, 6002 → 7001"}}:::hub' in lines


def test_svg_is_well_formed_and_has_every_node_and_wire():
    root = ET.fromstring(text_of(greenhouse(), "svg"))
    ids = {item.get("id") for item in root.iter()}
    assert {"n0", "n4", "h0", "w0", "w6"} <= ids


def test_png_is_a_png():
    data = draw(make_scene(greenhouse()), "png")
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = (int.from_bytes(data[at : at + 4]) for at in (16, 20))
    assert 600 < width < 6000
    assert 200 < height < 4000


def test_page_is_self_contained_and_tells_parameters_and_neighbours():
    page = text_of(greenhouse(), "html")
    loaded = re.findall(r"""(?:src|href)=|url\(|@import|fetch\(""", page)
    assert loaded == []
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found
    data = json.loads(found[1])
    assert [wire[:2] for wire in data["wires"][:2]] == [["n0", "n1"], ["n0", "h0"]]
    assert "conflate by sensor" in data["wires"][0][2]
    assert "Time between readings." in data["details"]["n0"]
    assert "<small>s</small>" in data["details"]["n0"]
    assert '<tr class="default"><td>scale</td>' in data["details"]["n0"]
    assert set(data["details"]) == {"n0", "n1", "n2", "n3", "n4", "h0"}


@pytest.mark.parametrize("format", FORMATS)
def test_secrets_are_never_drawn(format):
    origin = greenhouse().nodes["air"].origin
    build = TopologyBuilder()
    build.node("a", "sources.thermometer", password="in clear")
    build.node("b", "sources.unheard_of", token=Setting(SecretRef("hidden"), origin, secret=True), plain=1)
    topology = build.build()
    data = draw(make_scene(topology), format)
    assert b"in clear" not in data
    assert b"hidden" not in data.replace(b"overflow: hidden", b"").replace(b" hidden>", b"").replace(b".hidden", b"")
    if format in ("text", "dot", "svg", "html"):
        assert b"***" in data


def hostile() -> Topology:
    build = TopologyBuilder()
    build.node(EVIL, f"models.{EVIL}", **{EVIL: EVIL}).node("z", "sinks.log").hub(EVIL, (1,), 2)
    ends = [(PortRef(EVIL, EVIL), PortRef("z", "anything")), (PortRef(EVIL, EVIL), PortRef(EVIL, EVIL, hub=True))]
    build.wire("z.x -> z.anything", "z.x -> z.anything", on_stale=OnStale(1.0, EVIL))
    build.wires = [
        dataclasses.replace(wire, source=source, target=target)
        for wire, (source, target) in zip(build.wires, ends, strict=True)
    ]
    build.nodes[EVIL] = dataclasses.replace(build.nodes[EVIL], about=EVIL)
    build.process(EVIL, (EVIL, "z"))
    return dataclasses.replace(build.build(), name=EVIL, about=EVIL)


@pytest.mark.parametrize("format", FORMATS)
def test_hostile_names_stay_names(format):
    data = draw(make_scene(hostile()), format)
    if format == "png":
        return
    text = data.decode()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e]", text)
    if format in ("svg", "html", "mermaid"):
        assert '<b>"x"' not in text.replace("&quot;", '"').replace("&lt;", "(")
    if format == "svg":
        root = ET.fromstring(text)
        assert sum(item.get("class") == "node node-box" for item in root.iter()) == 2
    if format == "html":
        assert text.count("</script>") == 2
    if format == "mermaid":
        assert not re.search(r"</?script", text)


def test_unknown_types_and_undeclared_nodes_are_drawn_with_the_ports_that_wires_name():
    build = TopologyBuilder().node("a", "models.unheard_of").node("b", "sinks.broken")
    build.wire("a.out -> b.reading", "ghost.x -> b.more")
    topology = build.build()
    text = text_of(topology, "text")
    assert "! no node type 'models.unheard_of' in the installed packages" in text
    assert "has no handler" in text
    assert "ghost           not declared" in text
    assert "in no process" in text
    for format in FORMATS:
        assert draw(make_scene(topology), format)


def test_one_process_shows_what_its_wires_lead_to():
    scene = make_scene(greenhouse(), process="roof")
    assert list(scene.nodes) == ["control", "window"]
    text = draw(scene, "text").decode()
    assert "← mean.average" in text
    assert "air.reading" not in text
    dot = draw(scene, "dot").decode()
    assert '"outside:mean.average" -> "control":i0:w' in dot
    assert draw(scene, "html")
    with pytest.raises(UsageError, match="no process 'rof'; processes: inside, roof"):
        make_scene(greenhouse(), process="rof")


def test_an_empty_topology_can_be_drawn():
    for format in FORMATS:
        assert draw(make_scene(TopologyBuilder().build()), format)


def test_feedback_through_a_hub_marks_the_wire_that_closes_the_loop():
    build = TopologyBuilder().node("control", "controls.window").node("window", "sinks.window").hub("h", (1,), 2)
    build.wire("control.command -> window.command", "window.done -> hub:h/done", "hub:h/done -> control.done")
    build.feedback("window.done -> control.done")
    wires = make_scene(build.build()).wires
    assert [wire.feedback for wire in wires] == [False, False, True]
    assert wires[2].message == "Command"


def test_bytes_do_not_depend_on_the_hash_seed():
    script = (
        "import sys; sys.path[:0] = ['tests', 'tests/unit/engine']\n"
        "import test_draw, hashlib\n"
        "from engine.topology.draw import FORMATS, draw, make_scene\n"
        "with test_draw.only_packages('support.sample_nodes'):\n"
        "    for topology in (test_draw.greenhouse(), test_draw.hostile()):\n"
        "        scene = make_scene(topology)\n"
        "        print([hashlib.sha256(draw(scene, format)).hexdigest() for format in FORMATS])\n"
    )
    root = Path(__file__).parents[3]
    outputs = [
        subprocess.run(
            [sys.executable, "-c", script],
            cwd=root,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert outputs[0] == outputs[1]
    assert outputs[0].count("\n") == 2


def test_a_missing_layout_program_says_what_to_install(monkeypatch):
    monkeypatch.setattr("engine.topology.draw.picture.PROGRAM", "no-such-program")
    with pytest.raises(NoPicture, match=r"pip install 'asymmetric-lp\[graph\]'"):
        draw(make_scene(greenhouse()), "svg")
