"""The quickstart as a user runs it: it ends by itself, keeps its books, and its recording repeats."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from support.hubs import free_offset

from nodes._lib.ledger_file import verify

ROOT = Path(__file__).parents[2]
PIPELINE = str(Path(sys.executable).with_name("pipeline"))


def pipeline(*arguments: str) -> str:
    done = subprocess.run([PIPELINE, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_quickstart_ends_with_closed_books_and_repeats_byte_for_byte(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    said = pipeline(
        *("up", "topologies/quickstart.yaml", "--speed", "3000", "--out", str(folder)),
        *("--port-offset", str(free_offset())),
    )
    assert "simulated: binance.orders" in said
    assert "0 restarts, 0 lost" in said
    assert verify(folder / "ledger.sqlite").rows > 1_000
    report = json.loads((folder / "report.json").read_text())
    assert float(report["attribution"]["with_hedge"]["residual"]) == 0
    replayed = pipeline("replay", str(folder))
    assert "the same:" in replayed
