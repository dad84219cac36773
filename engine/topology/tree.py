"""The tree of a parsed text, in which every key and value knows where it stands.

Trees are shared between all who use a value; nobody changes one after it is made. (They are not frozen, since freezing
doubles the time to make one.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from engine.errors import Place


@dataclass(slots=True)
class Tree:
    """A value with its place; `used` is the chain of places through which it came to be here, outermost first."""

    place: Place
    used: tuple[Place, ...] = ()
    size: int = field(default=1, compare=False, kw_only=True)
    depth: int = field(default=0, compare=False, kw_only=True)


@dataclass(slots=True)
class Scalar(Tree):
    """A text, number, truth value or null; after substitution also a secret's reference."""

    value: Any = None
    from_env: bool = False
    """The text came whole from the environment, so that a declared parameter may read a number in it."""
    unit: str = ""
    """Unit of a number that came through a declared parameter."""


@dataclass(slots=True)
class Listing(Tree):
    """A sequence."""

    items: tuple[Tree, ...] = ()


@dataclass(slots=True)
class Map(Tree):
    """A mapping from text; `keys` holds the place of each key."""

    entries: dict[str, Tree] = field(default_factory=dict)
    keys: dict[str, Place] = field(default_factory=dict, compare=False)


@dataclass(slots=True)
class Broken(Tree):
    """Stands where a value would be whose problem has been reported; readers pass over it in silence."""


def listing(place: Place, items: list[Tree], used: tuple[Place, ...] = ()) -> Listing:
    """Make a sequence and measure it."""
    size, depth = _measure(items)
    return Listing(place, used, tuple(items), size=size, depth=depth)


def mapping(place: Place, entries: dict[str, Tree], keys: dict[str, Place], used: tuple[Place, ...] = ()) -> Map:
    """Make a mapping and measure it."""
    size, depth = _measure(entries.values())
    return Map(place, used, entries, keys, size=size, depth=depth)


def _measure(children: Iterable[Tree]) -> tuple[int, int]:
    size, depth = 1, 0
    for child in children:
        size += child.size
        depth = max(depth, child.depth)
    return size, depth + 1


def plain(tree: Tree) -> Any:
    """Return the value as plain Python data, without positions."""
    if isinstance(tree, Map):
        return {key: plain(value) for key, value in tree.entries.items()}
    if isinstance(tree, Listing):
        return [plain(item) for item in tree.items]
    return tree.value if isinstance(tree, Scalar) else None


def leaves(tree: Tree, path: str = "") -> Iterator[tuple[str, Tree]]:
    """Yield (path, tree) of everything below `tree`, containers before what they hold."""
    pairs: Any = ()
    if isinstance(tree, Map):
        pairs = tree.entries.items()
    elif isinstance(tree, Listing):
        pairs = enumerate(tree.items)
    for key, child in pairs:
        where = f"{path}.{key}" if path else str(key)
        yield where, child
        yield from leaves(child, where)


def kind(tree: Tree) -> str:
    """Return the word by which an error calls this kind of value."""
    if isinstance(tree, Map):
        return "a mapping"
    if isinstance(tree, Listing):
        return "a list"
    value = tree.value if isinstance(tree, Scalar) else None
    if value is None:
        return "nothing"
    for types, word in ((bool, "true or false"), (int | float, "a number"), (str, "text")):
        if isinstance(value, types):
            return word
    return "a secret"


def through(tree: Tree, place: Place) -> Tree:
    """Return the tree with `place` added to the chain of where it, and all that is in it, is used."""
    used = (*tree.used, place)
    if isinstance(tree, Map):
        return mapping(tree.place, {key: through(value, place) for key, value in tree.entries.items()}, tree.keys, used)
    if isinstance(tree, Listing):
        return listing(tree.place, [through(item, place) for item in tree.items], used)
    return replace(tree, used=used)


def moved(tree: Tree, start: Place) -> Tree:
    """Return a tree that was read as a text of its own with its places counted from `start`."""

    def at(place: Place) -> Place:
        return Place(start.file, start.line, start.column + (place.column - 1 if place.line == 1 else 0))

    if isinstance(tree, Map):
        keys = {key: at(place) for key, place in tree.keys.items()}
        return mapping(at(tree.place), {key: moved(value, start) for key, value in tree.entries.items()}, keys)
    if isinstance(tree, Listing):
        return listing(at(tree.place), [moved(item, start) for item in tree.items])
    return replace(tree, place=at(tree.place), used=())
