"""What a hub carries by its plan: topics, which are state, and what a last value is the last of."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.graphs import TopologyBuilder
from support.packages import only_packages
from support.sample_nodes._messages import Reading

from engine.topology.plan import make_plan
from engine.wire import frame
from engine.wire.codec import UNDECODABLE, encoder
from engine.wire.hub_frame import Sent, json_body
from engine.wire.hub_topics import topics_of, used_hubs


@pytest.fixture(autouse=True)
def sample_package():
    with only_packages("support.sample_nodes"):
        yield


def builder() -> TopologyBuilder:
    builder = TopologyBuilder().hub("air", (6000,), 7000, outside=("hint", "target")).hub("idle", (6001,), 7001)
    builder.node("north", "sources.thermometer").node("mean", "models.average", half_life_s=60.0)
    builder.node("control", "controls.window").wire("north.reading -> mean.reading", "mean.average -> control.average")
    builder.wire("north.reading -> hub:air/reading", "control.command -> hub:air/command")
    return builder


def plan(builder: TopologyBuilder):
    return make_plan(builder.build(), Path())


def test_only_hubs_that_something_uses_are_opened():
    assert list(used_hubs(builder().build())) == ["air"]
    assert list(used_hubs(builder().hub("open", (6002,), 7002, outside=("x",)).build())) == ["air", "open"]


def test_topics_are_those_written_here_and_those_from_outside():
    topics = topics_of(plan(builder()), "air")
    assert {name: topic.kept for name, topic in topics.items()} == {
        "reading": True,
        "command": False,  # every one must arrive: an event
        "hint": False,  # nobody here takes it for state
        "target": False,
    }


def test_what_a_reader_queues_is_no_state_and_what_it_conflates_is():
    queued = builder().wire("hub:air/reading -> mean.correction", kind="drop_oldest", n=5)
    assert not topics_of(plan(queued), "air")["reading"].kept
    conflated = builder().wire("hub:air/target -> mean.correction", kind="conflate")
    assert topics_of(plan(conflated), "air")["target"].kept
    assert not topics_of(plan(conflated), "air")["hint"].kept


def test_wires_through_hubs_and_from_outside_are_in_the_plan():
    made = plan(builder().wire("hub:air/reading -> mean.correction", "hub:air/hint -> mean.correction"))
    through = [wire for wire in made.wires if wire.hub is not None]
    assert [(wire.source, wire.target, wire.hub) for wire in through] == [
        (("north", "reading"), ("mean", "correction"), "air/reading")
    ]
    (outside,) = made.outside
    assert (outside.source, outside.target, outside.hub) == (("hub:air", "hint"), ("mean", "correction"), "air/hint")
    assert outside.policy.kind == "block"


def header_body(port: int, sensor: str) -> bytes:
    return frame.pack(frame.id_base(port, 1) | 1, 0, 0, frame.tail(7)) + encoder(Reading)(Reading(sensor, 2**70, 1.0))


def test_a_last_value_is_that_of_a_writer_and_of_the_field_by_which_readers_conflate():
    by_writer = topics_of(plan(builder()), "air")["reading"].key
    assert by_writer(header_body(3, "a")) == by_writer(header_body(3, "b")) != by_writer(header_body(4, "a"))
    keyed = builder().wire("hub:air/reading -> mean.correction", kind="conflate", by="sensor")
    key = topics_of(plan(keyed), "air")["reading"].key
    assert len({key(header_body(port, sensor)) for port in (3, 4) for sensor in "ab"}) == 4
    small = frame.pack(frame.id_base(3, 1), 0, 0, frame.tail(7)) + encoder(Reading)(Reading("a", 1, 1.0))
    assert key(small) == key(small)
    told = {
        key(json_body(Reading(sensor, 1, 1.0), Sent(writer))) for writer in ("north.reading", "") for sensor in "ab"
    }
    assert len(told) == 4
    for broken in (b"", b"{", bytes(27) + b"\x01", bytes(27) + b"\x01\x90", b'{"wire":{"writer":1}}'):
        with pytest.raises(UNDECODABLE):
            key(broken)
