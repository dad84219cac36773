"""Print problems for people: the place, the line with a caret, what to do, and further places that explain it."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from engine.errors import Place, Problem
from engine.topology.disguise import HIDDEN, disguise

WIDTH = 100
MAX_READ = 1 << 20
MAX_MESSAGE = 1_000
RED, YELLOW, CYAN, DIM, BOLD, PLAIN = "\033[31m", "\033[33m", "\033[36m", "\033[2m", "\033[1m", "\033[0m"
TOKEN = re.compile(r"\"[^\"]*\"|'[^']*'|[^\s,\]}#]+")


def render(
    problems: Sequence[Problem], texts: Mapping[str, str] | None = None, *, colour: bool = False, width: int = WIDTH
) -> str:
    """Return the problems as text of at most `width` columns, without a final newline.

    `texts` holds the files' texts by name; files that are not in it are read. What is reported as a secret in clear
    is not printed again.
    """
    page = _Page(problems, texts or {}, colour, width)
    return "\n".join(line for problem in problems for line in page.lines(problem))


def counts(problems: Sequence[Problem]) -> dict[str, int]:
    """Return how many errors and warnings there are."""
    errors = sum(problem.severity == "error" for problem in problems)
    return {"errors": errors, "warnings": len(problems) - errors}


def summary(problems: Sequence[Problem]) -> str:
    """Return the counts in words, as in `2 errors, 1 warning`."""
    words = [f"{n} {word[:-1] if n == 1 else word}" for word, n in counts(problems).items() if n]
    return ", ".join(words) or "no problems"


class _Page:
    def __init__(self, problems: Sequence[Problem], texts: Mapping[str, str], colour: bool, width: int) -> None:
        self.texts = texts
        self.files: dict[str, list[str]] = {}
        self.colour = colour
        self.width = width
        self.secrets: dict[tuple[str, int], int] = {}
        for problem in problems:
            if problem.code == "secret-in-clear" and problem.place:
                place = problem.place
                column = self.secrets.get((place.file, place.line), place.column)
                self.secrets[place.file, place.line] = min(column, place.column)

    def lines(self, problem: Problem) -> list[str]:
        tint = RED if problem.severity == "error" else YELLOW
        where = f"{_shown(problem.place)}: " if problem.place else ""
        kind = f"{problem.severity}[{problem.code}]: "
        first, *rest = self._wrapped(where + kind + problem.message, "    ")
        if first.startswith(where + kind):
            first = self._tint(BOLD, where) + self._tint(tint, kind) + first[len(where + kind) :]
        result = [first, *rest]
        if problem.place:
            result += self._excerpt(problem.place, tint)
        if problem.fix:
            result += self._labelled("fix:", problem.fix, CYAN)
        for text, place in problem.notes:
            if place == problem.place:
                continue
            result += self._labelled("note:", f"{text}: {_shown(place)}", DIM)
        return result

    def _labelled(self, label: str, text: str, tint: str) -> list[str]:
        first, *rest = self._wrapped(f"    {label} {text}", " " * (5 + len(label)))
        return [first.replace(label, self._tint(tint, label), 1), *rest]

    def _wrapped(self, text: str, indent: str) -> list[str]:
        return textwrap.wrap(
            _readable(" ".join(text.split("\n"))),
            self.width,
            subsequent_indent=indent,
            break_long_words=True,
            break_on_hyphens=False,
            drop_whitespace=True,
            replace_whitespace=False,
        )

    def _excerpt(self, place: Place, tint: str) -> list[str]:
        """Return the source line and a caret under the place, cut to the width around it."""
        line = self._line(place)
        if line is None:
            return []
        start = min(place.column - 1, len(line))
        hidden = self.secrets.get((place.file, place.line))
        if hidden is not None:
            # A key may come before its secret value on the line; from the value on nothing is shown.
            line = line[: hidden - 1] + (_key_of(line[hidden - 1 :])) + HIDDEN
            start = min(start, len(line) - len(HIDDEN))
        found = TOKEN.match(line, start)
        length = max(1, len(found[0].rstrip(":")) if found else 1)
        number = f"{place.line:>5} | "
        room = self.width - len(number)
        if len(line) > room:
            # Keep the token and what leads to it in sight.
            cut = max(0, min(start + length + 12, len(line)) - (room - 8))
            ahead = "... " if cut else ""
            line = ahead + line[cut:]
            start = max(start + len(ahead) - cut, len(ahead))
            if len(line) > room:
                line = line[: room - 4] + " ..."
        length = max(1, min(length, room - start))
        caret = " " * start + "^" * length
        return [self._tint(DIM, number) + line, self._tint(DIM, "      | ") + self._tint(tint, caret)]

    def _line(self, place: Place) -> str | None:
        if place.file not in self.files:
            self.files[place.file] = self._text(place.file).splitlines()
        lines = self.files[place.file]
        if not 1 <= place.line <= len(lines):
            return None
        return _printable(disguise(lines[place.line - 1].rstrip()))

    def _text(self, file: str) -> str:
        if file in self.texts:
            return self.texts[file]
        path = Path(file)
        if not path.is_file():
            return ""
        with path.open("rb") as stream:
            # What is larger than a topology may be was not read either.
            return stream.read(MAX_READ).decode("utf-8", "replace")

    def _tint(self, tint: str, text: str) -> str:
        return f"{tint}{text}{PLAIN}" if self.colour and text else text


def _printable(text: str) -> str:
    """Return the text with one `·` for each character that could move the cursor, change colours or turn the line."""
    return text if text.isprintable() else "".join(each if each.isprintable() else "·" for each in text)


def _readable(message: str) -> str:
    return _printable(message if len(message) <= MAX_MESSAGE else f"{message[: MAX_MESSAGE - 4]} ...")


def _key_of(rest: str) -> str:
    found = re.match(r"[A-Za-z_][\w.-]*:\s+", rest)
    return found[0] if found else ""


def _shown(place: Place) -> str:
    """Return the place with a path relative to the current folder where it is below it."""
    path = place.file
    if os.path.isabs(path):
        relative = os.path.relpath(path)
        path = path if relative.startswith("..") else relative
    return f"{path}:{place.line}:{place.column}"
