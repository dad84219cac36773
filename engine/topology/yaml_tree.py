"""Strict YAML with positions: text becomes a tree in which every key and value knows its file, line and column.

The tree is built from the parser's events with an explicit stack, so that no nesting, however deep, can exhaust the
machine. Only the safe core of YAML is taken: plain scalars follow YAML 1.2 (`true`/`false`, decimal numbers), keys
are text and unique, tags and merge keys are refused, and what aliases add is counted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from engine.errors import Place
from engine.topology.report import Report, shown

MAX_BYTES = 1 << 20
MAX_DEPTH = 64
MAX_ALIASED = 10_000
MAX_DIGITS = 100

_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Tree:
    """A value with its place; `used` is the chain of places through which it came to be here, outermost first."""

    place: Place
    used: tuple[Place, ...] = ()
    size: int = field(default=1, compare=False, kw_only=True)
    depth: int = field(default=0, compare=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Scalar(Tree):
    """A text, number, truth value or null; after substitution also a secret's reference."""

    value: Any = None
    from_env: bool = False
    """The text came whole from the environment, so that a declared parameter may read a number in it."""


@dataclass(frozen=True, slots=True)
class Listing(Tree):
    """A sequence."""

    items: tuple[Tree, ...] = ()


@dataclass(frozen=True, slots=True)
class Map(Tree):
    """A mapping from text; `keys` holds the place of each key."""

    entries: dict[str, Tree] = field(default_factory=dict)
    keys: dict[str, Place] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
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


def _measure(children: Any) -> tuple[int, int]:
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


def decode(data: bytes, file: str, report: Report) -> str | None:
    """Return the text of a file, without a byte order mark; report what is too long or not UTF-8."""
    if len(data) > MAX_BYTES:
        message = f"the file is larger than {MAX_BYTES >> 20} MiB"
        report.add("yaml-size", message, Place(file, 1, 1), "split it with include")
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", "replace")
        place = Place(file, before.count("\n") + 1, len(before.rpartition("\n")[2]) + 1)
        report.add("yaml-encoding", f"byte 0x{data[error.start]:02x} is not UTF-8", place, "save the file as UTF-8")
        return None


def read_tree(text: str, file: str, report: Report) -> Tree | None:
    """Return the tree of one YAML document, or None when its syntax is broken; all problems go into `report`."""
    builder = _Builder(file, report)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            if not builder.take(event):
                break
    except yaml.YAMLError as error:
        _report_syntax(error, text, file, report)
        return None
    except UnicodeEncodeError:
        report.add("yaml-encoding", "the text holds bytes that are not UTF-8", Place(file, 1, 1), "write it as UTF-8")
        return None
    if builder.root is None and not builder.failed:
        report.add("yaml-empty", "the file holds no value", Place(file, 1, 1), "begin with `topology: NAME`")
    return None if builder.failed else builder.root


@dataclass(slots=True)
class _Open:
    """A container that is being read."""

    place: Place
    is_map: bool
    anchor: str | None
    items: list[Tree] = field(default_factory=list)
    entries: dict[str, Tree] = field(default_factory=dict)
    keys: dict[str, Place] = field(default_factory=dict)
    key: str | None = None
    key_place: Place | None = None
    skip_value: bool = False


