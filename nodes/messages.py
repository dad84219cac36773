"""Every message that travels between nodes.

Conventions: prices are quote per base; long is positive; a field's name or type says its unit. Market data is float64,
what becomes an order or money is `Decimal`, what is on chain is `int` in the token's smallest unit. `event_time_ns` is
the clock of the venue or chain, `receive_time_ns` ours; both count from 1970-01-01 UTC.
"""

from __future__ import annotations

import struct
from decimal import Decimal
from typing import Annotated, Literal

from msgspec import Meta

from engine import Message

EventTimeNs = Annotated[int, Meta(description="Time at the venue or chain, ns since 1970-01-01 UTC.")]
ReceiveTimeNs = Annotated[int, Meta(description="Time at which we received it, ns since 1970-01-01 UTC.")]
Price = Annotated[float, Meta(description="Quote per base.")]
BaseSize = Annotated[float, Meta(description="Amount in base units.")]
SignedBase = Annotated[float, Meta(description="Amount in base units; long is positive.")]
ChainAmount = Annotated[int, Meta(description="Amount in the token's smallest unit (up to 256 bits).")]
Money = Annotated[Decimal, Meta(description="Amount of the quote or report currency; received is positive.")]
Instrument = Annotated[str, Meta(description="BASE-QUOTE or BASE-QUOTE-PERP, as in ETH-USDT-PERP.")]
Side = Annotated[Literal["buy", "sell"], Meta(description="Our side of the order or fill.")]


# --- the pool -----------------------------------------------------------------------------------------------------


class PoolState(Message):
    """State of a concentrated-liquidity pool after one event (a swap, or a minute of them)."""

    pool: Annotated[str, Meta(description="Name of the pool, as in ETH-USDC-5.")]
    event_time_ns: EventTimeNs
    block: Annotated[int, Meta(description="Block number; 0 where the history has none.")]
    price: Annotated[float, Meta(description="Quote per base in human units, whichever token is token0.")]
    price_low: Annotated[float, Meta(description="Lowest price since the previous state, both ends included.")]
    price_high: Annotated[float, Meta(description="Highest price since the previous state, both ends included.")]
    sqrt_price_x96: Annotated[int, Meta(description="The contract's own square-root price (token1 per token0).")]
    tick: Annotated[int, Meta(description="The contract's own tick.")]
    liquidity: Annotated[int, Meta(description="In-range liquidity of all others after the event.")]
    base_in: Annotated[
        int, Meta(description="Base paid into the pool by swaps since the previous state, fee included.")
    ]
    quote_in: Annotated[int, Meta(description="Quote paid in since the previous state, fee included.")]
    block_closed: Annotated[bool, Meta(description="Whether this is the last event of its block.")] = True
    estimated: Annotated[bool, Meta(description="Whether flows are aggregates of a bar, not single events.")] = False
    protocol_fee_base: Annotated[int, Meta(description="0, or n: the protocol keeps 1/n of fees paid in base.")] = 0
    protocol_fee_quote: Annotated[int, Meta(description="0, or n: the same for fees paid in quote.")] = 0


class RangeTarget(Message):
    """The range that a model would choose now. Advice only: nothing moves until a rebalancer asks for it."""

    pool: str
    event_time_ns: EventTimeNs
    price: Price
    lower_price: Annotated[float, Meta(description="Lower end of the range, quote per base.")]
    upper_price: Annotated[float, Meta(description="Upper end of the range, quote per base.")]
    reservation_price: Annotated[float, Meta(description="Price at which the model is indifferent to trading.")]
    exposure_base: Annotated[float, Meta(description="Net exposure that the model saw, base units, long positive.")] = (
        0.0
    )
    volatility: Annotated[float, Meta(description="Annualised log volatility that the model used.")] = 0.0
    carry: Annotated[
        float | None,
        Meta(description="Fees less LVR expected in a year, as a part of the capital; null when not estimated."),
    ] = None
    stay_out: Annotated[str, Meta(description="Why to hold no range at all now; empty when one is advised.")] = ""


class LpCommand(Message):
    """An instruction to the LP executor: move all liquidity to a range, or take it out."""

    delivery = "reliable"
    identity = ("command_id",)

    command_id: Annotated[str, Meta(description="Unique id; the executor acts once per id.")]
    pool: str
    action: Literal["rebalance", "withdraw"]
    event_time_ns: EventTimeNs
    price: Annotated[float, Meta(description="Pool price at the decision, quote per base.")]
    lower_price: Annotated[float, Meta(description="Lower end, quote per base; 0 for a withdrawal.")]
    upper_price: Annotated[float, Meta(description="Upper end, quote per base; 0 for a withdrawal.")]
    reason: Annotated[str, Meta(description="Which trigger fired, in words.")]


