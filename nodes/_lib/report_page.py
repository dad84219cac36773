"""The report as one page of HTML that needs nothing else. Pure: from the dictionary of `report.json`."""

from __future__ import annotations

from html import escape
from typing import Any

from nodes._lib.report_charts import Band, Line, bars, chart, signed, strip
from nodes._lib.report_rebalances import rebalance_box
from nodes._lib.report_style import CSS, SCRIPT
from nodes._lib.report_text import NAMES, bps, markout, share, step_name, wait

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def page(report: dict[str, Any]) -> str:
    """Return the whole page."""
    title = escape(report["title"] or "Report")
    sections = [
        _head(report),
        _hedge(report),
        _pnl(report),
        _parts(report),
        _market(report),
        _execution(report),
        _decisions(report),
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><style>{CSS}</style></head>'
        f"<body><main>{''.join(sections)}</main><script>{SCRIPT}</script></body></html>\n"
    )


# --- what it comes to ---------------------------------------------------------------------------------------------


def _head(report: dict[str, Any]) -> str:
    run = report["run"]
    market = " hedged on ".join(part for part in (run["pool"], ", ".join(run["instruments"])) if part)
    stand_ins = "".join(f"<li>{escape(text)}</li>" for text in run["stand_ins"])
    notice = f'<div class="stand"><b>What stands in for what was missing</b><ul>{stand_ins}</ul></div>'
    return (
        f"<header><div><h1>{escape(report['title'] or 'Report')}</h1><p class=sub>{escape(market)}</p>"
        f"<p class=sub>{run['from']} to {run['to']} · {_length(run['hours'])} · "
        f"amounts in {escape(run['currency'])}</p>"
        f'</div><button type="button">light / dark</button></header>'
        f"{_cards(report)}{notice if stand_ins else ''}"
    )


def _length(hours: float) -> str:
    if hours < 1:
        return f"{hours * 60:.0f} minutes"
    return f"{hours / 24:.1f} days" if hours >= 48 else f"{hours:.1f} hours"


def _units(report: dict[str, Any]) -> tuple[str, str]:
    """Return base and quote, as in ETH-USDC-5 or ETH-USDT-PERP; those very words where nothing names them."""
    return _pair(report["run"]["pool"] or next(iter(report["run"]["instruments"]), ""))


def _pair(name: str) -> tuple[str, str]:
    parts = name.split("-")
    return (parts[0], parts[1]) if len(parts) > 1 else ("base", "quote")


def _cards(report: dict[str, Any]) -> str:
    error, moves, pnl, fills = report["hedge_error"], report["volatility"], report["pnl"], report["execution"]
    base, currency = _units(report)[0], report["run"]["currency"]
    cards = []
    if error is not None:
        with_hedge, without = error["with_hedge"]["rms_base"], error["without_hedge"]["rms_base"]
        below = f"RMS net exposure: {with_hedge:,.3f} {base} with the hedge, {without:,.3f} without"
        cards.append(("Hedge error", _less(error["rms_reduction"]), below))
    if pnl is not None:
        interval = f"{pnl['low']:+,.0f} … {pnl['high']:+,.0f}"
        cards.append(("PnL", interval, f"{currency} over the stated assumptions; as run {pnl['as_run']:+,.0f}"))
    if moves is not None:
        for name, key, digits in (
            (f"Volatility per {step_name(moves['step_s'])}", "volatility_per_step", 2),
            ("Max drawdown", "max_drawdown", 0),
        ):
            pair = [f"{moves[side][key]:,.{digits}f}" for side in ("with_hedge", "without_hedge")]
            below = f"{pair[0]} {currency} with the hedge, {pair[1]} without"
            cards.append((name, _less(moves[f"{key}_reduction"]), below))
    if pnl is None and fills is not None:
        cards.append(("Price of fills", bps(fills["slippage_bps"]), "against the venue's mid; positive is better"))
        cards.append(("Maker share", share(fills["maker_share"]), f"of {fills['volume_quote']:,.0f} quote traded"))
    boxes = (
        f"<div class=card><i>{escape(name)}</i><b>{escape(value)}</b><span>{escape(below)}</span></div>"
        for name, value, below in cards
    )
    return f"<div class=cards>{''.join(boxes)}</div>"


def _less(reduction: float | None) -> str:
    return "–" if reduction is None else f"{-reduction:+.1%}"


