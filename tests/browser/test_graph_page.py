"""The graph's page in a real browser: drag, zoom, what is told of a box or a wire, neighbours, two drawings."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from support.browser import browser, opened
from support.graphs import TopologyBuilder
from support.packages import only_packages

from engine.cli.graph import command
from engine.topology.draw import draw, make_scene
from engine.topology.model import OnStale

pytestmark = pytest.mark.long

HOSTILE = "<img src=x onerror=alert(1)>"
REFERENCE = Path(__file__).parents[2] / "topologies" / "backtest" / "asymmetric_lp.yaml"
FITS = "box => box.scrollHeight <= box.clientHeight && box.scrollWidth <= box.clientWidth"
SHOWN = "#view svg:not(.away)"


@pytest.fixture(scope="module")
def chromium():
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    with only_packages("support.sample_nodes"):
        build = TopologyBuilder()
        build.node("air", "sources.thermometer", sensor=HOSTILE, period_s=30)
        build.node("mean", "models.average", half_life_s="5m")
        build.node("control", "controls.window")
        build.node("window", "sinks.window")
        build.node("log", "sinks.log")
        build.node(HOSTILE, f"sources.{HOSTILE}")
        build.wire("air.reading -> mean.reading", "air.level -> hub:water/level", "hub:water/level -> log.anything")
        build.wire("mean.average -> control.average", on_stale=OnStale(30.0, "close"))
        build.wire("control.command -> window.command", "window.done -> control.done")
        build.hub("water", (6001,), 7001)
        build.feedback("window.done -> control.done")
        build.process("inside", ("air", "mean", "log", HOSTILE))
        build.process("roof", ("control", "window"))
        data = draw(make_scene(build.build()), "html")
    file = tmp_path_factory.mktemp("graph") / "graph.html"
    file.write_bytes(data)
    return file


def box_of(seen, name: str):
    return seen.page.locator(f"{SHOWN} .node-box", has=seen.page.get_by_text(name, exact=True)).first


def transform(seen) -> str:
    return str(seen.page.locator(SHOWN).evaluate("svg => svg.style.transform"))


@pytest.mark.parametrize("width", [1024, 1440])
def test_every_box_and_wire_is_on_the_screen(chromium, path, width):
    with opened(chromium, path, width=width, height=768) as seen:
        assert seen.page.locator(SHOWN).count() == 1
        assert seen.page.locator(f"{SHOWN} .node-box").count() == 6
        assert seen.page.locator(f"{SHOWN} .hub").count() == 1
        assert seen.page.locator(f"{SHOWN} .edge").count() == 6
        below = seen.page.locator("nav").bounding_box()["y"]
        for part in seen.page.locator(f"{SHOWN} .node-box").all():
            box = part.bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
            assert 0 <= box["y"] < box["y"] + box["height"] <= below
        assert seen.page.evaluate("document.documentElement.scrollWidth") == width


def test_pointing_at_a_box_tells_its_parameters(chromium, path):
    with opened(chromium, path) as seen:
        details = seen.page.locator("#details")
        assert details.is_hidden()
        box_of(seen, "mean").hover()
        told = details.inner_text()
        assert "models.average · process inside" in told
        assert "half_life_s" in told
        seen.page.mouse.move(3, 3)
        assert details.is_hidden()


@pytest.mark.parametrize("width", [1024, 1440])
def test_what_is_told_of_a_node_with_many_parameters_is_not_cut(chromium, tmp_path, width):
    path = tmp_path / "graph.html"
    done = CliRunner().invoke(command, [str(REFERENCE), "-o", str(path)])
    assert done.exit_code == 0, done.output
    with opened(chromium, path, width=width, height=768) as seen:
        details, below = seen.page.locator("#details"), seen.page.locator("nav").bounding_box()["y"]
        for name in ("hedger", "gate", "ledger", "binance.orders", "report"):
            box_of(seen, name).hover()
            assert name in details.locator("h2").inner_text()
            assert details.evaluate(FITS), name
            box = details.bounding_box()
            assert 0 <= box["y"] <= box["y"] + box["height"] <= below + 8
            assert 0 <= box["x"] <= box["x"] + box["width"] <= width


def test_pointing_at_a_wire_tells_message_and_policy(chromium, path):
    with opened(chromium, path) as seen:
        grip = seen.page.locator(f"{SHOWN} [id$=w0] .grip")
        middle = grip.evaluate(
            "path => { const at = path.getPointAtLength(path.getTotalLength() / 2);"
            " const there = at.matrixTransform(path.getScreenCTM()); return [there.x, there.y]; }"
        )
        seen.page.mouse.move(middle[0], middle[1] + 3)
        told = seen.page.locator("#details").inner_text()
    assert "air.reading → mean.reading" in told
    assert "Reading" in told
    assert "conflate by sensor" in told


def test_a_click_leaves_the_neighbours_lit_and_a_second_one_all(chromium, path):
    lit = f"{SHOWN} .node-box.near"
    with opened(chromium, path) as seen:
        box_of(seen, "control").click()
        assert sorted(seen.page.locator(f"{lit} text:first-of-type").all_text_contents()) == [
            "control",
            "mean",
            "window",
        ]
        faint = "box => Number(getComputedStyle(box).opacity) < 0.3"
        seen.page.wait_for_function(faint, arg=box_of(seen, "air").element_handle())
        assert box_of(seen, "mean").evaluate("box => getComputedStyle(box).opacity") == "1"
        seen.page.locator("#ports").click()
        assert seen.page.locator(lit).count() == 3
        box_of(seen, "control").click()
        assert seen.page.locator(".near").count() == 0
        box_of(seen, "air").click()
        seen.page.keyboard.press("Escape")
        assert seen.page.locator("svg.chosen").count() == 0


def test_zoom_keeps_what_is_under_the_pointer_and_fit_brings_all_back(chromium, path):
    with opened(chromium, path) as seen:
        start = transform(seen)
        before = box_of(seen, "mean").bounding_box()
        seen.page.mouse.move(before["x"] + 5, before["y"] + 5)
        seen.page.mouse.wheel(0, -400)
        seen.page.wait_for_function(
            "start => document.querySelector('svg:not(.away)').style.transform !== start", arg=start
        )
        after = box_of(seen, "mean").bounding_box()
        assert after["width"] > 1.5 * before["width"]
        assert abs(after["x"] - before["x"]) < 12
        seen.page.locator("#fit").click()
        assert transform(seen) == start
        seen.page.locator("[data-zoom='1.25']").click()
        assert transform(seen) != start
        seen.page.keyboard.press("0")
        assert transform(seen) == start


def test_dragging_moves_and_does_not_choose(chromium, path):
    with opened(chromium, path) as seen:
        box = box_of(seen, "mean").bounding_box()
        seen.page.mouse.move(box["x"] + 10, box["y"] + 10)
        seen.page.mouse.down()
        seen.page.mouse.move(box["x"] + 90, box["y"] + 60, steps=5)
        seen.page.mouse.up()
        moved = box_of(seen, "mean").bounding_box()
        assert (round(moved["x"] - box["x"]), round(moved["y"] - box["y"])) == (80, 50)
        assert seen.page.locator("svg.chosen").count() == 0


def test_the_two_drawings_take_turns(chromium, path):
    with opened(chromium, path) as seen:
        button, port = seen.page.locator("#ports"), seen.page.locator("#view svg text", has_text="half_life_s")
        first = port.is_visible()
        button.click()
        assert port.is_visible() is not first
        seen.page.keyboard.press("p")
        assert port.is_visible() is first
        ids = seen.page.eval_on_selector_all("[id]", "all => all.map(each => each.id)")
        assert len(ids) == len(set(ids))


def test_hostile_names_are_only_text(chromium, path):
    with opened(chromium, path) as seen:
        box_of(seen, HOSTILE).hover()
        assert HOSTILE in seen.page.locator("#details h2").inner_text()
        box_of(seen, "air").hover()
        assert HOSTILE in seen.page.locator("#details").inner_text()
        assert seen.page.locator("img").count() == 0


def test_dark_mode_changes_colours_and_the_button_overrules(chromium, path):
    what = [("body", "backgroundColor"), (".node-box polygon", "fill"), (".edge path", "stroke"), ("#details", "color")]
    with opened(chromium, path, scheme="light") as seen:
        light = [seen.colour(*each) for each in what]
    with opened(chromium, path, scheme="dark") as seen:
        dark = [seen.colour(*each) for each in what]
        assert all(one != other for one, other in zip(light, dark, strict=True))
        assert seen.colour(".grip", "stroke") == "rgba(0, 0, 0, 0)"
        seen.page.locator("#theme").click()
        assert [seen.colour(*each) for each in what] == light
