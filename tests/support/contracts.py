"""Numbers of the real contracts (tests/fixtures/uniswap_v3)."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

FIXTURES = Path(__file__).parents[1] / "fixtures" / "uniswap_v3"


def load(name: str) -> Any:
    """Return a file of numbers, all integers as such."""
    return whole(json.loads(gzip.decompress(Path(FIXTURES, f"{name}.json.gz").read_bytes())))


def whole(cell: Any) -> Any:
    """Return a cell with its integers, which beyond 53 bits are text, as integers."""
    if isinstance(cell, str) and re.fullmatch(r"-?\d+", cell):
        return int(cell)
    if isinstance(cell, list):
        return [whole(item) for item in cell]
    if isinstance(cell, dict):
        return {key: whole(value) for key, value in cell.items()}
    return cell
