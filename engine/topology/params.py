"""Parameters that a topology declares: their types, and whether a value fits."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from engine import units
from engine.errors import Place
from engine.topology.fields import Fields
from engine.topology.model import SecretRef, SecretText
from engine.topology.report import Report, shown
from engine.topology.tree import Broken, Listing, Map, Scalar, Tree, kind, listing, plain

TYPES = ("int", "float", "str", "bool", "list", "map")
KEYS = ("type", "default", "enum", "unit", "doc", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
PARAM_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_BOUNDS: dict[str, tuple[Callable[[float, float], bool], str]] = {
    "minimum": (lambda value, bound: value >= bound, "at least"),
    "maximum": (lambda value, bound: value <= bound, "at most"),
    "exclusiveMinimum": (lambda value, bound: value > bound, "above"),
    "exclusiveMaximum": (lambda value, bound: value < bound, "below"),
}
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "list": "a list",
    "map": "a mapping",
}


@dataclass(frozen=True, slots=True)
class Param:
    """One declared parameter of a topology file."""

    name: str
    type: str
    place: Place
    default: Tree | None = None
    enum: tuple[Any, ...] = ()
    unit: str = ""
    doc: str = ""
    bounds: dict[str, float] = field(default_factory=dict)


def declared(tree: Map, report: Report) -> dict[str, Param]:
    """Return the parameters that a file's `params:` declares; report what is wrong with a declaration."""
    fields = Fields(report)
    result: dict[str, Param] = {}
    for name, value in tree.entries.items():
        place = tree.keys[name]
        if not PARAM_NAME.fullmatch(name) or name in ("run", "env", "secret"):
            fix = "use letters, digits and _; run, env and secret are taken"
            report.add("bad-name", f"{shown(name)} cannot be the name of a param", place, fix)
            continue
        fix = f"declare it: {name}: {{type: float, default: ..., unit: ..., doc: ...}}"
        declaration = fields.map(value, f"the declaration of param {name!r}", fix)
        if declaration is None:
            result[name] = Param(name, "any", place, value if not _is_null(value) else Broken(place))
            continue
        result[name] = _declaration(name, declaration, place, fields)
    return result


def _declaration(name: str, tree: Map, place: Place, fields: Fields) -> Param:
    what = f"param {name!r}"
    fields.known_keys(tree, what, KEYS)
    kind_of = fields.choice(tree.entries.get("type"), f"the type of {what}", TYPES)
    if "type" not in tree.entries:
        fix = f"add type: {_guess(tree.entries.get('default'))}"
        fields.report.add("param-type", f"{what} declares no type", place, fix)
    bounds: dict[str, float] = {}
    for word in _BOUNDS:
        bound = tree.entries.get(word)
        if isinstance(bound, Scalar) and isinstance(bound.value, int | float) and not isinstance(bound.value, bool):
            bounds[word] = bound.value
        elif bound is not None:
            fields.wrong(bound, f"{word} of {what}", "a number")
    return Param(
        name=name,
        type=kind_of or "any",
        place=place,
        default=tree.entries.get("default"),
        enum=tuple(plain(item) for item in fields.items(tree.entries.get("enum"), f"enum of {what}")),
        unit=fields.text(tree.entries.get("unit"), f"unit of {what}") or "",
        doc=(fields.text(tree.entries.get("doc"), f"doc of {what}") or "").strip().rstrip("."),
        bounds=bounds,
    )


def fit(param: Param, tree: Tree, report: Report) -> Tree:
    """Return `tree` in the parameter's type, units converted; report what does not fit and return Broken."""
    if isinstance(tree, Broken) or param.type == "any":
        return tree
    if isinstance(tree, Scalar) and units.clash(tree.unit, param.unit):
        message = f"param {param.name!r} is in {param.unit}, and is given a number in {tree.unit}"
        at, used = (tree.used[-1], tree.used[:-1]) if tree.used else (tree.place, ())
        report.add("unit-mismatch", message, at, f"declare both in {param.unit}", notes=_declared(param, at), used=used)
        return Broken(tree.place, tree.used)
    try:
        return _converted(param, tree)
    except ValueError as error:
        fix = f"{param.doc}" + (f", in {param.unit}" if param.unit else "") if param.doc else ""
        report.add(
            "bad-param",
            f"param {param.name!r} {error}",
            tree.place,
            fix,
            notes=_declared(param, tree.place),
            used=tree.used,
        )
        return Broken(tree.place, tree.used)


