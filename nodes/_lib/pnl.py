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

from decimal import Context, Decimal, Inexact, getcontext, setcontext
from functools import lru_cache

import msgspec

from nodes.messages import LpState

PRICE_DECIMALS = 10
"""Marks, rates and mids are taken to this many decimals; from there on nothing is rounded."""

PRICE_SCALE: int = 10**PRICE_DECIMALS
UNITS = [Decimal(1).scaleb(-decimals) for decimals in range(80)]
"""10^-n at place n: multiplying by it is several times as fast as `scaleb`."""
ZERO = Decimal(0)

EXACT = Context(prec=400)
EXACT.traps[Inexact] = True
"""Decimal arithmetic that never rounds: it raises instead."""


class Exactly:
    """`with Exactly():` is `with localcontext(EXACT):` without making a copy of it each time, which costs more."""

    __slots__ = ("_before",)

    def __enter__(self) -> None:
        self._before = getcontext()
        setcontext(EXACT)

    def __exit__(self, *_: object) -> None:
        setcontext(self._before)


def fixed(price: float) -> int:
    """Return a price or rate as a whole number of 1e-10."""
    steps: int = round(price * PRICE_SCALE)
    return steps


def money_of(units: int, decimals: int) -> Decimal:
    """Return units of 10^-`decimals` as a Decimal; to be called under `Exactly()`."""
    return Decimal(units) * UNITS[decimals]


# Making a Decimal of an integer costs as much as five of its sums, and a price is asked for several times in a row.
@lru_cache(maxsize=256)
def price_of(steps: int) -> Decimal:
    """Return a whole number of 1e-10 as a Decimal; to be called under `Exactly()`."""
    return money_of(steps, PRICE_DECIMALS)


class LpParts(msgspec.Struct, frozen=True, gc=False):
    """An LP's value now and its change since the start in parts, in the report currency."""

    value: Decimal
    start_value: Decimal
    """Of what was held at the start, at the prices of then."""
    holding: Decimal
    """Of what was held at the start, at the prices of now."""
    carry: Decimal
    lp_fees: Decimal
    lvr: Decimal
    gas: Decimal
    swap_slippage: Decimal
    rate_effect: Decimal


