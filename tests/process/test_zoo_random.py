"""A run under random faults for a while: no process is doubled, no halt forgotten, nothing left behind."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from random import Random

import pytest
from support.zoo_keeper import Keeper, Zoo, living, until

NAMES = "abcdef"


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10))
def test_a_run_survives_random_faults(tmp_path, seed):
    random = Random(seed)
    restart = {"max": 1000, "window_s": 600.0}
    cage = {name: ["calm", {}] for name in NAMES[1:]}
    with (
        Keeper() as keeper,
        Zoo(keeper, tmp_path / "run", {"a": ["breeds", {}], **cage}, restart=restart) as run,
    ):
        run.wait_running()
        run.ask("halt", reason="stays")
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            run.signal(signal.SIGCONT)
            status = run.wait(lambda status: len(status["run"]["zygotes"]) == 2)
            zygotes = status["run"]["zygotes"]
            pids = [each["pid"] for each in status["processes"].values() if each["pid"]]
            target = random.choice([*pids, *pids, *zygotes, run.pid])
            number = random.choice([signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGSEGV])
            if target == run.pid:
                number = signal.SIGSTOP
            if target in zygotes and number == signal.SIGSEGV:
                number = signal.SIGKILL
            with suppress(ProcessLookupError):
                os.kill(target, number)
            time.sleep(random.random() * 0.3)
        run.signal(signal.SIGCONT)
        status = run.wait(
            lambda status: (
                len(status["run"]["zygotes"]) == 2
                and all(each["state"] == "ok" and each["beat_age_s"] < 0.5 for each in status["processes"].values())
            ),
            60.0,
        )
        assert status["run"]["halted"] == "stays"
        assert {name: row["epoch"] > 0 for name, row in status["processes"].items()} == dict.fromkeys(NAMES, True)
        for name, row in status["processes"].items():
            epochs = [command["epoch"] for command in run.heard(name) if command["do"] == "go"]
            assert epochs == sorted(set(epochs))
            assert run.heard(name)[-1]["epoch"] <= row["epoch"]
            last_go = [command for command in run.heard(name) if command["do"] == "go"][-1]
            assert last_go["halted"] == "stays" or last_go["epoch"] == 1
        run.signal(signal.SIGKILL)
        run.end()
        assert until(lambda: not living(run.folder), 5.0)