def _declared(param: Param, at: Place) -> tuple[tuple[str, Place], ...]:
    return () if at == param.place else (("declared here", param.place),)


def _converted(param: Param, tree: Tree) -> Tree:
    if isinstance(tree, Listing | Map):
        if param.type != ("list" if isinstance(tree, Listing) else "map"):
            raise ValueError(f"needs {_KINDS[param.type]}, got {kind(tree)}")
        return _in_unit(param, tree) if isinstance(tree, Listing) and param.unit else tree
    value = tree.value if isinstance(tree, Scalar) else None
    if isinstance(value, SecretRef | SecretText):
        if param.type != "str":
            raise ValueError(f"needs {_KINDS[param.type]}, and a secret is text")
        return tree
    if isinstance(tree, Scalar) and tree.from_env and param.type != "str":
        value = _from_text(str(value), param)
    value = _typed(param, value)
    if param.enum and value not in param.enum:
        raise ValueError(f"must be one of {_listed(param.enum)}, got {_named(value)}")
    if not isinstance(value, str | bool):
        for word, (holds, text) in _BOUNDS.items():
            if word in param.bounds and not holds(value, param.bounds[word]):
                raise ValueError(f"must be {text} {param.bounds[word]:g}, got {value}")
    if not isinstance(tree, Scalar):
        return tree
    return replace(tree, value=value, from_env=False, unit=param.unit or tree.unit)


def _in_unit(param: Param, tree: Listing) -> Listing:
    """Return a list whose numbers are in the parameter's unit, those with another unit converted."""
    items: list[Tree] = []
    for item in tree.items:
        if (
            not isinstance(item, Scalar)
            or isinstance(item.value, bool)
            or not isinstance(item.value, int | float | str)
        ):
            items.append(item)
            continue
        if units.clash(item.unit, param.unit):
            raise ValueError(f"is in {param.unit}, and is given a number in {item.unit}")
        value = units.convert(item.value, param.unit) if isinstance(item.value, str) else item.value
        items.append(replace(item, value=value, unit=param.unit))
    return listing(tree.place, items, tree.used)


def _typed(param: Param, value: Any) -> Any:
    wanted = _KINDS[param.type] + (f" in {param.unit}" if param.unit else "")
    if param.type in ("int", "float") and isinstance(value, str) and param.unit:
        value = units.convert(value, param.unit)
    if param.type == "float" and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    expected = {"int": int, "float": float, "str": str, "bool": bool}.get(param.type)
    if expected is None or not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
        hint = "; write true or false" if expected is bool and str(value).lower() in _TRUTHS else ""
        raise ValueError(f"needs {wanted}, got {'nothing' if value is None else _named(value)}{hint}")
    return value


def _from_text(text: str, param: Param) -> Any:
    if param.type == "bool":
        return {"true": True, "false": False}.get(text, text)
    if param.type in ("int", "float"):
        return units.convert(text, param.unit or "1")
    return text


_TRUTHS = frozenset({"true", "false", "yes", "no", "on", "off", "1", "0"})


def _named(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"the text {shown(value)}" if isinstance(value, str) else str(value)


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(str(value) for value in values[:20])


def _guess(default: Tree | None) -> str:
    if isinstance(default, Listing):
        return "list"
    if isinstance(default, Map):
        return "map"
    value = default.value if isinstance(default, Scalar) else 0.0
    words = ((bool, "bool"), (int, "int"), (float, "float"))
    return next((word for type_, word in words if isinstance(value, type_)), "str")


def _is_null(tree: Tree) -> bool:
    return isinstance(tree, Scalar) and tree.value is None
