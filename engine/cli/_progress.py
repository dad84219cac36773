"""A progress line with the time that is left: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from engine.run.backtest import Progress

WIDTH = 30
REDRAW_S = 0.1
LINE_S = 10.0


class ProgressLine:
    """Callable that shows how far a backtest has come, on stderr. Use as a context manager."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.terminal = sys.stderr.isatty()
        self.label = ""
        self._began = self._shown = time.monotonic()

    def begin(self, label: str) -> None:
        """Begin a new part of the work."""
        self.label = label
        self._began = time.monotonic()
        self._shown = 0.0 if self.terminal else self._began

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if self.quiet or now - self._shown < (REDRAW_S if self.terminal else LINE_S):
            return
        self._shown = now
        text = self._text(progress, now - self._began)
        sys.stderr.write(f"\r\x1b[K{text}" if self.terminal else f"{text}\n")
        sys.stderr.flush()

    def _text(self, progress: Progress, elapsed_s: float) -> str:
        rate = progress.rows / elapsed_s if elapsed_s > 0 else 0.0
        text = f"{self.label} {progress.rows:,} rows, {rate:,.0f}/s"
        if progress.share is None:
            return text
        done = round(WIDTH * progress.share)
        left = elapsed_s * (1 - progress.share) / progress.share if progress.share > 0 else 0.0
        return f"{text} [{'█' * done}{'·' * (WIDTH - done)}] {progress.share:4.0%}, {left:.0f} s left"

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.terminal and not self.quiet:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
