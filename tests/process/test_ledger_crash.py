"""Kill the ledger's writer at a moment of chance: what it has acknowledged is there, and the chain holds."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from random import Random

from nodes._lib.ledger_file import reading, verify

WRITER = Path(__file__).parent.parent / "support" / "ledger_writer.py"


def test_kill_9_in_the_middle_of_writing(tmp_path):
    path, chance, acknowledged = tmp_path / "ledger.sqlite", Random(3), 0
    for _ in range(5):
        writer = subprocess.Popen([sys.executable, str(WRITER), str(path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        first = writer.stdout.readline()
        assert first, "the writer refused the ledger that its predecessor left"
        time.sleep(chance.uniform(0.0, 0.05))
        writer.kill()
        lines = [first, *writer.stdout.readlines()]
        writer.stdout.close()
        writer.wait()
        whole = [line.split() for line in lines if line.endswith("\n")]
        before, acknowledged = acknowledged, int(whole[-1][0])
        assert acknowledged > before
        found = verify(path)
        assert found.rows >= acknowledged
        with reading(path) as db:
            ids = [int(row[0]) for row in db.execute("SELECT trade_id FROM fills ORDER BY seq")]
        assert ids == list(range(1, found.rows + 1))
