"""From a ledger to one dictionary of plain values, always the same for the same ledger: `report.json`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np

from nodes._lib.ledger_file import verify
from nodes._lib.report_data import PARTS, Floats, Run, Series, read_run, utc
from nodes._lib.report_execution import fills, gates, orders, quality
from nodes._lib.report_pnl import (
    REFERENCES,
    Assumptions,
    alternatives,
    attribution,
    drawdown,
    equity_curves,
    hedge_error,
    interval,
    volatility,
)
from nodes._lib.report_rebalances import rebalances

POINTS = 480
"""Points of each curve that is shown."""


@dataclass(frozen=True, slots=True)
class About:
    """What only the topology knows of a run."""

    title: str
    labels: dict[str, str]
    stand_ins: tuple[str, ...]
    assumptions: Assumptions


def build_report(ledger: Path, about: About, taker_ledger: Path | None = None, head: str = "") -> dict[str, Any]:
    """Read a ledger whose chain holds and return the report; raises LedgerDamaged or LedgerError."""
    verified = verify(ledger, head)
    run = read_run(ledger)
    taker_run = read_run(taker_ledger) if taker_ledger is not None and taker_ledger.is_file() else None
    if taker_run is not None and not taker_run.has_pnl:
        taker_run = None
    error = hedge_error(run)
    facts = {
        "rows": verified.rows,
        "commits": verified.commits,
        "repeats": json.loads(run.facts.get("repeats", "{}")),
        "unknown_share": error["unknown_share"] if error else None,
    }
    report: dict[str, Any] = {
        "title": about.title,
        "run": _run(run, about) | {"ledger": ledger.name, "rows": verified.rows, "head": verified.head},
        "hedge_error": error,
        "execution": fills(run),
        "orders": orders(run),
        "gates": gates(run),
        "quality": quality(run, facts),
        "series": _series(run),
        "volatility": None,
        "pnl": None,
        "attribution": None,
        "alternatives": [],
        "rebalances": rebalances(run) if run.commands or len(run.lp_times) else None,
    }
    if run.has_pnl:
        report |= {
            "volatility": volatility(run),
            "pnl": interval(run, taker_run, about.assumptions),
            "attribution": attribution(run),
            "alternatives": alternatives(run),
        }
    rounded: dict[str, Any] = _rounded(report)
    return rounded


def _run(run: Run, about: About) -> dict[str, Any]:
    facts = {name: value for name, value in run.facts.items() if name != "repeats"}
    return {
        "currency": run.currency,
        "pool": run.pool,
        "instruments": sorted({row["instrument"] for row in (*run.fills, *run.positions, *run.orders)}),
        "from": utc(run.first_ns),
        "to": utc(run.last_ns),
        "hours": (run.last_ns - run.first_ns) / 3.6e12,
        "mark": run.mark_sources,
        "labels": facts | about.labels,
        "stand_ins": list(about.stand_ins),
        "assumptions": asdict(about.assumptions) | {"references": REFERENCES},
    }


def _series(run: Run) -> dict[str, Any]:
    """Return every curve on one grid of times; NaN is null."""
    if run.last_ns <= run.first_ns:
        return {}
    grid = np.unique(np.linspace(run.first_ns, run.last_ns, POINTS).astype(np.int64))
    curves: dict[str, Floats] = {}
    if len(run.lp_times):
        for name in ("price", "lower", "upper", "base"):
            curves[f"lp.{name}"] = Series(run.lp_times, run.lp[name]).at(grid)
    elif len(run.mark.times):
        curves["lp.price"] = run.mark.at(grid)
    if len(run.exposure_times):
        curves["net.with_hedge"] = Series(run.exposure_times, run.exposure["net"]).at(grid)
        curves["net.without_hedge"] = Series(run.exposure_times, run.exposure["lp"]).at(grid)
    if run.has_pnl:
        for name in PARTS:
            curves[f"part.{name}"] = Series(run.pnl_times, run.pnl[name]).at(grid)
        for name, values in equity_curves(run).items():
            curves[f"equity.{name}"] = Series(run.pnl_times, values).at(grid)
        for name, column in (("with_hedge", "equity"), ("without_hedge", "unhedged")):
            curves[f"drawdown.{name}"] = -Series(run.pnl_times, drawdown(run.pnl[column])).at(grid)
    curves = {name: values for name, values in curves.items() if not np.all(np.isnan(values))}
    return {"time_s": [int(time // 10**9) for time in grid]} | {
        name: [None if isnan(value) else float(f"{value:.7g}") for value in values] for name, values in curves.items()
    }


def _rounded(value: Any) -> Any:
    """Return floats to 10 digits, so that the last bits of a sum do not show as a difference; no numpy left."""
    if isinstance(value, dict):
        return {name: _rounded(of) for name, of in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(of) for of in value]
    if isinstance(value, float | np.floating):
        return None if isnan(value) else float(f"{float(value):.10g}") + 0.0
    return value


def as_json(report: dict[str, Any]) -> str:
    """Return the report as JSON text with sorted keys; each curve is one line."""
    curves = report["series"]
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(curves[name])}" for name in sorted(curves))
    text = json.dumps(report | {"series": None}, indent=1, sort_keys=True, ensure_ascii=False)
    return text.replace('"series": null', f'"series": {{\n{lines}\n }}' if curves else '"series": {}', 1) + "\n"
