"""A run's status as Prometheus metrics. `docs/metrics.md` lists them, made from the tables here.

Numbers that a status leaves out are left out of the exposition too: no series is better than a zero that is not true.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from engine.process.view import Status
    from engine.spec import MetricSpec

PREFIX = "pipeline"
Kind = Literal["counter", "gauge"]


@dataclass(frozen=True, slots=True)
class Series:
    """One metric, and where in a record of the status its number is."""

    name: str
    kind: Kind
    doc: str
    path: tuple[str, ...]


PROCESS = (
    Series("process_starts", "counter", "Starts of the process in this run.", ("epoch",)),
    Series("process_restarts", "counter", "Restarts of the process.", ("restarts",)),
    Series("process_uptime_seconds", "gauge", "Time since the process was last started.", ("started_s",)),
    Series("process_cpu_ratio", "gauge", "Share of one core that the process uses.", ("cpu",)),
    Series("process_resident_memory_bytes", "gauge", "Memory of the process.", ("rss_bytes",)),
    Series("process_open_fds", "gauge", "Open files and sockets of the process.", ("fds",)),
    Series("process_threads", "gauge", "Threads of the process.", ("threads",)),
    Series("process_beat_age_seconds", "gauge", "Time since the process last gave a sign of life.", ("beat_age_s",)),
    Series("process_lag_seconds", "gauge", "How late the event loop of the process was last.", ("lag_s",)),
    Series("process_paused", "gauge", "1 while the process waits for a slow reader.", ("paused",)),
    Series("journal_commits", "counter", "Transactions of the journal.", ("journal", "commits")),
    Series("journal_commit_seconds", "gauge", "How long the last transaction took.", ("journal", "last_s")),
    Series("recording_rows", "counter", "Rows recorded.", ("recording", "rows")),
)
NODE = (
    Series("node_events", "counter", "Messages and calls that the node has handled.", ("events",)),
    Series("node_sent", "counter", "Messages that the node has sent.", ("sent",)),
    Series("node_failed", "gauge", "1 when the node has failed.", ("failed",)),
)
WIRE = (
    Series("wire_received", "counter", "Messages that came out of the socket.", ("received",)),
    Series("wire_delivered", "counter", "Messages that were handed to the reader.", ("delivered",)),
    Series("wire_superseded", "counter", "Messages that a newer one of their key replaced.", ("superseded",)),
    Series("wire_dropped", "counter", "Messages that were dropped as the oldest.", ("dropped",)),
    Series("wire_expired", "counter", "Messages that were older than the wire's ttl.", ("expired",)),
    Series("wire_lost", "counter", "Messages whose numbers never arrived.", ("lost",)),
    Series("wire_repeated", "counter", "Messages that came again and were not applied again.", ("repeated",)),
    Series("wire_age_seconds", "gauge", "Age of the newest message that the reader has seen.", ("age_s",)),
    Series("wire_backlog", "gauge", "Messages that wait.", ("backlog",)),
)
LINK = (
    Series("link_sent", "counter", "Frames sent to another process.", ("sent",)),
    Series("link_bytes", "counter", "Bytes sent to another process.", ("bytes",)),
    Series("link_backlog", "gauge", "Frames that wait for another process.", ("backlog",)),
)
RUN_INFO = ("run_info", "Always 1; its labels say which run this is.")
RUN_HALTED = ("run_halted", "1 while the kill switch is engaged.")
RUN_READY = ("run_ready", "1 while every process of the run is ok.")
STATE = ("process_state", "1 for the state that the process is in, 0 for the others.")
REFUSED = ("frames_refused", "Frames that the process has refused, by reason.")
LATENCY = ("wire_latency_seconds", "Time from sending to handling, on each wire between processes.")
HUB = ("hub", "What the hub counts, by the name of the counter.")
GAUGE = "gauge"
STATES = ("waiting", "starting", "ok", "recoverable", "permanent", "fatal", "stopping", "stopped")
QUANTILES = {"p50": "0.5", "p99": "0.99"}


class StatusCollector(Collector):
    """Read the run's status whenever somebody asks for its metrics.

    `gauges` are the declarations by node id and name of what nodes show of themselves.
    """

    def __init__(self, status: Callable[[], Status], gauges: Mapping[str, Mapping[str, MetricSpec]]) -> None:
        self._status = status
        self._gauges = gauges

    def describe(self) -> Iterable[Metric]:
        return []  # names that nodes bring are not known before they are collected

    def collect(self) -> Iterator[Metric]:
        status = self._status()
        yield from _run(status)
        processes, nodes, wires = status["processes"], status["nodes"], status["wires"]
        by_process = {(name,): record for name, record in processes.items()}
        yield from _families(PROCESS, ("process",), by_process)
        yield _states(processes)
        yield _refused(processes)
        links = {
            (name, peer): link for name, record in processes.items() for peer, link in record.get("links", {}).items()
        }
        yield from _families(LINK, ("process", "peer"), links)
        by_node = {(id, record.get("process", "")): record for id, record in nodes.items()}
        yield from _families(NODE, ("node", "process"), by_node)
        yield from _families(WIRE, ("wire",), {(name,): record for name, record in wires.items()})
        yield _latency(wires)
        yield from self._shown(nodes)
        yield from _hubs(status.get("hubs", {}))

    def _shown(self, nodes: Mapping[str, Any]) -> Iterator[Metric]:
        families: dict[str, GaugeMetricFamily] = {}
        for id, record in nodes.items():
            for name, value in record.get("metrics", {}).items():
                declared = self._gauges.get(id, {}).get(name)
                if declared is None:
                    continue  # the process runs other code than this one; its own word says what is declared
                full = gauge_name(name)
                if full not in families:
                    families[full] = GaugeMetricFamily(full, declared.doc, labels=("node", "unit"))
                families[full].add_metric((id, declared.unit), value)
        yield from families.values()


def gauge_name(name: str) -> str:
    """Return the metric's name of a gauge that a node declares."""
    return f"{PREFIX}_{GAUGE}_{re.sub(r'[^a-zA-Z0-9_]', '_', name)}"


