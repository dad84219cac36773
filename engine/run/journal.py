"""The journal: declared state of every node, on disk, and back again after a restart.

One SQLite file. A checkpoint is one transaction: the state of the nodes whose state has changed, the pending timers and
the position of every history, so that what is restored is the run as it was after one event and nothing in between.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import msgspec

from engine.errors import PipelineError
from engine.run.calls import PendingCall, Watch
from engine.run.host import Host
from engine.run.port import OUTSIDE
from engine.wire.codec import decode_state, encode_state

VERSION = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS node (
    id TEXT PRIMARY KEY, type TEXT NOT NULL, version INTEGER NOT NULL, fields BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS host (name TEXT PRIMARY KEY, value BLOB NOT NULL);
"""


class JournalDamaged(PipelineError):
    """The journal cannot be used: written by another version, or by another topology, or not readable."""


class Journal:
    """Declared state of a host's nodes in one SQLite file (WAL, full sync)."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._db = sqlite3.connect(path, isolation_level=None)
        try:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_TABLES)
            found = self._db.execute("PRAGMA user_version").fetchone()[0]
            if found not in (0, VERSION):
                raise JournalDamaged(f"{path} was written by journal version {found}; this is version {VERSION}")
            self._db.execute(f"PRAGMA user_version = {VERSION}")
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise JournalDamaged(f"{path} cannot be used as a journal: {error}") from error
        except JournalDamaged:
            self._db.close()
            raise
        self._written: dict[str, bytes] = {}

    def save(self, host: Host, positions: dict[str, int]) -> None:
        """Write a checkpoint; `positions` tells how many rows of each history have been handled."""
        rows = []
        for node_id, node in host.nodes.items():
            if not node.spec.state and not node.spec.is_history:
                continue
            fields = encode_state({name: getattr(node, name) for name in node.spec.state})
            if self._written.get(node_id) != fields:
                self._written[node_id] = fields
                rows.append((node_id, type(node).__module__, node.spec.state_version, fields))
        world = {
            "now_ns": host.clock.now_ns,
            "called": {node_id: port.sent for node_id, port in host.called.items()},
            "calls": [_call_as_data(call) for _, _, call in sorted(host.calls) if not call.cancelled],
            "watches": [
                [watch.node.id, watch.input, watch.last_ns, watch.stale, watch.cancelled] for watch in host.watches
            ],
            "positions": positions,
            "sent": {f"{port.node}.{port.name}": port.sent for port in host.ports.values()},
            "chance": {node_id: _chance_as_data(node.random.getstate()) for node_id, node in host.nodes.items()},
        }
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany("INSERT OR REPLACE INTO node VALUES (?, ?, ?, ?)", rows)
        self._db.execute("INSERT OR REPLACE INTO host VALUES ('world', ?)", (msgspec.json.encode(world),))
        self._db.execute("COMMIT")

    def restore(self, host: Host) -> dict[str, int] | None:
        """Give the nodes of a built host their state, start them, and return the histories' positions.

        Return None, with nothing started, when the journal is empty. What follows is what would have followed without
        the interruption; a host whose world has gone on meanwhile is then told by `host.resume()`. Raises
        JournalDamaged when the journal belongs to other nodes.
        """
        found = self._db.execute("SELECT value FROM host WHERE name = 'world'").fetchone()
        if found is None:
            return None
        world = msgspec.json.decode(found[0])
        if added := host.nodes.keys() - world["called"].keys():
            names = ", ".join(map(repr, sorted(added)))
            raise JournalDamaged(f"{self.path} was written without node {names}; start with a new run folder")
        for node_id, type_name, version, data in self._db.execute("SELECT id, type, version, fields FROM node"):
            node = host.nodes.get(node_id)
            if node is None or type(node).__module__ != type_name:
                raise JournalDamaged(
                    f"{self.path} holds state of node {node_id!r} ({type_name}), which this topology has not; "
                    "start with a new run folder"
                )
            types = {name: field.type for name, field in node.spec.state.items()}
            fields = decode_state(data, types)
            if version != node.spec.state_version:
                fields = node.migrate(version, fields)
            for name, value in fields.items():
                setattr(node, name, value)
            self._written[node_id] = data
        host.clock.now_ns = world["now_ns"]
        host.start_restored()
        for node_id, count in world["called"].items():
            host.called[node_id].sent = count
        for port in host.ports.values():
            port.sent = world["sent"].get(f"{port.node}.{port.name}", 0)
        for node_id, chance in world["chance"].items():
            host.nodes[node_id].random.setstate((chance[0], tuple(chance[1]), chance[2]))
        _restore_calls(host, world["calls"], world["watches"])
        positions: dict[str, int] = world["positions"]
        return positions

    def close(self) -> None:
        self._db.close()


def _chance_as_data(state: Any) -> list[Any]:
    return [state[0], list(state[1]), state[2]]


def _call_as_data(call: PendingCall) -> dict[str, Any]:
    if isinstance(call, Watch):
        return {"node": call.node.id, "input": call.input, "due_ns": call.due_ns}
    if call.data is not None and not isinstance(call.data, str | int | float | list | dict):
        raise TypeError(
            f"node {call.node.id!r} waits for {call.handler} with data of type {type(call.data).__name__}, which "
            "cannot be journaled; pass plain data, and keep the rest in declared state"
        )
    return {
        "node": call.node.id,
        "handler": call.handler,
        "due_ns": call.due_ns,
        "period_ns": call.period_ns,
        "data": call.data,
        "cause": [call.cause.node, call.cause.name, call.cause_number],
    }


def _restore_calls(host: Host, calls: list[dict[str, Any]], noted: list[list[Any]]) -> None:
    watches = {(watch.node.id, watch.input): watch for watch in host.watches}
    fresh = set(watches)
    for node_id, name, last_ns, stale, cancelled in noted:
        if watch := watches.get((node_id, name)):
            watch.last_ns, watch.stale, watch.cancelled = last_ns, stale, cancelled
            fresh.discard((node_id, name))
    for data in calls:
        if "input" not in data:
            node = host.nodes[data["node"]]
            call = PendingCall(node, data["handler"], 0, data["period_ns"], data["data"], 0)
            writer, name, call.cause_number = data["cause"]
            call.cause = host.ports[writer, name] if name else host.called.get(writer, OUTSIDE)
            host.push(call, data["due_ns"])
        elif watch := watches.get((data["node"], data["input"])):
            host.push(watch, data["due_ns"])
    for key in sorted(fresh):  # the topology has been told to watch these only now
        watches[key].last_ns = host.clock.now_ns
        host.push(watches[key], host.clock.now_ns + watches[key].after_ns)
