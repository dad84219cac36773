"""Shared by all tests: `tests/support` can be imported, and `sample_nodes` registered as the only node package."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "support"))


@pytest.fixture
def sample_nodes(monkeypatch: pytest.MonkeyPatch):
    """Let `sample_nodes` be the only package that holds node types, and no package add rules."""
    from engine import registry
    from engine.topology import check

    registry.node_class.cache_clear()
    monkeypatch.setattr(registry, "packages", lambda: ("sample_nodes",))
    monkeypatch.setattr(check, "installed_rules", list)
    yield
    registry.node_class.cache_clear()
