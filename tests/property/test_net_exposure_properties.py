"""Net exposure does not depend on the order in which messages come, nor on how often."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st
from support.markets import PERP, fill, inventory, position

from engine.testing import run_node
from nodes.messages import Fill, VenuePosition
from nodes.models.net_exposure import NetExposureModel

HUNDREDTHS = st.integers(-500, 500).filter(bool).map(lambda n: Decimal(n) / 100)


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[Decimal], list[float], list]:
    """Fills, LP levels, and one delivery of all messages about them: shuffled, some of them repeated."""
    sizes = draw(st.lists(HUNDREDTHS, max_size=12))
    levels = draw(st.lists(st.floats(-50, 50), min_size=1, max_size=5))
    messages: list = [position("0", "")]
    total = Decimal(0)
    for number, signed in enumerate(sizes, 1):
        total += signed
        messages.append(fill(str(number), "buy" if signed > 0 else "sell", str(abs(signed))))
        messages.append(position(str(total), str(number), at_s=number))
    messages += [inventory(level, sequence=number) for number, level in enumerate(levels, 1)]
    repeated = draw(st.lists(st.sampled_from(messages), max_size=10))
    return sizes, levels, draw(st.permutations(messages + repeated))


@settings(max_examples=150, deadline=None)
@given(deliveries())
def test_it_is_lp_plus_all_fills_however_they_come(case):
    sizes, levels, messages = case
    node = run_node(NetExposureModel, instruments=[PERP])
    seen: list[Fill | VenuePosition] = []
    for message in messages:
        if isinstance(message, Fill):
            node.on_fill(message)
            seen.append(message)
        elif isinstance(message, VenuePosition):
            node.on_position(message)
            seen.append(message)
        else:
            node.on_lp(message)
        assert Decimal(repr(node.venue_base)) == known_base(seen)
    assert node.venue_base == float(sum(sizes, Decimal(0)))
    assert node.lp_base == levels[-1]
    assert not node.missing


def known_base(seen: list[Fill | VenuePosition]) -> Decimal:
    """The newest level that was seen, and each fill after it once."""
    newest = max(
        (m for m in seen if isinstance(m, VenuePosition)), key=lambda m: int(m.last_trade_id or 0), default=None
    )
    last = int(newest.last_trade_id or 0) if newest else 0
    later = {m.trade_id: m for m in seen if isinstance(m, Fill) and int(m.trade_id) > last}
    fills = sum((m.size if m.side == "buy" else -m.size for m in later.values()), Decimal(0))
    return Decimal(repr(float(fills + (newest.size if newest else Decimal(0)))))
