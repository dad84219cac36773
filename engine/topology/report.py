"""Gather problems while a topology is read, so that all of them are told at once."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from engine.errors import Place, Problem, TopologyError
from engine.topology.rules import nearest

MAX_PROBLEMS = 200
MAX_SUGGESTED_LENGTH = 80
MAX_SUGGESTED = 1_000


class Report:
    """The problems found so far; past `MAX_PROBLEMS` reading stops, since nobody reads on."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def add(
        self,
        code: str,
        message: str,
        place: Place | None,
        fix: str = "",
        *,
        notes: Iterable[tuple[str, Place]] = (),
        used: Iterable[Place] = (),
    ) -> None:
        """Note one problem; `used` are the places through which the text at `place` is used.

        Raise TopologyError when there are too many.
        """
        through = tuple(("used here", at) for at in used)
        self.problems.append(Problem(code, message, place, fix, (*notes, *through)))
        if len(self.problems) >= MAX_PROBLEMS:
            self.stop("too-many-problems", "further problems are not listed", place, "correct these first")

    def stop(self, code: str, message: str, place: Place | None, fix: str = "", used: Iterable[Place] = ()) -> None:
        """Note a problem after which nothing sensible can be read, and raise TopologyError."""
        through = tuple(("used here", at) for at in used)
        self.problems.append(Problem(code, message, place, fix, through))
        raise TopologyError(self.problems)

    def raise_if_any(self) -> None:
        """Raise TopologyError with all problems, by file and line, when there is one."""
        if self.problems:
            unique = dict.fromkeys(self.problems)
            raise TopologyError(sorted(unique, key=lambda problem: (problem.place is not None, problem.place)))


def shown(text: object, limit: int = 60) -> str:
    """Return the text in quotes, cut to a length that fits an error."""
    word = str(text)
    return repr(word if len(word) <= limit else word[: limit - 3] + "...")


def suggestion(word: str, known: Iterable[str], otherwise: str = "", what: str = "known names") -> str:
    """Return `did you mean 'x'?` and what is allowed; with no name near, `otherwise` and what is allowed."""
    names = list(known)
    meant = near(word, names)
    first = f"did you mean {meant!r}? " if meant else f"{otherwise} " if otherwise else ""
    return f"{first}{what}: {listed(names)}"


def near(word: str, known: Iterable[str]) -> str | None:
    """Return the known name that `word` is most likely a slip of; long words and lists are not searched whole."""
    return nearest(word, islice(known, MAX_SUGGESTED)) if len(word) <= MAX_SUGGESTED_LENGTH else None


def listed(names: Iterable[str], limit: int = 20) -> str:
    """Return the names with commas, cut at `limit`."""
    words = list(names)
    rest = f", ... ({len(words)} in all)" if len(words) > limit else ""
    return ", ".join(words[:limit]) + rest if words else "none"