def _families(
    series: Iterable[Series], labels: tuple[str, ...], records: Mapping[Any, Mapping[str, Any]]
) -> Iterator[Metric]:
    # `records` is by the values of the labels.
    kinds = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}
    for each in series:
        family = kinds[each.kind](f"{PREFIX}_{each.name}", each.doc, labels=labels)
        for names, record in records.items():
            value = _at(record, each.path)
            if value is not None:
                family.add_metric(names, float(value))
        yield family


def _at(record: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        record = record.get(name) if isinstance(record, Mapping) else None
    return record


def _run(status: Status) -> Iterator[Metric]:
    run = status["run"]
    labels = ("run", "topology")
    info = GaugeMetricFamily(f"{PREFIX}_{RUN_INFO[0]}", RUN_INFO[1], labels=labels)
    info.add_metric([str(run.get(name, "")) for name in ("id", "topology")], 1)
    yield info
    yield GaugeMetricFamily(f"{PREFIX}_{RUN_HALTED[0]}", RUN_HALTED[1], value=float(run.get("halted") is not None))
    yield GaugeMetricFamily(f"{PREFIX}_{RUN_READY[0]}", RUN_READY[1], value=float(not not_ready(status)))


def not_ready(status: Status) -> dict[str, str]:
    """Return the state of every process that is not ok."""
    return {name: each["state"] for name, each in status["processes"].items() if each["state"] != "ok"}


def _states(processes: Mapping[str, Any]) -> Metric:
    family = GaugeMetricFamily(f"{PREFIX}_{STATE[0]}", STATE[1], labels=("process", "state"))
    for name, record in processes.items():
        for state in STATES:
            family.add_metric((name, state), float(record["state"] == state))
    return family


def _refused(processes: Mapping[str, Any]) -> Metric:
    family = CounterMetricFamily(f"{PREFIX}_{REFUSED[0]}", REFUSED[1], labels=("process", "reason"))
    for name, record in processes.items():
        for reason, count in record.get("refused", {}).items():
            family.add_metric((name, reason), count)
    return family


def _latency(wires: Mapping[str, Any]) -> Metric:
    name = f"{PREFIX}_{LATENCY[0]}"
    found = {wire: record["latency_s"] for wire, record in wires.items() if record.get("latency_s")}
    if found and all("buckets" in latency for latency in found.values()):
        histogram = HistogramMetricFamily(name, LATENCY[1], labels=("wire",))
        for wire, latency in found.items():
            histogram.add_metric((wire,), [(str(top), count) for top, count in latency["buckets"]], latency["sum"])
        return histogram
    summary = SummaryMetricFamily(name, LATENCY[1], labels=("wire",))
    for wire, latency in found.items():
        summary.add_metric((wire,), latency["count"], latency["sum"])
        for word, quantile in QUANTILES.items():
            if latency.get(word) is not None and latency["count"]:
                summary.add_sample(name, {"wire": wire, "quantile": quantile}, latency[word])
    return summary


def _hubs(hubs: Mapping[str, Any]) -> Iterator[Metric]:
    family = GaugeMetricFamily(f"{PREFIX}_{HUB[0]}", HUB[1], labels=("hub", "counter"))
    for hub, record in hubs.items():
        for counter, value in record.items():
            if isinstance(value, int | float):
                family.add_metric((hub, counter), value)
    yield family
