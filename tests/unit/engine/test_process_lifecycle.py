"""Restarts: how many in a row, and how long to wait."""

from __future__ import annotations

from random import Random

from engine.process.lifecycle import backoff_s, in_a_row
from engine.process.settings import Settings


def test_a_process_that_lived_steadily_begins_anew() -> None:
    assert in_a_row([], 100.0, 5.0) == 0
    assert in_a_row([98.0], 100.0, 5.0) == 1
    assert in_a_row([90.0], 100.0, 5.0) == 0
    assert in_a_row([90.0, 97.0, 99.0], 100.0, 5.0) == 2
    assert in_a_row([96.0, 97.0, 99.0], 100.0, 5.0) == 3


def test_each_failure_in_a_row_waits_twice_as_long_up_to_a_bound() -> None:
    settings = Settings(jitter=0.0)
    waits = [backoff_s(failures, settings, Random(1)) for failures in range(12)]
    assert waits[:4] == [0.1, 0.2, 0.4, 0.8]
    assert waits[-1] == settings.longest_backoff_s
