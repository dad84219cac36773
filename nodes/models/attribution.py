"""Split profit and loss into parts that sum to the change of equity, with nothing left over."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache

import msgspec

from engine import NS_PER_S, In, Node, Out, PipelineError, metric, param, state
from nodes._lib.pnl import PRICE_SCALE, ZERO, Collateral, Exactly, LpBook, VenueBook, fixed, open_lp, price_of
from nodes._lib.recent_ids import RecentIds
from nodes._lib.trade_ids import trade_key
from nodes.messages import Book, Conversion, Fill, LpState, Mark, PnlState, VenuePosition

NEVER_NS = 2**63 - 1


class Rate(msgspec.Struct):
    """Report currency per unit, in steps of 1e-10."""

    steps: int
    expires_ns: int


class Intake(msgspec.Struct, dict=True):
    """What a venue has told about one instrument and is not valued yet, and what was told once for all."""

    trade_ids: list[str] = msgspec.field(default_factory=list)
    """The last 10,000."""
    fills: list[Fill] = msgspec.field(default_factory=list)
    opening: Decimal = ZERO
    """Position from before the first fill that we know, to be taken over."""
    funding: Decimal = ZERO
    """Funding received and not valued yet."""
    funding_seen: Decimal | None = None
    """The venue's counter; None until the first position message."""
    contained: str = ""
    """Last trade that the first position contained; it and those before it are not to be booked again."""

    def __post_init__(self) -> None:
        self.booked = RecentIds(self.trade_ids)

    def add_fill(self, fill: Fill) -> bool:
        """Take a fill in once; return whether it is new."""
        if self.contained and _not_after(fill.trade_id, self.contained):
            return False
        if not self.booked.add(fill.trade_id):
            return False
        self.fills.append(fill)
        return True

    def add_position(self, position: VenuePosition, valued: Decimal) -> None:
        """Take in a position message; `valued` is the position that our books already hold. Under `Exactly()`."""
        if self.funding_seen is None:
            self.contained = position.last_trade_id
            self.opening = position.size - valued - sum(signed_size(fill) for fill in self.fills)
        else:
            self.funding += position.funding - self.funding_seen
        self.funding_seen = position.funding


def _not_after(trade_id: str, last: str) -> bool:
    # Ids without a number have no order; then only the very one is known to be contained.
    ordered = any(map(str.isdigit, trade_id)) and any(map(str.isdigit, last))
    return trade_key(trade_id) <= trade_key(last) if ordered else trade_id == last


def signed_size(fill: Fill) -> Decimal:
    """Return the size, positive for a buy."""
    return fill.size if fill.side == "buy" else -fill.size


