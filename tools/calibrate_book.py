"""Write the book models in `data/` from the captures beside them: `python -m tools.calibrate_book`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from nodes._lib.book_calibration import calibrate

DATA = Path(__file__).parent.parent / "data"


def main() -> None:
    """Recompute each model and print where it went."""
    captures: tuple[tuple[Literal["spot", "usdm"], str], ...] = (("usdm", "ETH-USDT-PERP"), ("spot", "ETH-USDT"))
    for venue, instrument in captures:
        model = calibrate(DATA / f"binance_{venue}_ethusdt_2024-08-08.txt.gz", instrument, venue, tick=0.01)
        path = DATA / f"book_model_binance_{venue}_ethusdt.json"
        path.write_bytes(msgspec.json.format(msgspec.json.encode(model), indent=2) + b"\n")
        print(f"{path}: half spread {model.half_spread_bps} bps, touch {model.touch_depth_base} base")


if __name__ == "__main__":
    main()
