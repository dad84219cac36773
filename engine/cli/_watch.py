"""What `pipeline up` shows while its run is alive.

A thread of its own does the showing: a terminal that stops, or a pipe that nobody reads, must not hold up the
supervisor, which would then take its processes for dead.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click

from engine.process.view import Changes, Rates, Status, Style, headline

if TYPE_CHECKING:
    from rich.live import Live

    from engine.process.log_reader import Follower, Line

LINE_S = 5.0
POLL_S = 0.25
LAST_WORDS_S = 2.0
"""How long the end of a run waits for a screen that does not take what is written."""
CLICK_STYLES: dict[Style, dict[str, Any]] = {
    "good": {"fg": "green"},
    "warn": {"fg": "yellow"},
    "bad": {"fg": "red", "bold": True},
    "dim": {"dim": True},
    "": {},
}


class Screen(Protocol):
    """Where changes and statuses are shown."""

    def line(self, text: str, style: Style) -> None:
        """Show something that has happened."""

    def status(self, status: Status, rates: Rates) -> None:
        """Show how things are."""

    def close(self) -> None:
        """Leave the screen as it should be found."""


class PlainScreen:
    """Lines: what has happened, and how things are every few seconds; no control codes except on a terminal."""

    def __init__(self) -> None:
        self._told_s = time.monotonic()

    def line(self, text: str, style: Style) -> None:
        click.echo(f"{time.strftime('%H:%M:%S')}  {click.style(text, **CLICK_STYLES[style]) if style else text}")

    def status(self, status: Status, rates: Rates) -> None:
        now_s = time.monotonic()
        if now_s - self._told_s >= LINE_S:
            self._told_s = now_s
            self.line(headline(status, rates), "")

    def close(self) -> None:
        pass


class LiveScreen:
    """The tables of `pipeline top` below what has happened, in a terminal."""

    def __init__(self) -> None:
        from rich.live import Live

        from engine.cli._screen import console

        self._console = console()
        self._live: Live = Live(console=self._console, auto_refresh=False, transient=True, redirect_stderr=False)
        self._live.start()

    def line(self, text: str, style: Style) -> None:
        from rich.text import Text

        from engine.cli._screen import COLOURS

        self._console.print(Text.assemble((f"{time.strftime('%H:%M:%S')}  ", "dim"), (text, COLOURS[style])))

    def status(self, status: Status, rates: Rates) -> None:
        from engine.cli.top import page

        # A third of the screen is left to what has happened.
        height = max(12, self._console.height * 2 // 3)
        self._live.update(page(status, rates, self._console.width, height), refresh=True)

    def close(self) -> None:
        self._live.stop()


class Silent:
    """Nothing is shown: the result is all that is wanted."""

    def line(self, text: str, style: Style) -> None:
        pass

    def status(self, status: Status, rates: Rates) -> None:
        pass

    def close(self) -> None:
        pass


class Watch:
    """Take the statuses of a run as its supervisor gives them, and show them elsewhere.

    `make_screen` is called in the thread that shows. `last` is the last status that came.
    """

    def __init__(self, folder: Path, make_screen: Callable[[], Screen]) -> None:
        self.folder = folder
        self.last: Status | None = None
        self._make_screen = make_screen
        self._since = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        self._notes: list[tuple[str, Style]] = []
        self._news = threading.Event()
        self._over = False
        self._thread: threading.Thread | None = None

    def __call__(self, status: Status) -> None:
        """Take a status; returns at once. The first call is made after all forks: only then there may be threads."""
        self.last = status
        self._news.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._show, name="screen", daemon=True)
            self._thread.start()

    def note(self, text: str, style: Style = "") -> None:
        """Show a line of our own."""
        self._notes.append((text, style))
        self._news.set()

    def close(self) -> None:
        """Show what is left, and leave the screen."""
        self._over = True
        self._news.set()
        if self._thread is not None:
            self._thread.join(LAST_WORDS_S)

    def _show(self) -> None:
        from engine.process.log_reader import Follower, Wanted

        changes, rates = Changes(), Rates()
        shown: Status | None = None
        screen = self._make_screen()
        follower = Follower(self.folder, Wanted(level="warning", since=self._since), from_start=True)
        try:
            over = False
            while not over:
                self._news.wait(POLL_S)
                self._news.clear()
                over = self._over  # before the last look, so that nothing is missed
                self._show_news(screen, follower)
                status = self.last
                if status is not None and status is not shown:
                    shown = status
                    rates.update(status, time.monotonic())
                    for text, style in changes.update(status):
                        screen.line(text, style)
                    screen.status(status, rates)
            self._show_news(screen, follower)
        except (BrokenPipeError, OSError):
            return  # nobody looks on any more; the run goes on
        finally:
            follower.close()
            screen.close()

    def _show_news(self, screen: Screen, follower: Follower) -> None:
        while self._notes:
            screen.line(*self._notes.pop(0))
        for line in follower.poll():
            screen.line(log_line(line), "bad" if line["level"] in ("error", "critical") else "warn")


def log_line(line: Line) -> str:
    """Return a line of a log in one line."""
    from engine.cli.logs import printable

    who = line["process"] + (f" [{line['node']}]" if line.get("node") else "")
    return f"{who}: {line['level']}: {printable(str(line['message']))}"


def is_ready(status: Status) -> bool:
    """Tell whether the run is alive and every process of it does its work."""
    return status["run"]["state"] == "running" and all(each["state"] == "ok" for each in status["processes"].values())
