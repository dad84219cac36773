"""Node types by name: `models.glft` is the Node class in `<package>/models/glft.py`.

Packages announce themselves under the entry point group `pipeline.nodes`, whose value is the name of the package that
holds the node files. Only what a topology names is imported.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from engine.errors import PipelineError
from engine.node import Node


class UnknownType(PipelineError):
    """No installed package has a node of this name."""


class BrokenType(PipelineError):
    """The node's file exists, but cannot be imported or holds no node."""


@cache
def packages() -> tuple[str, ...]:
    """Return the packages that hold nodes, sorted by name."""
    return tuple(sorted({entry.value for entry in entry_points(group="pipeline.nodes")}))


@cache
def node_class(name: str) -> type[Node]:
    """Return the class of node type `name`; raise UnknownType or BrokenType."""
    found = [package for package in packages() if _has_module(package, name)]
    if not found:
        raise UnknownType(f"no node type {name!r} in the installed packages ({', '.join(packages()) or 'none'})")
    if len(found) > 1:
        raise BrokenType(f"node type {name!r} is in several packages: {', '.join(found)}; uninstall or rename one")
    return _class_in(f"{found[0]}.{name}", name)


def type_names() -> Iterator[str]:
    """Yield what may be the name of a node type, from file names alone, sorted; imports packages but no node file."""
    yield from sorted({name for package in packages() for name in _module_names(package)})


def _module_names(package: str) -> Iterator[str]:
    """Yield the dotted names of a package's modules that may hold a node; folders need no `__init__.py`."""
    for root in map(Path, importlib.import_module(package).__path__):
        for path in root.rglob("*.py"):
            parts = path.relative_to(root).with_suffix("").parts
            if all(part.isidentifier() and not part.startswith("_") for part in parts):
                yield ".".join(parts)


def type_name(cls: type[Node]) -> str:
    """Return the name under which a topology uses this class."""
    return cls.__module__.split(".", 1)[-1]


def _has_module(package: str, name: str) -> bool:
    if any(not part.isidentifier() or part.startswith("_") for part in name.split(".")):
        return False
    try:
        found = importlib.util.find_spec(f"{package}.{name}")
    except ModuleNotFoundError:
        return False
    return found is not None and found.submodule_search_locations is None


def _nodes_in(module_name: str) -> list[type[Node]]:
    module = importlib.import_module(module_name)
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Node) and value.__module__ == module_name
    ]


def _class_in(module_name: str, name: str) -> type[Node]:
    try:
        classes = _nodes_in(module_name)
    except ModuleNotFoundError as error:
        if error.name and not error.name.startswith(module_name.split(".", maxsplit=1)[0]):
            raise BrokenType(f"node type {name!r} needs the package {error.name!r}, which is not installed") from None
        raise
    if not classes:
        raise UnknownType(f"{module_name} holds no node class, so {name!r} is no node type")
    if len(classes) != 1:
        found = ", ".join(cls.__name__ for cls in classes)
        raise BrokenType(f"{module_name} must hold exactly one node class, found {found}")
    return classes[0]
