"""Tables and lines on a screen: in colour and cut to the window on a terminal, plain and whole elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from engine.process.view import Style, Table

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

COLOURS: dict[Style, str] = {"": "", "good": "green", "warn": "yellow", "bad": "bold red", "dim": "dim"}
PLAIN_WIDTH = 200


def console(*, stderr: bool = False) -> Console:
    """Return a console that writes control codes only to a terminal."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    if stream.isatty():
        return Console(file=stream, highlight=False)
    return Console(file=stream, highlight=False, width=PLAIN_WIDTH, color_system=None, force_terminal=False)


def as_renderable(table: Table, width: int, rows: int) -> RenderableType:
    """Return a table for rich that fits: with the columns for which there is room, and at most `rows` rows.

    Where rows are left out, the last one says how many.
    """
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    table = table.within(width)
    cut = table.rows if len(table.rows) <= rows else table.rows[: max(0, rows - 1)]
    shown = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold", padding=(0, 1))
    for index, column in enumerate(table.columns):
        number = column in table.numbers
        longest = max((len(row[index].text) for row in cut), default=0)
        shown.add_column(
            column,
            justify="right" if number else "left",
            no_wrap=True,
            overflow="ellipsis",
            min_width=max(len(column), longest) if number else None,
        )
    for row in cut:
        shown.add_row(*(Text(cell.text, style=COLOURS[cell.style]) for cell in row))
    if len(cut) < len(table.rows):
        shown.add_row(Text(f"{len(table.rows) - len(cut)} more", style="dim"))
    return shown


def plain(table: Table) -> Iterable[str]:
    """Yield the lines of a table as text, every cell whole."""
    cells = [table.columns, *([cell.text for cell in row] for row in table.rows)]
    widths = [max(len(row[index]) for row in cells) for index in range(len(table.columns))]
    for row in cells:
        parts = [
            text.rjust(width) if column in table.numbers else text.ljust(width)
            for text, width, column in zip(row, widths, table.columns, strict=True)
        ]
        yield "  ".join(parts).rstrip()
