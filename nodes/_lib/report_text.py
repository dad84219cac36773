"""The report as a page of text for a terminal, at most 100 columns wide."""

from __future__ import annotations

from textwrap import wrap
from typing import Any

WIDTH = 100
NAMES = {
    "carry": "carry (LP base × price)",
    "lp_fees": "LP fees",
    "lvr": "LVR",
    "hedge_price": "hedge price",
    "basis": "basis and rates",
    "funding": "funding",
    "venue_fees": "venue fees",
    "gas": "gas",
    "swap_slippage": "swap slippage",
}
"""Parts of PnL in the order in which they are shown."""


def terminal_table(report: dict[str, Any]) -> str:
    """Return the report's main numbers as text: hedge error first, then PnL as an interval, then what it is made of."""
    run = report["run"]
    lines = [report["title"] or "Report", f"{run['from']} to {run['to']} · {_market(run)}"]
    for text in run["stand_ins"]:
        lines += wrap(text, WIDTH, initial_indent="stand-in: ", subsequent_indent="          ")
    lines.append("")
    lines += _hedge(report)
    if report["pnl"] is not None:
        lines += _pnl(report)
    lines += _execution(report)
    bad = [item for item in report["quality"] if not item["fine"]]
    lines += [f"attention: {item['name']}: {item['value']}"[:WIDTH] for item in bad]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _market(run: dict[str, Any]) -> str:
    return " hedged on ".join(part for part in (run["pool"], ", ".join(run["instruments"])) if part)


def _row(name: str, *cells: str) -> str:
    return f"  {name:<34}" + "".join(f"{cell:>20}" for cell in cells)


def _hedge(report: dict[str, Any]) -> list[str]:
    error, moves, currency = report["hedge_error"], report["volatility"], report["run"]["currency"]
    lines: list[str] = []
    if error is None and moves is None:
        return lines
    lines.append(_row("HEDGE", "with", "without", "reduction"))
    if error is not None:
        with_hedge, without = error["with_hedge"], error["without_hedge"]
        lines += [
            _row(
                "RMS net exposure, base",
                f"{with_hedge['rms_base']:,.4f}",
                f"{without['rms_base']:,.4f}",
                share(error["rms_reduction"]),
            ),
            _row("mean |net exposure|, base", f"{with_hedge['mean_base']:,.4f}", f"{without['mean_base']:,.4f}"),
            _row(
                f"mean |net exposure|, {currency}", f"{with_hedge['mean_value']:,.0f}", f"{without['mean_value']:,.0f}"
            ),
        ]
    if moves is not None:
        step = step_name(moves["step_s"])
        for name, key in (
            (f"volatility of PnL per {step}", "volatility_per_step"),
            (f"variance of PnL per {step}", "variance_per_step"),
            ("max drawdown", "max_drawdown"),
        ):
            lines.append(
                _row(
                    f"{name}, {currency}" + ("²" if "variance" in name else ""),
                    f"{moves['with_hedge'][key]:,.2f}",
                    f"{moves['without_hedge'][key]:,.2f}",
                    share(moves[f"{key}_reduction"]),
                )
            )
    return [*lines, ""]


def _pnl(report: dict[str, Any]) -> list[str]:
    pnl, table, currency = report["pnl"], report["attribution"], report["run"]["currency"]
    lines = wrap(pnl["verdict"], WIDTH)
    lines += ["", _row(f"PARTS OF PNL AS RUN, {currency}", "with hedge", "LP alone")]
    for name, words in NAMES.items():
        cells = [table[side]["parts"].get(name) for side in ("with_hedge", "without_hedge")]
        lines.append(_row(words, *("" if cell is None else f"{cell:+,.2f}" for cell in cells)))
    for words, key in (("sum", "sum"), ("change of equity", "change_of_equity")):
        lines.append(_row(words, *(f"{table[side][key]:+,.2f}" for side in ("with_hedge", "without_hedge"))))
    lines.append(_row("residual", *(table[side]["residual"] for side in ("with_hedge", "without_hedge"))))
    beside = ", ".join(f"{each['name']} {each['change']:+,.2f}" for each in report["alternatives"][2:])
    lines += wrap(f"beside it: {beside}", WIDTH, initial_indent="  ", subsequent_indent="  ")
    return [*lines, ""]


def _execution(report: dict[str, Any]) -> list[str]:
    fills, moves = report["execution"], report["rebalances"]
    lines: list[str] = []
    if fills is not None:
        waited, every = fills["time_to_fill"], fills["marks_every_s"]
        marks = ", ".join(
            f"{step_name(each['after_s'])} {each['bps']:+.2f}" for each in fills["markouts"] if each["bps"] is not None
        )
        short = [each for each in fills["markouts"] if each["bps"] is None and every and each["after_s"] < every]
        if short:
            names = ", ".join(step_name(each["after_s"]) for each in short)
            marks = "; ".join(part for part in (f"{names} {markout(short[0], every)}", marks) if part)
        text = (
            f"{fills['count']} fills, {fills['volume_base']:,.3f} base, maker {share(fills['maker_share'])}, "
            f"{bps(fills['slippage_bps'])} against the mid, fee {bps(fills['fee_bps'])}"
        )
        text += f"; markouts in bps: {marks}" if marks else ""
        text += f"; filled in {wait(waited['median_s'], every)} (median)" if waited else ""
        lines += wrap(text, WIDTH, initial_indent="fills: ", subsequent_indent="       ")
    else:
        lines.append("fills: none")
    if moves is not None:
        lines.append(f"rebalances: {moves['done']} done of {moves['asked']} asked, gas {moves['gas_base']:.4f} base")
    refused = sum(each["count"] for each in report["gates"] if not each["passed"])
    passed = sum(each["count"] for each in report["gates"] if each["passed"])
    if refused or passed:
        lines.append(f"gates: {passed} passed, {refused} refused")
    return lines


def share(value: float | None) -> str:
    """Return a part of one as a percentage; a dash when it is not known."""
    return "–" if value is None else f"{value:.1%}"


def bps(value: float | None) -> str:
    """Return bps with sign; a dash when it is not known."""
    return "–" if value is None else f"{value:+.2f} bps"


def markout(each: dict[str, Any], every_s: float | None) -> str:
    """Return a markout in words; one within the time between two marks is not known."""
    if each["bps"] is None and every_s is not None and each["after_s"] < every_s:
        return f"n/a (marks every {every_s:g} s)"
    return bps(each["bps"])


def wait(seconds: float, every_s: float | None) -> str:
    """Return a time to fill in words: no finer than the time between two marks."""
    return f"≤ {every_s:g} s" if every_s is not None and every_s > 0 and seconds <= every_s else f"{seconds:,.1f} s"


def step_name(seconds: float) -> str:
    """Return a length of time in its largest whole unit, as in 5 min."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            count = int(seconds // size)
            return f"{count} {unit}"
    return f"{seconds:g} s"