# --- the hedge ----------------------------------------------------------------------------------------------------


def _hedge(report: dict[str, Any]) -> str:
    error, moves, series = report["hedge_error"], report["volatility"], report["series"]
    if error is None and moves is None:
        return ""
    currency, base = escape(report["run"]["currency"]), _units(report)[0]
    rows: list[tuple[str, float | None, float | None, int]] = []
    if error is not None:
        for name, key, digits in (
            (f"RMS net exposure, {escape(base)}", "rms_base", 4),
            (f"mean |net exposure|, {escape(base)}", "mean_base", 4),
            (f"RMS net exposure, {currency}", "rms_value", 0),
            (f"mean |net exposure|, {currency}", "mean_value", 0),
        ):
            rows.append((name, error["with_hedge"][key], error["without_hedge"][key], digits))
    if moves is not None:
        step = step_name(moves["step_s"])
        for name, key in (
            (f"volatility of PnL per {step}, {currency}", "volatility_per_step"),
            (f"the same per day, {currency}", "volatility_per_day"),
            (f"variance of PnL per {step}, {currency}²", "variance_per_step"),
            (f"max drawdown, {currency}", "max_drawdown"),
        ):
            rows.append((name, moves["with_hedge"][key], moves["without_hedge"][key], 2))
    body = "".join(
        f"<tr><th>{name}</th><td class=num>{a:,.{digits}f}</td><td class=num>{b:,.{digits}f}</td>"
        f"<td class=num>{_less(1 - a / b if b else None)}</td></tr>"
        for name, a, b, digits in rows
        if a is not None and b is not None
    )
    table = (
        "<div class=box><table><thead><tr><th></th><th class=num>with hedge</th><th class=num>without</th>"
        f"<th class=num>change</th></tr></thead><tbody>{body}</tbody></table>"
    )
    if error is not None and error["unknown_share"] > 0:
        table += f"<p class=note>Net exposure was unknown for {error['unknown_share']:.2%} of the time.</p>"
    exposure = chart(
        "Net exposure",
        base,
        series["time_s"],
        [
            Line("without hedge", series.get("net.without_hedge", []), 5),
            Line("with hedge", series.get("net.with_hedge", []), 0),
        ],
    )
    return f"<h2>Does the hedge work?</h2><div class=two>{table}</div>{exposure}</div>"


# --- what it earned -----------------------------------------------------------------------------------------------


def _pnl(report: dict[str, Any]) -> str:
    pnl, run = report["pnl"], report["run"]
    if pnl is None:
        return ""
    currency, assumed = run["currency"], run["assumptions"]
    body = "".join(
        f"<tr><td>{escape(each['execution'])}</td>"
        f"<td class=num>{'as run' if each['gas_gwei'] is None else format(each['gas_gwei'], 'g')}</td>"
        f"<td>{escape(each['reference'])}</td><td class=num>{each['pnl']:+,.2f}</td></tr>"
        for each in sorted(pnl["outcomes"], key=lambda each: each["pnl"])
    )
    references = "; ".join(f"{name}: {text}" for name, text in assumed["references"].items())
    taker = (
        "from a run of its own in which every hedge crosses the spread"
        if pnl["taker_from"] == "variant run"
        else f"each maker fill priced at the mid of its order ± {assumed['half_spread_bps']:g} bps, "
        f"with {assumed['taker_fee_bps']:g} bps of fee"
    )
    gas = (
        f"gas at {', '.join(f'{price:g}' for price in assumed['gas_gwei'])} gwei (run at {assumed['run_gas_gwei']:g})"
        if assumed["run_gas_gwei"] and assumed["gas_gwei"]
        else "gas as in the run"
    )
    sampling = pnl["sampling_error"]
    error = (
        f" Standard error of the total from hourly changes: {sampling:,.2f} {currency}." if sampling is not None else ""
    )
    return (
        f"<h2>What it earned</h2><div class=box><p class=verdict>{escape(pnl['verdict'])}</p>"
        f"{strip(pnl['outcomes'], pnl['low'], pnl['high'], pnl['as_run'], currency)}"
        "<p class=note>Each dot is one combination (filled: as run; hollow: hedge takes; ▾ the run itself). "
        f"Execution: as run, or taker ({escape(taker)}); {escape(gas)}; "
        f"reference price: {escape(references)}.{escape(error)}</p>"
        f"<details><summary>All {len(pnl['outcomes'])} combinations</summary><table><thead><tr><th>execution</th>"
        f"<th class=num>gas, gwei</th><th>reference price</th><th class=num>PnL, {escape(currency)}</th></tr></thead>"
        f"<tbody>{body}</tbody></table></details></div>"
    )