class LpPosition(Message):
    """One liquidity position."""

    position_id: str
    lower_price: Price
    upper_price: Price
    lower_tick: Annotated[int, Meta(description="Lower tick in the contract's orientation.")]
    upper_tick: Annotated[int, Meta(description="Upper tick in the contract's orientation.")]
    liquidity: Annotated[int, Meta(description="Liquidity L of the position.")]
    base_amount: Annotated[int, Meta(description="Base that burning it would return at this price.")]
    quote_amount: Annotated[int, Meta(description="Quote that burning it would return.")]
    base_fees: Annotated[int, Meta(description="Uncollected fees in base.")] = 0
    quote_fees: Annotated[int, Meta(description="Uncollected fees in quote.")] = 0


class LpState(Message):
    """All that the LP holds, at one block. A level: counters only grow, so a lost message does no harm."""

    pool: str
    event_time_ns: EventTimeNs
    block: int
    price: Price
    positions: tuple[LpPosition, ...]
    wallet_base: Annotated[int, Meta(description="Wrapped base in the wallet.")]
    wallet_quote: Annotated[int, Meta(description="Quote in the wallet.")]
    native_base: Annotated[int, Meta(description="Native base in the wallet; pays gas.")]
    fees_base: Annotated[int, Meta(description="Fees earned in base since the start, collected or not.")]
    fees_quote: Annotated[int, Meta(description="Fees earned in quote since the start, collected or not.")]
    gas_base: Annotated[int, Meta(description="Gas paid since the start, in native base.")]
    swap_base: Annotated[int, Meta(description="Base received from our own swaps since the start; paid is negative.")]
    swap_quote: Annotated[int, Meta(description="Quote received from our own swaps since the start.")]
    base_decimals: int
    quote_decimals: int
    confirmed: Annotated[str, Meta(description="Id of the last command that is done.")] = ""
    pending: Annotated[str, Meta(description="Id of the command in flight, if any.")] = ""
    pending_base_change: Annotated[int, Meta(description="Change of base that the command in flight will cause.")] = 0
    block_closed: bool = True
    block_hash: str = ""


class InventoryDelta(Message):
    """Inventory of one LP source against its target: a level, never an increment.

    `delta_base` = base in positions at this block's price + owed and uncollected base + wrapped and native base above
    the gas reserve − `base_target`. Burning, collecting and minting leave it unchanged; only swaps and fees move it.
    """

    source: Annotated[str, Meta(description="chain:pool:wallet; readers keep one level per source and sum them.")]
    pool: str
    event_time_ns: EventTimeNs
    block: int
    block_hash: str
    expires_block: Annotated[int, Meta(description="Do not act on this after that block.")]
    epoch: Annotated[int, Meta(description="Start of the writer; a restart begins a new one.")]
    sequence: Annotated[int, Meta(description="Counts within the epoch, from 1.")]
    delta_base_wei: ChainAmount
    delta_base: SignedBase
    base_target: SignedBase
    base_in_positions: BaseSize
    base_uncollected: BaseSize
    base_in_wallet: Annotated[float, Meta(description="Wrapped and native base above the gas reserve.")]
    quote_total: Annotated[float, Meta(description="Quote in positions, uncollected and in the wallet.")]
    pending_base_change: SignedBase
    price: Price
    sqrt_price: Annotated[float, Meta(description="Square root of price, quote per base.")]
    positions: tuple[LpPosition, ...]
    value_usd: Annotated[float, Meta(description="Value of all base and quote, USD.")]
    usd_rate: Annotated[float, Meta(description="USD per quote that was used.")]
    inventory_ratio: Annotated[float, Meta(description="Share of the value that is in base, 0 to 1.")]
    target_ratio: Annotated[float, Meta(description="The share that base_target stands for at this price.")]
    deviation: Annotated[float, Meta(description="inventory_ratio - target_ratio; positive when long base.")]
    volatility: Annotated[float, Meta(description="Annualised log volatility; 0 when unknown.")] = 0.0
    rebalance_due: bool = False
    rebalance_reason: str = ""


class Volatility(Message):
    """Log volatility of a price."""

    event_time_ns: EventTimeNs
    annualised: Annotated[float, Meta(description="Per square root of a year of 365 days.")]
    price: Annotated[float, Meta(description="Price of the last observation, quote per base.")]
    warm: Annotated[bool, Meta(description="Whether enough time has been seen to trust it.")] = True


class Value(Message):
    """One number that a node has derived from others."""

    event_time_ns: EventTimeNs
    value: float
    name: Annotated[str, Meta(description="What the number is, where a reader takes several.")] = ""


class VenueFills(Message):
    """Executions in one instrument, summed up since the run began."""

    instrument: Instrument
    bought: Annotated[Decimal, Meta(description="Base bought, positive.")]
    sold: Annotated[Decimal, Meta(description="Base sold, positive.")]


