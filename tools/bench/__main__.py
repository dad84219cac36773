"""`python -m tools.bench`: every benchmark, as one table. Ratios are taken within one run."""

from __future__ import annotations

import argparse
import platform
from statistics import median

from tools.bench import hop, lp


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument(
        "--short", action="store_true", help="Fewer rows and repeats: shows that it runs, not how fast."
    )
    options = parser.parse_args()
    minutes, repeats = (20_000, 1) if options.short else (504_000, 3)
    print(f"{platform.python_implementation()} {platform.python_version()}, {platform.machine()}\n")
    links = hop.measure(3 if options.short else 9)
    print("fused hop: production host, one new typed message per hop")
    print(f"  bare call chain     {links['bare_ns']:8.0f} ns per link")
    print(f"  hop                 {links['hop_ns']:8.0f} ns per link")
    print(f"  ratio               {links['ratio']:8.1f} x\n")
    runs = [lp.run_once(minutes) for _ in range(repeats)]
    first = runs[0]
    print(f"whole LP graph, {first.minutes:,} pool minutes, {first.orders:,} orders and cancels, {first.fills:,} fills")
    print(f"  ledger on           {median(run.minutes_per_s for run in runs):8,.0f} rows/s (median of {repeats})")
    recorded = lp.run_once(minutes // 10, record=True)
    print(f"  and recording       {recorded.minutes_per_s:8,.0f} rows/s (over {recorded.minutes:,} rows)")


if __name__ == "__main__":
    main()
