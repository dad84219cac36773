"""`python -m tools.bench`: every benchmark, as one table. Ratios are taken within one run."""

from __future__ import annotations

import argparse
import platform
from statistics import median

from tools.bench import demeter, hop, lp, start, wires


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
    _print_wires(*((20_000, 300, 1) if options.short else (300_000, 2_000, 5)))
    _print_start(1 if options.short else 5)
    _print_graph(minutes, repeats)
    _print_peer()


def _print_wires(messages: int, trips: int, rounds: int) -> None:
    runs = [wires.measure(messages, trips) for _ in range(rounds)]

    def mid(name: str) -> float:
        return float(median(getattr(run, name) for run in runs))

    print(f"wire between two processes: frames of {wires.FRAME_BYTES} bytes, all delivered (median of {rounds} rounds)")
    print(f"  raw pyzmq, blocking {mid('raw_per_s'):8,.0f} messages/s")
    print(f"  node to node        {mid('wire_per_s'):8,.0f} messages/s, {mid('share'):.0%} of raw")
    print(f"  the same, conflated {mid('conflate_per_s'):8,.0f} messages/s taken")
    print(f"  the same, by a hub  {mid('hub_per_s'):8,.0f} messages/s")
    print(f"  the same, CURVE tcp {mid('curve_per_s'):8,.0f} messages/s")
    for name, label in (("beats", "with metrics"), ("sampled", "tap, 1,000/s"), ("tapped", "tap of all")):
        cost = median(1 - getattr(run, f"{name}_per_s") / run.wire_per_s for run in runs)
        print(f"  {label:<19} {mid(f'{name}_per_s'):8,.0f} messages/s, costs {cost:.0%}")
    print(f"round trip, paced at {wires.PACE_HZ:,}/s (p50 / p99)")
    print(f"  raw pyzmq, blocking {mid('raw_p50_us'):8,.0f} / {mid('raw_p99_us'):,.0f} us")
    print(f"  node to node        {mid('wire_p50_us'):8,.0f} / {mid('wire_p99_us'):,.0f} us")
    print(f"  ratio               {mid('p50_ratio'):8.2f} x at p50\n")


def _print_start(repeats: int) -> None:
    found = start.measure(repeats)
    print(f"start of {start.PROCESSES} processes, from the call of the supervisor (median of {repeats})")
    print(f"  barrier passed      {found.barrier_s:8.3f} s")
    print(f"  first message       {found.first_message_s:8.3f} s\n")


def _print_graph(minutes: int, repeats: int) -> None:
    runs = [lp.run_once(minutes) for _ in range(repeats)]
    rss_mb = lp.peak_rss_mb()
    first = runs[0]
    print(
        f"whole LP graph, ledger on, report off: {first.minutes:,} pool minutes, "
        f"{first.summary.events:,} messages and calls, {first.orders:,} orders and cancels, {first.fills:,} fills, "
        f"{first.ledger_rows:,} rows in the ledger"
    )
    print(f"  by the clock        {median(run.per_wall_s for run in runs):8,.0f} rows/s (median of {repeats})")
    print(f"  by CPU time         {median(run.per_cpu_s for run in runs):8,.0f} rows/s (median of {repeats})")
    print(f"  peak memory         {rss_mb:8,.0f} MB")
    recorded = lp.run_once(minutes // 10, record=True)
    print(
        f"  and recording       {recorded.per_wall_s:8,.0f} rows/s by the clock, {recorded.per_cpu_s:,.0f} by CPU time "
        f"(over {recorded.minutes:,} rows)\n"
    )


def _print_peer() -> None:
    run = demeter.run_once()
    if run is None:
        print("zelos-demeter is not installed: left out (`pip install zelos-demeter` in this environment to compare)")
        return
    print(f"zelos-demeter {run.version}: {run.minutes:,} of the same minutes, {run.ranges} ranges of one position")
    print(f"  by the clock        {run.minutes / run.wall_s:8,.0f} rows/s")
    print(f"  by CPU time         {run.minutes / run.cpu_s:8,.0f} rows/s")
    print("  no ratio: it holds other positions and neither hedges nor books, so the results cannot be made to agree")


if __name__ == "__main__":
    main()
