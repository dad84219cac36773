"""Charts as inline SVG: no library, no network, colours from the page's style. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from math import ceil, floor, isclose, log10
from typing import Any

WIDTH, WIDE, HEIGHT = 520, 1_080, 240
"""Units of the drawing; a label of 11 of them stays legible on a screen of 1024 px."""
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 10, 26

Values = list[float | None]


@dataclass(frozen=True, slots=True)
class Line:
    """One curve; `colour` is a number of the page's palette, `dash` draws it broken."""

    name: str
    values: Values
    colour: int
    dash: bool = False


@dataclass(frozen=True, slots=True)
class Band:
    """An area between two curves."""

    name: str
    lower: Values
    upper: Values
    colour: int


REACH = 1.5
"""How far beside the lines a band is shown, in spans of the lines; what is further away would flatten them."""


def chart(
    title: str, unit: str, times: list[int], lines: list[Line], *, band: Band | None = None, wide: bool = False
) -> str:
    """Return a figure with a line chart over time (s since 1970, UTC), its legend and the data for its cursor.

    `wide` is for the whole width of the page. Empty when there is nothing to draw.
    """
    found = [value for line in lines for value in line.values if value is not None]
    if not found or len(times) < 2:
        return ""
    low, high = min(found), max(found)
    shown = None
    if band:
        reach = REACH * ((high - low) or abs(high) * 0.01)
        shown = _within(band, low - reach, high + reach)
        sides = [value for side in (shown.lower, shown.upper) for value in side if value is not None]
        low, high = min([low, *sides]), max([high, *sides])
    elif 0 < low < 0.4 * high:
        low = 0.0
    ticks = nice_ticks(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])
    width = WIDE if wide else WIDTH
    scale = _Scale(width, (times[0], times[-1]), (low, high))
    parts = [_grid(ticks, scale), _time_axis(scale)]
    if band and shown:
        parts.append(f'<path class="area c{band.colour}" d="{_area(times, shown, scale)}"/>')
        for side, seen in ((band.lower, shown.lower), (band.upper, shown.upper)):
            edge = [value if value == cut else None for value, cut in zip(side, seen, strict=True)]
            parts.append(f'<path class="edge c{band.colour}" d="{_path(times, edge, scale)}"/>')
    for line in lines:
        kind = "line dash" if line.dash else "line"
        parts.append(f'<path class="{kind} c{line.colour}" d="{_path(times, line.values, scale)}"/>')
    parts.append(f'<line class="cursor" x1="0" x2="0" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
    legend = "".join(
        f'<span class="key c{line.colour}{" dash" if line.dash else ""}">{escape(line.name)}</span>' for line in lines
    )
    if band:
        beyond = "" if shown == band else ", wider than shown where it has no edge"
        legend += f'<span class="key wide c{band.colour}">{escape(band.name + beyond)}</span>'
    data: dict[str, Any] = {
        "t": times,
        "box": [LEFT, width - RIGHT],
        "s": [{"n": line.name, "c": line.colour, "v": line.values} for line in lines],
    }
    if band:
        data["s"] += [
            {"n": f"{word} end of the range", "c": band.colour, "v": side}
            for word, side in (("upper", band.upper), ("lower", band.lower))
        ]
    return (
        f'<figure class="chart"><figcaption><b>{escape(title)}</b> <span class="unit">{escape(unit)}</span>'
        f'<span class="legend">{legend}</span></figcaption>'
        f'<svg viewBox="0 0 {width} {HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'
        f'<div class="tip" hidden></div><script type="application/json">{_json(data)}</script></figure>'
    )


def _within(band: Band, low: float, high: float) -> Band:
    """Return the part of a band that lies in [low, high]."""

    def clamp(values: Values) -> Values:
        return [None if value is None else min(max(value, low), high) for value in values]

    return Band(band.name, clamp(band.lower), clamp(band.upper), band.colour)


def strip(outcomes: list[dict[str, Any]], low: float, high: float, as_run: float, currency: str) -> str:
    """Return a row of dots, one per outcome, with the interval between the outermost and the place of zero."""
    width, height, side, middle = WIDE, 92, 60, 46
    left, right = min(low, 0.0), max(high, 0.0)
    span = (right - left) or 1.0

    def x(value: float) -> float:
        return round(side + (value - left) / span * (width - 2 * side), 1)

    dots = "".join(
        f'<circle class="dot {"hollow" if each["execution"] == "taker" else ""}" cx="{x(each["pnl"])}" cy="{middle}" '
        f'r="5"><title>{escape(_outcome(each, currency))}</title></circle>'
        for each in outcomes
    )
    labels = [(x(low), f"{low:+,.0f}", "start" if x(low) < 120 else "middle")]
    if abs(x(high) - x(low)) > 90:
        labels.append((x(high), f"{high:+,.0f}", "end" if x(high) > width - 120 else "middle"))
    texts = "".join(
        f'<text x="{at}" y="24" text-anchor="{anchor}" class="big">{text}</text>' for at, text, anchor in labels
    )
    return (
        f'<svg class="strip" viewBox="0 0 {width} {height}" role="img" aria-label="PnL under each assumption">'
        f'<line class="axis" x1="{side}" x2="{width - side}" y1="{middle}" y2="{middle}"/>'
        f'<line class="span" x1="{x(low)}" x2="{x(high)}" y1="{middle}" y2="{middle}"/>'
        f'<line class="zero" x1="{x(0)}" x2="{x(0)}" y1="{middle - 16}" y2="{middle + 16}"/>'
        f'<text x="{x(0)}" y="{middle + 34}" text-anchor="middle">0 {escape(currency)}</text>'
        f'<path class="asrun" d="M{x(as_run)} {middle - 11}l-5 -8h10z"/>{dots}{texts}</svg>'
    )


def _outcome(outcome: dict[str, Any], currency: str) -> str:
    gas = f", gas {outcome['gas_gwei']:g} gwei" if outcome["gas_gwei"] is not None else ""
    return f"{outcome['pnl']:+,.2f} {currency}: {outcome['execution']}{gas}, {outcome['reference']}"


def bars(rows: list[tuple[str, float | None, float | None]]) -> str:
    """Return table rows (name, value with hedge, value without), each value with a bar to the left or right of zero."""
    largest = max((abs(value) for _, *pair in rows for value in pair if value is not None), default=0.0) or 1.0

    def cell(value: float | None) -> str:
        if value is None:
            return '<td class="num faint">–</td><td class="bar"></td>'
        width = abs(value) / largest * 50
        start = 50 - width if value < 0 else 50.0
        sign = "neg" if value < 0 else "pos"
        fill = f'<i class="{sign}" style="left:{start:.2f}%;width:{width:.2f}%"></i>' if width > 0 else ""
        return f'<td class="num">{signed(value)}</td><td class="bar"><span>{fill}</span></td>'

    return "".join(f"<tr><th>{escape(name)}</th>{cell(first)}{cell(second)}</tr>" for name, first, second in rows)


def signed(value: float) -> str:
    """Return an amount as HTML, with its sign and thousands set off; one that rounds to nothing is faint."""
    text = f"{value:+,.2f}"
    return '<span class="faint">0.00</span>' if text in ("+0.00", "-0.00") else text


class _Scale:
    """From time and value to the drawing's coordinates."""

    def __init__(self, width: int, times: tuple[int, int], values: tuple[float, float]) -> None:
        self.width, (self.first, self.last), (self.low, high) = width, times, values
        self._x = (width - LEFT - RIGHT) / (self.last - self.first)
        self._y = (HEIGHT - TOP - BOTTOM) / ((high - self.low) or 1.0)

    def x(self, time: float) -> float:
        return round(LEFT + (time - self.first) * self._x, 1)

    def y(self, value: float) -> float:
        return round(HEIGHT - BOTTOM - (value - self.low) * self._y, 1)


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return round numbers that enclose [low, high], about `count` of them."""
    if isclose(low, high, rel_tol=1e-12, abs_tol=1e-12):
        pad = abs(low) * 0.01 or 1.0
        low, high = low - pad, high + pad
    raw = (high - low) / count
    size = 10.0 ** floor(log10(raw))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= raw * 0.999)
    return [round(number * step, 12) + 0.0 for number in range(floor(low / step), ceil(high / step) + 1)]


def _label(value: float, step: float) -> str:
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    size = floor(log10(step) + 1e-9)
    quarter = isclose(step / 10.0**size, 2.5)
    digits = max(0, -size + quarter)
    return f"{value:,.{digits}f}"


def _grid(ticks: list[float], scale: _Scale) -> str:
    step = ticks[1] - ticks[0]
    result = ""
    for tick in ticks:
        y = scale.y(tick)
        kind = "zero" if tick == 0 else "grid"
        result += f'<line class="{kind}" x1="{LEFT}" x2="{scale.width - RIGHT}" y1="{y}" y2="{y}"/>'
        result += f'<text x="{LEFT - 6}" y="{y + 3.5}" text-anchor="end">{_label(tick, step)}</text>'
    return result


def _time_axis(scale: _Scale) -> str:
    span = scale.last - scale.first
    steps = (60, 300, 900, 1_800, 3_600, 7_200, 14_400, 21_600, 43_200, 86_400, 172_800, 604_800, 1_209_600, 2_592_000)
    step = next((size for size in steps if span / size <= scale.width / 72), 31_536_000 // 4)
    result = ""
    first = ceil(scale.first / step) * step
    for time in range(first, scale.last + 1, step):
        x = scale.x(time)
        anchor = "end" if x > scale.width - 40 else "middle"
        result += f'<line class="tick" x1="{x}" x2="{x}" y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM + 4}"/>'
        text = datetime.fromtimestamp(time, UTC).strftime("%H:%M" if time % 86_400 else "%d %b")
        result += f'<text x="{x}" y="{HEIGHT - BOTTOM + 17}" text-anchor="{anchor}">{text}</text>'
    return result


def _path(times: list[int], values: Values, scale: _Scale) -> str:
    result: list[str] = []
    pen = "M"
    for time, value in zip(times, values, strict=True):
        if value is None:
            pen = "M"
            continue
        result.append(f"{pen}{scale.x(time):g} {scale.y(value):g}")
        pen = "L"
    return "".join(result)


def _area(times: list[int], band: Band, scale: _Scale) -> str:
    # One closed shape per stretch of time in which both sides are known; the sides are steps, as ranges are.
    shapes: list[str] = []
    stretch: list[tuple[float, float, float]] = []
    for time, low, high in [*zip(times, band.lower, band.upper, strict=True), (0, None, None)]:
        if low is not None and high is not None:
            stretch.append((scale.x(time), scale.y(low), scale.y(high)))
        elif stretch:
            there = "L".join(f"{x:g} {high:g}" for x, _, high in stretch)
            back = "L".join(f"{x:g} {low:g}" for x, low, _ in reversed(stretch))
            shapes.append(f"M{there}L{back}Z")
            stretch = []
    return "".join(shapes)


def _json(data: Any) -> str:
    return json.dumps(data, separators=(",", ":"), ensure_ascii=True).replace("<", "\\u003c")
