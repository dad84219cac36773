"""Strict YAML with positions: text becomes a tree in which every key and value knows its file, line and column.

The tree is built from the parser's events with an explicit stack, so that no nesting, however deep, can exhaust the
machine. Only the safe core of YAML is taken: plain scalars follow YAML 1.2 (`true`/`false`, decimal numbers), keys
are text and unique, tags and merge keys are refused, and what aliases add is counted.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from engine.errors import Place
from engine.topology.report import Report, shown
from engine.topology.tree import Broken, Scalar, Tree, listing, mapping

MAX_BYTES = 1 << 20
MAX_DEPTH = 64
MAX_ALIASED = 10_000
MAX_VALUES = 50_000
MAX_DIGITS = 100

_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_BARE_REFERENCE = re.compile(r"[\[{,:]\s*[^\s\"']*\$\{")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


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
    broken: bool = False
    """Holds something that is refused and reported, so that what is missing in it is no further mistake."""


class _Builder:
    def __init__(self, file: str, report: Report) -> None:
        self.file = file
        self.report = report
        self.root: Tree | None = None
        self.failed = False
        self.stack: list[_Open] = []
        self.anchors: dict[str, Tree] = {}
        self.aliased = 0
        self.values = 0
        self.documents = 0

    def take(self, event: Any) -> bool:
        """Take one event; return False when reading on would be useless."""
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            return self._open(event)
        if isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            return self._close()
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if isinstance(event, yaml.DocumentStartEvent):
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
        return self._put(Scalar(place, (), value), event.anchor)

    def _key(self, top: _Open, text: str, place: Place, bare: bool) -> None:
        top.key, top.key_place, top.skip_value = text, place, False
        if bare and text == "<<":
            self.report.add(
                "yaml-merge-key", "merge keys (`<<`) are refused", place, "write the keys out, or include a template"
            )
            top.skip_value = top.broken = True
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
        is_map = isinstance(event, yaml.MappingStartEvent)
        self.stack.append(_Open(place, is_map, event.anchor, broken=event.tag is not None))
        return True

    def _close(self) -> bool:
        done = self.stack.pop()
        tree: Tree = mapping(done.place, done.entries, done.keys) if done.is_map else listing(done.place, done.items)
        if done.broken:
            tree = Broken(done.place)
        return self._put(tree, done.anchor)

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
        return self._put(replace(target, used=(*target.used, place)), None)

    def _put(self, tree: Tree, anchor: str | None) -> bool:
        self.values += 1
        if self.values > MAX_VALUES:
            self.report.add("yaml-size", f"the file holds more than {MAX_VALUES:,} values", tree.place, "split it")
            self.failed = True
            return False
        if anchor is not None:
            self.anchors[anchor] = tree
        if not self.stack:
            self.root = tree
            return True
        top = self.stack[-1]
        if not top.is_map:
            top.items.append(tree)
            return True
        if top.key is not None and top.key_place is not None and not top.skip_value:
            top.entries[top.key] = tree
            top.keys[top.key] = top.key_place
        top.key = None
        return True

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
    for pattern, message, remedy in _PLAIN_WORDS:
        if re.search(pattern, reason):
            bare = _BARE_REFERENCE.search(line)
            fix = 'inside {} or [] put quotes around a reference: "${name}"' if bare else remedy
            report.add("yaml-syntax", message, place, fix, notes=notes)
            return
    report.add("yaml-syntax", f"not YAML: {reason}", place, "correct the syntax at this place", notes=notes)