class LpBook(msgspec.Struct):
    """The LP's side: holdings at its last valuation, and the parts so far.

    `mark` and `rate` are in steps of 1e-10. Parts are kept as two sums each: what came in base, times its mark at the
    time (units of 10^-(base decimals + 10) of the report currency), and what came in quote, in quote. A sum in quote
    becomes money when the rate changes and when it is read.
    """

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
    start_mark: int
    start_rate: int
    base_scale: int
    quote_scale: int
    decimals: int
    """(base × mark × base_scale + quote × rate × quote_scale) counts 10^-decimals of the report currency."""
    start_base: int = 0
    start_quote: int = 0
    carry_value: int = 0
    fees_value: int = 0
    fees_in_quote: int = 0
    lvr_value: int = 0
    lvr_in_quote: int = 0
    gas_value: int = 0
    swap_value: int = 0
    swap_in_quote: int = 0
    fees_settled: int = 0
    """Quote × rate of earlier rates, as are the next two; units of 10^-(quote decimals + 10)."""
    lvr_settled: int = 0
    swap_settled: int = 0
    rate_settled: int = 0
    """Quote held × change of its rate."""

    def step(self, state: LpState, mark: int, rate: int) -> None:
        """Move to the holdings of `state`, valued at `mark` and `rate`."""
        base, quote = state.wallet_base + state.native_base, state.wallet_quote
        for position in state.positions:
            base += position.base_amount + position.base_fees
            quote += position.quote_amount + position.quote_fees
        if mark != self.mark:
            self.carry_value += self.base * (mark - self.mark)
            self.mark = mark
        if rate != self.rate:
            self._change_rate(rate)
        # What is explained is taken out of the change; what stays is the trading of others.
        traded_base, traded_quote = base - self.base, quote - self.quote
        self.base, self.quote = base, quote
        fees = state.fees_base
        if fees != self.fees_base:
            earned = fees - self.fees_base
            self.fees_value += earned * mark
            self.fees_base = fees
            traded_base -= earned
        fees = state.fees_quote
        if fees != self.fees_quote:
            earned = fees - self.fees_quote
            self.fees_in_quote += earned
            self.fees_quote = fees
            traded_quote -= earned
        if state.gas_base != self.gas_base:
            paid = state.gas_base - self.gas_base
            self.gas_value -= paid * mark
            self.gas_base = state.gas_base
            traded_base += paid
        if state.swap_base != self.swap_base or state.swap_quote != self.swap_quote:
            swapped_base, swapped_quote = state.swap_base - self.swap_base, state.swap_quote - self.swap_quote
            self.swap_value += swapped_base * mark
            self.swap_in_quote += swapped_quote
            self.swap_base, self.swap_quote = state.swap_base, state.swap_quote
            traded_base -= swapped_base
            traded_quote -= swapped_quote
        self.lvr_value += traded_base * mark
        self.lvr_in_quote += traded_quote

    def revalue(self, mark: int, rate: int) -> None:
        """Move to another mark and rate with the same holdings."""
        if mark != self.mark:
            self.carry_value += self.base * (mark - self.mark)
            self.mark = mark
        if rate != self.rate:
            self._change_rate(rate)

    def _change_rate(self, rate: int) -> None:
        self.fees_settled += self.fees_in_quote * self.rate
        self.lvr_settled += self.lvr_in_quote * self.rate
        self.swap_settled += self.swap_in_quote * self.rate
        self.fees_in_quote = self.lvr_in_quote = self.swap_in_quote = 0
        self.rate_settled += self.quote * (rate - self.rate)
        self.rate = rate

    def parts(self) -> LpParts:
        """Return what all of it is worth, in the report currency; to be called under `Exactly()`."""
        of_base, of_quote, unit = self.base_scale, self.quote_scale, UNITS[self.decimals]
        in_base, in_quote, rate = self.mark * of_base, self.rate * of_quote, self.rate

        def money(units: int) -> Decimal:
            return Decimal(units) * unit if units else ZERO

        return LpParts(
            money(self.base * in_base + self.quote * in_quote),
            money(self.start_base * self.start_mark * of_base + self.start_quote * self.start_rate * of_quote),
            money(self.start_base * in_base + self.start_quote * in_quote),
            money(self.carry_value * of_base),
            money(self.fees_value * of_base + (self.fees_settled + self.fees_in_quote * rate) * of_quote),
            money(self.lvr_value * of_base + (self.lvr_settled + self.lvr_in_quote * rate) * of_quote),
            money(self.gas_value * of_base),
            money(self.swap_value * of_base + (self.swap_settled + self.swap_in_quote * rate) * of_quote),
            money(self.rate_settled * of_quote),
        )

    @property
    def base_amount(self) -> Decimal:
        """Base that is held now; to be read under `Exactly()`."""
        return money_of(self.base, self.base_decimals)


def open_lp(state: LpState, mark: int, rate: int) -> LpBook:
    """Return the book of an LP that holds `state` at the start; every counter counts from here."""
    digits = max(state.base_decimals, state.quote_decimals)
    book = LpBook(
        base_decimals=state.base_decimals,
        mark=mark,
        rate=rate,
        base=0,
        quote=0,
        fees_base=state.fees_base,
        fees_quote=state.fees_quote,
        gas_base=state.gas_base,
        swap_base=state.swap_base,
        swap_quote=state.swap_quote,
        start_mark=mark,
        start_rate=rate,
        base_scale=10 ** (digits - state.base_decimals),
        quote_scale=10 ** (digits - state.quote_decimals),
        decimals=digits + PRICE_DECIMALS,
    )
    book.step(state, mark, rate)
    book.start_base, book.start_quote = book.base, book.quote
    book.lvr_value = book.lvr_in_quote = 0  # what came in from nothing is the start, not a trade
    return book


class VenueBook(msgspec.Struct):
    """One instrument at a venue: position and cash in its quote currency, and the parts so far in the report currency.

    `cash` is what fills, fees and funding have brought since the start; its value with the position is the venue's
    part of equity. Prices here: `price` is the venue's mid in its quote, `rate` the report currency per quote, `mark`
    the declared mark of the base in the report currency. Every method is to be called under `Exactly()`.
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
        if price == self.price and rate == self.rate and mark == self.mark:
            return
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
    """Money that lies at the venue from the start, in its own currency. To be read under `Exactly()`."""

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