class Attribution(Node):
    """Account for LP and hedge together, in one currency, at one declared mark.

    It begins at the first block close at which the mark and every rate are known; what is filled before is booked then.
    The LP is valued at each block close, with the mark that holds at the end of that instant; a venue at each fill,
    fee and funding. Fills are the truth about a venue's position (once per instrument and trade id, of which the last
    10,000 are known), its position messages about funding and about what was held before. While a rate is unknown or
    has expired nothing is valued and nothing is sent; what happened meanwhile is valued when the rate is back.

    A fee in another currency than the instrument's quote counts at its rate when it was paid.
    """

    lp = In(LpState, policy="block", doc="What the LP holds, at block closes.")
    position = In(VenuePosition, many=True, optional=True, doc="Funding, and positions from before the start.")
    fill = In(Fill, many=True, optional=True, doc="Executions of the hedge.")
    book = In(Book, policy="conflate", by="instrument", many=True, optional=True, doc="Mids of hedged instruments.")
    rate = In(Conversion, policy="conflate", by="currency", many=True, optional=True, doc="Rates into `currency`.")
    mark = In(Mark, policy="conflate", doc="The declared mark of the base asset, in `currency`.")
    pnl = Out(PnlState, doc="At the start, each period, and at the end.")

    currency: str = param("USD", doc="Report currency; the mark is in it and every rate leads into it.")
    period_s: float = param(
        60.0, unit="s", minimum=0, doc="Time between two messages, at whole multiples of it; 0: one per closed block."
    )
    collateral: Decimal = param(
        Decimal(0), unit="currency", minimum=0, doc="Money that lies at the venue from the start."
    )
    collateral_currency: str = param("", doc="Its currency; empty when it is the report currency.")

    lp_book: LpBook | None = state(None, doc="Holdings and parts of the LP.")
    venues: dict[str, VenueBook] = state(factory=dict, doc="Position, cash and parts by instrument.")
    intakes: dict[str, Intake] = state(factory=dict, doc="What waits for valuation, by instrument.")
    deposit: Collateral | None = state(None, doc="Collateral and its rates.")
    held: LpState | None = state(None, doc="The last block close, until its instant is over.")
    held_ns: int = state(0, doc="When it came.")
    quote: str = state("", doc="Quote currency of the pool.")
    block: int = state(0, doc="Block of the last valuation.")
    mark_price: float = state(0.0, doc="The mark that holds; 0 before the first.")
    mids: dict[str, float] = state(factory=dict, doc="Last venue mid by instrument.")
    rates: dict[str, Rate] = state(factory=dict, doc="Last rate by currency.")

    total: float | None = metric(unit="currency", doc="Profit and loss since the start: the change of equity.")

    def start(self) -> None:
        self.rates[self.currency] = Rate(PRICE_SCALE, NEVER_NS)
        if self.period_s:
            period_ns = round(self.period_s * NS_PER_S)
            self.after((period_ns - self.now_ns % period_ns) / NS_PER_S, self.tick)

    def stop(self) -> None:
        self._send(self.now_ns)
        if self.lp_book is None and self.held is not None:
            raise PipelineError(
                f"nothing could be valued: {self._missing(self.held)}. Wire it, or declare another report currency "
                f"(now {self.currency})"
            )

    def tick(self) -> None:
        """Send at the end of a period."""
        now_ns = self.clock.now_ns
        self.after(self.period_s, self.tick)
        self._send(now_ns)

    # --- prices -----------------------------------------------------------------------------------------------

    def on_mark(self, mark: Mark) -> None:
        if mark.currency != self.currency:
            raise ValueError(f"mark of {mark.asset} is in {mark.currency}, the report currency is {self.currency}")
        if self.held is not None and self.clock.now_ns > self.held_ns:
            self._close()
        self.mark_price = mark.price

    def on_rate(self, rate: Conversion) -> None:
        if rate.into != self.currency:
            return
        if self.held is not None and self.clock.now_ns > self.held_ns:
            self._close()
        self.rates[rate.currency] = Rate(fixed(rate.rate), rate.expires_ns)

    def on_book(self, book: Book) -> None:
        if 0.0 < book.bid_price <= book.ask_price:
            self.mids[book.instrument] = (book.bid_price + book.ask_price) / 2

    def _rate(self, currency: str, at_ns: int) -> int | None:
        rate = self.rates.get(currency)
        return rate.steps if rate is not None and at_ns <= rate.expires_ns else None

    # --- the LP -----------------------------------------------------------------------------------------------

    def on_lp(self, lp: LpState) -> None:
        if not lp.block_closed:
            return
        now = self.clock.now_ns
        if self.held is not None and now > self.held_ns:
            self._close()
        self.held, self.held_ns = lp, now

    def _close(self) -> None:
        """Value the block that was held back, at the mark that held when its instant was over."""
        lp, at_ns, book = self.held, self.held_ns, self.lp_book
        assert lp is not None
        if book is None:
            self._begin(lp)
            return
        rate = self.rates.get(self.quote)
        if rate is None or at_ns > rate.expires_ns:
            return  # a level: the next one holds all that this one does
        self.held, self.block = None, lp.block
        book.step(lp, round(self.mark_price * PRICE_SCALE), rate.steps)
        if not self.period_s:
            self._send(at_ns)

    def _begin(self, lp: LpState) -> None:
        self.quote = quote_of(lp.pool)
        rate = self._rate(self.quote, self.held_ns)
        deposit_rate = self._rate(self.collateral_currency or self.currency, self.held_ns)
        if not self.mark_price or rate is None or deposit_rate is None:
            return
        self.held, self.block = None, lp.block
        self.lp_book = open_lp(lp, fixed(self.mark_price), rate)
        with Exactly():
            self.deposit = Collateral(self.collateral, price_of(deposit_rate), price_of(deposit_rate))
            self._message(self.lp_book, self.deposit, self.held_ns)
        for instrument in self.intakes:
            self._settle(instrument)

    # --- venues -----------------------------------------------------------------------------------------------

    def on_fill(self, fill: Fill) -> None:
        if self._intake(fill.instrument).add_fill(fill):
            if fill.mid and fill.instrument not in self.mids:
                self.mids[fill.instrument] = fill.mid
            self._settle(fill.instrument)

    def on_position(self, position: VenuePosition) -> None:
        venue = self.venues.get(position.instrument)
        with Exactly():
            self._intake(position.instrument).add_position(position, venue.size if venue else ZERO)
        self._settle(position.instrument)

    def _intake(self, instrument: str) -> Intake:
        intake = self.intakes.get(instrument)
        if intake is None:
            intake = self.intakes[instrument] = Intake()
        return intake

    def _settle(self, instrument: str) -> bool:
        """Value what waits for this instrument; return whether nothing waits any more."""
        intake = self.intakes[instrument]
        if not (intake.fills or intake.opening or intake.funding):
            return True
        with Exactly():
            venue = self._revalued(instrument, price_of(fixed(self.mark_price)))
            if venue is None:
                return False
            if intake.opening:
                venue.take_over(intake.opening)
                intake.opening = ZERO
            while intake.fills:
                if not self._book_fill(venue, intake.fills[0]):
                    return False
                del intake.fills[0]
            if intake.funding:
                venue.receive_funding(intake.funding)
                intake.funding = ZERO
        return True

    def _revalued(self, instrument: str, mark: Decimal) -> VenueBook | None:
        """Return the venue's book at the prices of now; None when one of them is unknown or nothing has begun."""
        mid, rate = self.mids.get(instrument), self._rate(quote_of(instrument), self.now_ns)
        if mid is None or rate is None or self.lp_book is None:
            return None
        venue = self.venues.get(instrument)
        if venue is None:
            venue = self.venues[instrument] = VenueBook(price_of(fixed(mid)), price_of(rate), mark)
        else:
            venue.revalue(price_of(fixed(mid)), price_of(rate), mark)
        return venue

    def _book_fill(self, venue: VenueBook, fill: Fill) -> bool:
        base, quote = fill.instrument.split("-")[:2]
        fee_rate = None
        if fill.fee and fill.fee_currency != quote:
            fee_rate = (
                fixed(self.mark_price) if fill.fee_currency == base else self._rate(fill.fee_currency, self.now_ns)
            )
            if fee_rate is None:
                return False
        venue.fill(signed_size(fill), fill.price)
        if fee_rate is not None:
            venue.foreign_fee(fill.fee * price_of(fee_rate))
        elif fill.fee:
            venue.fee(fill.fee)
        return True

    # --- what is sent -----------------------------------------------------------------------------------------

    def _send(self, at_ns: int) -> None:
        """Bring every book to the prices of now and send; send nothing while a price is missing."""
        if self.held is not None and at_ns >= self.held_ns and self.period_s:
            self._close()
        book, deposit = self.lp_book, self.deposit
        if book is None or deposit is None:
            return
        now_ns = self.clock.now_ns
        rate = self._rate(self.quote, now_ns)
        deposit_rate = self._rate(self.collateral_currency or self.currency, now_ns)
        if rate is None or deposit_rate is None:
            return
        for instrument in self.intakes:
            if not self._settle(instrument):
                return
        with Exactly():
            steps = fixed(self.mark_price)
            mark = price_of(steps)
            for instrument in self.venues:
                if self._revalued(instrument, mark) is None:
                    return
            book.revalue(steps, rate)
            deposit.rate = price_of(deposit_rate)
            self._message(book, deposit, at_ns)

    def _message(self, book: LpBook, deposit: Collateral, at_ns: int) -> None:
        lp, collateral = book.parts(), deposit.value
        start_equity, equity = lp.start_value + deposit.start_value, lp.value + collateral
        hedge_price = funding = venue_fees = venue_base = ZERO
        basis = lp.rate_effect + deposit.rate_effect
        for venue in self.venues.values():
            equity += venue.value
            hedge_price += venue.hedge_price
            funding += venue.funding
            venue_fees += venue.venue_fees
            basis += venue.basis
            venue_base += venue.size
        parts = lp.carry + lp.lp_fees + lp.lvr + hedge_price + funding + venue_fees + lp.gas + lp.swap_slippage + basis
        residual = equity - start_equity - parts
        assert not residual, f"attribution is not closed: {residual} {self.currency} is left over"
        self.total = float(equity - start_equity)
        self.pnl(
            event_time_ns=at_ns,
            block=self.block,
            currency=self.currency,
            mark=price_of(book.mark),
            equity=equity,
            start_equity=start_equity,
            carry=lp.carry,
            lp_fees=lp.lp_fees,
            lvr=lp.lvr,
            hedge_price=hedge_price,
            funding=funding,
            venue_fees=venue_fees,
            gas=lp.gas,
            swap_slippage=lp.swap_slippage,
            basis=basis,
            lp_base=book.base_amount,
            venue_base=venue_base,
            holding=lp.holding + collateral,
            unhedged=lp.value,
            rebalancing=lp.start_value + lp.carry + lp.rate_effect,
        )

    def _missing(self, lp: LpState) -> str:
        # Which price is missing, in words.
        if not self.mark_price:
            return "no mark has come"
        quote = quote_of(lp.pool)
        if self._rate(quote, self.held_ns) is None:
            return f"no valid rate from {quote} into {self.currency}"
        return f"no valid rate from {self.collateral_currency} into {self.currency}"


@lru_cache(maxsize=1024)
def quote_of(name: str) -> str:
    """Return the quote currency of a pool or instrument, as USDC of ETH-USDC-5."""
    parts = name.split("-")
    if len(parts) < 2:
        raise ValueError(f"{name!r} names no pair; a pool or instrument is BASE-QUOTE-..., as in ETH-USDC-5")
    return parts[1]
