"""Sources that are declared, not observed."""

from __future__ import annotations

import pytest

from engine.errors import NodeFailed
from engine.testing import run_node
from nodes.sources.fixed_rate import FixedRate
from nodes.sources.scripted_delta import ScriptedDelta


def test_the_rate_is_sent_at_the_start_and_each_period_before_it_expires():
    node = run_node(FixedRate, currency="USDT", value=0.9995, period_s=60, ttl_s=90)
    ((_, first),) = node.at(0.0)
    assert (first.currency, first.into, first.rate, first.expires_ns) == ("USDT", "USD", 0.9995, 90_000_000_000)
    assert len(node.at(180.0)) == 3


def test_a_rate_that_would_expire_between_is_refused():
    with pytest.raises(NodeFailed, match="must be above period_s"):
        run_node(FixedRate, currency="USDT", period_s=60, ttl_s=60)


def test_the_level_moves_in_steps_and_is_repeated():
    node = run_node(ScriptedDelta, now_s=100.0, steps=[[0, 0.0], [25, 5.5]], period_s=10)
    sent = [message for _, message in node.at(140.0)]
    assert [message.delta_base for message in sent] == [0.0, 0.0, 0.0, 5.5, 5.5, 5.5]
    assert [message.sequence for message in sent] == [1, 2, 3, 4, 5, 6]
    assert {message.epoch for message in sent} == {100_000_000_000}
    assert sent[-1].delta_base_wei == 5_500_000_000_000_000_000


def test_steps_are_in_ascending_order():
    with pytest.raises(NodeFailed, match="ascending order"):
        run_node(ScriptedDelta, steps=[[5, 1.0], [1, 2.0]])
