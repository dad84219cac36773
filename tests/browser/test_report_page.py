"""The report's page in a real browser: what a desk sees, in light and dark, wide and narrow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.browser import browser, opened
from support.scripted_run import run_world
from support.scripted_world import World

from engine.testing import run_node
from nodes.sinks.report import Report

pytestmark = pytest.mark.long

HOSTILE = "<img src=x onerror=\"alert('in')\">"
PLOTS = (
    "Net exposure",
    "Drawdown",
    "Parts of PnL, cumulative",
    "Change of equity",
    "Price and ranges",
    "Inventory of the LP",
)


@pytest.fixture(scope="module")
def chromium():
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("report")
    closed = run_world(path, World(minutes=24 * 60))
    node = run_node(
        Report,
        run_dir=str(path),
        title=f"A scripted day {HOSTILE}",
        stand_ins=(f"a made market {HOSTILE}",),
        labels={HOSTILE: f"label {HOSTILE}"},
        gas_gwei=(5.0, 20.0, 60.0),
        run_gas_gwei=20.0,
    )
    node.on_ledger(closed)
    return path


@pytest.fixture(scope="module")
def report(folder) -> dict:
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


def test_the_headline_tells_the_numbers_of_the_json(chromium, folder, report):
    with opened(chromium, folder / "report.html") as seen:
        cards = seen.page.locator(".card").all_inner_texts()
        verdict = seen.page.locator(".verdict").inner_text()
        above = seen.page.locator(".cards").bounding_box()
    error, pnl, moves = report["hedge_error"], report["pnl"], report["volatility"]
    assert cards[0].splitlines()[:2] == ["Hedge error", f"{-error['rms_reduction']:+.1%}"]
    for side in ("with_hedge", "without_hedge"):
        assert f"{error[side]['rms_base']:,.3f}" in cards[0]
    assert cards[1].splitlines()[:2] == ["PnL", f"{pnl['low']:+,.0f} … {pnl['high']:+,.0f}"]
    assert f"as run {pnl['as_run']:+,.0f}" in cards[1]
    assert f"{-moves['volatility_per_step_reduction']:+.1%}" in cards[2]
    assert f"{-moves['max_drawdown_reduction']:+.1%}" in cards[3]
    assert verdict == pnl["verdict"]
    assert above["y"] + above["height"] < 400


def test_the_order_is_hedge_then_pnl_then_its_parts(chromium, folder):
    with opened(chromium, folder / "report.html") as seen:
        assert seen.page.locator("h2").all_inner_texts() == [
            "Does the hedge work?",
            "What it earned",
            "What it is made of",
            "The market and the inventory",
            "Execution",
            "Decisions, data and assumptions",
        ]


def test_the_table_of_parts_equals_the_json(chromium, folder, report):
    with opened(chromium, folder / "report.html") as seen:
        row = seen.page.locator("tr", has=seen.page.get_by_role("rowheader", name="LVR", exact=True))
        cells = row.locator("td.num").all_inner_texts()
    sides = [report["attribution"][side]["parts"]["lvr"] for side in ("with_hedge", "without_hedge")]
    assert cells == [f"{value:+,.2f}" for value in sides]


@pytest.mark.parametrize("width", [1024, 1440])
def test_every_plot_is_there_and_shows_something(chromium, folder, width):
    with opened(chromium, folder / "report.html", width=width) as seen:
        for title in PLOTS:
            figure = seen.page.locator("figure.chart", has=seen.page.get_by_text(title, exact=True))
            box = figure.locator("svg").bounding_box()
            assert box["width"] > 300
            assert box["height"] > 150
            lines = figure.locator("path.line")
            assert lines.count() >= 1
            spans = [line.evaluate("path => [path.getBBox().width, path.getTotalLength()]") for line in lines.all()]
            assert all(long > 300 and wide > 300 for wide, long in spans)
            assert figure.locator("svg text").count() >= 6
            assert figure.locator(".unit").inner_text() in ("ETH", "USD", "USD per ETH", "USDC", "USDC per ETH")
        assert seen.page.locator("path.area").get_attribute("d").startswith("M")
        assert seen.page.locator(".strip circle").count() == 18


def test_labels_of_an_axis_do_not_touch_and_can_be_read(chromium, folder):
    with opened(chromium, folder / "report.html", width=1024, height=768) as seen:
        for figure in seen.page.locator("figure.chart").all():
            texts = [text.bounding_box() for text in figure.locator("svg text").all()]
            assert all(box["height"] >= 9 for box in texts)
            for place, one in enumerate(texts):
                for other in texts[place + 1 :]:
                    apart = (
                        one["x"] + one["width"] <= other["x"] + 1
                        or other["x"] + other["width"] <= one["x"] + 1
                        or one["y"] + one["height"] <= other["y"] + 1
                        or other["y"] + other["height"] <= one["y"] + 1
                    )
                    assert apart, (one, other)


def test_the_cursor_tells_time_and_value_of_every_line(chromium, folder, report):
    with opened(chromium, folder / "report.html") as seen:
        figure = seen.page.locator("figure.chart", has=seen.page.get_by_text("Change of equity", exact=True))
        svg, tip = figure.locator("svg"), figure.locator(".tip")
        svg.scroll_into_view_if_needed()
        assert tip.is_hidden()
        box = svg.bounding_box()
        seen.page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 40)
        told = tip.inner_text()
        assert "UTC" in told
        for name in ("hedged LP", "unhedged LP", "rebalancing", "holding", "cash"):
            assert name in told
        edge = tip.bounding_box()
        assert box["x"] <= edge["x"]
        assert edge["x"] + edge["width"] <= box["x"] + box["width"]
        seen.page.mouse.move(box["x"] + box["width"] - 2, box["y"] + 40)
        last = f"{report['series']['equity.hedged LP'][-1]:,.6g}".rstrip("0")
        assert last[:5] in tip.inner_text()
        seen.page.mouse.move(2, 2)
        assert tip.is_hidden()


def test_all_combinations_open_on_a_click(chromium, folder, report):
    with opened(chromium, folder / "report.html") as seen:
        rows = seen.page.locator("details tbody tr")
        assert not rows.first.is_visible()
        seen.page.locator("summary").click()
        assert rows.first.is_visible()
        assert rows.count() == len(report["pnl"]["outcomes"])
        assert f"{report['pnl']['low']:+,.2f}" in rows.first.inner_text()


@pytest.mark.parametrize("width", [1024, 1280, 1920])
def test_nothing_is_wider_than_the_screen_and_no_table_is_cut(chromium, folder, width):
    with opened(chromium, folder / "report.html", width=width, height=768) as seen:
        assert seen.page.evaluate("document.documentElement.scrollWidth") == width
        cut = "boxes => boxes.filter(box => box.scrollWidth > box.clientWidth).map(box => box.innerText)"
        assert seen.page.eval_on_selector_all(".box", cut) == []


def test_a_run_without_an_lp_shows_price_and_execution(chromium, tmp_path):
    closed = run_world(tmp_path, World(minutes=200), attribution=False, skip=("lp", "command", "target"))
    run_node(Report, run_dir=str(tmp_path), title="Execution").on_ledger(closed)
    with opened(chromium, tmp_path / "report.html", width=1024, height=768) as seen:
        cards = " ".join(seen.page.locator(".card").all_inner_texts())
        assert "Price of fills" in cards
        assert "Maker share" in cards
        assert seen.page.locator("figure.chart path.line").count() >= 1
        assert seen.page.evaluate("document.documentElement.scrollWidth") == 1024
        assert seen.page.get_by_text("Markouts").is_visible()


def test_hostile_names_are_only_text(chromium, folder):
    with opened(chromium, folder / "report.html") as seen:
        assert HOSTILE in seen.page.locator("h1").inner_text()
        assert HOSTILE in seen.page.locator(".stand").inner_text()
        assert f"label {HOSTILE}" in seen.page.locator("dl").inner_text()
        assert seen.page.locator("img").count() == 0


def test_dark_mode_changes_every_colour_and_the_button_overrules(chromium, folder):
    what = [("body", "backgroundColor"), (".card b", "color"), ("path.line", "stroke"), ("svg text", "fill")]
    with opened(chromium, folder / "report.html", scheme="light") as seen:
        light = [seen.colour(*each) for each in what]
    with opened(chromium, folder / "report.html", scheme="dark") as seen:
        dark = [seen.colour(*each) for each in what]
        assert all(one != other for one, other in zip(light, dark, strict=True))
        seen.page.locator("button").click()
        assert [seen.colour(*each) for each in what] == light
        seen.page.locator("button").click()
        assert [seen.colour(*each) for each in what] == dark
