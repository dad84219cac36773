"""The program of docs/examples against real hubs, and its request at the node that judges it first."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from threading import Timer

import pytest
from support.hubs import HubProcess, free_offset, take, until
from support.packages import only_packages

from engine.testing import run_node
from engine.wire import frame
from engine.wire.codec import encoder
from engine.wire.hub_frame import Sent, json_body, read_json
from nodes.messages import Book, OutsideOrder
from nodes.sources.outside_orders import OutsideOrders
from nodes.sources.scripted_delta import ScriptedDelta

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
NOW_S = 1_704_412_800.0


@pytest.fixture
def hubs(tmp_path):
    with only_packages("nodes"):
        process = HubProcess(EXAMPLES / "outside.yaml", tmp_path, "nodes")
    yield process.start()
    process.close()


@pytest.mark.parametrize(("level", "side", "price"), [(2.0, "sell", "2200.50"), (-2.0, "buy", "2200.25")])
def test_it_reads_both_hubs_and_its_order_is_passed_on(hubs, level, side, price):
    requests = hubs.subscriber("orders", "request")
    node = run_node(ScriptedDelta, now_s=NOW_S, steps=[(0.0, level)])
    ((_, delta),) = node.at(NOW_S)
    hubs.publisher("inventory").publish("inventory_update", json_body(delta, Sent("inventory.delta", 1, 1)))
    now_ns = round(NOW_S * 1e9)
    book = Book("ETH-USDT-PERP", now_ns, now_ns, 2200.25, 1.0, 2200.5, 2.0)
    header = frame.pack(frame.id_base(1, 1) | 1, 0, time.time_ns(), frame.tail(frame.schema_of(Book)))
    hubs.publisher("market").publish("order_book", header + encoder(Book)(book))

    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "outside.py"), str(hubs.offset)],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"script:step:none is {level:+g} base from its target; ETH-USDT-PERP is 2200.25 x 2200.5",
        f"asked to {side} 0.1 at {price}",
    ]
    ((topic, body),) = take(requests, 1)
    assert topic == "request"
    _, request = read_json(body, OutsideOrder)
    ((name, order),) = run_node(OutsideOrders, now_s=NOW_S, instruments=["ETH-USDT-PERP"]).on_request(request)
    assert (name, order.side, order.price, order.size) == ("order", side, Decimal(price), Decimal("0.1"))
    assert order.client_order_id.startswith("out-example-")
    assert hubs.stats("orders")["topics"]["request"]["kept"] == 0, "an order is never told again"


def test_in_a_whole_run_its_order_passes_the_gate_also_after_the_hubs_were_killed(tmp_path):
    file, out = EXAMPLES / "outside.yaml", tmp_path / "run"
    offset = free_offset(6000, 6001, 6002, 6005, 7000, 7001, 7003)
    command = [
        sys.executable,
        "-c",
        "from engine.cli import main; main()",
        "up",
        str(file),
        "--out",
        str(out),
        "--no-record",
    ]
    with (
        subprocess.Popen(
            [*command, "--port-offset", str(offset)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as run,
        closing(run.stdout),
    ):
        watchdog = Timer(60, run.kill)
        watchdog.start()
        try:
            first = until_line(run, r"hubs: ok \(pid (\d+)\)")
            until(lambda: ask(offset) or len(passed(out)) == 1, "an order that the gate has passed")
            os.kill(int(first[1]), signal.SIGKILL)
            until_line(run, r"hubs: ok \(pid (\d+), start 2\)")
            # A request that is sent before the reader is back is lost, as any copy is, and one per book has an id.
            until(lambda: ask(offset) or len(passed(out)) == 2, "two orders that the gate has passed")
        finally:
            run.send_signal(signal.SIGINT)
            tail = run.stdout.read()
            watchdog.cancel()
        assert run.wait(30) == 130, tail
    assert len(set(passed(out))) == 2


def ask(offset: int) -> None:
    script = [sys.executable, str(EXAMPLES / "outside.py"), str(offset)]
    done = subprocess.run(script, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr


def until_line(run: subprocess.Popen[str], pattern: str) -> re.Match[str]:
    seen = []
    for line in run.stdout:
        seen.append(line)
        if found := re.search(pattern, line):
            return found
    raise AssertionError("".join(seen))


def passed(out: Path) -> list[str]:
    with closing(sqlite3.connect(f"file:{out / 'ledger.sqlite'}?mode=ro", uri=True)) as ledger:
        return [row[0] for row in ledger.execute("select request_id from verdicts where passed")]