class NetExposure(Message):
    """Net base exposure over LP, wallets and all venues."""

    base: Annotated[str, Meta(description="The base asset, as in ETH.")]
    event_time_ns: EventTimeNs
    net_base: Annotated[
        float | None,
        Meta(description="Net exposure in base, long positive; null while any declared source is unknown."),
    ]
    lp_base: SignedBase
    venue_base: SignedBase
    unknown: Annotated[tuple[str, ...], Meta(description="Declared sources that are not known or stale.")] = ()
    filled: Annotated[
        tuple[VenueFills, ...],
        Meta(description="Fills that venue_base contains; who knows of others has not to act on this net yet."),
    ] = ()


# --- markets ------------------------------------------------------------------------------------------------------


class Bar(Message):
    """One finished bar of trades; known only at its end."""

    instrument: Instrument
    event_time_ns: Annotated[int, Meta(description="End of the bar, ns.")]
    start_time_ns: Annotated[int, Meta(description="Start of the bar, ns.")]
    open: Price
    high: Price
    low: Price
    close: Price
    volume: BaseSize


class Book(Message):
    """Best prices of a venue, with more levels packed behind them where there are any."""

    instrument: Instrument
    event_time_ns: EventTimeNs
    receive_time_ns: ReceiveTimeNs
    bid_price: Price
    bid_size: BaseSize
    ask_price: Price
    ask_size: BaseSize
    levels: Annotated[
        bytes, Meta(description="Packed float64: count of bids, then price and size of bids and asks.")
    ] = b""

    @property
    def mid(self) -> float:
        """Middle of the best bid and ask."""
        return (self.bid_price + self.ask_price) / 2

    def sides(self) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
        """Return (bids, asks), best first, each a list of (price, size)."""
        if not self.levels:
            return [(self.bid_price, self.bid_size)], [(self.ask_price, self.ask_size)]
        values = memoryview(self.levels).cast("d")
        pairs = list(zip(values[1::2], values[2::2], strict=True))
        count = int(values[0])
        return pairs[:count], pairs[count:]


def pack_levels(bids: list[tuple[float, float]], asks: list[tuple[float, float]]) -> bytes:
    """Pack (price, size) levels, best first, for `Book.levels`."""
    flat = [number for level in (*bids, *asks) for number in level]
    return struct.pack(f"<{1 + len(flat)}d", len(bids), *flat)


class Trade(Message):
    """One trade of others at a venue."""

    instrument: Instrument
    event_time_ns: EventTimeNs
    receive_time_ns: ReceiveTimeNs
    price: Price
    size: BaseSize
    aggressor: Annotated[Literal["buy", "sell"], Meta(description="Side of the order that took.")]
    trade_id: str = ""


class Conversion(Message):
    """Rate between two currencies: one unit of `currency` is worth `rate` units of `into`."""

    currency: str
    into: str
    event_time_ns: EventTimeNs
    rate: Annotated[float, Meta(description="Units of `into` per unit of `currency`.")]
    expires_ns: Annotated[int, Meta(description="Not to be used after this time, ns.")]


class Mark(Message):
    """The one declared price at which an asset is valued."""

    asset: str
    currency: str
    event_time_ns: EventTimeNs
    price: Price
    source: Annotated[str, Meta(description="Where it came from, in words.")]


# --- orders -------------------------------------------------------------------------------------------------------


class OrderRequest(Message):
    """What a trader asks for: to place or to cancel one order."""

    delivery = "reliable"

    action: Literal["place", "cancel"]
    client_order_id: Annotated[str, Meta(description="Ours, unique for ever; a cancel names the order's.")]
    instrument: Instrument
    event_time_ns: EventTimeNs
    side: Side = "buy"
    price: Annotated[Decimal, Meta(description="Limit, quote per base.")] = Decimal(0)
    size: Annotated[Decimal, Meta(description="Base units, positive.")] = Decimal(0)
    time_in_force: Literal["gtc", "ioc"] = "gtc"
    post_only: bool = True
    reason: str = ""
    reference_price: Annotated[float, Meta(description="Mid that the decision saw.")] = 0.0


class OutsideOrder(Message):
    """What a program outside asks for on a hub: to place or to cancel one order. Nothing in it is taken on trust."""

    identity = ("client", "request_id")

    client: Annotated[str, Meta(description="Who asks: 1 to 12 letters, digits or _.")]
    request_id: Annotated[
        str, Meta(description="1 to 16 letters, digits or _, unique for this client; a cancel names the order's.")
    ]
    action: Literal["place", "cancel"]
    instrument: Instrument
    event_time_ns: Annotated[int, Meta(description="When it is asked, by the clock of the run, ns since 1970-01-01.")]
    side: Annotated[Literal["buy", "sell", ""], Meta(description="Empty for a cancel only.")] = ""
    price: Annotated[Decimal, Meta(description="Limit, quote per base.")] = Decimal(0)
    size: Annotated[Decimal, Meta(description="Base units, positive.")] = Decimal(0)
    time_in_force: Literal["gtc", "ioc"] = "gtc"
    post_only: bool = True
    reason: str = ""


