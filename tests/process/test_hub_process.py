"""Hubs in a real process: what goes through, what is refused, late and slow readers, and a kill."""

from __future__ import annotations

import json
import socket
import time

import msgspec
import pytest
import zmq
from support.hubs import PATIENCE_S, HubProcess, take, until
from support.packages import only_packages
from support.sample_nodes._messages import Reading

from engine.process.run import Run
from engine.run.session import load_plan
from engine.wire import frame
from engine.wire.codec import encoder
from engine.wire.hub import refuse_taken_ports
from engine.wire.hub_client import HubPublisher
from engine.wire.hub_frame import Sent, framed, has_header, json_body, read_json

TOPOLOGY = """
topology: greenhouse
about: Two thermometers, and a program outside that corrects them.
hubs:
  air: {publish: [6000, 6001], subscribe: 7000, outside: [ETH, ETHFI, hint]}
  log: {publish: [6002], subscribe: 7001, codec: json}
nodes:
  north: {use: sources.thermometer, params: {sensor: north}, out: {reading: ["hub:air/reading", "hub:log/reading"]}}
  south: {use: sources.thermometer, params: {sensor: south}, out: {reading: "hub:air/reading"}}
  mean:
    use: models.average
    in: {reading: north.reading, correction: "hub:air/hint"}
    params: {half_life_s: 5m}
  other:
    use: models.average
    in:
      reading: south.reading
      correction: [{from: "hub:air/reading", policy: conflate, by: sensor}, "hub:air/ETH", "hub:air/ETHFI"]
    params: {half_life_s: 5m}
"""
PACKAGE = "support.sample_nodes"
NORTH, SOUTH = 11, 12


@pytest.fixture
def hubs(tmp_path):
    file = tmp_path / "greenhouse.yaml"
    file.write_text(TOPOLOGY)
    with only_packages(PACKAGE):
        process = HubProcess(file, tmp_path, PACKAGE)
    yield process
    process.close()


def body(sequence: int, *, sensor: str = "north", port: int = NORTH) -> bytes:
    reading = Reading(sensor, time.time_ns(), float(sequence))
    header = frame.pack(frame.id_base(port, 1) | sequence, 0, time.time_ns(), frame.tail(7))
    return header + encoder(Reading)(reading)


def told(received: bytes) -> tuple[str, float, bool]:
    """Return the sensor and temperature of a body with a header, and whether it is marked as a last value."""
    *_, tail = frame.unpack(received)
    reading = msgspec.msgpack.decode(received[frame.HEADER_BYTES :], type=Reading)
    return reading.sensor, reading.celsius, bool(frame.tail_parts(tail)[1] & frame.LAST_VALUE)


def test_frames_go_from_every_publish_port_to_the_readers_of_their_topic(hubs):
    hubs.start()
    reader = hubs.subscriber("air", "reading")
    first = hubs.publisher("air")
    second = HubPublisher(hubs.context, hubs.endpoints.every_publish("air")[1])
    until(lambda: second.service() or second.connected, "the second port")
    first.publish("reading", body(1))
    second.publish("reading", body(2, port=SOUTH, sensor="south"))
    frames = take(reader, 2)
    second.close()
    assert {topic for topic, _ in frames} == {"reading"}
    assert sorted(told(each) for _, each in frames) == [("north", 1.0, False), ("south", 2.0, False)]
    topics = hubs.stats("air")["topics"]
    assert topics["reading"]["frames"] == 2
    assert topics["reading"]["readers"] == 1


def test_a_late_reader_gets_the_last_value_of_each_key_and_writer(hubs):
    hubs.start()
    early = hubs.subscriber("air", "reading")
    writer = hubs.publisher("air")
    for sequence in range(1, 6):
        writer.publish("reading", body(sequence))
    writer.publish("reading", body(6, sensor="roof"))
    writer.publish("reading", body(1, port=SOUTH, sensor="south"))
    assert len(take(early, 7)) == 7
    late = hubs.subscriber("air", "reading")
    found = sorted(told(each) for _, each in take(late, 3))
    assert found == [("north", 5.0, True), ("roof", 6.0, True), ("south", 1.0, True)]
    assert hubs.stats("air")["topics"]["reading"]["kept"] == 3


