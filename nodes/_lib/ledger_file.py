"""A ledger on disk: one SQLite file, one writer, rows in groups, each group sealed into a hash chain.

A row is acknowledged when its group is committed (WAL, full sync): it then survives a crash of the process and of the
machine. SQLite does not notice a changed byte inside a page, so each commit also stores the BLAKE2b digest of the one
before it and of its own rows, as they are to be read back. `verify` walks this chain.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from hashlib import blake2b
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec

from engine import PipelineError
from nodes._lib.ledger_schema import KEYS, MIGRATIONS, TABLES, Key, Table

Row = tuple[Any, ...]
GENESIS = blake2b(b"ledger", digest_size=16).hexdigest()
"""The digest before the first commit."""

ROWS_PER_STATEMENT = 40

_encode = msgspec.json.Encoder().encode


class LedgerError(PipelineError):
    """The ledger cannot be written or read."""


class LedgerDamaged(LedgerError):
    """What is on disk is not what was written."""


class LedgerConflict(LedgerError):
    """Something that may be booked once has come twice, and not the same."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A ledger whose chain holds: how much is in it and its last digest."""

    rows: int
    commits: int
    head: str


class LedgerFile:
    """Write a ledger, or go on with one whose chain holds.

    `adder(table)` returns the function that takes a message in; rows wait in memory until `commit()`, which is called
    by itself once `commit_rows` wait. Raises LedgerDamaged, LedgerConflict, and LedgerError for what a disk or another
    process does; after an error nothing of the group is on disk, and all that was acknowledged is.
    """

    def __init__(self, path: Path, commit_rows: int = 5_000) -> None:
        self.path = path
        self.repeats = dict.fromkeys(KEYS, 0)
        """Repeats that were not booked again, by table."""
        self.unusable: dict[str, int] = {}
        """Levels that were left out because a number in them is none (NaN), by table."""
        self._commit_rows = commit_rows
        self._rows: dict[str, list[Row]] = {name: [] for name in TABLES}
        self._known: dict[str, dict[Row, Row]] = {name: {} for name in KEYS}
        with _explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, isolation_level=None, timeout=5)
            _migrate(self._db, path)
            found = _verified(self._db, path)
            for name, key in KEYS.items():
                self._known[name] = dict(_known_rows(self._db, TABLES[name], key))
        self.seq, self._commits, self.head = found.rows, found.commits, found.head
        self._committed = self.seq
        self._commit_at = self.seq + commit_rows

    # --- rows -------------------------------------------------------------------------------------------------

    def adder(self, name: str) -> Callable[[Any], None]:
        """Return the function that adds a message to a table."""
        table = TABLES[name]
        make_row, is_whole, append = table.make_row, table.is_whole, self._rows[name].append
        is_new = self._guard(table, KEYS[name]) if name in KEYS else None

        def add(message: Any) -> None:
            seq = self.seq + 1
            row = make_row(seq, message)
            if not is_whole(row):
                # SQLite has no NaN: it would refuse the whole group, with all the fills in it.
                self._leave_out(name, message)
                return
            if is_new is not None and not is_new(row):
                return
            self.seq = seq
            append(row)
            if seq >= self._commit_at:
                self.commit()

        return add

    def _leave_out(self, name: str, message: Any) -> None:
        if name in KEYS:
            raise LedgerError(f"{self.path}: {name} cannot hold a number that is none: {message}; mend its writer")
        self.unusable[name] = self.unusable.get(name, 0) + 1

    def add_fact(self, key: str, value: str) -> None:
        """Add one line to `meta`."""
        self.seq += 1
        self._rows["meta"].append((self.seq, key, value))

    @property
    def waiting(self) -> int:
        """Rows that are not on disk yet."""
        return self.seq - self._committed

    def _guard(self, table: Table, key: Key) -> Callable[[Row], bool]:
        """Return the test whether a row is booked for the first time; it raises when a repeat does not agree."""
        known = self._known[table.name]
        split = _splitter(table, key)

        def is_new(row: Row) -> bool:
            parts = split(row)
            if parts is None:
                return True
            name, facts = parts
            before = known.setdefault(name, facts)
            if before is facts:
                return True
            if not _agree(before, facts):
                raise LedgerConflict(
                    f"{table.name}: {dict(zip(key.fields, name, strict=True))} is booked as "
                    f"{dict(zip(key.agree, before, strict=True))} and has come again as "
                    f"{dict(zip(key.agree, facts, strict=True))}; find out which is wrong before going on"
                )
            self.repeats[table.name] += 1
            return False

        return is_new

    # --- disk -------------------------------------------------------------------------------------------------

    def commit(self) -> None:
        """Put all waiting rows on disk; when it returns they are durable."""
        if not self.waiting:
            return
        digest = _digest(self.head, self._rows)
        with _explained(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._refuse_other_writers()
                for name, rows in self._rows.items():
                    if rows:
                        _insert(self._db, TABLES[name], rows)
                self._db.execute(
                    "INSERT INTO commits VALUES (?, ?, ?, ?)",
                    (self._commits + 1, self._committed + 1, self.seq, digest),
                )
                self._db.execute("COMMIT")
            except Exception:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        self._commits += 1
        self._committed, self.head = self.seq, digest
        self._commit_at = self.seq + self._commit_rows
        for rows in self._rows.values():
            rows.clear()

    def _refuse_other_writers(self) -> None:
        last = self._db.execute("SELECT max(number) FROM commits").fetchone()[0] or 0
        if last != self._commits:
            raise LedgerError(
                f"{self.path}: another process has written to this ledger; a ledger has one writer. "
                "Stop one of the two runs, or give each its own run folder"
            )

    def close(self) -> None:
        """Commit, fold the log into the file and let go of it."""
        self.commit()
        with _explained(self.path):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            try:
                self._db.execute("PRAGMA journal_mode = DELETE")  # so that a reader leaves no files beside it
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise  # otherwise somebody is reading it right now: all is on disk, and it may stay as it is
            self._db.close()


def verify(path: Path, head: str = "") -> Verified:
    """Check every row of a ledger against its chain; raise LedgerDamaged where it breaks.

    A chain cannot tell that its own end was cut off. With `head`, a digest that was kept elsewhere, that is found too.
    """
    with reading(path) as db:
        found = _verified(db, path)
    if head and found.head != head:
        raise LedgerDamaged(f"{path} ends with digest {found.head}, and {head} was expected: its end is missing")
    return found


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a ledger to read, without changing it."""
    if not path.is_file():
        raise LedgerError(f"{path}: there is no ledger here")
    with _explained(path):
        db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=5)
        try:
            yield db
        finally:
            db.close()


def _insert(db: sqlite3.Connection, table: Table, rows: list[Row]) -> None:
    # Many rows in one statement cost a third less than as many statements.
    whole = len(rows) - len(rows) % ROWS_PER_STATEMENT
    groups = (rows[first : first + ROWS_PER_STATEMENT] for first in range(0, whole, ROWS_PER_STATEMENT))
    db.executemany(table.insert_many(ROWS_PER_STATEMENT), (tuple(chain.from_iterable(group)) for group in groups))
    db.executemany(table.insert, rows[whole:])


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise LedgerError(
            f"{path} has version {version}, this program knows up to {len(MIGRATIONS)}; use the program that wrote it"
        )
    for number, sql in enumerate(MIGRATIONS[version:], version + 1):
        db.executescript(f"BEGIN IMMEDIATE; {sql}; PRAGMA user_version = {number}; COMMIT;")


def _verified(db: sqlite3.Connection, path: Path) -> Verified:
    """Walk the chain and return its end."""
    answer = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if answer != "ok":
        raise LedgerDamaged(f"{path} is damaged: {answer}. {_WHAT_TO_DO}")
    cursors = {name: _Cursor(db.execute(table.select)) for name, table in TABLES.items()}
    head, rows, commits = GENESIS, 0, 0
    for number, first, last, digest in db.execute("SELECT * FROM commits ORDER BY number"):
        commits += 1
        group = {name: cursor.up_to(last) for name, cursor in cursors.items()}
        count = sum(map(len, group.values()))
        if number != commits or first != rows + 1 or count != last - rows:
            raise LedgerDamaged(
                f"{path}: commit {number} should hold rows {first} to {last} after row {rows}, and has {count}. "
                f"{_WHAT_TO_DO}"
            )
        head = _digest(head, group)
        if head != digest:
            raise LedgerDamaged(f"{path}: rows {first} to {last} (commit {number}) are not as written. {_WHAT_TO_DO}")
        rows = last
    for name, cursor in cursors.items():
        if cursor.head is not None:
            raise LedgerDamaged(f"{path}: table {name} holds row {cursor.head[0]}, which no commit has. {_WHAT_TO_DO}")
    return Verified(rows, commits, head)


_WHAT_TO_DO = (
    "Do not trade on it: keep the file for inquiry, start with a new run folder, and let the venue's own list of "
    "trades say what is held"
)


class _Cursor:
    """Rows of one table, read in order of `seq`, many at a time."""

    def __init__(self, rows: sqlite3.Cursor) -> None:
        self._source = rows
        self._rows: list[Row] = rows.fetchmany(10_000)
        self._next = 0

    @property
    def head(self) -> Row | None:
        """The first row that has not been taken."""
        if self._next == len(self._rows):
            self._rows, self._next = self._source.fetchmany(10_000), 0
        return self._rows[self._next] if self._rows else None

    def up_to(self, seq: int) -> list[Row]:
        """Take the rows up to and with `seq`."""
        result: list[Row] = []
        while (head := self.head) is not None and head[0] <= seq:
            end = bisect_right(self._rows, seq, lo=self._next, key=itemgetter(0))
            result += self._rows[self._next : end]
            self._next = end
        return result


def _digest(head: str, rows: dict[str, list[Row]]) -> str:
    digest = blake2b(head.encode(), digest_size=16)
    for name, of_table in rows.items():
        if of_table:
            digest.update(name.encode())
            digest.update(_encode(of_table))
    return digest.hexdigest()


def _splitter(table: Table, key: Key) -> Callable[[Row], tuple[Row, Row] | None]:
    """Return the function row -> (what names it, what repeats have to agree in); None where the key does not hold."""
    places = {name: 1 + index for index, name in enumerate(table.columns)}
    named, agreed = _picker(places, key.fields), _picker(places, key.agree)
    where = (places[key.where[0]], key.where[1]) if key.where else None

    def split(row: Row) -> tuple[Row, Row] | None:
        if where is not None and row[where[0]] != where[1]:
            return None
        return named(row), agreed(row)

    return split


def _picker(places: dict[str, int], names: tuple[str, ...]) -> Callable[[Row], Row]:
    if len(names) > 1:
        return itemgetter(*(places[name] for name in names))
    place = places[names[0]]
    return lambda row: (row[place],)


def _known_rows(db: sqlite3.Connection, table: Table, key: Key) -> Iterator[tuple[Row, Row]]:
    split = _splitter(table, key)
    for row in db.execute(table.select):
        parts = split(row)
        if parts is not None:
            yield parts


def _agree(before: Row, now: Row) -> bool:
    # A venue may write 1.0 in one place and 1.00 in another.
    return all(a == b or _number(a) == _number(b) is not None for a, b in zip(before, now, strict=True))


def _number(value: Any) -> Decimal | None:
    try:
        return Decimal(value)
    except (InvalidOperation, TypeError):
        return None


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what SQLite and the disk say into what happened, where, and what to do."""
    try:
        yield
    except sqlite3.Error as error:
        text = str(error)
        for sign, advice in _ADVICE.items():
            if sign in text:
                raise LedgerError(f"{path}: {text}. {advice}") from error
        if isinstance(error, sqlite3.IntegrityError | sqlite3.InterfaceError | sqlite3.ProgrammingError):
            raise LedgerError(f"{path}: a row was refused: {text}. Nothing of its group was written") from error
        raise LedgerDamaged(f"{path} cannot be read: {text}. {_WHAT_TO_DO}") from error
    except UnicodeDecodeError as error:
        raise LedgerDamaged(f"{path} holds text that is none ({error}). {_WHAT_TO_DO}") from error
    except OSError as error:
        raise LedgerError(f"{path}: {error.strerror or error}. Choose a run folder that can be written") from error


_ADVICE = {
    "disk is full": "All that was acknowledged is safe; free space and start again",
    "disk I/O error": "All that was acknowledged is safe; look at the disk before starting again",
    "locked": "Another process holds it; a ledger has one writer",
    "readonly": "Make the file and its folder writable, or choose another run folder",
    "unable to open": "Check that its folder exists and can be written",
}
