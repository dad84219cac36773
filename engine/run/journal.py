"""The journal: declared state of every node, on disk, and back again after a restart.

One SQLite file. A commit is one transaction: the state of the nodes whose state has changed, the pending timers, the
position of every history and what the wires owe, so that what is restored is the process as it was after one event and
nothing in between. It stands between an order and the wire, so it writes only what is new:

| table | holds | written |
| --- | --- | --- |
| node | declared state | of nodes that have handled something, when it has changed |
| chance | where each node's chance stands | of nodes that have drawn from it |
| host | `world`: the clock and all counts; `layout`: what they count | `world` always, `layout` once |
| host | `calls`: pending timers; `wires`: see `Wires.journal_state` | when they have changed |
| queue | what is added at one end and forgotten at the other, as frames that are owed | what is new; what is old goes |
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from engine.errors import PipelineError
from engine.node import Node
from engine.run.chance import pack_chance, unpack_chance
from engine.run.following import Following, restore_calls, restore_counts
from engine.run.host import Host
from engine.run.kept import encode_fields, give_back, type_name

VERSION = 4
APPLICATION = 0x70697065
"""Marks the file as a journal of ours (SQLite's application_id)."""
LOCK_WAIT_S = 5.0
"""How long a start waits for the process before it, which may still be dying, to let go of the file."""
_TABLES = """
CREATE TABLE IF NOT EXISTS node (
    id TEXT PRIMARY KEY, type TEXT NOT NULL, version INTEGER NOT NULL, fields BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS chance (id TEXT PRIMARY KEY, state BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS host (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS queue (
    name TEXT NOT NULL, number INTEGER NOT NULL, value BLOB NOT NULL, PRIMARY KEY (name, number)
) WITHOUT ROWID;
"""


class QueueNews(NamedTuple):
    """What has changed in a queue since the last commit: rows below `first` are forgotten, then `rows` are added.

    A row is (number, value); numbers rise.
    """

    name: str
    first: int
    rows: Sequence[tuple[int, bytes]]


class JournalDamaged(PipelineError):
    """The journal cannot be used: written by another version, or by another topology, or not readable."""


class JournalFailed(PipelineError):
    """The journal could not be written; the last commit that succeeded stands, and nothing of this one."""


class Journal:
    """Declared state of a host's nodes in one SQLite file (WAL).

    With `sync` each commit is on the disk itself before it returns; without, it survives the death of the process but
    not that of the machine. A file belongs to one process at a time. Raises JournalDamaged.
    """

    def __init__(self, path: Path, *, sync: bool = True) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.commits = 0
        self.bytes = 0
        self._db = sqlite3.connect(path, timeout=LOCK_WAIT_S, isolation_level=None)
        try:
            self._open(sync)
        except sqlite3.DatabaseError as error:
            self._db.close()
            if getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY"):
                raise JournalDamaged(f"{path} is in use by another process; only one may write it") from error
            raise JournalDamaged(f"{path} cannot be used as a journal: {error}") from error
        except JournalDamaged:
            self._db.close()
            raise
        self._written: dict[str, bytes] = {}
        self._following: Following | None = None

    def _open(self, sync: bool) -> None:
        def pragma(words: str) -> Any:
            return self._db.execute(f"PRAGMA {words}").fetchone()

        pragma("locking_mode = EXCLUSIVE")
        application, found = pragma("application_id")[0], pragma("user_version")[0]
        is_new = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        if not is_new and found != VERSION:
            raise JournalDamaged(
                f"{self.path} was written by journal version {found}; this is version {VERSION}: "
                "finish the run with the version that began it, or start with a new run folder"
            )
        if not is_new and application != APPLICATION:
            raise JournalDamaged(f"{self.path} is a database of something else; start with a new run folder")
        if (state := pragma("quick_check")[0]) != "ok":
            raise JournalDamaged(f"{self.path} is damaged: {state}; start with a new run folder")
        pragma("journal_mode = WAL")
        pragma(f"synchronous = {'FULL' if sync else 'NORMAL'}")
        if is_new:
            marks = f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION};"
            self._db.executescript(f"BEGIN IMMEDIATE; {_TABLES} {marks} COMMIT;")

    def checkpoint(self, host: Host) -> None:
        """Let nodes that have handled something put on disk what they keep in files of their own; call before `save`.

        For each it is an event like any other, and so in the recording.
        """
        for node in list(self._follow(host).touched()):
            if type(node).checkpoint is not Node.checkpoint:
                host.call(node, "checkpoint", ())

    def save(self, host: Host, positions: dict[str, int], wires: bytes = b"", queues: Sequence[QueueNews] = ()) -> None:
        """Commit: `positions` tells how many rows of each history have been handled.

        `wires` and `queues` are what the wires know and owe, see `Wires.journal_state`.
        Raises JournalFailed, with nothing written, when the file cannot be written, as when the disk is full.
        """
        following, written = self._follow(host), self._written
        states: list[tuple[str, str, int, bytes]] = []
        for node in following.touched():
            fields = encode_fields(node)
            if written.get(f"node {node.id}") != fields:
                states.append((node.id, type_name(node), node.spec.state_version, fields))
        drawn = [node for node in host.nodes.values() if node.random.used]  # type: ignore[attr-defined]
        chances = [(node.id, pack_chance(node.random)) for node in drawn]
        values = {"layout": following.layout, "world": following.world(positions), "wires": wires}
        if (calls := following.calls()) is not None:
            values["calls"] = calls
        news = [pair for pair in values.items() if written.get(pair[0]) != pair[1]]
        self._commit(states, chances, news, queues)
        for node_id, _, _, fields in states:
            written[f"node {node_id}"] = fields
        written.update(news)
        for node in drawn:
            node.random.rest()  # type: ignore[attr-defined]
        following.settle()
        self.commits += 1
        written_now = [*(state[-1] for state in states), *(data for _, data in chances), *(data for _, data in news)]
        written_now += [data for queue in queues for _, data in queue.rows]
        self.bytes += sum(map(len, written_now))

    def _commit(self, states: list[Any], chances: list[Any], values: list[Any], queues: Sequence[QueueNews]) -> None:
        """Write rows in one transaction, all or none."""
        execute, many = self._db.execute, self._db.executemany
        try:
            execute("BEGIN IMMEDIATE")
            if states:
                many("INSERT OR REPLACE INTO node VALUES (?, ?, ?, ?)", states)
            if chances:
                many("INSERT OR REPLACE INTO chance VALUES (?, ?)", chances)
            many("INSERT OR REPLACE INTO host VALUES (?, ?)", values)
            for name, first, rows in queues:
                if first:
                    execute("DELETE FROM queue WHERE name = ? AND number < ?", (name, first))
                if rows:
                    added = ((name, number, value) for number, value in rows)
                    many("INSERT OR REPLACE INTO queue VALUES (?, ?, ?)", added)
            execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                execute("ROLLBACK")
            raise JournalFailed(
                f"{self.path} cannot be written: {error}. The commit before this one stands; see to the disk, then "
                "start the process again"
            ) from error

    def restore(self, host: Host) -> tuple[dict[str, int], bytes] | None:
        """Give the nodes of a built host their state and start them; return the histories' positions and `wires`.

        Return None, with nothing started, when the journal is empty. What follows is what would have followed without
        the interruption; a host whose world has gone on meanwhile is then told by `host.resume()`. Raises
        JournalDamaged when the journal belongs to other nodes or is not readable.
        """
        try:
            values: dict[str, bytes] = dict(self._db.execute("SELECT name, value FROM host"))
            if not values:
                return None
            states = list(self._db.execute("SELECT id, type, version, fields FROM node"))
            chances = list(self._db.execute("SELECT id, state FROM chance"))
            layout, world, calls = (msgspec.json.decode(values[name]) for name in ("layout", "world", "calls"))
            wires = values["wires"]
        except (sqlite3.DatabaseError, msgspec.DecodeError, KeyError) as error:
            raise JournalDamaged(f"{self.path} is damaged: {error!r}; start with a new run folder") from error
        if added := host.nodes.keys() - set(layout["called"]):
            names = ", ".join(map(repr, sorted(added)))
            raise JournalDamaged(f"{self.path} was written without node {names}; start with a new run folder")
        for node_id, type_written, version, data in states:
            node = host.nodes.get(node_id)
            if node is None or type_name(node) != type_written:
                raise JournalDamaged(
                    f"{self.path} holds state of node {node_id!r} ({type_written}), which this topology has not; "
                    "start with a new run folder"
                )
            try:
                give_back(node, version, data)
            except (ValueError, TypeError, msgspec.MsgspecError) as error:
                raise JournalDamaged(
                    f"{self.path} holds state of node {node_id!r} (version {version}) that {type_written} cannot read: "
                    f"{error}; start with a new run folder"
                ) from error
            if version == node.spec.state_version:
                self._written[f"node {node_id}"] = data
        host.clock.now_ns = world["now_ns"]
        for node_id in world["failed"]:
            host.failed.add(node_id)
            for port in host.ports.values():
                port.part(host.nodes[node_id])
        host.start_restored()
        restore_counts(host, layout, world)
        for node_id, state in chances:
            unpack_chance(host.nodes[node_id].random, state)
        restore_calls(host, calls, layout, world)
        host.restored()
        positions: dict[str, int] = world["positions"]
        return positions, wires

    def queues(self) -> dict[str, list[tuple[int, bytes]]]:
        """Return the rows of every queue, in order. Raises JournalDamaged."""
        found: dict[str, list[tuple[int, bytes]]] = {}
        try:
            for name, number, value in self._db.execute("SELECT name, number, value FROM queue ORDER BY name, number"):
                found.setdefault(name, []).append((number, value))
        except sqlite3.DatabaseError as error:
            raise JournalDamaged(f"{self.path} is damaged: {error!r}; start with a new run folder") from error
        return found

    def _follow(self, host: Host) -> Following:
        if self._following is None or self._following.host is not host:
            self._following = Following(host)
        return self._following

    def close(self) -> None:
        self._db.close()
