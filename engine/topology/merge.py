"""Merge an overlay over a topology as Compose does: mappings merge, lists and scalars replace, null removes."""

from __future__ import annotations

from engine.topology.report import Report, suggestion
from engine.topology.tree import Listing, Map, Scalar, Tree, mapping


def merged(base: Map, overlay: Map, report: Report) -> Map:
    """Return `overlay` over `base`; each value keeps the place of the file that it comes from.

    `params: {NAME: value}` of an overlay sets the parameter's default. A dotted id under `nodes` speaks of a node that
    an include brings; it stays as it is, and so does its null.
    """
    return _merge(base, overlay, (), report)


def over(base: Tree, change: Tree) -> Tree:
    """Return `change` over `base`: mappings merge, anything else replaces."""
    if not isinstance(base, Map) or not isinstance(change, Map):
        return change
    entries, keys = dict(base.entries), {**base.keys, **change.keys}
    for key, value in change.entries.items():
        entries[key] = over(entries[key], value) if key in entries else value
    return mapping(base.place, entries, keys, base.used)


def _merge(base: Map, overlay: Map, path: tuple[str, ...], report: Report) -> Map:
    entries, keys = dict(base.entries), dict(base.keys)
    for key, value in overlay.entries.items():
        known = entries.get(key)
        included = path == ("nodes",) and "." in key
        if _is_null(value) and not included:
            if known is None:
                what = ".".join((*path, key))
                fix = suggestion(key, base.entries, what="it has")
                report.add("nothing-to-remove", f"{what!r} is to be removed, but is not there", overlay.keys[key], fix)
                continue
            del entries[key], keys[key]
            continue
        keys[key] = overlay.keys[key]
        if isinstance(known, Map) and isinstance(value, Map):
            entries[key] = _merge(known, value, (*path, key), report)
            keys[key] = base.keys[key]
        elif isinstance(known, Map) and path == ("params",) and isinstance(value, Scalar | Listing):
            entries[key] = with_default(known, value)
            keys[key] = base.keys[key]
        else:
            entries[key] = value
    return mapping(base.place, entries, keys, base.used)


def with_default(declaration: Map, value: Tree) -> Map:
    """Return a parameter's declaration with `value` for its default."""
    entries = {**declaration.entries, "default": value}
    keys = {**declaration.keys, "default": value.place}
    return mapping(declaration.place, entries, keys, declaration.used)


def _is_null(tree: Tree) -> bool:
    return isinstance(tree, Scalar) and tree.value is None
