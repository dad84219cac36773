"""A ledger whose process dies: what was acknowledged is in the file, what comes again is not booked twice."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.scripted_world import NS, fill, mark

from engine.errors import NodeFailed
from engine.run.journal import Journal
from engine.testing import NodeUnderTest, run_node
from nodes._lib.ledger_file import LedgerConflict, reading, verify
from nodes.messages import GateVerdict, LedgerClosed
from nodes.sinks.ledger import Ledger

LABELS = {"topology": "scripted", "seed": "1"}


def ledger(folder: Path, **params: Any) -> NodeUnderTest:
    return run_node(Ledger, run_dir=str(folder), labels=LABELS, **params)


def killed(under: NodeUnderTest) -> None:
    """End a ledger as SIGKILL does: what waits in memory is gone, and the file is let go of."""
    under.node._file._db.close()


def again(folder: Path, journal: Path | None, **params: Any) -> NodeUnderTest:
    """Return the ledger of the process that is started next."""
    under = ledger(folder, **params)
    if journal is None:
        return under
    killed(under)
    with closing(Journal(journal)) as kept:
        kept.restore(under.host)
    under.resume()
    return under


def count(folder: Path, table: str) -> int:
    with reading(folder / "ledger.sqlite") as db:
        (number,) = db.execute(f"SELECT count(*) FROM {table}").fetchone()
        return int(number)


def verdict(number: int) -> GateVerdict:
    return GateVerdict(f"gate-{number}", f"h-{number}", number, True, "all", "sell 1")


def test_what_the_journal_acknowledges_is_on_disk_first(tmp_path: Path) -> None:
    under = ledger(tmp_path)
    under.on_fill(fill(1, "1", "1", "2000"))
    under.on_verdict(verdict(1))
    with closing(Journal(tmp_path / "state.sqlite")) as journal:
        journal.checkpoint(under.host)
        journal.checkpoint(under.host)
        journal.save(under.host, {})
    killed(under)
    assert (count(tmp_path, "fills"), count(tmp_path, "verdicts")) == (1, 1)


def test_a_crash_between_file_and_journal_books_nothing_twice(tmp_path: Path) -> None:
    under = ledger(tmp_path)
    under.on_fill(fill(1, "1", "1", "2000"))
    with closing(Journal(tmp_path / "state.sqlite")) as journal:
        journal.checkpoint(under.host)
        journal.checkpoint(under.host)
        journal.save(under.host, {})
    under.on_fill(fill(2, "2", "1", "2000"))
    under.on_verdict(verdict(1))
    under.node.checkpoint()  # and then it dies, before its journal tells the writers
    under.on_fill(fill(3, "3", "1", "2000"))
    killed(under)
    new = again(tmp_path, tmp_path / "state.sqlite")
    for number in (2, 3):
        new.on_fill(fill(number, str(number), "1", "2000"))
    new.on_verdict(verdict(1))
    ((_, closed),) = new.stop()
    assert isinstance(closed, LedgerClosed)
    assert verify(tmp_path / "ledger.sqlite", closed.head).rows == closed.rows
    assert (count(tmp_path, "fills"), count(tmp_path, "verdicts")) == (3, 1)
    with reading(tmp_path / "ledger.sqlite") as db:
        facts = db.execute("SELECT key, value FROM meta").fetchall()
    assert sorted(key for key, _ in facts) == ["repeats", "seed", "topology"]
    assert dict(facts)["repeats"] == '{"commands": 0, "fills": 1, "orders": 0, "verdicts": 1}'


def test_a_repeat_that_says_something_else_is_found_after_a_crash_too(tmp_path: Path) -> None:
    under = ledger(tmp_path, durable_orders=True)
    under.on_fill(fill(1, "1", "1", "2000"))
    killed(under)
    with pytest.raises(NodeFailed) as failed:
        again(tmp_path, None).on_fill(fill(1, "1", "2", "2000"))
    assert isinstance(failed.value.__cause__, LedgerConflict)


def test_marks_after_a_fill_are_kept_although_the_process_died_between(tmp_path: Path) -> None:
    under = ledger(tmp_path, sample_s=3_600, markout_s=(30,))
    under.on_mark(mark(0, 2000.0))
    under.on_fill(fill(1, "1", "1", "2000"))
    under.on_mark(mark(2, 2001.0))
    with closing(Journal(tmp_path / "state.sqlite")) as journal:
        journal.checkpoint(under.host)
        journal.checkpoint(under.host)
        journal.save(under.host, {})
    killed(under)
    new = again(tmp_path, tmp_path / "state.sqlite", sample_s=3_600, markout_s=(30,))
    new.node._mark.next_ns["ETH"] = 3_600 * NS
    new.on_mark(mark(35, 2002.0))
    new.on_mark(mark(36, 2003.0))
    new.stop()
    with reading(tmp_path / "ledger.sqlite") as db:
        prices = [price for (price,) in db.execute("SELECT price FROM marks ORDER BY seq")]
    assert 2002.0 in prices
