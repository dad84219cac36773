"""Taps show what leaves an output, sampled, each with a socket of its own, and cost nothing when there are none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
from support.weather import Alarm, Diary, Reading, Siren, Smoother, Thermometer

from engine.clock import Clock
from engine.process import tap as tap_module
from engine.process.tap import Taps, TokenBucket
from engine.run.host import Host


@pytest.fixture
def host() -> Host:
    host = Host(Clock(1_000))
    host.add("sensor", Thermometer, {"values": []})
    host.add("smoother", Smoother, {"weight": 1.0})
    host.add("siren", Siren, {})
    host.add("diary", Diary, {})
    host.wire(("sensor", "reading"), ("smoother", "reading"))
    host.wire(("smoother", "smooth"), ("siren", "reading"))
    host.wire(("siren", "alarm"), ("diary", "alarm"))
    host.add_remote("far", "alarm", Alarm)
    host.wire(("far", "alarm"), ("diary", "alarm"))
    host.start()
    return host


@pytest.fixture
def taps(host: Host) -> Iterator[Taps]:
    taps = Taps(host)
    yield taps
    taps.close()


@pytest.fixture
def pull(tmp_path: Path) -> Iterator[tuple[zmq.Socket[bytes], str]]:
    address = f"ipc://{tmp_path}/tap"
    with zmq.Context() as context, context.socket(zmq.PULL) as socket:
        socket.linger = 0
        socket.rcvtimeo = 2_000
        socket.bind(address)
        yield socket, address


def send(host: Host, celsius: float = 20.0) -> None:
    host.inject(host.ports["sensor", "reading"], Reading(celsius, 7))


def test_a_message_is_shown_with_type_id_cause_and_time(host, taps, pull):
    socket, address = pull
    taps.attach("t", ["smoother.smooth"], None, address)
    send(host)
    send(host, 25.0)
    socket.recv()
    shown = json.loads(socket.recv())
    assert shown["message"].pop("celsius") == pytest.approx(25.0, abs=1e-3)
    assert shown == {
        "port": "smoother.smooth",
        "type": "Reading",
        "id": "smoother.smooth#2",
        "cause": "sensor.reading#2",
        "time_ns": 1_000,
        "message": {"event_time_ns": 7},
    }


def test_ids_of_a_later_start_say_so(host, taps, pull):
    host.ports["smoother", "smooth"].epoch = 3
    taps.attach("t", ["smoother.smooth"], None, pull[1])
    send(host)
    shown = json.loads(pull[0].recv())
    assert (shown["id"], shown["cause"]) == ("smoother.smooth#1@3", "sensor.reading#1")


def test_what_comes_from_outside_has_no_cause_and_calls_are_causes(host, taps, pull):
    socket, address = pull
    taps.attach("t", ["sensor.reading", "siren.alarm"], None, address)
    send(host, 40.0)
    assert json.loads(socket.recv())["cause"] is None
    host.call_due(2_000_000_000)
    assert json.loads(socket.recv())["cause"] == "siren.#2"


def test_an_untapped_port_reads_as_if_it_had_never_been_tapped(host, taps, pull):
    port = host.ports["smoother", "smooth"]
    before = port.read
    taps.attach("a", ["smoother.smooth"], None, pull[1])
    taps.attach("b", ["smoother.smooth"], None, pull[1])
    assert len(port.joined) == 2, "two taps share one hook"
    taps.detach("a")
    assert len(port.joined) == 2
    taps.detach("b")
    assert port.read == before
    taps.detach("b")
    assert taps.stats() == {}


def test_ports_of_other_processes_and_unknown_ones_are_passed_over(host, taps, pull):
    taps.attach("t", ["far.alarm", "nobody.port", "nonsense"], None, pull[1])
    assert taps.stats() == {}
    assert len(host.ports["far", "alarm"].joined) == 1


def test_attaching_again_takes_the_place_of_the_first(host, taps, pull):
    taps.attach("t", ["sensor.reading"], None, pull[1])
    taps.attach("t", ["smoother.smooth"], None, pull[1])
    send(host)
    assert json.loads(pull[0].recv())["port"] == "smoother.smooth"
    assert taps.stats()["t"]["sent"] == 1


def test_the_rate_samples_and_counts_what_it_leaves_out(host, taps, pull):
    taps.attach("slow", ["sensor.reading"], 3.0, pull[1])
    for _ in range(10):
        send(host)
    assert taps.stats()["slow"] == {"sent": 3, "left_out": 7, "dropped": 0}


def test_a_reader_that_does_not_read_costs_drops_not_time(host, taps, tmp_path, monkeypatch):
    monkeypatch.setattr(tap_module, "HIGH_WATER", 5)
    taps.attach("t", ["sensor.reading"], None, f"ipc://{tmp_path}/nobody")
    for _ in range(50):
        send(host)
    found = taps.stats()["t"]
    assert found["dropped"] > 0
    assert found["sent"] + found["dropped"] == 50
    assert host.ports["sensor", "reading"].sent == 50, "the run went on"


def test_a_token_bucket_fills_with_time_up_to_one_second():
    now_ns = [0]
    bucket = TokenBucket(2.0, lambda: now_ns[0])
    assert [bucket.take() for _ in range(3)] == [True, True, False]
    now_ns[0] += 500_000_000
    assert [bucket.take() for _ in range(2)] == [True, False]
    now_ns[0] += 60_000_000_000
    assert [bucket.take() for _ in range(3)] == [True, True, False]
    rare = TokenBucket(0.1, lambda: now_ns[0])
    assert [rare.take() for _ in range(2)] == [True, False]
    now_ns[0] += 10_000_000_000
    assert rare.take()
