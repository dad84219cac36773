"""The ledger's file: chain, repeats, migrations, and what a disk can do."""

from __future__ import annotations

import random
import shutil
import sqlite3
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.scripted_world import World, fill, lp_state, mark

from nodes._lib.ledger_file import LedgerConflict, LedgerDamaged, LedgerError, LedgerFile, reading, verify
from nodes._lib.ledger_schema import MIGRATIONS, TABLES
from nodes.messages import OrderRequest

PORTS = {
    "order": "orders", "update": "updates", "fill": "fills", "position": "positions", "verdict": "verdicts",
    "command": "commands", "lp": "lp_states", "exposure": "exposures", "mark": "marks", "rate": "rates",
    "target": "targets",
}  # fmt: skip


def written(path, minutes=120, commit_rows=100) -> LedgerFile:
    ledger = LedgerFile(path, commit_rows)
    adders = {port: ledger.adder(name) for port, name in PORTS.items()}
    for _, port, message in World(minutes=minutes).messages():
        if port in adders:
            adders[port](message)
    ledger.close()
    return ledger


def content(path) -> dict[str, list[tuple]]:
    with reading(path) as db:
        return {name: db.execute(table.select).fetchall() for name, table in TABLES.items()}


def test_columns_are_those_of_the_sql():
    db = sqlite3.connect(":memory:")
    for sql in MIGRATIONS:
        db.executescript(sql)
    for name, table in TABLES.items():
        assert [row[1] for row in db.execute(f"PRAGMA table_info({name})")] == ["seq", *table.columns]


def test_written_rows_verify_and_come_back(tmp_path):
    path = tmp_path / "ledger.sqlite"
    ledger = written(path)
    found = verify(path)
    assert (found.rows, found.head) == (ledger.seq, ledger.head)
    assert found.commits == 5
    rows = content(path)
    world = list(World(minutes=120).messages())
    fills = [message for _, port, message in world if port == "fill"]
    assert [(row[3], Decimal(row[6])) for row in rows["fills"]] == [(each.trade_id, each.price) for each in fills]
    states = [message for _, port, message in world if port == "lp"]
    assert [int(row[6]) for row in rows["lp_states"]] == [each.wallet_base for each in states]


def test_two_runs_write_the_same_file(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    written(one)
    written(two)
    assert one.read_bytes() == two.read_bytes()


def test_amounts_beyond_64_bits_and_whole_floats_come_back(tmp_path):
    path = tmp_path / "ledger.sqlite"
    ledger = LedgerFile(path)
    ledger.adder("lp_states")(lp_state(1, base=2**200, quote=-1))
    ledger.adder("marks")(mark(1, 2000))
    ledger.adder("marks")(mark(1, -0.0))
    ledger.close()
    verify(path)
    assert content(path)["lp_states"][0][6] == str(2**200)


def test_a_repeat_is_booked_once_also_after_a_restart(tmp_path):
    path = tmp_path / "ledger.sqlite"
    for _ in range(2):
        ledger = LedgerFile(path)
        add = ledger.adder("fills")
        add(fill(1, "1", "0.5", "2000.0"))
        add(fill(2, "1", "0.50", "2000"))
        ledger.close()
    assert ledger.repeats["fills"] == 2
    assert len(content(path)["fills"]) == 1
    verify(path)


def test_a_repeat_that_says_something_else_is_refused(tmp_path):
    ledger = LedgerFile(tmp_path / "ledger.sqlite")
    add = ledger.adder("fills")
    add(fill(1, "1", "0.5", "2000"))
    with pytest.raises(LedgerConflict, match=r"'trade_id': '1'.*has come again as.*2001"):
        add(fill(1, "1", "0.5", "2001"))


def test_one_intent_per_client_order_id_but_any_number_of_cancels(tmp_path):
    path = tmp_path / "ledger.sqlite"
    ledger = LedgerFile(path)
    add = ledger.adder("orders")
    for action in ("place", "cancel", "cancel", "place"):
        add(OrderRequest(action, "o1", "ETH-USDT-PERP", 1, price=Decimal(2000), size=Decimal(1)))
    ledger.close()
    assert [row[2] for row in content(path)["orders"]] == ["place", "cancel", "cancel"]


def test_sql_refuses_a_second_fill_by_itself(tmp_path):
    path = tmp_path / "ledger.sqlite"
    written(path)
    db = sqlite3.connect(path)
    row = db.execute("SELECT * FROM fills").fetchone()
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        db.execute(TABLES["fills"].insert, (10**6, *row[1:]))
    db.close()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("UPDATE fills SET size = '9' WHERE seq = (SELECT max(seq) FROM fills)", "are not as written"),
        ("UPDATE marks SET price = price + 1e-9 WHERE seq = (SELECT min(seq) FROM marks)", "are not as written"),
        ("DELETE FROM fills WHERE seq = (SELECT min(seq) FROM fills)", "commit 1 should hold rows 1 to 100"),
        ("DELETE FROM commits WHERE number = 2", "should hold"),
        ("DELETE FROM commits WHERE number = (SELECT max(number) FROM commits)", "which no commit has"),
        ("INSERT INTO meta VALUES (1000000, 'a', 'b')", "which no commit has"),
    ],
)
def test_a_changed_or_missing_row_is_found(tmp_path, change, words):
    path = tmp_path / "ledger.sqlite"
    written(path)
    db = sqlite3.connect(path, isolation_level=None)
    db.execute(change)
    db.close()
    with pytest.raises(LedgerDamaged, match=words):
        verify(path)
    with pytest.raises(LedgerDamaged, match=words):
        LedgerFile(path)


