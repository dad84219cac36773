"""Binance's public frames, spot and USD-M futures: recorded bytes to typed records.

A capture is a text file of lines `receive_time_ns frame`; frames are those of a combined stream, and one line holds
the REST snapshot of the book. Prices are quote per base, sizes base units, both float64. Names follow the field, not
the exchange's letters; `E`, `T` and so on are in the `rename` of each record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from nodes._lib.history import BadData, OnBad, read_lines, refuse

# The bounds refuse NaN and infinity, which float parsing would let through.
Price = Annotated[float, Meta(gt=0, lt=1e12)]
Size = Annotated[float, Meta(ge=0, lt=1e15)]
Levels = list[tuple[Price, Size]]


class DepthSnapshot(
    msgspec.Struct, frozen=True, gc=False, rename={"last_update_id": "lastUpdateId", "event_time_ms": "E"}
):
    """The book at one moment, from REST: up to 1000 levels a side, best first."""

    last_update_id: int
    bids: Levels
    asks: Levels
    event_time_ms: int = 0


class DepthUpdate(
    msgspec.Struct,
    frozen=True,
    gc=False,
    rename={
        "event_time_ms": "E",
        "symbol": "s",
        "first_update_id": "U",
        "last_update_id": "u",
        "previous_update_id": "pu",
        "bids": "b",
        "asks": "a",
    },
):
    """Levels that changed: sizes are absolute, 0 removes. `previous_update_id` exists on USD-M only."""

    event_time_ms: int
    symbol: str
    first_update_id: int
    last_update_id: int
    bids: Levels
    asks: Levels
    previous_update_id: int | None = None


class BestPrices(
    msgspec.Struct,
    frozen=True,
    gc=False,
    rename={
        "update_id": "u",
        "symbol": "s",
        "bid_price": "b",
        "bid_size": "B",
        "ask_price": "a",
        "ask_size": "A",
        "event_time_ms": "E",
        "transaction_time_ms": "T",
    },
):
    """Best bid and ask (`bookTicker`). Runs ahead of depth updates; has no times on spot (0)."""

    update_id: int
    symbol: str
    bid_price: Price
    bid_size: Size
    ask_price: Price
    ask_size: Size
    event_time_ms: int = 0
    transaction_time_ms: int = 0


class TradePrint(
    msgspec.Struct,
    frozen=True,
    gc=False,
    rename={
        "event_time_ms": "E",
        "transaction_time_ms": "T",
        "symbol": "s",
        "trade_id": "t",
        "price": "p",
        "size": "q",
        "buyer_is_maker": "m",
        "kind": "X",
    },
):
    """One trade between two orders. `kind` exists on USD-M: only MARKET trades come from the book."""

    event_time_ms: int
    transaction_time_ms: int
    symbol: str
    trade_id: int
    price: Annotated[float, Meta(ge=0, lt=1e12)]
    size: Size
    buyer_is_maker: bool
    kind: str = "MARKET"

    @property
    def aggressor(self) -> str:
        """Side of the order that took: "buy" or "sell"."""
        return "sell" if self.buyer_is_maker else "buy"


Frame = DepthSnapshot | DepthUpdate | BestPrices | TradePrint


class _Envelope(msgspec.Struct, gc=False):
    stream: str
    data: msgspec.Raw


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_snapshot = msgspec.json.Decoder(DepthSnapshot, strict=False).decode
# Prices come as text: strict=False reads them as float64, correctly rounded.
_DECODERS: dict[str, Callable[[msgspec.Raw], Frame]] = {
    "depth": msgspec.json.Decoder(DepthUpdate, strict=False).decode,
    "bookTicker": msgspec.json.Decoder(BestPrices, strict=False).decode,
    "trade": msgspec.json.Decoder(TradePrint, strict=False).decode,
}


def parse_frame(frame: bytes) -> Frame | None:
    """Return what a frame says, None for a stream that is not used here (`symbol@depth@100ms` is a depth stream).

    Raises msgspec.MsgspecError on what is no such frame: not JSON, a field missing, a price that is no number.
    """
    if frame.startswith(b'{"lastUpdateId"'):
        return _decode_snapshot(frame)
    envelope = _decode_envelope(frame)
    decode = _DECODERS.get(envelope.stream.split("@")[1] if "@" in envelope.stream else "")
    return decode(envelope.data) if decode else None


def read_capture(path: Path | str, on_bad: OnBad = refuse) -> Iterator[tuple[int, bytes]]:
    """Yield (receive_time_ns, frame) of a capture, in the order received.

    A line without a time, or whose time goes back, goes to `on_bad`.
    """
    previous_ns = 0
    for line, text in read_lines(path):
        time, _, frame = text.partition(b" ")
        if not time.isdigit() or not frame:
            on_bad(BadData(path, line, f"starts with {text[:24]!r}, not with a receive time in ns and a frame"))
            continue
        at_ns = int(time)
        if at_ns < previous_ns:
            on_bad(BadData(path, line, f"receive time {at_ns} goes back, from {previous_ns}"))
            continue
        previous_ns = at_ns
        yield at_ns, frame


def read_frames(path: Path | str, on_bad: OnBad = refuse) -> Iterator[tuple[int, Frame]]:
    """Yield (receive_time_ns, parsed frame) of a capture; frames that cannot be parsed go to `on_bad`."""
    for number, (at_ns, frame) in enumerate(read_capture(path, on_bad), 1):
        try:
            parsed = parse_frame(frame)
        except msgspec.MsgspecError as error:
            on_bad(BadData(path, number, f"the frame of {at_ns} cannot be read: {error}"))
            continue
        if parsed is not None:
            yield at_ns, parsed