def _parts(report: dict[str, Any]) -> str:
    table, series = report["attribution"], report["series"]
    if table is None:
        return ""
    currency = escape(report["run"]["currency"])
    hedged, alone = table["with_hedge"], table["without_hedge"]
    rows = bars([(words, hedged["parts"].get(name), alone["parts"].get(name)) for name, words in NAMES.items()])

    def line(words: str, key: str) -> str:
        cells = (
            f"<td class=num>{side[key] if isinstance(side[key], str) else signed(side[key])}</td><td></td>"
            for side in (hedged, alone)
        )
        return f"<tr class=sum><th>{words}</th>{''.join(cells)}</tr>"

    parts = (
        f"<div class=box><h3>Parts of PnL as run, {currency}</h3><table><thead><tr><th></th>"
        f"<th class=num>with hedge</th><th></th><th class=num>LP alone</th><th></th></tr></thead>"
        f"<tbody>{rows}{line('sum', 'sum')}{line('change of equity', 'change_of_equity')}"
        f"{line('residual', 'residual')}</tbody></table>"
        "<p class=note>LVR is measured at block closes against the mark. The residual is computed in exact "
        "decimals.</p></div>"
    )
    others = "".join(
        f"<tr><th>{escape(each['name'])}</th><td class=num>{signed(each['change'])}</td>"
        f"<td class=num>{each['volatility_per_step']:,.2f}</td><td class=num>{each['max_drawdown']:,.2f}</td></tr>"
        for each in report["alternatives"]
    )
    step = step_name(report["volatility"]["step_s"])
    beside = (
        f"<div class=box><h3>Beside other portfolios of the same start, {currency}</h3><table><thead>"
        f"<tr><th></th><th class=num>change</th><th class=num>volatility per {step}</th><th class=num>max drawdown</th>"
        f"</tr></thead><tbody>{others}</tbody></table><p class=note>Rebalancing holds the LP's base at every moment "
        "and trades at the mark: LP alone − rebalancing = fees + LVR + gas + swap slippage. Holding keeps the first "
        "basket.</p></div>"
    )
    times = series["time_s"]
    cumulative = [
        Line(NAMES[name], series[f"part.{name}"], colour)
        for colour, name in enumerate(NAMES)
        if any(series.get(f"part.{name}", []))
    ]
    curves = [
        Line(name, series[f"equity.{name}"], colour, dash)
        for name, colour, dash in (
            ("hedged LP", 0, False),
            ("unhedged LP", 5, False),
            ("rebalancing", 2, True),
            ("holding", 1, True),
            ("cash", 8, True),
        )
        if f"equity.{name}" in series
    ]
    falls = [
        Line("without hedge", series["drawdown.without_hedge"], 5),
        Line("with hedge", series["drawdown.with_hedge"], 0),
    ]
    return (
        f"<h2>What it is made of</h2><div class=two>{parts}<div class=stack>{beside}"
        f"{chart('Drawdown', currency, times, falls)}</div>"
        f"{chart('Parts of PnL, cumulative', currency, times, cumulative)}"
        f"{chart('Change of equity', currency, times, curves)}</div>"
    )


def _market(report: dict[str, Any]) -> str:
    series = report["series"]
    if "lp.price" not in series:
        return ""
    band = None
    if "lp.lower" in series:
        band = Band("range of the LP", series["lp.lower"], series["lp.upper"], 0)
    base, quote = _units(report)
    name = "pool price" if report["run"]["pool"] else "mark"
    drawn = chart(
        "Price and ranges" if band else "Price",
        f"{quote} per {base}",
        series["time_s"],
        [Line(name, series["lp.price"], 1)],
        band=band,
        wide=True,
    )
    held = chart(
        "Inventory of the LP", base, series["time_s"], [Line(f"{base} held", series.get("lp.base", []), 2)], wide=True
    )
    return f"<h2>The market{' and the inventory' if held else ''}</h2><div class=stack>{drawn}{held}</div>"


# --- how it was done ----------------------------------------------------------------------------------------------


