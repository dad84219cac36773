"""Profit and loss in parts that sum to the change of equity, exactly. Pure; no part is found as what is left over.

Two books are kept. The LP's is in integers: token amounts in their smallest unit times prices in steps of 1e-10, so
that a row costs a few multiplications. A venue's is in Decimals, under a context that raises when a digit would be
lost. Both move from one valuation to the next, from (holdings, mark, rate) to (holdings', mark', rate'):

    change of value = held × change of mark + change of held × new mark

The first term is carry (for a venue: hedge price and basis), the second is split by what changed the holdings. What is
neither fee, gas nor own swap is the trading of others against the positions: their loss against rebalancing, LVR.
Source: Milionis, Moallemi, Roughgarden and Zhang (2022), "Automated market making and loss-versus-rebalancing".
"""

from __future__ import annotations

from decimal import Context, Decimal, Inexact

import msgspec

from nodes.messages import LpState

PRICE_DECIMALS = 10
"""Marks, rates and mids are taken to this many decimals; from there on nothing is rounded."""

PRICE_SCALE: int = 10**PRICE_DECIMALS
PRICE_STEP = Decimal(1).scaleb(-PRICE_DECIMALS)
ZERO = Decimal(0)

EXACT = Context(prec=400)
EXACT.traps[Inexact] = True
"""Decimal arithmetic that never rounds: it raises instead."""


def fixed(price: float) -> int:
    """Return a price or rate as a whole number of 1e-10."""
    steps: int = round(price * PRICE_SCALE)
    return steps


def price_of(steps: int) -> Decimal:
    """Return a whole number of 1e-10 as a Decimal; to be called under `localcontext(EXACT)`."""
    return Decimal(steps) * PRICE_STEP


class LpBook(msgspec.Struct):
    """The LP's side: holdings at its last valuation, and the parts so far.

    Money is in units of 10^-`decimals` of the report currency; `mark` and `rate` in steps of 1e-10.
    """

    decimals: int
    quote_scale: int
    base_scale: int
    base_decimals: int
    mark: int
    rate: int
    base: int
    quote: int
    fees_base: int
    fees_quote: int
    gas_base: int
    swap_base: int
    swap_quote: int
    start_base: int
    start_quote: int
    start_value: int
    carry: int = 0
    lp_fees: int = 0
    lvr: int = 0
    gas: int = 0
    swap_slippage: int = 0
    rate_effect: int = 0
    """Quote held × change of its rate into the report currency."""

    def step(self, state: LpState, mark: int, rate: int) -> None:
        """Move to the holdings of `state`, valued at `mark` and `rate`."""
        base, quote = holdings(state)
        self.revalue(mark, rate)
        base_unit, quote_unit = mark * self.base_scale, rate * self.quote_scale
        traded_base, traded_quote = base - self.base, quote - self.quote
        self.base, self.quote = base, quote
        fees_base, fees_quote = state.fees_base, state.fees_quote
        if fees_base != self.fees_base or fees_quote != self.fees_quote:
            earned_base, earned_quote = fees_base - self.fees_base, fees_quote - self.fees_quote
            self.lp_fees += earned_base * base_unit + earned_quote * quote_unit
            self.fees_base, self.fees_quote = fees_base, fees_quote
            traded_base -= earned_base
            traded_quote -= earned_quote
        if state.gas_base != self.gas_base:
            paid = state.gas_base - self.gas_base
            self.gas -= paid * base_unit
            self.gas_base = state.gas_base
            traded_base += paid
        if state.swap_base != self.swap_base or state.swap_quote != self.swap_quote:
            swapped_base, swapped_quote = state.swap_base - self.swap_base, state.swap_quote - self.swap_quote
            self.swap_slippage += swapped_base * base_unit + swapped_quote * quote_unit
            self.swap_base, self.swap_quote = state.swap_base, state.swap_quote
            traded_base -= swapped_base
            traded_quote -= swapped_quote
        self.lvr += traded_base * base_unit + traded_quote * quote_unit

    def revalue(self, mark: int, rate: int) -> None:
        """Move to another mark and rate with the same holdings."""
        if mark != self.mark:
            self.carry += self.base * (mark - self.mark) * self.base_scale
            self.mark = mark
        if rate != self.rate:
            self.rate_effect += self.quote * (rate - self.rate) * self.quote_scale
            self.rate = rate

    @property
    def value(self) -> int:
        """Value of all that is held now."""
        return self.worth(self.base, self.quote)

    @property
    def holding(self) -> int:
        """Value of what was held at the start, at today's mark and rate."""
        return self.worth(self.start_base, self.start_quote)

    @property
    def rebalancing(self) -> int:
        """Value of a portfolio that holds the LP's base and quote at each valuation, having traded at the mark."""
        return self.start_value + self.carry + self.rate_effect

    def worth(self, base: int, quote: int) -> int:
        """Return the value of `base` and `quote` at the mark and rate of the last valuation."""
        return base * self.mark * self.base_scale + quote * self.rate * self.quote_scale

    @property
    def base_amount(self) -> Decimal:
        """Base that is held now."""
        return Decimal(self.base).scaleb(-self.base_decimals, EXACT)

    def money(self, units: int) -> Decimal:
        """Return an amount of this book in the report currency."""
        return Decimal(units).scaleb(-self.decimals, EXACT)


