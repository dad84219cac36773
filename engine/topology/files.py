"""Read topology files, and nothing outside the project that they belong to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from engine.topology.report import Report, shown, suggestion
from engine.topology.tree import Broken, Map, Tree, kind
from engine.topology.yaml_tree import MAX_BYTES, decode, read_tree

PROJECT_MARKS = ("pyproject.toml", ".git")


class Files:
    """The files of one topology: each is read and parsed once, and its text kept."""

    def __init__(self, paths: Sequence[Path], report: Report) -> None:
        self.report = report
        self.texts: dict[str, str] = {}
        self.roots = tuple(dict.fromkeys(_root_of(path) for path in paths))
        self._trees: dict[str, Map | None] = {}

    def read(self, path: Path) -> Map | None:
        """Return the mapping that a file of the command line holds, or None (reported)."""
        if not path.is_file() and not path.is_fifo():
            what = "is a folder" if path.is_dir() else "does not exist"
            self.report.add("file-missing", f"file {shown(path, 200)} {what}", None, _near(path, path.parent))
            return None
        return self._tree(str(path), path)

    def included(self, name: str, at: Tree) -> tuple[str, Map] | None:
        """Return the shown path and the mapping of an included file; `name` is relative to the file of `at`."""
        shown_path = os.path.normpath(os.path.join(os.path.dirname(at.place.file), name))
        if "\0" in name or len(name) > 1000:
            self.report.add("include-missing", f"{shown(name)} is not a file name", at.place, used=at.used)
            return None
        try:
            path = Path(shown_path).resolve()
        except (OSError, RuntimeError):
            self.report.add("include-missing", f"{shown(name)} leads through a loop of links", at.place, used=at.used)
            return None
        if not any(path.is_relative_to(root) for root in self.roots):
            roots = " or ".join(dict.fromkeys(_called(root) for root in self.roots))
            message = f"{shown(name)} leads outside the project"
            self.report.add("include-outside-root", message, at.place, f"keep it below {roots}", used=at.used)
            return None
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "does not exist"
            message = f"file {shown(shown_path, 200)} {what}"
            self.report.add("include-missing", message, at.place, _near(path, path.parent), used=at.used)
            return None
        tree = self._tree(shown_path, path)
        return None if tree is None else (shown_path, tree)

    def parse(self, text: str, file: str) -> Map | None:
        """Return the mapping that a text holds, under the name `file`, or None (reported)."""
        self.texts[file] = text
        tree = read_tree(text, file, self.report)
        if isinstance(tree, Broken):
            return None
        if tree is None or isinstance(tree, Map):
            return tree
        message = f"a topology is a mapping, and this is {kind(tree)}"
        self.report.add("wrong-kind", message, tree.place, "begin with `topology: NAME`")
        return None

    def _tree(self, name: str, path: Path) -> Map | None:
        if name not in self._trees:
            try:
                with path.open("rb") as file:
                    data = file.read(MAX_BYTES + 1)
            except OSError as error:
                self.report.add("file-unreadable", f"file {shown(name, 200)} cannot be read: {error.strerror}", None)
                data = None
            text = None if data is None else decode(data, name, self.report)
            self._trees[name] = None if text is None else self.parse(text, name)
        return self._trees[name]


def _root_of(path: Path) -> Path:
    """Return the folder below which everything included must be: the project's, or else the file's own."""
    folder = path.resolve().parent
    for candidate in (folder, *folder.parents):
        if any((candidate / mark).exists() for mark in PROJECT_MARKS):
            return candidate
    return folder


def _called(root: Path) -> str:
    """Return a root in words that are the same on every machine."""
    for mark in ("pyproject.toml", ".git"):
        if (root / mark).exists():
            return f"the project's folder, the one with {mark}"
    return "the topology's own folder"


def _near(path: Path, folder: Path) -> str:
    if not folder.is_dir():
        return f"folder {shown(folder.name)} does not exist either"
    names = sorted(item.name for item in folder.iterdir() if item.suffix in (".yaml", ".yml"))
    return suggestion(path.name, names, what="files there")
