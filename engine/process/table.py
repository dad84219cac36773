"""The status of a run as one table: what the supervisor knows, joined with what the processes have told."""

from __future__ import annotations

from typing import Any

from engine.process.fleet import Fleet
from engine.process.member import Member
from engine.process.watch import ProcessWatch
from engine.topology.plan import Plan
from engine.wire.table import placement


def process_rows(
    fleet: Fleet, watch: ProcessWatch, plan: Plan, beats: dict[str, dict[str, Any]], now_s: float
) -> dict[str, dict[str, Any]]:
    """Return a row for each process."""
    return {
        name: {**_row(member, watch, now_s), "nodes": _nodes(name, plan), **_own_words(beats.get(name, {}))}
        for name, member in fleet.members.items()
    }


def _row(member: Member, watch: ProcessWatch, now_s: float) -> dict[str, Any]:
    use = watch.uses.get(member.name) if member.pid is not None else None
    return {
        "state": str(member.state),
        "pid": member.pid,
        "epoch": member.epoch,
        "restarts": member.restarts,
        "started_s": now_s - member.since_s if member.alive else None,
        "joined": member.joined,
        "ready": member.ready,
        "ended": member.ended,
        "due_s": None if member.due_s is None else max(0.0, member.due_s - now_s),
        "cpu": use.cpu if use else None,
        "rss_bytes": use.last.rss_bytes if use else None,
        "fds": use.last.fds if use else None,
        "threads": use.last.threads if use else None,
        "beat_age_s": None if member.beat_s is None else now_s - member.beat_s,
        "error": member.error,
        "failed_node": member.node,
    }


def _nodes(name: str, plan: Plan) -> list[str]:
    return list(placement(plan.topology).get(name, ()))


def _own_words(stats: dict[str, Any]) -> dict[str, Any]:
    # Nodes, wires and hubs have tables of their own, over all processes.
    return {key: value for key, value in stats.items() if key not in ("nodes", "wires", "hubs")}


def joined_tables(beats: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the tables of nodes, wires and hubs, each row with the process that tells of it."""
    tables: dict[str, dict[str, Any]] = {"nodes": {}, "wires": {}, "hubs": {}}
    for process, stats in beats.items():
        for table, rows in tables.items():
            found = stats.get(table)
            if isinstance(found, dict):
                rows.update({key: {"process": process, **row} for key, row in found.items() if isinstance(row, dict)})
    return tables
