"""The ledger node: what is kept, what is left out, and when it is on disk."""

from __future__ import annotations

import json

import pytest
from support.scripted_world import NS, World, fill, lp_state, mark, rate

from engine.errors import NodeFailed
from engine.testing import run_node
from nodes._lib.ledger_file import LedgerConflict, reading, verify
from nodes.messages import LedgerClosed, NetExposure
from nodes.sinks.ledger import Ledger


def rows(path, sql):
    with reading(path) as db:
        return db.execute(sql).fetchall()


def run_world(run_dir, minutes=120, **params):
    under = run_node(Ledger, run_dir=str(run_dir), labels={"topology": "scripted", "seed": "1"}, **params)
    for time_s, port, message in World(minutes=minutes).messages():
        under.at(time_s)
        if port in Ledger.spec.inputs:
            getattr(under, f"on_{port}")(message)
    return under


def test_all_of_a_run_is_on_disk_and_told(tmp_path):
    under = run_world(tmp_path)
    ((port, closed),) = under.stop()
    path = tmp_path / "ledger.sqlite"
    found = verify(path, closed.head)
    assert port == "closed"
    assert closed == LedgerClosed(path.name, under.now_ns, found.rows, found.head)
    world = [port for _, port, _ in World(minutes=120).messages()]
    for port, table in (("order", "orders"), ("fill", "fills"), ("command", "commands"), ("verdict", "verdicts")):
        assert rows(path, f"SELECT count(*) FROM {table}") == [(world.count(port),)]
    assert dict(rows(path, "SELECT key, value FROM meta")) == {
        "topology": "scripted",
        "seed": "1",
        "repeats": json.dumps({"commands": 0, "fills": 0, "orders": 0, "verdicts": 0}),
    }


def test_two_runs_write_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        run_world(tmp_path / name).stop()
    one, two = ((tmp_path / name / "ledger.sqlite").read_bytes() for name in ("one", "two"))
    assert one == two


