"""What is generated and checked in is what the sources say now."""

from __future__ import annotations

from engine import catalogue
from tools.generate import ROOT, differences, generated


def test_generated_files_are_up_to_date():
    stale = differences(generated(list(catalogue.entries())), ROOT)
    assert not stale, "run `python -m tools.generate`"
