"""`for_each`: one turn for each element, or for each combination of several lists."""

from __future__ import annotations

import itertools

from engine.topology.fields import Fields
from engine.topology.report import shown
from engine.topology.substitute import NAME, Scope
from engine.topology.tree import Listing, Scalar, Tree

MAX_TURNS = 1_000


def turns(tree: Tree, what: str, scope: Scope, fields: Fields) -> list[Scope]:
    """Return the scope of each turn; the names of the loop are its variables."""
    loop = fields.map(tree, f"'for_each' of {what}", "write for_each: {NAME: [first, second]}")
    if loop is None:
        return []
    if not loop.entries:
        message = f"'for_each' of {what} names no list"
        fields.report.add("empty-loop", message, tree.place, "write for_each: {NAME: [first, second]}", used=scope.used)
    names: list[str] = []
    lists: list[tuple[Tree, ...]] = []
    for name, value in loop.entries.items():
        place = loop.keys[name]
        if not NAME.fullmatch(name) or name in (*scope.params, *scope.variables, "run", "env", "secret"):
            taken = "is taken" if NAME.fullmatch(name) else "is no name"
            fields.report.add("bad-name", f"loop name {shown(name)} {taken}", place, "choose another", used=scope.used)
            continue
        items = fields.items(scope.resolve(value), f"the list {name!r} of {what}", "write [first, second] or ${param}")
        if not items:
            if isinstance(value, Listing):
                message = f"the list {name!r} of {what} is empty"
                fields.report.add("empty-loop", message, value.place, "name its elements", used=scope.used)
            return []
        names.append(name)
        lists.append(items)
    count = 1
    for items in lists:
        count *= len(items)
    if count > MAX_TURNS:
        message = f"{what} is repeated {count:,} times; at most {MAX_TURNS:,} are possible"
        fields.report.add("expansion-limit", message, tree.place, "shorten the lists", used=scope.used)
        return []
    scope.budget.spend(count, tree.place)
    return (
        [
            scope.inside(dict(zip(names, turn, strict=True)), (*scope.used, *(one.place for one in turn)))
            for turn in itertools.product(*lists)
        ]
        if names
        else []
    )


def element_name(scope: Scope, outer: Scope) -> str | None:
    """Return the text of the turn's only element, from which an id can be made; None when it has no such."""
    own = [value for name, value in scope.variables.items() if name not in outer.variables]
    if len(own) == 1 and isinstance(own[0], Scalar) and isinstance(own[0].value, str):
        return own[0].value
    return None
