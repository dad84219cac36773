"""Ids that were seen of late."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine.wire.codec import decode_state, encode_state
from nodes._lib import recent_ids
from nodes._lib.recent_ids import RecentIds
from nodes.messages import Fill
from nodes.models.attribution import Intake


def fill(trade_id: str) -> Fill:
    return Fill(
        trade_id=trade_id,
        client_order_id="h-1",
        instrument="ETH-USDT-PERP",
        event_time_ns=1,
        side="buy",
        price=Decimal(2000),
        size=Decimal(1),
        fee=Decimal(0),
        fee_currency="USDT",
        liquidity="maker",
        mid=2000.0,
    )


def test_an_id_is_new_once_while_it_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_ids, "REMEMBERED", 3)
    recent = RecentIds([])
    assert [recent.add(id) for id in ("10", "9", "10", "8", "7")] == [True, True, False, True, True]
    assert recent.ids == ["9", "8", "7"]
    assert "9" in recent
    assert "10" not in recent


def test_what_is_remembered_survives_the_journal_in_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_ids, "REMEMBERED", 3)
    intake = Intake()
    for trade_id in ("12", "9", "10", "11"):
        assert intake.add_fill(fill(trade_id))
    types = {"intakes": dict[str, Intake]}
    back = decode_state(encode_state({"intakes": {"a": intake}}), types)["intakes"]["a"]
    assert back == intake
    assert back.trade_ids == ["9", "10", "11"]
    assert not back.add_fill(fill("9"))
    assert back.add_fill(fill("13"))
    assert back.trade_ids == ["10", "11", "13"]