def test_events_are_not_given_to_late_readers(hubs):
    hubs.start()
    writer = hubs.publisher("air")
    writer.publish("hint", json_body(Reading("roof", 0, 1.0), Sent()))
    writer.publish("reading", body(1))
    until(lambda: hubs.stats("air")["topics"]["hint"]["frames"], "the hint")
    assert hubs.stats("air")["topics"]["hint"]["kept"] == 0
    late = hubs.subscriber("air", "hint", "reading")
    writer.publish("hint", json_body(Reading("roof", 0, 2.0), Sent()))
    frames = take(late, 2)
    assert [topic for topic, _ in frames] == ["reading", "hint"]
    assert read_json(frames[1][1], Reading)[1].celsius == 2.0


def test_a_slow_reader_gets_the_last_value_and_does_not_hold_up_others(hubs):
    hubs.start()
    slow, quick = hubs.subscriber("air", "reading"), hubs.subscriber("air", "reading")
    writer = hubs.publisher("air")
    count, seen = 20_000, 0
    for sequence in range(1, count + 1):
        writer.publish("reading", body(sequence))
        if sequence % 100 == 0:
            seen += len(quick.receive(10_000))
    end = time.monotonic() + PATIENCE_S
    while seen < count and time.monotonic() < end:
        writer.service()
        seen += len(quick.receive(10_000))
    assert seen == count
    last = take(slow, count)[-1][1]
    assert told(last) == ("north", float(count), False)


def test_a_topic_is_not_its_namesakes_beginning(hubs):
    hubs.start()
    reader = hubs.subscriber("air", "ETH")
    writer = hubs.publisher("air")
    for topic in ("ETHFI", "ETH", "ETHFI", "ETH"):
        writer.publish(topic, json_body(Reading(topic, 0, 1.0), Sent()))
    frames = take(reader, 2)
    assert [read_json(each, Reading)[1].sensor for _, each in frames] == ["ETH", "ETH"]
    until(lambda: hubs.stats("air")["frames"] == 4, "all four to have passed")
    assert reader.receive(10) == []


def test_json_carries_who_sent_it_and_the_mark_of_a_last_value(hubs):
    hubs.start()
    writer = hubs.publisher("log")
    reading = Reading("north", 5, 21.5)
    writer.publish("reading", json_body(reading, Sent("north.reading", 3, 17, 99, 1234)))
    until(lambda: hubs.stats("log")["topics"]["reading"]["kept"], "the hub to have it")
    late = hubs.subscriber("log", "reading")
    ((_, received),) = take(late, 1)
    assert not has_header(received)
    envelope, message = read_json(received, Reading)
    assert message == reading
    assert envelope.last_value
    assert json.loads(received) == {
        "wire": {"writer": "north.reading", "epoch": 3, "sequence": 17, "cause": 99, "sent_ns": 1234},
        "sensor": "north",
        "event_time_ns": 5,
        "celsius": 21.5,
        "last_value": True,
    }


def test_a_program_outside_writes_json_of_its_own(hubs):
    hubs.start()
    reader = hubs.subscriber("air", "hint")
    outside = hubs.context.socket(zmq.PUB)
    outside.connect(hubs.endpoints.publish("air"))
    text = b'hint {"sensor": "caf\xc3\xa9", "event_time_ns": 5, "celsius": 1, "unheard_of": [1, {"a": null}]}\n'
    frames = until(lambda: outside.send(text) or reader.receive(1), "the outsider's frame")
    outside.close(0)
    envelope, message = read_json(frames[0][1], Reading)
    assert message == Reading("café", 5, 1.0)
    assert envelope.wire == Sent()


def test_garbage_is_refused_counted_and_harmless(hubs):
    hubs.start()
    reader = hubs.subscriber("air", "reading", "hint")
    outside = hubs.context.socket(zmq.XPUB)
    outside.connect(hubs.endpoints.publish("air"))
    assert outside.recv() == b"\x01"
    garbage = {
        b"": "topic",
        b" ": "topic",
        b"reading": "topic",
        b"readings {}": "topic",
        b"\x00\xff\xfe": "topic",
        b"x" * 100_000: "topic",
        b"reading ": "body",
        b"reading nonsense": "body",
        b"reading {": "body",
        b"reading []": "body",
        b"reading null": "body",
        b"reading " + bytes(27) + b"\x02": "body",
        b"reading " + bytes(27) + b"\x01": "body",
        b"reading " + b"[" * 100_000: "body",
        b"hint \xff": "body",
        b'hint {"wire": 1}': "body",
        b'hint {"wire": {"epoch": "x"}}': "body",
    }
    for each in garbage:
        outside.send(each)
    outside.send_multipart([b"reading", b"{}"])
    outside.send_multipart([b'hint {"a":1}', b"more"])
    outside.send(framed("hint", b"{}"))
    assert [each for _, each in take(reader, 2)] == [b'{"a":1}', b"{}"]
    outside.send(b"hint " + b" " * (1 << 20))
    outside.close(1000)
    reasons = list(garbage.values())
    stats = hubs.stats("air")
    assert stats["reasons"] == {"topic": reasons.count("topic") + 3, "body": reasons.count("body")}
    assert stats["refused"] == sum(stats["reasons"].values())
    assert stats["frames"] == 2


