"""The quickstart while its processes are killed at random moments: nothing that was acknowledged is lost or doubled."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.hubs import free_offset

from engine.errors import PipelineError
from engine.process.control import Client
from nodes._lib.ledger_file import verify

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("KILL9_KILLS", "110"))
SEED = int(os.environ.get("KILL9_SEED", "1"))
PROCESSES = ("quotes", "defi", "trader", "gate", "venue", "books")


@pytest.mark.long
def test_no_fill_is_lost_or_doubled_whoever_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    overlay = tmp_path / "restarts.yaml"
    overlay.write_text(
        "processes:\n"
        + "".join(f"  {name}: {{restart: {{policy: on_failure, max: 1000, window: 1h}}}}\n" for name in PROCESSES)
    )
    # Slow enough that the morning outlasts the kills.
    command = [
        *(
            str(Path(sys.executable).with_name("pipeline")),
            "up",
            "topologies/quickstart.yaml",
            "-f",
            str(overlay),
            "--json",
        ),
        *("--out", str(folder), "--speed", "250", "--port-offset", str(free_offset())),
    ]
    with open(tmp_path / "up.out", "wb") as out:
        run = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT)
    try:
        killed, seen = kill_at_random(folder, run)
        code = run.wait(300)
    finally:
        if run.poll() is None:
            run.kill()
            run.wait()
    said = (tmp_path / "up.out").read_text()
    assert code == 0, said
    assert sum(killed.values()) >= KILLS, f"the run was over after {killed}"
    print(f"killed {dict(killed)}")

    with closing(sqlite3.connect(folder / "ledger.sqlite")) as ledger:
        commits = dict(ledger.execute("SELECT number, digest FROM commits"))
        lost = {number: digest for number, digest in seen.items() if commits.get(number) != digest}
        assert not lost, f"{len(lost)} commits that had been acknowledged are gone or changed"
        fills = ledger.execute("SELECT trade_id, side, size FROM fills").fetchall()
    verify(folder / "ledger.sqlite")
    venue = state_of(folder / "state" / "venue.sqlite", "binance.orders")
    assert len(fills) > 20
    ids = sorted(int(trade_id) for trade_id, _, _ in fills)
    assert ids == list(range(1, venue["trades_made"] + 1)), "fills were lost or doubled"
    signed = sum(Decimal(size) if side == "buy" else -Decimal(size) for _, side, size in fills)
    assert signed == Decimal(venue["account"]["size"])


def kill_at_random(folder: Path, run: subprocess.Popen[bytes]) -> tuple[Counter[str], dict[int, str]]:
    """Kill processes until it is enough or the run ends; return who, and the ledger's commits seen on the way."""
    chance = random.Random(SEED)
    killed: Counter[str] = Counter()
    seen: dict[int, str] = {}
    while run.poll() is None and sum(killed.values()) < KILLS:
        time.sleep(chance.uniform(0.3, 1.3))
        try:
            with Client.of(folder) as client:
                status = client.ask("status")["status"]
        except PipelineError:
            continue
        seen |= commits_of(folder)
        alive = {
            name: each["pid"] for name, each in status["processes"].items() if each["pid"] and each["state"] == "ok"
        }
        alive["zygote"] = status["run"]["zygotes"][0]
        if not alive:
            continue
        victim = chance.choice(sorted(alive))
        with suppress(ProcessLookupError):
            os.kill(alive[victim], signal.SIGKILL)
            killed[victim] += 1
    return killed, seen


def commits_of(folder: Path) -> dict[int, str]:
    """Return what the ledger has acknowledged so far."""
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(folder / "ledger.sqlite", timeout=1)) as ledger:
        return dict(ledger.execute("SELECT number, digest FROM commits"))
    return {}


def state_of(journal: Path, node_id: str) -> dict[str, Any]:
    """Return the journaled state of a node."""
    with closing(sqlite3.connect(journal)) as db:
        (fields,) = db.execute("SELECT fields FROM node WHERE id = ?", (node_id,)).fetchone()
    state: dict[str, Any] = msgspec.json.decode(fields)
    return state
