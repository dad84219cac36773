"""The report: its numbers, its sentence, its page."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path

import pytest
from support.scripted_run import run_world
from support.scripted_world import World

from engine.errors import NodeFailed
from engine.testing import run_node
from nodes._lib.ledger_file import LedgerDamaged
from nodes._lib.report_build import About, as_json, build_report
from nodes._lib.report_charts import nice_ticks
from nodes._lib.report_page import page
from nodes._lib.report_pnl import Assumptions, verdict
from nodes._lib.report_rebalances import LISTED, rebalance_box
from nodes._lib.report_text import WIDTH, markout, terminal_table, wait
from nodes.messages import LedgerClosed
from nodes.sinks.report import Report

GOLDEN = Path(__file__).parents[3] / "golden" / "report" / "tiny.json"
ABOUT = About("A scripted day", {"note": "made up"}, ("made market",), Assumptions((5.0, 20.0, 60.0), 20.0, 5.0, 0.5))


@pytest.fixture(scope="module")
def day(tmp_path_factory) -> tuple[LedgerClosed, dict]:
    closed = run_world(tmp_path_factory.mktemp("day"), World(minutes=24 * 60))
    return closed, build_report(Path(closed.path), ABOUT, head=closed.head)


def test_golden_of_a_tiny_ledger(tmp_path):
    closed = run_world(tmp_path, World(minutes=12, volatility=0.004))
    text = as_json(build_report(Path(closed.path), ABOUT))
    report = json.loads(text)
    # The digest hangs on the last bit of every price, which differs between machines' mathematical libraries.
    del report["run"]["head"]
    # Curves repeat each value many times on so short a run.
    report["series"] = {name: values[:: len(values) // 6] for name, values in report["series"].items()}
    if not GOLDEN.exists():
        GOLDEN.parent.mkdir(parents=True, exist_ok=True)
        GOLDEN.write_text(json.dumps(report, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
        pytest.fail(f"{GOLDEN} was missing and has been written: read it, then run again")
    assert report == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_two_runs_give_the_same_files(tmp_path):
    for name in ("one", "two"):
        closed = run_world(tmp_path / name, World(minutes=200))
        run_node(Report, run_dir=str(tmp_path / name), title="Twice").on_ledger(closed)
    for name in ("report.json", "report.html", "report.txt", "ledger.sqlite"):
        one, two = ((tmp_path / side / name).read_bytes() for side in ("one", "two"))
        assert one == two
        assert str(tmp_path).encode() not in one


def test_attribution_is_closed_on_both_sides(day):
    table = day[1]["attribution"]
    for side in ("with_hedge", "without_hedge"):
        assert table[side]["residual"] == "0"
        assert (
            table[side]["sum"] == table[side]["change_of_equity"] == pytest.approx(sum(table[side]["parts"].values()))
        )
    assert table["without_hedge"]["parts"]["lvr"] < 0


def test_the_hedge_reduces_exposure_and_variance(day):
    report = day[1]
    error, moves = report["hedge_error"], report["volatility"]
    assert 0.9 < error["rms_reduction"] < 1
    assert error["with_hedge"]["mean_base"] <= error["with_hedge"]["rms_base"]
    assert error["with_hedge"]["rms_value"] == pytest.approx(error["with_hedge"]["rms_base"] * 2000, rel=0.05)
    assert moves["step_s"] == 60
    assert moves["variance_per_step_reduction"] == pytest.approx(1 - (1 - moves["volatility_per_step_reduction"]) ** 2)


def test_interval_spans_all_combinations_and_gas_scales(day):
    pnl = day[1]["pnl"]
    assert len(pnl["outcomes"]) == 2 * 3 * 3
    values = {(each["execution"], each["gas_gwei"], each["reference"]): each["pnl"] for each in pnl["outcomes"]}
    assert (pnl["low"], pnl["high"]) == (min(values.values()), max(values.values()))
    declared = "venue mid × declared rate"
    assert values["as run", 20.0, declared] == pytest.approx(pnl["as_run"], abs=1e-3)
    gas = day[1]["attribution"]["with_hedge"]["parts"]["gas"]
    assert values["as run", 60.0, declared] - values["as run", 20.0, declared] == pytest.approx(2 * gas, abs=1e-3)
    assert values["taker", 20.0, declared] < values["as run", 20.0, declared]


def test_taker_is_read_from_the_variant_run(tmp_path):
    closed = run_world(tmp_path, World(minutes=300))
    run_world(tmp_path / "variants" / "taker", World(minutes=300, hedge_every=2))
    run_node(Report, run_dir=str(tmp_path)).on_ledger(closed)
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["pnl"]["taker_from"] == "variant run"
    assert {each["gas_gwei"] for each in report["pnl"]["outcomes"]} == {None}


@pytest.mark.parametrize(
    ("low", "high", "sampling", "words"),
    [
        (-5.0, 7.0, None, "not distinguishable from zero"),
        (0.0, 7.0, None, "not distinguishable from zero"),
        (3.0, 7.0, 0.1, "PnL is positive under every stated assumption: +3.00 to +7.00 USD."),
        (-7.0, -3.0, 0.1, "PnL is negative under every stated assumption"),
        (-7.0, -3.0, None, "too short to tell it from chance"),
        (3.0, 7.0, 4.0, "does not tell it from chance"),
    ],
)
def test_the_sentence_says_no_more_than_the_interval(low, high, sampling, words):
    text = verdict(low, high, (low + high) / 2, sampling, "USD")
    assert words in text
    assert "profit" not in text


def test_no_page_or_text_speaks_of_profit_over_zero(day):
    for text in (page(day[1]), terminal_table(day[1])):
        assert "profit" not in text.lower()


def test_fills_add_up(day):
    fills = day[1]["execution"]
    messages = [message for _, port, message in World(minutes=24 * 60).messages() if port == "fill"]
    assert fills["count"] == len(messages)
    assert fills["volume_base"] == pytest.approx(float(sum((each.size for each in messages), Decimal(0))))
    assert 0 < fills["maker_share"] < 1
    assert fills["slippage_maker_bps"] > 0 > fills["slippage_taker_bps"]
    assert fills["time_to_fill"]["median_s"] == 30
    assert [each["after_s"] for each in fills["markouts"]] == [1, 5, 30, 300]
    assert fills["markouts"][3]["bps"] is not None


def test_what_is_finer_than_the_marks_is_not_told(day):
    fills = day[1]["execution"]
    assert fills["marks_every_s"] == 60
    assert [each["bps"] is None for each in fills["markouts"]] == [True, True, True, False]
    html, text = page(day[1]), " ".join(terminal_table(day[1]).split())
    assert html.count("n/a (marks every 60 s)") == 3
    assert "median ≤ 60 s, 90 % within 60 s" in html
    assert "filled in ≤ 60 s (median)" in text
    assert "1 s, 5 s, 30 s n/a (marks every 60 s); 5 min" in text


def test_words_for_waits_and_markouts():
    assert (wait(30.0, 60.0), wait(90.0, 60.0), wait(0.3, None)) == ("≤ 60 s", "90.0 s", "0.3 s")
    assert markout({"after_s": 1, "bps": None}, 5.0) == "n/a (marks every 5 s)"
    assert markout({"after_s": 5, "bps": -0.5}, 5.0) == "-0.50 bps"
    assert markout({"after_s": 5, "bps": None}, None) == "–"


def test_without_an_lp_there_is_execution_only(tmp_path):
    closed = run_world(tmp_path, World(minutes=200), attribution=False, skip=("lp", "command", "target"))
    run_node(Report, run_dir=str(tmp_path), title="Execution").on_ledger(closed)
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["pnl"] is report["attribution"] is report["volatility"] is report["rebalances"] is None
    assert report["execution"]["count"] > 0
    assert report["execution"]["markouts"][0]["fills"] > 0
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Markouts" in text
    assert "What it earned" not in text


def test_an_empty_ledger_gives_a_report(tmp_path):
    closed = run_world(tmp_path, World(minutes=0), attribution=False)
    run_node(Report, run_dir=str(tmp_path)).on_ledger(closed)
    assert "fills: none" in (tmp_path / "report.txt").read_text(encoding="utf-8")


def test_rebalances_and_gates_are_counted(day):
    moves, gates = day[1]["rebalances"], day[1]["gates"]
    assert moves["done"] == moves["asked"] == gates[0]["count"] > 3
    (kind,) = moves["reasons"]
    assert kind["count"] == moves["asked"] == len(moves["commands"])
    assert kind["reason"] == moves["commands"][0]["reason"]
    assert (kind["below_bps"], kind["above_bps"]) == (100, 100)
    assert {each["gas_base"] for each in moves["commands"]} == {0.006}
    assert sorted(each["time"] for each in moves["commands"]) == [each["time"] for each in moves["commands"]]
    assert moves["gas_base"] == pytest.approx(0.006 * moves["done"])


def test_each_rebalance_is_listed_as_written_with_its_range(day):
    moves = day[1]["rebalances"]
    text = page(day[1])
    for each in moves["commands"]:
        assert f"<td>{each['reason']}</td><td class=num>−1.00 / +1.00 %</td><td class=num>0.006000</td>" in text
        assert each["time"].removesuffix(" UTC") in text


def test_many_rebalances_are_grouped_without_gaps_in_their_words(tmp_path):
    closed = run_world(tmp_path, World(minutes=24 * 60, volatility=0.004))
    report = build_report(Path(closed.path), ABOUT)
    moves = report["rebalances"]
    assert moves["asked"] > LISTED
    assert moves["commands"] == []
    (kind,) = moves["reasons"]
    assert f"<td>{kind['reason']}</td><td class=num>{moves['asked']:,}</td>" in page(report)
    assert "…" not in kind["reason"]


def test_a_withdrawal_has_no_range_and_what_was_not_done_no_gas():
    withdrawal = {
        "time": "",
        "reason": "silence",
        "below_bps": None,
        "above_bps": None,
        "done": False,
        "gas_base": None,
    }
    moves = {"asked": 1, "done": 0, "gas_base": 0.0, "gas_value": None, "commands": [withdrawal], "reasons": []}
    box = rebalance_box(moves, "ETH", "USD")
    assert "none: withdrawn" in box
    assert "not done" in box


def test_quality_is_fine_and_a_lost_fill_is_seen(day, tmp_path):
    assert all(item["fine"] for item in day[1]["quality"])
    assert any(item["name"] == "position in ETH-USDT-PERP" for item in day[1]["quality"])
    messages = list(World(minutes=200).messages())
    messages.remove(next(entry for entry in messages if entry[1] == "fill"))
    world = World()
    world.messages = lambda: messages
    closed = run_world(tmp_path, world, attribution=False)
    report = build_report(Path(closed.path), ABOUT)
    (item,) = [item for item in report["quality"] if item["name"] == "position in ETH-USDT-PERP"]
    assert "sum of fills" in item["value"]


def test_the_page_needs_no_network(day):
    text = page(day[1])
    assert not re.search(r"(?:https?:)?//[a-z]", text, re.I)
    assert not re.search(r"\b(?:src|href)\s*=|@import|url\(", text)
    assert "default-src 'none'" in text


def test_the_page_escapes_what_it_is_given(day):
    text = page(day[1] | {"title": "<script>alert(1)</script>"})
    assert "<script>alert" not in text


def test_the_text_fits_the_terminal(day):
    text = terminal_table(day[1])
    assert max(map(len, text.splitlines())) <= WIDTH
    assert text.index("HEDGE") < text.index("PnL")
    assert "stand-in: made market" in text


def test_a_damaged_ledger_is_not_reported(tmp_path):
    closed = run_world(tmp_path, World(minutes=30))
    data = bytearray(Path(closed.path).read_bytes())
    data[data.index(b"ETH-USDT-PERP")] ^= 1
    Path(closed.path).write_bytes(bytes(data))
    with pytest.raises(NodeFailed) as failure:
        run_node(Report, run_dir=str(tmp_path)).on_ledger(closed)
    assert isinstance(failure.value.cause, LedgerDamaged)
    assert not (tmp_path / "report.json").exists()


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-433.0, -68.0), (1999.9, 2000.1), (5, 5), (0, 0), (1e-9, 3e-9)])
def test_ticks_enclose_the_values(low, high):
    ticks = nice_ticks(low, high)
    assert ticks[0] <= low <= high <= ticks[-1] or ticks[-1] - ticks[0] == pytest.approx(high - low)
    assert 2 <= len(ticks) <= 12