class _Builder:
    def __init__(self, file: str, report: Report) -> None:
        self.file = file
        self.report = report
        self.root: Tree | None = None
        self.failed = False
        self.stack: list[_Open] = []
        self.anchors: dict[str, Tree] = {}
        self.aliased = 0
        self.documents = 0

    def take(self, event: Any) -> bool:
        """Take one event; return False when reading on would be useless."""
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            return self._open(event)
        if isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._close()
        elif isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                return self._stop(
                    "yaml-documents", "a second document begins here", event, "one file is one document; remove `---`"
                )
        return True

    def _scalar(self, event: Any) -> bool:
        place = self._place(event)
        if event.tag is not None and (event.tag == "!" or not any(event.implicit)):
            self._refuse_tag(event.tag, place)
        bare = bool(event.implicit[0]) and not event.style
        top = self.stack[-1] if self.stack else None
        if top and top.is_map and top.key is None:
            self._key(top, event.value, place, bare)
            return True
        value = self._value(event.value, place) if bare else event.value
        self._put(Scalar(place, (), value), event.anchor)
        return True

    def _key(self, top: _Open, text: str, place: Place, bare: bool) -> None:
        top.key, top.key_place, top.skip_value = text, place, False
        if bare and text == "<<":
            self.report.add(
                "yaml-merge-key", "merge keys (`<<`) are refused", place, "write the keys out, or include a template"
            )
            top.skip_value = True
        elif text == "":
            self.report.add("yaml-key", "a key is empty", place, "give the value a name")
            top.skip_value = True
        elif text in top.keys:
            self.report.add(
                "yaml-duplicate-key",
                f"key {shown(text)} is written twice in one mapping",
                place,
                "keep one of them",
                notes=(("written first here", top.keys[text]),),
            )
            top.skip_value = True

    def _open(self, event: Any) -> bool:
        place = self._place(event)
        if event.tag is not None:
            self._refuse_tag(event.tag, place)
        top = self.stack[-1] if self.stack else None
        if top and top.is_map and top.key is None:
            return self._stop("yaml-key", "a key must be text, not a list or mapping", event, "quote the key")
        if len(self.stack) >= MAX_DEPTH:
            return self._stop("yaml-depth", f"values are nested deeper than {MAX_DEPTH}", event, "flatten the file")
        self.stack.append(_Open(place, isinstance(event, yaml.MappingStartEvent), event.anchor))
        return True

    def _close(self) -> None:
        done = self.stack.pop()
        tree: Tree = mapping(done.place, done.entries, done.keys) if done.is_map else listing(done.place, done.items)
        self._put(tree, done.anchor)

    def _alias(self, event: Any) -> bool:
        place = self._place(event)
        top = self.stack[-1] if self.stack else None
        if top and top.is_map and top.key is None:
            return self._stop("yaml-key", "a key must be text, not an alias", event, "write the key out")
        target = self.anchors.get(event.anchor)
        if target is None:
            self.report.add(
                "yaml-alias",
                f"alias *{event.anchor[:40]} stands for nothing that is complete at this point",
                place,
                f"put the anchor &{event.anchor[:40]} on an earlier value",
            )
            target = Broken(place)
        self.aliased += target.size
        if self.aliased > MAX_ALIASED:
            message = f"aliases add more than {MAX_ALIASED:,} values"
            return self._stop("yaml-alias-limit", message, event, "use include or for_each to repeat things")
        if len(self.stack) + target.depth > MAX_DEPTH:
            return self._stop("yaml-depth", f"values are nested deeper than {MAX_DEPTH}", event, "flatten the file")
        self._put(replace(target, used=(*target.used, place)), None)
        return True

    def _put(self, tree: Tree, anchor: str | None) -> None:
        if anchor is not None:
            self.anchors[anchor] = tree
        if not self.stack:
            self.root = tree
            return
        top = self.stack[-1]
        if not top.is_map:
            top.items.append(tree)
            return
        if top.key is not None and top.key_place is not None and not top.skip_value:
            top.entries[top.key] = tree
            top.keys[top.key] = top.key_place
        top.key = None

    def _value(self, text: str, place: Place) -> Any:
        """Return the value of a plain scalar by the core rules of YAML 1.2, less octal, hexadecimal and infinities."""
        if text in _WORDS:
            return _WORDS[text]
        if text[0] not in "+-.0123456789":
            return text
        number: int | float | None = None
        if _INT.fullmatch(text):
            number = int(text) if len(text) <= MAX_DIGITS else math.inf
        elif _FLOAT.fullmatch(text):
            number = float(text)
        elif _NOT_FINITE.fullmatch(text):
            number = math.inf
        if number is None:
            return text
        if isinstance(number, float) and not math.isfinite(number):
            fix = "write a finite number, or quote it when it is text"
            self.report.add("yaml-number", f"{shown(text)} is not a number that can be used", place, fix)
            return 0
        return number

    def _refuse_tag(self, tag: str, place: Place) -> None:
        word = tag.replace("tag:yaml.org,2002:", "!!")
        self.report.add("yaml-tag", f"tag {shown(word)} is refused", place, "remove it; quotes make a value text")

    def _stop(self, code: str, message: str, event: Any, fix: str) -> bool:
        self.report.add(code, message, self._place(event), fix)
        self.failed = True
        return False

    def _place(self, event: Any) -> Place:
        mark = event.start_mark
        return Place(self.file, mark.line + 1, mark.column + 1)