class GateVerdict(Message):
    """What a risk gate decided about one request, and why."""

    delivery = "reliable"
    identity = ("verdict_id",)

    verdict_id: str
    request_id: Annotated[str, Meta(description="The client order id or command id that was judged.")]
    event_time_ns: EventTimeNs
    passed: bool
    rule: Annotated[str, Meta(description="The rule that decided; 'all' when every rule passed.")]
    detail: Annotated[str, Meta(description="The numbers compared.")]


class OrderUpdate(Message):
    """What became of an order, as the venue says it."""

    delivery = "reliable"

    client_order_id: str
    venue_order_id: str
    instrument: Instrument
    event_time_ns: EventTimeNs
    status: Literal["pending_new", "open", "partially_filled", "filled", "canceled", "rejected", "expired"]
    side: Side
    price: Decimal
    size: Decimal
    filled_size: Decimal
    reason: str = ""


class Fill(Message):
    """One execution of our order."""

    delivery = "reliable"
    identity = ("instrument", "trade_id")

    trade_id: Annotated[str, Meta(description="The venue's id; a fill is booked once per (instrument, trade_id).")]
    client_order_id: str
    instrument: Instrument
    event_time_ns: EventTimeNs
    side: Side
    price: Decimal
    size: Annotated[Decimal, Meta(description="Base units, positive.")]
    fee: Annotated[Decimal, Meta(description="Paid is positive, a rebate negative.")]
    fee_currency: str
    liquidity: Literal["maker", "taker"]
    mid: Annotated[float, Meta(description="Venue mid at the fill, for slippage and markouts.")] = 0.0


class VenuePosition(Message):
    """Position and account at a venue: a level that says which trade it contains last."""

    instrument: Instrument
    event_time_ns: EventTimeNs
    size: Annotated[Decimal, Meta(description="Base units, long positive.")]
    entry_price: Annotated[Decimal, Meta(description="Mean entry, quote per base; 0 when flat.")]
    realised: Annotated[Decimal, Meta(description="Realised price PnL since the start, quote, before fees.")]
    fees: Annotated[Decimal, Meta(description="Fees paid since the start, quote; paid is positive.")]
    funding: Annotated[Decimal, Meta(description="Funding received since the start, quote; paid is negative.")]
    last_trade_id: str = ""


# --- results ------------------------------------------------------------------------------------------------------


class PnlState(Message):
    """Profit and loss since the start, split into parts that sum to the change of equity.

    carry + lp_fees + lvr + hedge_price + funding + venue_fees + gas + swap_slippage + basis = equity − start_equity.
    """

    event_time_ns: EventTimeNs
    block: int
    currency: str
    mark: Annotated[Decimal, Meta(description="Declared mark of the base asset, report currency per base.")]
    equity: Money
    start_equity: Money
    carry: Annotated[Decimal, Meta(description="LP and wallet base × change of mark.")]
    lp_fees: Money
    lvr: Annotated[
        Decimal, Meta(description="Loss of the positions against rebalancing at the mark; a loss is negative.")
    ]
    hedge_price: Annotated[Decimal, Meta(description="Hedge position × change of mark, and fills against the mark.")]
    funding: Money
    venue_fees: Money
    gas: Money
    swap_slippage: Money
    basis: Annotated[
        Decimal,
        Meta(description="Hedge position × change of (venue price in report currency − mark), and rate changes."),
    ]
    lp_base: Annotated[Decimal, Meta(description="Base held by LP and wallets.")]
    venue_base: Annotated[Decimal, Meta(description="Base held at venues, long positive.")]
    holding: Annotated[Decimal, Meta(description="Value of the starting basket, held.")]
    unhedged: Annotated[Decimal, Meta(description="Equity of the LP alone.")]
    rebalancing: Annotated[
        Decimal, Meta(description="Value of a portfolio that holds the LP's base and trades at the mark.")
    ]


class LedgerClosed(Message):
    """The ledger of a run is complete and on disk."""

    delivery = "reliable"

    path: Annotated[str, Meta(description="File of the ledger; within the run folder unless absolute.")]
    event_time_ns: EventTimeNs
    rows: Annotated[int, Meta(description="Rows in all its tables.")]
    head: Annotated[str, Meta(description="Last digest of its hash chain, hex; kept elsewhere it proves the end.")] = ""
