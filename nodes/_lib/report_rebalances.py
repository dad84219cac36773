"""The LP's rebalances: found in the ledger, and shown as a table."""

from __future__ import annotations

import re
from html import escape
from typing import Any

import numpy as np

from nodes._lib.report_data import Run, utc

LISTED = 30
"""As many commands are listed one by one; more are grouped by their reason."""

NS = 10**9


def rebalances(run: Run) -> dict[str, Any]:
    """Return the LP's commands, how many were done, and their gas in base units.

    `commands` lists each, with its range in bps below and above the price at which it was decided; it is empty when
    there are more than `LISTED`. `reasons` groups them: each stands for all that differ from it in numbers only.
    """
    gas = run.lp["gas"]
    paid = float(gas[-1] - gas[0]) if len(gas) else 0.0
    done_ns = {command_id: time for time, command_id in reversed(run.commands_done)}
    commands = [_command(run, command, done_ns.get(command["command_id"])) for command in run.commands]
    return {
        "asked": len(run.commands),
        "done": len(run.commands_done),
        "gas_base": round(paid, 8),
        "gas_value": round(-float(run.pnl["gas"][-1]), 4) + 0.0 if run.has_pnl else None,
        "commands": commands if len(commands) <= LISTED else [],
        "reasons": _grouped(commands),
    }


def _command(run: Run, command: dict[str, Any], done_ns: int | None) -> dict[str, Any]:
    moves, price, asked_ns = command["action"] == "rebalance", command["price"], command["event_time_ns"]
    gas = None
    if done_ns is not None:
        # What was paid since the last state before it, failed attempts included.
        before = int(np.searchsorted(run.lp_times, min(asked_ns, done_ns - 1), side="right")) - 1
        after = int(np.searchsorted(run.lp_times, done_ns, side="right")) - 1
        gas = round(float(run.lp["gas"][after] - run.lp["gas"][before]), 8) + 0.0 if before >= 0 else None
    return {
        "time": utc(asked_ns),
        "action": command["action"],
        "reason": command["reason"],
        "below_bps": round((1 - command["lower_price"] / price) * 10_000, 1) if moves and price > 0 else None,
        "above_bps": round((command["upper_price"] / price - 1) * 10_000, 1) if moves and price > 0 else None,
        "done": done_ns is not None,
        "gas_base": gas,
    }


def _grouped(commands: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kinds: dict[str, list[dict[str, Any]]] = {}
    for command in commands:
        kinds.setdefault(re.sub(r"[-+]?\d[\d.,]*(?:e[-+]?\d+)?%?", "0", command["reason"]), []).append(command)
    return [
        {
            "reason": kind[0]["reason"],
            "count": len(kind),
            "below_bps": _median([each["below_bps"] for each in kind]),
            "above_bps": _median([each["above_bps"] for each in kind]),
        }
        for _, kind in sorted(kinds.items())
    ]


def _median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(float(np.median(known)), 1) if known else None


def rebalance_box(moves: dict[str, Any], base: str, currency: str) -> str:
    """Return the table of rebalances as HTML; the range of each is told in full, whatever a plot shows of it."""
    if moves["commands"]:
        head = f"<th>time, UTC</th><th>reason</th><th class=num>range</th><th class=num>gas, {escape(base)}</th>"
        rows = "".join(
            f"<tr><td>{escape(each['time'].removesuffix(' UTC'))}</td><td>{escape(each['reason'])}</td>"
            f"<td class=num>{_range(each)}</td><td class=num>{_gas(each)}</td></tr>"
            for each in moves["commands"]
        )
        note = "Range: lower and upper end against the price at the decision."
    else:
        head = "<th>reason, the first of its kind</th><th class=num>times</th><th class=num>median range</th>"
        rows = "".join(
            f"<tr><td>{escape(each['reason'])}</td><td class=num>{each['count']:,}</td>"
            f"<td class=num>{_range(each)}</td></tr>"
            for each in moves["reasons"]
        )
        note = "Reasons of one kind differ in their numbers only. Range: ends against the price at the decision."
    worth = f" ({moves['gas_value']:,.2f} {escape(currency)})" if moves["gas_value"] is not None else ""
    return (
        f"<div class=box><h3>Rebalances: {moves['done']} done of {moves['asked']} asked</h3>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        f"<p class=note>{note} Gas: {moves['gas_base']:.6f} {escape(base)}{worth}.</p></div>"
    )


def _range(command: dict[str, Any]) -> str:
    below, above = command["below_bps"], command["above_bps"]
    if below is None or above is None:
        return "none: withdrawn"
    return f"{-below / 100:+.2f} / {above / 100:+.2f} %".replace("-", "\N{MINUS SIGN}")


def _gas(command: dict[str, Any]) -> str:
    if not command["done"]:
        return "not done"
    return "–" if command["gas_base"] is None else f"{command['gas_base']:.6f}"
