"""The one declared price at which the base asset is valued."""

from __future__ import annotations

import math

from engine import NS_PER_S, In, Node, Out, param, state
from nodes.messages import Book, Conversion, Mark


class MarkModel(Node):
    """Value the base asset at a venue's mid, converted into the report currency.

    Nothing is sent while the book is crossed, empty or older than `book_max_age_s`, or while the conversion is missing
    or expired: a reader keeps no mark rather than a wrong one. Sent when the price changes, and on the way back.
    """

    book = In(Book, critical=True, doc="Market whose mid is the mark.", tags={"pair": "instrument", "quote": "any"})
    rate = In(Conversion, optional=True, doc="Quote currency of the instrument into the report currency.")
    mark = Out(Mark, doc="On each change of the price.")

    stale_actions = {"withhold": "send no mark until the input speaks again"}  # noqa: RUF012

    instrument: str = param(doc="The instrument whose mid is used, as in ETH-USDT-PERP.")
    currency: str = param("USD", doc="Report currency. The instrument's own quote needs no conversion.")
    book_max_age_s: float = param(120.0, unit="s", exclusiveMinimum=0, doc="Age at which a book makes no mark.")

    last_book: Book | None = state(None, doc="The last book.")
    factor: float = state(0.0, doc="Report currency per quote; 0 while unknown.")
    expires_ns: int = state(-1, doc="Time after which the factor is not to be used, ns.")
    price: float = state(0.0, doc="The mark that stands; 0 while there is none.")

    def start(self) -> None:
        self.asset, self.quote = self.instrument.split("-")[:2]
        self.source = f"mid of {self.instrument}"
        if self.quote == self.currency:
            self.factor, self.expires_ns = 1.0, 1 << 63
        else:
            self.source += f" x {self.quote}/{self.currency}"
        self.max_age_ns = round(self.book_max_age_s * NS_PER_S)

    def on_book(self, book: Book) -> None:
        self.last_book = book
        bid, ask = book.bid_price, book.ask_price
        if not 0.0 < bid < ask < math.inf:
            self.price = 0.0
            return
        now_ns = self.clock.now_ns
        if now_ns > self.expires_ns or now_ns - book.receive_time_ns > self.max_age_ns:
            self.price = 0.0
            return
        price = (bid + ask) / 2 * self.factor
        if price != self.price:
            self.price = price
            self.mark(asset=self.asset, currency=self.currency, event_time_ns=now_ns, price=price, source=self.source)

    def on_rate(self, rate: Conversion) -> None:
        if rate.currency != self.quote or rate.into != self.currency or self.quote == self.currency:
            return
        valid = 0.0 < rate.rate < math.inf
        self.factor, self.expires_ns = (rate.rate, rate.expires_ns) if valid else (0.0, -1)
        if self.last_book is not None:
            self.on_book(self.last_book)

    def input_stale(self, name: str, action: str) -> None:
        self.price = 0.0
        if name == "book":
            self.last_book = None
        else:
            self.factor, self.expires_ns = 0.0, -1