def holdings(state: LpState) -> tuple[int, int]:
    """Return (base, quote) in positions, uncollected, in the wallet and in native coin, smallest units."""
    base, quote = state.wallet_base + state.native_base, state.wallet_quote
    for position in state.positions:
        base += position.base_amount + position.base_fees
        quote += position.quote_amount + position.quote_fees
    return base, quote


def open_lp(state: LpState, mark: int, rate: int) -> LpBook:
    """Return the book of an LP that holds `state` at the start; every counter counts from here."""
    base, quote = holdings(state)
    digits = max(state.base_decimals, state.quote_decimals)
    book = LpBook(
        decimals=digits + PRICE_DECIMALS,
        base_decimals=state.base_decimals,
        base_scale=10 ** (digits - state.base_decimals),
        quote_scale=10 ** (digits - state.quote_decimals),
        mark=mark,
        rate=rate,
        base=base,
        quote=quote,
        fees_base=state.fees_base,
        fees_quote=state.fees_quote,
        gas_base=state.gas_base,
        swap_base=state.swap_base,
        swap_quote=state.swap_quote,
        start_base=base,
        start_quote=quote,
        start_value=0,
    )
    book.start_value = book.value
    return book


class VenueBook(msgspec.Struct):
    """One instrument at a venue: position and cash in its quote currency, and the parts so far in the report currency.

    `cash` is what fills, fees and funding have brought since the start; its value with the position is the venue's
    part of equity. Prices here: `price` is the venue's mid in its quote, `rate` the report currency per quote, `mark`
    the declared mark of the base in the report currency. Every method is to be called under `localcontext(EXACT)`.
    """

    price: Decimal
    rate: Decimal
    mark: Decimal
    size: Decimal = ZERO
    cash: Decimal = ZERO
    settled: Decimal = ZERO
    """Fees paid in another currency, turned into the report currency when they were paid."""
    hedge_price: Decimal = ZERO
    basis: Decimal = ZERO
    venue_fees: Decimal = ZERO
    funding: Decimal = ZERO

    def revalue(self, price: Decimal, rate: Decimal, mark: Decimal) -> None:
        """Move to other prices with the same position and cash."""
        if self.size:
            with_mark = self.size * (mark - self.mark)
            self.hedge_price += with_mark
            self.basis += self.size * (price * rate - self.price * self.rate) - with_mark
        if rate != self.rate:
            self.basis += self.cash * (rate - self.rate)
        self.price, self.rate, self.mark = price, rate, mark

    def fill(self, size: Decimal, price: Decimal) -> None:
        """Book a fill at the prices of the last valuation; `size` is positive for a buy.

        Against the mark it is hedge price; the distance from mark to the venue's mid enters basis, from where it
        leaves as that distance closes.
        """
        self.hedge_price += size * (self.mark - price * self.rate)
        self.basis += size * (self.price * self.rate - self.mark)
        self.size += size
        self.cash -= size * price

    def fee(self, amount: Decimal) -> None:
        """Pay a fee in the venue's quote currency; negative when it is a rebate."""
        self.cash -= amount
        self.venue_fees -= amount * self.rate

    def foreign_fee(self, amount: Decimal) -> None:
        """Pay a fee that is given in the report currency."""
        self.settled -= amount
        self.venue_fees -= amount

    def receive_funding(self, amount: Decimal) -> None:
        """Receive funding in the venue's quote currency; paid is negative."""
        self.cash += amount
        self.funding += amount * self.rate

    def take_over(self, size: Decimal) -> None:
        """Add a position that was there before the start, at today's mid: it changes no equity."""
        self.size += size
        self.cash -= size * self.price

    @property
    def value(self) -> Decimal:
        """Value of position and cash in the report currency."""
        return (self.cash + self.size * self.price) * self.rate + self.settled


class Collateral(msgspec.Struct):
    """Money that lies at the venue from the start, in its own currency. To be read under `localcontext(EXACT)`."""

    amount: Decimal
    start_rate: Decimal
    rate: Decimal

    @property
    def value(self) -> Decimal:
        return self.amount * self.rate

    @property
    def start_value(self) -> Decimal:
        return self.amount * self.start_rate

    @property
    def rate_effect(self) -> Decimal:
        return self.amount * (self.rate - self.start_rate)