def test_a_cut_off_end_is_found_with_the_head(tmp_path):
    path = tmp_path / "ledger.sqlite"
    head = written(path).head
    db = sqlite3.connect(path, isolation_level=None)
    first = db.execute("SELECT first_seq FROM commits ORDER BY number DESC").fetchone()[0]
    for name in TABLES:
        db.execute(f"DELETE FROM {name} WHERE seq >= {first}")
    db.execute(f"DELETE FROM commits WHERE first_seq = {first}")
    db.close()
    verify(path)
    with pytest.raises(LedgerDamaged, match="its end is missing"):
        verify(path, head)


def test_a_flipped_byte_is_found_or_changes_nothing(tmp_path):
    path, copy = tmp_path / "ledger.sqlite", tmp_path / "copy.sqlite"
    written(path)
    data, good, chance = path.read_bytes(), content(path), random.Random(7)
    found = 0
    for _ in range(80):
        flipped = bytearray(data)
        place = chance.randrange(len(data))
        flipped[place] ^= 1 << chance.randrange(8)
        copy.write_bytes(bytes(flipped))
        try:
            verify(copy)
        except LedgerError:
            found += 1
        else:
            assert content(copy) == good, f"byte {place} changed what is read, and verify() did not see it"
    assert found > 25


def test_a_cut_file_is_found(tmp_path):
    path = tmp_path / "ledger.sqlite"
    written(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(LedgerDamaged):
        LedgerFile(path)


def test_a_file_that_is_no_ledger_is_refused(tmp_path):
    path = tmp_path / "ledger.sqlite"
    path.write_text("date,price\n" * 200)
    with pytest.raises(LedgerDamaged, match="cannot be read"):
        LedgerFile(path)


def test_a_newer_version_is_refused(tmp_path):
    path = tmp_path / "ledger.sqlite"
    written(path)
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(LedgerError, match="version 99"):
        LedgerFile(path)


def test_a_full_disk_keeps_what_was_acknowledged(tmp_path):
    path = tmp_path / "ledger.sqlite"
    ledger = LedgerFile(path)
    add = ledger.adder("fills")
    for number in range(100):
        add(fill(number, str(number), "0.5", "2000"))
    ledger.commit()
    pages = ledger._db.execute("PRAGMA page_count").fetchone()[0]
    ledger._db.execute(f"PRAGMA max_page_count = {pages}")  # as a disk with no room left does: SQLITE_FULL
    for number in range(100, 2000):
        add(fill(number, str(number), "0.5", "2000"))
    with pytest.raises(LedgerError, match=r"full.*acknowledged is safe"):
        ledger.commit()
    assert verify(path).rows == 100
    ledger._db.execute("PRAGMA max_page_count = 1000000")
    ledger.close()
    assert verify(path).rows == 2000


def test_a_second_writer_is_refused(tmp_path):
    path = tmp_path / "ledger.sqlite"
    one, two = LedgerFile(path), LedgerFile(path)
    one.adder("marks")(mark(1, 2000.0))
    one.commit()
    two.adder("marks")(mark(1, 2000.0))
    with pytest.raises(LedgerError, match="another process has written"):
        two.commit()
    one.close()


def test_a_locked_file_says_so(tmp_path):
    path = tmp_path / "ledger.sqlite"
    ledger = LedgerFile(path)
    ledger._db.execute("PRAGMA busy_timeout = 10")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    ledger.adder("marks")(mark(1, 2000.0))
    with pytest.raises(LedgerError, match="locked"):
        ledger.commit()
    other.execute("ROLLBACK")
    other.close()
    ledger.close()


def test_a_closed_ledger_is_one_file_also_after_reading(tmp_path):
    path = tmp_path / "ledger.sqlite"
    written(path)
    verify(path)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_reader_does_not_keep_the_writer_from_closing(tmp_path):
    path = tmp_path / "ledger.sqlite"
    ledger = LedgerFile(path)
    ledger.adder("marks")(mark(1, 2000.0))
    ledger.commit()
    with reading(path) as db:
        db.execute("SELECT * FROM marks").fetchall()
        ledger.close()
    assert verify(path).rows == 1


def test_a_folder_that_cannot_be_made_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match="run folder"):
        LedgerFile(tmp_path / "file" / "ledger.sqlite")


