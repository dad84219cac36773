"""What holds for the source text: imports run one way, nodes see no wall clock, the engine knows no market."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tools.check_imports import violations

ROOT = Path(__file__).parents[2]
TRADING = re.compile(
    r"\b(uniswap|binance|deribit|grvt|venues?|hedg(?:e|er|ers|ing)|pools?|swaps?|trad(?:e|es|er|ing)|prices?|"
    r"liquidity|inventory|usd[ct]?|eth|btc|perp|instruments?|markets?|fees?|pnl|blockchain)\b",
    re.IGNORECASE,
)
HELP_EXAMPLES = re.compile(r'\\b\n.*?"""', re.DOTALL)
"""Examples at the end of a command's help may name what this project ships."""
FORBIDDEN_MODULES = {"time", "secrets", "uuid"}
FORBIDDEN_CALLS = {"now", "utcnow", "today", "urandom", "getrandbits", "perf_counter", "monotonic", "time_ns"}


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def test_imports_run_one_way():
    assert list(violations()) == []


def test_the_import_check_can_fail(tmp_path):
    for name, text in {
        "engine/a.py": "import nodes.messages\n",
        "nodes/models/b.py": "from engine.run.host import Host\nfrom nodes.models import c\nfrom engine import Node\n",
        "nodes/models/c.py": "from engine import Node\nclass C(Node): ...\n",
        "nodes/models/d.py": "from nodes._lib import maths\nfrom nodes.sinks.e import E\nfrom ..tools import x\n",
        "nodes/sinks/e.py": "E = 1\n",
        "tools/f.py": "import nodes, engine, tests.g\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = [line.split(": ")[0] for line in violations(tmp_path)]
    assert found == [
        "engine/a.py:1",
        "nodes/models/b.py:1",
        "nodes/models/b.py:2",
        "nodes/models/d.py:2",
        "nodes/models/d.py:3",
        "tools/f.py:1",
    ]


@pytest.mark.parametrize("path", sources("engine"), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_engine_knows_no_trading_word(path):
    text = path.read_text("utf-8")
    if path.parent.name == "cli":
        text = HELP_EXAMPLES.sub(lambda found: "\n" * found[0].count("\n"), text)
    found = [
        f"{number}: {match[0]!r} in {line.strip()}"
        for number, line in enumerate(text.splitlines(), 1)
        if (match := TRADING.search(line))
    ]
    assert not found


def impure(tree: ast.AST) -> list[str]:
    """Return what in a syntax tree looks at wall time or at chance that is not the node's own."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            found += [f"{node.lineno}: import {name}" for name in names if name in FORBIDDEN_MODULES | {"random"}]
        elif isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names]
            if node.module in FORBIDDEN_MODULES or (node.module == "random" and names != ["Random"]):
                found.append(f"{node.lineno}: from {node.module} import {', '.join(names)}")
            if node.module == "numpy" and "random" in names:
                found.append(f"{node.lineno}: from numpy import random")
        elif isinstance(node, ast.Attribute):
            if node.attr in FORBIDDEN_CALLS and isinstance(node.value, ast.Name) and node.value.id != "self":
                found.append(f"{node.lineno}: {node.value.id}.{node.attr}")
            if node.attr == "random" and isinstance(node.value, ast.Name) and node.value.id in ("np", "numpy"):
                found.append(f"{node.lineno}: {node.value.id}.random")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("id", "hash"):
            found.append(f"{node.lineno}: {node.func.id}()")
    return found


@pytest.mark.parametrize("path", sources("nodes"), ids=lambda path: str(path.relative_to(ROOT)))
def test_nodes_see_neither_wall_clock_nor_global_chance(path):
    assert impure(ast.parse(path.read_text("utf-8"))) == []


@pytest.mark.parametrize(
    "text",
    [
        "import time",
        "import random",
        "from time import time",
        "from random import choice",
        "from datetime import datetime\ndatetime.now()",
        "import os\nos.urandom(3)",
        "import numpy as np\nnp.random.rand()",
        "hash(3)",
    ],
)
def test_the_check_for_clocks_can_fail(text):
    assert impure(ast.parse(text))
    assert not impure(ast.parse("from random import Random\nfrom datetime import datetime\nself.clock.now_ns"))
