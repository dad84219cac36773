"""Let the packages under `tests/support` be the ones that hold node types."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from engine import registry
from engine.topology import check
from engine.topology.rules import Rule


@contextmanager
def only_packages(*packages: str, rules: Sequence[Rule] = ()) -> Iterator[None]:
    """Hide all installed packages of nodes and rules but these."""
    with pytest.MonkeyPatch.context() as patch:
        registry.node_class.cache_clear()
        patch.setattr(registry, "packages", lambda: packages)
        patch.setattr(check, "installed_rules", lambda: list(rules))
        yield
    registry.node_class.cache_clear()
