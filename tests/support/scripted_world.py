"""A small scripted world: a price path, an LP that follows it, a hedge that fills, and the messages of both."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from math import exp, sqrt
from random import Random

from nodes.messages import (
    Book,
    Conversion,
    Fill,
    GateVerdict,
    LpCommand,
    LpPosition,
    LpState,
    Mark,
    NetExposure,
    OrderRequest,
    OrderUpdate,
    RangeTarget,
    VenuePosition,
)

NS = 1_000_000_000
START_S = 1_700_000_000 // 60 * 60
PERP = "ETH-USDT-PERP"
POOL = "ETH-USDC-5"
WEI, MICRO = 10**18, 10**6


def lp_state(
    time_s: float,
    *,
    base: int = 10 * WEI,
    quote: int = 20_000 * MICRO,
    price: float = 2000.0,
    positions: tuple[LpPosition, ...] = (),
    **fields,
) -> LpState:
    """Return a state whose wallet holds `base` and `quote`; the other counters are 0 unless given."""
    counters = ("native_base", "fees_base", "fees_quote", "gas_base", "swap_base", "swap_quote")
    values = {name: 0 for name in counters} | {"block": int(time_s), "base_decimals": 18, "quote_decimals": 6} | fields
    return LpState(
        pool=POOL,
        event_time_ns=round(time_s * NS),
        price=price,
        positions=positions,
        wallet_base=base,
        wallet_quote=quote,
        **values,
    )


def mark(time_s: float, price: float, currency: str = "USD") -> Mark:
    return Mark(asset="ETH", currency=currency, event_time_ns=round(time_s * NS), price=price, source="venue mid")


def book(time_s: float, mid: float, half_spread: float = 0.05) -> Book:
    at = round(time_s * NS)
    return Book(PERP, at, at, mid - half_spread, 5.0, mid + half_spread, 5.0)


def rate(time_s: float, currency: str, value: float, lives_s: float = 1e9) -> Conversion:
    return Conversion(currency, "USD", round(time_s * NS), value, round((time_s + lives_s) * NS))


def fill(time_s: float, trade_id: str, size: str, price: str, fee: str = "0", **fields) -> Fill:
    """Return a fill; `size` is negative for a sale."""
    amount = Decimal(size)
    values = {"client_order_id": f"o{trade_id}", "fee_currency": "USDT", "liquidity": "maker", "mid": 0.0} | fields
    return Fill(
        trade_id=trade_id,
        instrument=PERP,
        event_time_ns=round(time_s * NS),
        side="buy" if amount > 0 else "sell",
        price=Decimal(price),
        size=abs(amount),
        fee=Decimal(fee),
        **values,
    )


def venue_position(time_s: float, size: str, funding: str = "0", last_trade_id: str = "") -> VenuePosition:
    return VenuePosition(
        PERP, round(time_s * NS), Decimal(size), Decimal(0), Decimal(0), Decimal(0), Decimal(funding), last_trade_id
    )


@dataclass
class World:
    """A market of minutes: the pool's price walks, the LP holds one range around it, a hedge sells what the LP holds.

    `messages()` yields (time in s, port name, message) in order; port names are those of the ledger's inputs, and
    `book`. The LP moves its range when the price has left it.
    """

    minutes: int = 300
    seed: int = 1
    volatility: float = 0.0008
    width: float = 0.01
    liquidity: float = 40_000.0
    hedge_every: int = 5
    basis: float = 0.3
    gas: float = 0.006
    path: list[float] = field(default_factory=list)

    def messages(self):
        random = Random(self.seed)
        price, size, orders, trades = 2000.0, Decimal(0), 0, 0
        low, high = price * (1 - self.width), price * (1 + self.width)
        x, y = self.amounts(price, low, high)
        wallet_base, wallet_quote, native = 15.0 - x, 30_000.0 - y, 0.5
        fees_base = fees_quote = gas = funding = 0.0
        confirmed = ""
        previous = price
        yield START_S, "rate", rate(START_S, "USDC", 1.0)
        yield START_S, "rate", rate(START_S, "USDT", 0.9995)
        for minute in range(self.minutes):
            now = START_S + minute * 60
            price *= exp(random.gauss(0.0, self.volatility))
            self.path.append(price)
            mid = price * 1.0004 + random.gauss(0.0, self.basis)
            yield now, "book", book(now, mid)
            yield now, "mark", mark(now, mid * 0.9995)
            inside = max(0.0, min(price, high) - low) > 0 and price < high
            if inside:
                move = abs(sqrt(price) - sqrt(previous))
                if price > previous:
                    fees_quote += self.liquidity * move * 0.0005
                else:
                    fees_base += self.liquidity * move * 0.0005 / price
            if not low < price < high:
                burned = self.amounts(price, low, high)
                command = LpCommand(
                    f"c{minute}", POOL, "rebalance", now * NS, price, price * 0.99, price * 1.01,
                    f"price {price:.0f} is out of range {low:.0f} to {high:.0f}",
                )  # fmt: skip
                yield now, "command", command
                yield (
                    now,
                    "verdict",
                    GateVerdict(f"v{minute}", f"c{minute}", now * NS, True, "all", "every rule passed"),
                )
                low, high = price * (1 - self.width), price * (1 + self.width)
                minted = self.amounts(price, low, high)
                wallet_base += burned[0] - minted[0]
                wallet_quote += burned[1] - minted[1]
                gas += self.gas
                native -= self.gas
                confirmed = f"c{minute}"
            x, y = self.amounts(price, low, high)
            position = LpPosition(
                "1", low, high, -100, 100, int(self.liquidity * 10**12), int(x * WEI), int(y * MICRO),
                int(fees_base * WEI), int(fees_quote * MICRO),
            )  # fmt: skip
            yield (
                now,
                "lp",
                lp_state(
                    now,
                    base=int(wallet_base * WEI),
                    quote=int(wallet_quote * MICRO),
                    price=price,
                    positions=(position,),
                    native_base=int(native * WEI),
                    fees_base=int(fees_base * WEI),
                    fees_quote=int(fees_quote * MICRO),
                    gas_base=int(gas * WEI),
                    confirmed=confirmed,
                ),
            )
            lp_base = x + wallet_base + native + fees_base
            if minute % 60 == 0:
                yield now, "target", RangeTarget(POOL, now * NS, price, low, high, price, lp_base + float(size), 0.5)
            if minute % 480 == 479:
                funding -= float(size) * mid * 0.00005
                yield now, "position", venue_position(now, str(size), f"{funding:.6f}", str(trades) if trades else "")
            if minute % self.hedge_every == 0:
                want = round(-lp_base - float(size), 3)
                if abs(want) >= 0.05:
                    orders, trades = orders + 1, trades + 1
                    maker = orders % 4 != 0
                    sign = 1 if want > 0 else -1
                    at = Decimal(f"{mid - sign * (0.05 if maker else -0.05):.2f}")
                    amount = abs(Decimal(f"{want:.3f}"))
                    side = "buy" if want > 0 else "sell"
                    asked = now - 30
                    order_id = f"h{orders}"
                    request = OrderRequest(
                        "place", order_id, PERP, asked * NS, side, at, amount, "gtc", True, "follow", mid
                    )
                    yield now, "order", request
                    update = OrderUpdate(order_id, str(orders), PERP, now * NS, "filled", side, at, amount, amount)
                    yield now, "update", update
                    fee = at * amount * Decimal("0.0002" if maker else "0.0005")
                    size += amount * sign
                    yield now, "fill", Fill(
                        str(trades), order_id, PERP, now * NS, side, at, amount, fee, "USDT",
                        "maker" if maker else "taker", mid,
                    )  # fmt: skip
                    yield now, "position", venue_position(now, str(size), f"{funding:.6f}", str(trades))
            yield now, "exposure", NetExposure("ETH", now * NS, lp_base + float(size), lp_base, float(size))
            previous = price

    def amounts(self, price: float, low: float, high: float) -> tuple[float, float]:
        """Return (base, quote) of the range at a price; models.md section 4 with `liquidity` in human units."""
        root = sqrt(min(max(price, low), high))
        return self.liquidity * (1 / root - 1 / sqrt(high)), self.liquidity * (root - sqrt(low))
