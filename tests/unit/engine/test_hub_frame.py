"""Bodies on hubs: two forms that are told apart, and messages as JSON objects."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import Message
from engine.wire import frame
from engine.wire.codec import UNDECODABLE, object_decoder, object_encoder
from engine.wire.hub_frame import Envelope, Sent, as_last_value, framed, has_header, json_body, read_envelope, read_json
from nodes.messages import InventoryDelta, LpPosition


class Leaf(Message):
    """Part of a tree."""

    name: str
    size: Decimal = Decimal(1)


class Tree(Message):
    """Every kind of field that a message may have."""

    count: int
    height: float
    maybe: float | None = None
    data: bytes = b""
    leaves: tuple[Leaf, ...] = ()
    pairs: tuple[tuple[str, int], ...] = ()
    one: Leaf | None = None
    wire_up: bool = True


class Clash(Message):
    """Has a field whose name is taken on hubs."""

    wire: str


class Empty(Message):
    """Has nothing to say."""


SENT = Sent("oak.tree", 2, 7, 5, 1234)
NUMBERS = st.floats(allow_nan=False)
LEAVES = st.builds(Leaf, st.text(), st.decimals(allow_nan=False))
TREES = st.builds(
    Tree,
    st.integers(-(2**300), 2**300),
    NUMBERS,
    st.none() | NUMBERS,
    st.binary(),
    st.lists(LEAVES, max_size=3).map(tuple),
    st.lists(st.tuples(st.text(), st.integers()), max_size=2).map(tuple),
    st.none() | LEAVES,
    st.booleans(),
)


@given(TREES)
def test_a_message_comes_back_from_its_object(tree):
    body = json_body(tree, SENT)
    assert not has_header(body)
    assert read_json(body, Tree) == (Envelope(SENT), tree)
    again = as_last_value(body)
    assert not has_header(again)
    assert read_json(again, Tree) == (Envelope(SENT, True), tree)


def test_an_object_has_the_names_of_the_fields_at_every_depth():
    tree = Tree(3, 0.5, leaves=(Leaf("a", Decimal("0.10")),), data=b"\x00\xff")
    assert json.loads(object_encoder(Tree)(tree)) == {
        "count": 3,
        "height": 0.5,
        "maybe": None,
        "data": "AP8=",
        "leaves": [{"name": "a", "size": "0.10"}],
        "pairs": [],
        "one": None,
        "wire_up": True,
    }


def test_what_is_not_finite_is_told_in_words():
    tree = Tree(1, math.inf, -math.inf, leaves=(Leaf("a", Decimal("NaN")),))
    text = object_encoder(Tree)(tree)
    assert b'"height":"inf","maybe":"-inf"' in text
    back = object_decoder(Tree)(text)
    assert (back.height, back.maybe) == (math.inf, -math.inf)
    assert back.leaves[0].size.is_nan()
    assert math.isnan(object_decoder(Tree)(object_encoder(Tree)(Tree(1, math.nan))).height)


def test_the_inventory_delta_keeps_its_own_epoch_and_sequence():
    position = LpPosition("1", 1900.0, 2100.0, -10, 10, 2**127, 10**30, 5)
    fields = dict.fromkeys(InventoryDelta.__struct_fields__, 1.5)
    fields |= {"source": "a:b:c", "pool": "p", "block_hash": "0x", "positions": (position,), "rebalance_due": True}
    fields |= dict.fromkeys(("event_time_ns", "block", "expires_block", "delta_base_wei"), 1)
    delta = InventoryDelta(**{**fields, "epoch": 77, "sequence": 88, "rebalance_reason": ""})
    body = json_body(delta, SENT)
    told = json.loads(body)
    assert (told["epoch"], told["sequence"]) == (77, 88)
    assert (told["wire"]["epoch"], told["wire"]["sequence"]) == (2, 7)
    assert told["positions"][0]["liquidity"] == 2**127
    assert read_json(body, InventoryDelta)[1] == delta


def test_a_message_without_fields():
    body = json_body(Empty(), SENT)
    assert json.loads(as_last_value(body))["last_value"] is True
    assert read_json(body, Empty) == (Envelope(SENT), Empty())
    for nothing in (b"{}", b" { } \n"):
        assert json.loads(as_last_value(nothing)) == {"last_value": True}


def test_a_field_may_not_be_called_as_the_envelope_is():
    with pytest.raises(TypeError, match=r"Clash\.wire"):
        json_body(Clash("x"), SENT)


def test_a_body_with_a_header_is_marked_in_its_flags():
    body = frame.pack(frame.id_base(3, 1) | 9, 0, 5, frame.tail(77)) + b"payload"
    assert has_header(body)
    again = as_last_value(body)
    assert again[frame.HEADER_BYTES :] == b"payload"
    assert frame.tail_parts(frame.unpack(again)[3]) == (77, frame.LAST_VALUE, frame.VERSION)
    assert framed("ETH", body) == b"ETH " + body


@given(st.binary(max_size=60))
def test_reading_anything_raises_nothing_else(data):
    for read in (read_envelope, object_decoder(Tree)):
        with suppress(UNDECODABLE):
            read(data)
