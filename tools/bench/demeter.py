"""The same Polygon minutes through zelos-demeter, an LP backtester for Python, where it is installed.

What it does there is less than the LP graph does: one position around the price, re-centred when the price has moved;
no inventory model, no hedge, no order, no ledger. The two do not make the same positions (ours puts base above the
price and quote below it), so their results cannot agree and no ratio of their speeds is a result. The figure tells
where a tool of this kind stands on this machine.
"""

from __future__ import annotations

import gzip
import io
import logging
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import date
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

DATA = Path(__file__).parents[2] / "data"
FIRST_DAY, LAST_DAY = date(2023, 8, 13), date(2023, 8, 17)
HALF_WIDTH_TICKS, MOVE_TICKS = 200, 150
"""A tick is 1 bp: the half width of the range, and the move of the price after which it is centred anew."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One run: pool minutes, ranges taken, and the CPU and wall time of the run alone, without reading the files."""

    version: str
    minutes: int
    ranges: int
    cpu_s: float
    wall_s: float


def run_once() -> Measured | None:
    """Run the five days once; return None where demeter is not installed."""
    try:
        demeter, uniswap, data_cache = map(import_module, ("demeter", "demeter.uniswap", "demeter.data.data_cache"))
    except ImportError:
        return None
    logging.disable(logging.WARNING)
    usdc, eth = demeter.TokenInfo(name="usdc", decimal=6), demeter.TokenInfo(name="eth", decimal=18)
    name = demeter.MarketInfo("lp")

    class Recentre(demeter.Strategy):  # type: ignore[misc, name-defined]
        """Hold one range around the price."""

        def __init__(self) -> None:
            super().__init__()
            self.centre, self.ranges = 0, 0

        def on_bar(self, snapshot: Any) -> None:
            tick = int(snapshot.market_status[name].closeTick)
            if self.ranges and abs(tick - self.centre) <= MOVE_TICKS:
                return
            market = self.broker.markets[name]
            market.remove_all_liquidity()
            market.even_rebalance(snapshot.market_status[name].price)
            lower, upper = ((tick + side) // 10 * 10 for side in (-HALF_WIDTH_TICKS, HALF_WIDTH_TICKS))
            market.add_liquidity_by_tick(lower, upper)
            self.centre, self.ranges = tick, self.ranges + 1

    with TemporaryDirectory() as folder, redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):
        _unpack(Path(folder))
        market = uniswap.UniLpMarket(name, uniswap.UniV3Pool(usdc, eth, 0.05, usdc))
        market.data_path = folder
        # Its cache would otherwise stay in the home folder, and spare a second run the reading.
        vars(data_cache).update(CACHE_PATH=folder, CACHE_CONFIG_PATH=f"{folder}/cache.pickle")
        market.load_data("polygon", "pool", FIRST_DAY, LAST_DAY)
        actuator, strategy = demeter.Actuator(), Recentre()
        actuator.broker.add_market(market)
        actuator.broker.set_balance(usdc, 50_000)
        actuator.broker.set_balance(eth, 27)
        actuator.strategy = strategy
        actuator.set_price(market.get_price_from_data())
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        actuator.run(print_result=False)
        wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    logging.disable(logging.NOTSET)
    return Measured(version("zelos-demeter"), len(actuator.account_status), strategy.ranges, cpu_s, wall_s)


def _unpack(folder: Path) -> None:
    # demeter reads plain files under names of its own.
    for path in sorted(DATA.glob("polygon_usdc_weth_5bps_*.minute.csv.gz")):
        day = path.name.removesuffix(".minute.csv.gz").rsplit("_", 1)[1]
        (folder / f"polygon-pool-{day}.minute.csv").write_bytes(gzip.decompress(path.read_bytes()))