def test_a_level_with_a_number_that_is_none_is_left_out_and_its_group_is_kept(tmp_path):
    path = tmp_path / "ledger.sqlite"
    ledger = LedgerFile(path)
    ledger.adder("marks")(mark(1, float("nan")))
    ledger.adder("fills")(fill(1, "1", "1", "2000"))
    ledger.close()
    assert [row[3] for row in content(path)["fills"]] == ["1"]
    assert not content(path)["marks"]
    assert ledger.unusable == {"marks": 1}
    assert verify(path).rows == 1


def test_an_order_or_fill_with_a_number_that_is_none_is_refused_alone(tmp_path):
    path = tmp_path / "ledger.sqlite"
    ledger = LedgerFile(path)
    ledger.adder("fills")(fill(1, "1", "1", "2000"))
    with pytest.raises(LedgerError, match="fills cannot hold a number that is none"):
        ledger.adder("fills")(fill(2, "2", "1", "2000", mid=float("nan")))
    ledger.close()
    assert [row[3] for row in content(path)["fills"]] == ["1"]


def test_reading_what_is_not_there(tmp_path):
    with pytest.raises(LedgerError, match="no ledger here"):
        verify(tmp_path / "none.sqlite")


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.booleans()), max_size=60))
def test_any_mix_of_repeats_commits_and_restarts(tmp_path_factory, script):
    path = tmp_path_factory.mktemp("ledger") / "ledger.sqlite"
    ledger = LedgerFile(path, commit_rows=4)
    seen = []
    for trade, restart in script:
        ledger.adder("fills")(fill(trade, str(trade), "1", str(2000 + trade)))
        if str(trade) not in seen:
            seen.append(str(trade))
        if restart:
            ledger.close()
            ledger = LedgerFile(path, commit_rows=4)
    ledger.close()
    assert [row[3] for row in content(path)["fills"]] == seen
    assert verify(path).rows == len(seen)
    shutil.rmtree(path.parent)
