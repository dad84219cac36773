"""Wires between real processes: a reader that is killed again and again, and a writer that is."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
from support.wired import Fact, Level, Party, Sayer, Taker, node, party_plan, policy, until, wire

FACTS = 300
PLAN = party_plan(
    {"left": [node("say", Sayer)], "right": [node("take", Taker)]},
    [
        wire("say.fact", "take.fact", policy("reliable")),
        wire("say.level", "take.level", policy("conflate", by="key")),
    ],
)


def forked(main: Callable[[], Coroutine[Any, Any, None]]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        asyncio.run(main())
        code = 0
    finally:
        sys.stderr.flush()
        os._exit(code)


class Disk:
    """A file that is replaced in one go."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, epoch: int, wires: bytes, **state: Any) -> None:
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps({"epoch": epoch, "wires": wires.hex(), **state}))
        fresh.replace(self.path)

    def read(self) -> dict[str, Any]:
        if not self.path.exists():
            return {"wires": "", "facts": [], "sent": 0}
        return json.loads(self.path.read_text())  # type: ignore[no-any-return]


async def reader(folder: Path, epoch: int) -> None:
    """Take facts; put them on disk with what the wires owe, in one go."""
    disk = Disk(folder / "right.json")
    kept = disk.read()
    party = Party(PLAN, "right", folder, epoch, bytes.fromhex(kept["wires"]))
    party.node("take").facts = kept["facts"]

    def on_wires() -> None:
        party.wires.drain()
        if party.wires.uncommitted:
            disk.write(epoch, party.keep(), facts=party.node("take").facts)
            party.wires.committed()

    party.wires.attach(asyncio.get_running_loop(), on_wires)
    await party.wires.join(10.0)
    await asyncio.sleep(60)


async def writer(folder: Path, epoch: int) -> None:
    """Say facts; each is on disk with the count before it leaves."""
    disk = Disk(folder / "left.json")
    kept = disk.read()
    party = Party(PLAN, "left", folder, epoch)
    port = party.host.ports["say", "fact"]
    port.sent = kept["sent"]
    party.restore(bytes.fromhex(kept["wires"]))

    def settle() -> None:
        disk.write(epoch, party.keep(), sent=port.sent)
        party.wires.committed()

    party.wires.attach(asyncio.get_running_loop(), lambda: party.wires.drain() and None)
    await party.wires.join(10.0)
    while port.sent < FACTS:
        assert port.sent % 5 == 0, "what is on disk is whole"
        for _ in range(5):
            party.say("say.fact", Fact(f"f{port.sent + 1}", 1))
        settle()
        await asyncio.sleep(0.002)
    await until(lambda: party.wires.drained, 30.0)
    party.wires.close()


def wait_for(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to hold in time"
        time.sleep(0.005)


@pytest.mark.parametrize("victim", ["right", "left"])
def test_a_process_that_is_killed_again_and_again_loses_and_repeats_nothing(tmp_path: Path, victim: str) -> None:
    roles = {"left": writer, "right": reader}
    pids = {name: forked(partial(main, tmp_path, 1)) for name, main in roles.items()}
    chance = Random(7)

    def applied() -> list[str]:
        return Disk(tmp_path / "right.json").read()["facts"]  # type: ignore[no-any-return]

    try:
        for epoch in range(2, 6):
            wanted = len(applied()) + 20
            wait_for(lambda wanted=wanted: len(applied()) >= wanted)  # type: ignore[misc]
            time.sleep(chance.random() * 0.02)
            os.kill(pids[victim], signal.SIGKILL)
            os.waitpid(pids[victim], 0)
            pids[victim] = forked(partial(roles[victim], tmp_path, epoch))
        _, status = os.waitpid(pids.pop("left"), 0)
        assert status == 0
        assert applied() == [f"f{number + 1}" for number in range(FACTS)]
    finally:
        for pid in pids.values():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def test_a_burst_between_processes_arrives_whole(tmp_path: Path) -> None:
    plan = party_plan({"left": [node("say", Sayer)], "right": [node("take", Taker)]}, [wire("say.level", "take.level")])
    count = 30_000

    async def left() -> None:
        party = Party(plan, "left", tmp_path)
        party.attach()
        await party.wires.join(10.0)
        for value in range(count):
            party.say("say.level", Level("a", value))
            while party.wires.paused:
                await asyncio.sleep(0.001)
        party.wires.end("say")
        await until(lambda: party.wires.drained, 20.0)
        party.wires.close()

    async def right() -> None:
        party = Party(plan, "right", tmp_path)
        party.attach()
        await party.wires.join(10.0)
        await until(lambda: party.node("take").events == ["level closed"], 20.0)
        assert party.node("take").levels == [("a", value) for value in range(count)]
        assert party.wires.stats()["wires"]["say.level -> take.level"]["lost"] == 0
        await asyncio.sleep(0.2)  # the acknowledgement of the end is on its way
        party.wires.close()

    pids = [forked(left), forked(right)]
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0]
