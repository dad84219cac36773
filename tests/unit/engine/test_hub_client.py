"""Addresses of hubs, and a publisher whose hub is away."""

from __future__ import annotations

import time

import pytest
import zmq
from support.graphs import TopologyBuilder

from engine.errors import UsageError
from engine.wire.hub_client import MOST_WAITING, Endpoints, HubPublisher


@pytest.fixture
def context():
    context = zmq.Context()
    yield context
    context.destroy(0)


def endpoints(offset: int = 0) -> Endpoints:
    return Endpoints(TopologyBuilder().hub("air", (6000, 6001), 7000).hubs, offset)


def test_an_offset_shifts_every_port():
    assert endpoints().publish("air") == "tcp://127.0.0.1:6000"
    shifted = endpoints(500)
    assert shifted.publish("air") == "tcp://127.0.0.1:6500"
    assert shifted.every_publish("air") == ["tcp://127.0.0.1:6500", "tcp://127.0.0.1:6501"]
    assert shifted.subscribe("air") == "tcp://127.0.0.1:7500"
    assert not shifted.is_json("air")


@pytest.mark.parametrize("offset", [58_536, -7_000])
def test_an_offset_that_leaves_the_range_of_ports_is_refused(offset):
    with pytest.raises(UsageError, match=f"--port-offset {offset} makes"):
        endpoints(offset).subscribe("air")


def hub(context: zmq.Context) -> tuple[zmq.Socket, str]:
    socket = context.socket(zmq.XSUB)
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    socket.send(b"\x01")
    socket.setsockopt(zmq.RCVTIMEO, 5_000)
    return socket, f"tcp://127.0.0.1:{port}"


def wait(publisher: HubPublisher, hub: zmq.Socket) -> None:
    """Wait until the publisher knows whether the hub is there."""
    end = time.monotonic() + 5
    while publisher.connected is hub.closed:
        assert time.monotonic() < end
        if not hub.closed:
            hub.getsockopt(zmq.EVENTS)  # a socket greets its peers while it is used
        publisher.service()
        time.sleep(0.001)


def test_state_is_replaced_and_events_wait_in_order_until_the_hub_is_there(context):
    socket, address = hub(context)
    publisher = HubPublisher(context, address)
    for number in range(3):
        publisher.publish("state", b"%d" % number, key="a")
        publisher.publish("event", b"%d" % number)
    assert publisher.backlog == 4
    assert not publisher.connected
    wait(publisher, socket)
    assert [socket.recv() for _ in range(4)] == [b"state 2", b"event 0", b"event 1", b"event 2"]
    assert (publisher.sent, publisher.dropped, publisher.backlog) == (4, 0, 0)
    publisher.publish("event", b"3")
    assert socket.recv() == b"event 3"
    publisher.close()
    socket.close(0)


def test_a_hub_that_comes_back_gets_the_last_values_marked_as_such(context):
    socket, address = hub(context)
    publisher = HubPublisher(context, address)
    wait(publisher, socket)
    publisher.publish("state", b'{"n":1}', key="a")
    publisher.publish("state", b'{"n":2}', key="b")
    publisher.publish("event", b"{}")
    assert [socket.recv() for _ in range(3)] == [b'state {"n":1}', b'state {"n":2}', b"event {}"]
    socket.close(0)
    wait(publisher, socket)
    publisher.publish("state", b'{"n":3}', key="b")
    again = context.socket(zmq.XSUB)
    again.setsockopt(zmq.RCVTIMEO, 5_000)
    again.bind(address)
    again.send(b"\x01")
    wait(publisher, again)
    assert [again.recv() for _ in range(2)] == [b'state {"n":1,"last_value":true}', b'state {"n":3}']
    publisher.close()
    again.close(0)


def test_events_that_nobody_takes_are_bounded_and_state_is_kept(context):
    publisher = HubPublisher(context, "tcp://127.0.0.1:1")
    publisher.publish("state", b"1", key="a")
    for number in range(MOST_WAITING + 10):
        publisher.publish("event", b"%d" % number)
    assert publisher.backlog == MOST_WAITING
    assert publisher.dropped == 11
    publisher.close()
