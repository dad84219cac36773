"""Read the syntax trees and say which import goes against the house: tools -> nodes -> engine, and no node to another.

`python -m tools.check_imports` prints each line to change, and fails when there is one.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FORBIDDEN = {"engine": ("nodes", "tools", "tests"), "nodes": ("tools", "tests"), "tools": ("tests",)}
FOR_NODES = ("engine", "engine.clock", "engine.errors", "engine.message", "engine.node", "engine.spec")
FOR_RULES = (*FOR_NODES, "engine.topology.rules", "engine.topology.model")


def violations(root: Path = ROOT) -> Iterator[str]:
    """Yield `file:line: what is wrong` for each import that should not be."""
    for package in FORBIDDEN:
        for path in sorted((root / package).rglob("*.py")):
            for line, module in imports(path, root):
                reason = _reason(path.relative_to(root), module, root)
                if reason:
                    yield f"{path.relative_to(root)}:{line}: {reason}"


def imports(path: Path, root: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, module) of each import in a file; `from a import b` is `a.b` where that is a module."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            parent = path.relative_to(root).parent.parts
            prefix = ".".join(parent[: len(parent) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (prefix, node.module or "") if part)
            for alias in node.names:
                below = f"{module}.{alias.name}"
                yield node.lineno, below if _file(below, root) else module


def _file(module: str, root: Path) -> Path | None:
    base = root.joinpath(*module.split("."))
    found = [path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()]
    return found[0] if found else None


def _reason(path: Path, module: str, root: Path) -> str:
    package, target = path.parts[0], module.split(".", maxsplit=1)[0]
    if target in FORBIDDEN[package]:
        return f"{package}/ may not import {module}: imports run tools -> nodes -> engine"
    if package != "nodes":
        return ""
    if target == "engine":
        allowed = FOR_RULES if path == Path("nodes/rules.py") else FOR_NODES
        if module not in allowed:
            return f"nodes take what they need from `engine` itself, not from {module}"
    elif target == "nodes" and module not in ("nodes", "nodes.messages") and not module.startswith("nodes._lib"):
        own = ".".join(path.parent.parts)
        if path.parts[1] == "_lib":
            return f"nodes/_lib/ is below the nodes and may not import {module}"
        if not (module == own or module.startswith(f"{own}.")):
            return f"{module} is in another folder; nodes meet on ports, and share code in nodes/_lib/"
        if _holds_node(module, root):
            return f"{module} is another node; nodes meet on ports, and share code in nodes/_lib/"
    return ""


def _holds_node(module: str, root: Path) -> bool:
    path = _file(module, root)
    if path is None:
        return False
    classes = [node for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.ClassDef)]
    return any(isinstance(base, ast.Name) and base.id == "Node" for item in classes for base in item.bases)


if __name__ == "__main__":
    found = list(violations())
    print("\n".join(found) or "imports are as they should be")
    sys.exit(bool(found))