_WORDS: dict[str, Any] = {"true": True, "false": False, "null": None, "~": None, "": None}

_PLAIN_WORDS = (
    (
        "character that cannot start any token",
        "a tab or another character cannot stand here",
        "indent with spaces; quote text that begins with @, ` or %",
    ),
    (
        "mapping values are not allowed",
        "a `:` stands where no new key can begin",
        "check the indentation; quote text that holds `: `",
    ),
    (
        "did not find expected key",
        "a key is expected here",
        "check the indentation, and that every quote and bracket is closed",
    ),
    ("could not find expected ':'", "a key has no `:`", "write `key: value`"),
    (
        r"did not find expected ',' or '[\]}]'",
        "a list or mapping in brackets is not closed",
        "add the missing `,`, `]` or `}`",
    ),
    ("expected '-' indicator", "a list item is expected here", "begin it with `- ` at the list's indentation"),
    ("unexpected end of stream", "the text ends within quotes", "close the quote"),
    ("did not find expected node content", "a value is expected here", "write a value, or quote the text"),
    (
        "did not find expected <document start>",
        "something follows the end of the document",
        "check the indentation; a file has one mapping",
    ),
    ("unknown escape character", "an unknown escape follows a backslash", "use single quotes, or write \\\\"),
    ("control characters are not allowed", "a control character stands here", "remove it"),
    ("(?:sequence entries|mapping keys) are not", "a list or key cannot begin here", "put it on a line of its own"),
)


def _report_syntax(error: yaml.YAMLError, text: str, file: str, report: Report) -> None:
    place, reason = Place(file, 1, 1), "it cannot be read"
    notes: tuple[tuple[str, Place], ...] = ()
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        if mark is not None:
            place = Place(file, mark.line + 1, mark.column + 1)
        begin = error.context_mark
        if begin is not None and (begin.line + 1, begin.column + 1) != (place.line, place.column):
            notes = (("what is being read begins here", Place(file, begin.line + 1, begin.column + 1)),)
        reason = " ".join(part for part in (error.context, error.problem) if part)
    elif isinstance(error, yaml.reader.ReaderError):
        # libyaml counts bytes here.
        before = text.encode("utf-8")[: error.position].decode("utf-8", "replace")
        place = Place(file, before.count("\n") + 1, len(before.rpartition("\n")[2]) + 1)
        reason = str(error.reason)
    if "nesting depth" in reason:
        report.add("yaml-depth", f"values are nested deeper than {MAX_DEPTH}", place, "flatten the file")
        return
    line = "".join(text.splitlines()[place.line - 1 : place.line])
    for pattern, message, fix in _PLAIN_WORDS:
        if re.search(pattern, reason):
            if re.search(r"[\[{,:]\s*[^\s\"']*\$\{", line):
                fix = 'inside {} or [] put quotes around a reference: "${name}"'
            report.add("yaml-syntax", message, place, fix, notes=notes)
            return
    report.add("yaml-syntax", f"not YAML: {reason}", place, "correct the syntax at this place", notes=notes)