def test_levels_are_sampled_and_the_last_is_kept(tmp_path):
    under = run_node(Ledger, run_dir=str(tmp_path), sample_s=60)
    for second in range(0, 200, 7):
        under.on_lp(lp_state(second))
    under.stop()
    times = [row[0] // NS for row in rows(tmp_path / "ledger.sqlite", "SELECT event_time_ns FROM lp_states")]
    assert times == [0, 63, 126, 182, 196]


def test_sample_0_keeps_all(tmp_path):
    under = run_node(Ledger, run_dir=str(tmp_path), sample_s=0)
    for second in range(20):
        under.on_lp(lp_state(second))
    under.stop()
    assert rows(tmp_path / "ledger.sqlite", "SELECT count(*) FROM lp_states") == [(20,)]


def test_a_done_command_and_unknown_exposure_are_always_kept(tmp_path):
    under = run_node(Ledger, run_dir=str(tmp_path), sample_s=60)
    for second, confirmed in enumerate(["", "", "c1", "c1"]):
        under.on_lp(lp_state(second, confirmed=confirmed))
    for second, net in enumerate([1.0, 1.01, None, None, 3.0]):
        under.on_exposure(NetExposure("ETH", second * NS, net, 1.0, 0.0))
    for second, venue in enumerate([-2.0, -2.0, -3.0]):
        under.on_exposure(NetExposure("BTC", second * NS, 1.0, 1.0, venue))
    for second, value in enumerate([1.0, 1.0, 0.9]):
        under.on_rate(rate(second, "USDC", value))
    under.host.nodes["node"]._file.commit()
    path = tmp_path / "ledger.sqlite"
    assert rows(path, "SELECT event_time_ns / 1000000000 FROM lp_states") == [(0,), (2,)]
    exposures = "SELECT event_time_ns / 1000000000, net_base FROM exposures WHERE base ="
    assert rows(path, f"{exposures} 'ETH'") == [(0, 1.0), (2, None), (4, 3.0)]
    assert rows(path, f"{exposures} 'BTC'") == [(0, 1.0), (2, 1.0)]
    assert rows(path, "SELECT rate FROM rates") == [(1.0,), (0.9,)]


def test_exposure_that_strays_before_the_hedge_answers_is_kept(tmp_path):
    under = run_node(Ledger, run_dir=str(tmp_path), sample_s=60, exposure_step=0.5)
    # The LP steps by 20 at 1 s, creeps on, and the hedge answers at 30 s.
    for second, net, venue in [(0, 0.0, 0.0), (1, 20.0, 0.0), (2, 20.5, 0.0), (3, 20.6, 0.0), (30, 0.6, -20.0)]:
        under.on_exposure(NetExposure("ETH", second * NS, net, net - venue, venue))
    under.stop()
    kept = rows(tmp_path / "ledger.sqlite", "SELECT event_time_ns / 1000000000, net_base FROM exposures")
    assert kept == [(0, 0.0), (1, 20.0), (3, 20.6), (30, 0.6)]


def test_a_level_that_is_no_number_does_not_cost_the_fills_beside_it(tmp_path):
    under = run_node(Ledger, run_dir=str(tmp_path))
    under.on_fill(fill(1, "1", "1", "2000"))
    under.on_exposure(NetExposure("ETH", NS, None, float("nan"), 0.0, ("lp is not finite",)))
    under.stop()
    path = tmp_path / "ledger.sqlite"
    assert rows(path, "SELECT trade_id FROM fills") == [("1",)]
    assert rows(path, "SELECT value FROM meta WHERE key = 'unusable'") == [('{"exposures": 1}',)]


def test_marks_are_kept_at_a_fill_and_after_it(tmp_path):
    under = run_node(Ledger, run_dir=str(tmp_path), sample_s=600, markout_s=(1.0, 5.0))
    for tenth in range(100, 400):
        at = tenth / 10
        under.on_mark(mark(at, 2000 + at))
        if tenth == 200:
            under.on_fill(fill(20.05, "1", "1", "2000"))
    under.host.nodes["node"]._file.commit()
    kept = rows(tmp_path / "ledger.sqlite", "SELECT event_time_ns / 100000000 FROM marks")
    # The first, and around 20.05, 21.05 and 25.05 the one that held then and its successor.
    assert [row[0] for row in kept] == [100, 200, 201, 210, 211, 250, 251]


def test_group_commit_by_rows(tmp_path):
    under = run_node(Ledger, run_dir=str(tmp_path), commit_rows=10)
    for number in range(25):
        under.on_fill(fill(number, str(number), "1", "2000"))
    assert verify(tmp_path / "ledger.sqlite").rows == 20


def test_group_commit_by_time(tmp_path):
    under = run_node(Ledger, run_dir=str(tmp_path), commit_s=2)
    under.on_fill(fill(1, "1", "1", "2000"))
    under.at(1.9)
    assert verify(tmp_path / "ledger.sqlite").rows == 0
    under.at(2)
    assert verify(tmp_path / "ledger.sqlite").rows == 1


@pytest.mark.parametrize("port", ["order", "fill", "update", "command"])
def test_durable_orders_are_on_disk_when_the_handler_returns(tmp_path, port):
    under = run_node(Ledger, run_dir=str(tmp_path), durable_orders=True)
    message = next(message for _, name, message in World(minutes=300).messages() if name == port)
    getattr(under, f"on_{port}")(message)
    assert verify(tmp_path / "ledger.sqlite").rows == 1


def test_a_fill_that_changes_its_story_fails_the_node(tmp_path):
    under = run_node(Ledger, run_dir=str(tmp_path))
    under.on_fill(fill(1, "1", "1", "2000"))
    with pytest.raises(NodeFailed, match="has come again") as failure:
        under.on_fill(fill(1, "1", "2", "2000"))
    assert isinstance(failure.value.cause, LedgerConflict)


def test_a_restart_goes_on_with_the_same_file(tmp_path):
    for _ in range(2):
        under = run_world(tmp_path, minutes=30)
        under.stop()
    path = tmp_path / "ledger.sqlite"
    verify(path)
    assert len(rows(path, "SELECT DISTINCT trade_id FROM fills")) == rows(path, "SELECT count(*) FROM fills")[0][0]
