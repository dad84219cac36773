"""Metrics, health, readiness and status of a run over HTTP."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.fake_supervisor import process, status

from engine.errors import UsageError
from engine.process import metrics
from engine.process.web import Web
from engine.spec import MetricSpec

GAUGES = {"siren": {"limit": MetricSpec("Alarm above this.", "°C", "limit")}}
PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"


def fetch(path: str, shown: Callable[[], dict[str, Any]] = status) -> tuple[int, str, Any]:
    """Return code, content type and body of one page."""

    async def go() -> tuple[int, str, Any]:
        page = Web(shown, GAUGES)
        address = await page.start()
        try:
            async with aiohttp.ClientSession() as session, session.get(address + path) as answer:
                body = await (answer.json() if answer.content_type == "application/json" else answer.text())
                return answer.status, answer.headers["Content-Type"], body
        finally:
            await page.close()
            await page.close()

    return asyncio.run(go())


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Return the samples of an exposition by name and values of labels, these in order of their names."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_are_an_exposition_of_the_status():
    code, kind, text = fetch("/metrics")
    assert code == 200
    assert kind.startswith("text/plain")
    found = samples(text)
    wire = "sensor.reading -> siren.reading"
    assert found["pipeline_run_info", "station-1", "station"] == 1
    assert found["pipeline_run_ready",] == 1
    assert found["pipeline_process_state", "field", "ok"] == 1
    assert found["pipeline_process_state", "field", "fatal"] == 0
    assert found["pipeline_process_resident_memory_bytes", "house"] == 64 << 20
    assert found["pipeline_node_sent_total", "sensor", "field"] == 100
    assert found["pipeline_wire_superseded_total", wire] == 10
    assert found["pipeline_wire_latency_seconds", "0.99", wire] == 0.0031
    assert found["pipeline_wire_latency_seconds_count", wire] == 90
    assert found["pipeline_gauge_limit", "siren", "°C"] == 30


def test_what_a_status_does_not_say_is_no_series():
    def bare() -> dict[str, Any]:
        return status(processes={"field": {"state": "starting", "pid": None}}, nodes={}, wires={})

    found = samples(fetch("/metrics", bare)[2])
    assert not [name for name in found if name[0].startswith(("pipeline_process_cpu", "pipeline_journal"))]
    assert found["pipeline_process_state", "field", "starting"] == 1


def test_a_latency_with_buckets_is_a_histogram():
    latency = {"count": 3, "sum": 0.3, "buckets": [[0.1, 2], ["+Inf", 3]]}
    found = samples(fetch("/metrics", lambda: status(wires={"a.x -> b.y": {"latency_s": latency}}))[2])
    assert found["pipeline_wire_latency_seconds_bucket", "0.1", "a.x -> b.y"] == 2
    assert found["pipeline_wire_latency_seconds_bucket", "+Inf", "a.x -> b.y"] == 3


def test_refusals_links_and_hubs_are_counted():
    field = process(refused={"schema": 2}, links={"house": {"sent": 7, "bytes": 700, "backlog": 1}})
    shown = status(processes={"field": field}, hubs={"weather": {"forwarded": 5, "name": "x"}})
    found = samples(fetch("/metrics", lambda: shown)[2])
    assert found["pipeline_frames_refused_total", "field", "schema"] == 2
    assert found["pipeline_link_bytes_total", "house", "field"] == 700
    assert found["pipeline_hub", "forwarded", "weather"] == 5


def test_health_answers_and_ready_tells_what_is_waited_for():
    waiting = status(processes={"field": process(), "house": process("recoverable")})
    assert fetch("/health", lambda: waiting)[::2] == (200, {"health": "ok"})
    assert fetch("/ready")[::2] == (200, {"ready": True, "waiting": {}, "halted": None})
    code, _, body = fetch("/ready", lambda: waiting)
    assert (code, body["waiting"]) == (503, {"house": "recoverable"})


def test_status_is_the_table_itself():
    assert fetch("/status")[2] == status()


def test_only_this_machine_is_served_and_a_taken_port_is_named():
    async def go() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            with pytest.raises(UsageError, match=rf"127\.0\.0\.1:{taken.getsockname()[1]}: .*--metrics-port"):
                await Web(status, {}).start(taken.getsockname()[1])

    asyncio.run(go())
    assert metrics.gauge_name("mid-price") == "pipeline_gauge_mid_price"


def test_the_page_lists_every_metric():
    text = fetch("/metrics")[2]
    names = {family.name for family in text_string_to_metric_families(text)} - {"pipeline_gauge_limit"}
    page = PAGE.read_text(encoding="utf-8")
    listed = {name.removesuffix("_total") for name in re.findall(r"`(pipeline_[a-z_]+)`", page)}
    assert names - listed == set()
    assert listed - names == {"pipeline_gauge_"}
