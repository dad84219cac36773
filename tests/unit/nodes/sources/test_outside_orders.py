"""Orders from outside: what passes, and that nothing else does."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from engine.testing import NodeUnderTest, run_node
from engine.wire.codec import object_decoder
from nodes.messages import OutsideOrder
from nodes.sources.outside_orders import OutsideOrders

PERP = "ETH-USDT-PERP"
NOW_S = 1_700_000_000.0
NOW_NS = 1_700_000_000_000_000_000


def desk(**params: Any) -> NodeUnderTest:
    return run_node(OutsideOrders, now_s=NOW_S, **{"instruments": [PERP], **params})


def request(request_id: str = "1", **fields: Any) -> OutsideOrder:
    base = OutsideOrder("alice", request_id, "place", PERP, NOW_NS, "sell", Decimal("2000.1"), Decimal("0.5"))
    return replace(base, **fields)


def rule_of(node: NodeUnderTest, asked: OutsideOrder) -> str:
    ((name, message),) = node.on_request(asked)
    assert name in ("order", "refused")
    if name == "order":
        return "passed"
    assert not message.passed
    assert message.detail
    return message.rule


def test_a_sound_request_becomes_an_order_with_an_id_of_its_own():
    ((name, order),) = desk().on_request(request(reason="too long", time_in_force="ioc", post_only=False))
    assert name == "order"
    assert (order.client_order_id, order.action, order.instrument) == ("out-alice-1", "place", PERP)
    assert (order.side, order.price, order.size) == ("sell", Decimal("2000.1"), Decimal("0.5"))
    assert (order.time_in_force, order.post_only, order.reason) == ("ioc", False, "alice: too long")
    assert order.event_time_ns == NOW_NS


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"instrument": "BTC-USDT-PERP"}, "instrument"),
        ({"instrument": ""}, "instrument"),
        ({"client": ""}, "ids"),
        ({"client": "alice-1"}, "ids"),
        ({"client": "al ice"}, "ids"),
        ({"client": "a" * 13}, "ids"),
        ({"client": "alice\n"}, "ids"),
        ({"request_id": ""}, "ids"),
        ({"request_id": "1" * 17}, "ids"),
        ({"request_id": "é"}, "ids"),
        ({"event_time_ns": NOW_NS - 5_000_000_001}, "age"),
        ({"event_time_ns": NOW_NS + 5_000_000_001}, "age"),
        ({"event_time_ns": NOW_NS // 1_000_000}, "age"),
        ({"event_time_ns": 10**400}, "age"),
        ({"side": ""}, "well_formed"),
        ({"price": Decimal("NaN")}, "well_formed"),
        ({"price": Decimal("sNaN")}, "well_formed"),
        ({"price": Decimal("Infinity")}, "well_formed"),
        ({"price": Decimal(0)}, "well_formed"),
        ({"price": Decimal(-1)}, "well_formed"),
        ({"price": Decimal("1e16")}, "well_formed"),
        ({"size": Decimal("1e99999999")}, "well_formed"),
        ({"size": Decimal("1e-19")}, "well_formed"),
        ({"size": Decimal("-0.5")}, "well_formed"),
        ({"size": Decimal("-Infinity")}, "well_formed"),
        ({"action": "cancel"}, "unknown_order"),
    ],
)
def test_each_rule_refuses(fields, rule):
    node = desk()
    assert rule_of(node, request(**fields)) == rule
    assert node.node.refusals == node.node.refused_requests == 1
    assert rule_of(node, request()) == "passed", "a refusal uses nothing up"


@pytest.mark.parametrize("age_ns", [-5_000_000_000, 5_000_000_000])
def test_the_limit_of_age_is_inclusive(age_ns):
    assert rule_of(desk(), request(event_time_ns=NOW_NS - age_ns)) == "passed"


def test_an_order_is_passed_once_and_can_be_cancelled_by_whoever_placed_it():
    node = desk()
    assert rule_of(node, request()) == "passed"
    assert rule_of(node, request(price=Decimal(1))) == "duplicate"
    assert rule_of(node, request(client="bob", action="cancel")) == "unknown_order"
    ((name, order),) = node.on_request(request(action="cancel"))
    assert (name, order.action, order.client_order_id) == ("order", "cancel", "out-alice-1")


def test_ids_of_two_clients_never_meet():
    node = desk(request_burst=10)
    assert rule_of(node, request("b_1", client="a")) == "passed"
    assert rule_of(node, request("1", client="a_b")) == "passed"


def test_a_flood_is_cut_off_and_cancels_have_a_rate_of_their_own():
    node = desk(requests_per_s=1, request_burst=3)
    rules = [rule_of(node, request(str(number))) for number in range(5)]
    assert rules == ["passed"] * 3 + ["message_rate"] * 2
    assert [rule_of(node, request("0", action="cancel")) for _ in range(4)] == ["passed"] * 3 + ["message_rate"]
    node.at(NOW_S + 1)
    assert rule_of(node, request("3")) == "passed"
    assert rule_of(node, request("4")) == "message_rate"


def test_memory_is_bounded():
    node = desk()
    node.node.passed = {f"out-alice-{number}": PERP for number in range(10_000)}
    assert rule_of(node, request("new")) == "passed"
    assert len(node.node.passed) == 10_000
    assert "out-alice-new" in node.node.passed
    assert "out-alice-0" not in node.node.passed


@pytest.mark.parametrize("prefix", ["", "out-", "toolong", "a b"])
def test_a_prefix_that_would_not_keep_ids_apart_is_refused(prefix):
    with pytest.raises(Exception, match="prefix"):
        desk(prefix=prefix)


def test_what_json_says_is_what_is_asked():
    decode = object_decoder(OutsideOrder)
    text = b'{"client": "alice", "request_id": "7", "action": "place", "instrument": "ETH-USDT-PERP", '
    asked = decode(text + b'"event_time_ns": 1700000000000000000, "side": "buy", "price": 2000.1, "size": "0.1"}')
    assert (asked.price, asked.size) == (Decimal("2000.1"), Decimal("0.1"))
    assert rule_of(desk(), asked) == "passed"
    for wrong in (b'"event_time_ns": 1, "side": "hold"}', b'"event_time_ns": 1, "price": true}', b'"price": 1}'):
        with pytest.raises(msgspec.ValidationError):
            decode(text + wrong)