def _execution(report: dict[str, Any]) -> str:
    fills, orders = report["execution"], report["orders"]
    if fills is None:
        return "<h2>Execution</h2><div class=box>Nothing was filled.</div>"
    waited, every = fills["time_to_fill"], fills["marks_every_s"]
    base, quote = _pair(next(iter(report["run"]["instruments"]), ""))
    rows = [
        ("fills", f"{fills['count']:,}"),
        ("volume", f"{fills['volume_base']:,.4f} {base}, {fills['volume_quote']:,.0f} {quote}"),
        ("bought / sold", f"{fills['bought_base']:,.4f} / {fills['sold_base']:,.4f} {base}"),
        ("maker share of volume", share(fills["maker_share"])),
        ("fee paid", bps(fills["fee_bps"])),
        ("price against the mid", bps(fills["slippage_bps"])),
        ("… of maker fills", bps(fills["slippage_maker_bps"])),
        ("… of taker fills", bps(fills["slippage_taker_bps"])),
    ]
    if waited is not None:
        most = wait(waited["p90_s"], every).removeprefix("≤ ")
        rows.append(("order to first fill", f"median {wait(waited['median_s'], every)}, 90 % within {most}"))
    rows.append(("orders", ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in orders.items() if count)))
    marks = "".join(
        f"<tr><th>{step_name(each['after_s'])}</th><td class=num>{markout(each, every)}</td>"
        f"<td class=num>{each['fills']:,}</td></tr>"
        for each in fills["markouts"]
    )
    return (
        f"<h2>Execution</h2><div class=two><div class=box><table><tbody>{_pairs(rows)}</tbody></table>"
        "<p class=note>Weighted by volume. Positive is good for us, in prices; a fee is what we pay.</p></div>"
        "<div class=stack><div class=box><h3>Markouts</h3><table><thead><tr><th>after the fill</th>"
        "<th class=num>mark against fill</th>"
        f"<th class=num>fills</th></tr></thead><tbody>{marks}</tbody></table><p class=note>How far the mark has moved "
        f"in our favour from the price of the fill; negative means that we were picked off.</p></div>{_gates(report)}"
        "</div></div>"
    )


def _gates(report: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><th>{escape(each['rule'])}</th><td class={'good' if each['passed'] else 'bad'}>"
        f"{'passed' if each['passed'] else 'refused'}</td><td class=num>{each['count']:,}</td></tr>"
        for each in report["gates"]
    )
    head = "<tr><th>rule that decided</th><th></th><th class=num>times</th></tr>"
    table = f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"
    return f"<div class=box><h3>Risk gates</h3>{table}</div>" if rows else ""


def _pairs(rows: list[tuple[str, str]]) -> str:
    return "".join(
        f"<tr><th>{escape(name)}</th><td class=num style='white-space:normal'>{escape(value)}</td></tr>"
        for name, value in rows
    )


def _decisions(report: dict[str, Any]) -> str:
    boxes = []
    moves = report["rebalances"]
    if moves is not None and moves["asked"]:
        boxes.append(rebalance_box(moves, _units(report)[0], report["run"]["currency"]))
    checks = "".join(
        f"<tr><th>{escape(each['name'])}</th><td>{escape(each['value'])}</td>"
        f"<td class={'good' if each['fine'] else 'bad'}>{'✓' if each['fine'] else '!'}</td></tr>"
        for each in report["quality"]
    )
    boxes.append(f"<div class=box><h3>Assumptions and the run</h3><dl>{_facts(report)}</dl></div>")
    quality = f"<div class=box><h3>Data quality</h3><table><tbody>{checks}</tbody></table></div>"
    return (
        f"<h2>Decisions, data and assumptions</h2><div class=two>{quality}<div class=stack>{''.join(boxes)}</div></div>"
    )


def _facts(report: dict[str, Any]) -> str:
    run = report["run"]
    facts = {
        "mark": ", ".join(run["mark"]) or "none",
        "ledger": f"{run['ledger']}, {run['rows']:,} rows, chain ends in {run['head']}",
    } | dict(sorted(run["labels"].items()))
    if report["pnl"] is not None:
        facts = {
            "PnL spans": f"{len(report['pnl']['outcomes'])} combinations of execution, gas and reference price; "
            "they are told with the interval above",
            "hedge that takes": report["pnl"]["taker_from"],
        } | facts
    return "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.items())
