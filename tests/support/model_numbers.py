"""Reference numbers of the models, and how close a result has to come."""

import json
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent.parent / "fixtures" / "models"


def numbers(name: str) -> dict[str, Any]:
    """Return the content of tests/fixtures/models/<name>.json."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def near(expected: float, rel: float) -> Any:
    """Compare relatively, with an absolute slack only where the expected number is 0."""
    return pytest.approx(expected, rel=rel, abs=rel if expected == 0 else 0)