def test_what_readers_send_up_is_refused(hubs):
    hubs.start()
    nosy = hubs.context.socket(zmq.XSUB)
    nosy.connect(hubs.endpoints.subscribe("air"))
    nosy.send(b"\x01reading ")
    until(lambda: hubs.stats("air")["topics"]["reading"]["readers"], "the subscription")
    nosy.send(b"hello")
    until(lambda: hubs.stats("air")["reasons"].get("upstream") == 1, "the refusal")
    nosy.send(b"\x00reading ")
    until(lambda: hubs.stats("air")["topics"]["reading"]["readers"] == 0, "the end of the subscription")
    nosy.close(0)


def test_a_taken_port_names_its_holder(hubs, tmp_path):
    port = 7000 + hubs.offset
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", port))
        holder.listen()
        with only_packages(PACKAGE):
            plan = load_plan([hubs.file], [], tmp_path)
        with pytest.raises(Exception, match=rf"port {port} of hub 'air' is held by \S+ \(pid \d+\).*--port-offset"):
            refuse_taken_ports(Run("test", plan, tmp_path, tmp_path, port_offset=hubs.offset))
        hubs.launch()
        failed = until(lambda: hubs.told("failed"), "the hubs to fail")
        assert f"127.0.0.1:{port} (subscribe): it is held by" in failed["error"]
        assert "(pid " in failed["error"]
        assert hubs.process.wait(PATIENCE_S) == 1


def test_writers_and_readers_go_on_after_a_kill_and_last_values_are_back(hubs):
    hubs.start()
    reader = hubs.subscriber("air", "reading", "hint")
    writer = hubs.publisher("air")
    writer.publish("reading", body(1), key="north")
    writer.publish("reading", body(1, port=SOUTH, sensor="south"), key="south")
    assert len(take(reader, 2)) == 2
    hubs.kill()
    until(lambda: writer.service() or not writer.connected, "the writer to notice")
    for sequence in range(2, 50):
        writer.publish("reading", body(sequence), key="north")
    writer.publish("hint", json_body(Reading("roof", 0, 1.0), Sent()))
    assert writer.backlog == 2
    hubs.start()
    until(lambda: writer.service() or writer.connected, "the writer to be back")
    seen = {}
    # Whether the reader or the writer is back first decides if it gets what is new or what is kept.
    until(lambda: seen.update(told(each)[:2] for topic, each in reader.receive(10) if topic == "reading") or
          seen == {"north": 49.0, "south": 1.0}, "the last values at the reader")  # fmt: skip
    assert hubs.stats("air")["topics"]["hint"]["frames"] == 1
    late = hubs.subscriber("air", "reading")
    assert sorted(told(each) for _, each in take(late, 2)) == [("north", 49.0, True), ("south", 1.0, True)]
    writer.publish("reading", body(50), key="north")
    until(lambda: ("north", 50.0, False) in [told(each) for _, each in reader.receive(10)], "what is new")


def test_it_stops_when_told_and_when_the_supervisor_is_gone(hubs):
    hubs.start()
    assert until(lambda: hubs.told("ready"), "ready")
    hubs.tell("stop")
    until(lambda: hubs.told("stopped"), "stopped")
    hubs.publisher("air").publish("reading", body(1))
    until(lambda: hubs.stats("air")["frames"] == 1, "a frame after stop: others still end")
    hubs.tell("exit")
    assert hubs.process.wait(PATIENCE_S) == 0


def test_it_does_not_outlive_its_supervisor(hubs):
    hubs.start()
    hubs._control.close()
    assert hubs.process.wait(PATIENCE_S) == 1
